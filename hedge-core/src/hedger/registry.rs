//! A registry of hedgers that needs no allocator.

use core::fmt;

use heapless::Vec;

use crate::name::Name;

/// A map of up to `N` values by name, for example a hedger for each backend.
///
/// Lookup is a linear search, meant for a handful of names. Values are never evicted.
///
/// ```
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::{ConfigError, FixedRegistry, Hedger, LocalHedger, Name, Percentile};
///
/// let clock = ManualTimer::<8>::new();
/// let mut hedgers = FixedRegistry::<LocalHedger<&ManualTimer<8>, Percentile>, 4>::new();
/// let sensor = Name::truncated("sensor");
/// let hedger = hedgers.get_or_try_insert_with(sensor, || Hedger::builder(&clock).build_local())?;
/// assert_eq!(hedger.metrics().total_requests, 0);
/// assert!(hedgers.get("sensor").is_some());
/// # Ok::<(), hedge_core::InsertError<ConfigError>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FixedRegistry<H, const N: usize> {
    entries: Vec<(Name, H), N>,
}

impl<H, const N: usize> FixedRegistry<H, N> {
    /// Creates an empty registry.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Returns the value with this name, if there is one.
    pub fn get(&self, name: &str) -> Option<&H> {
        self.iter()
            .find(|(other, _)| other.as_str() == name)
            .map(|(_, value)| value)
    }

    /// Returns the value with this name, and creates it with `make` if there is none.
    ///
    /// # Errors
    ///
    /// Returns [`InsertError::Make`] with the error of `make`, and [`InsertError::Full`] if there
    /// is no room, without calling `make`.
    pub fn get_or_try_insert_with<E>(
        &mut self,
        name: Name,
        make: impl FnOnce() -> Result<H, E>,
    ) -> Result<&H, InsertError<E>> {
        let place = match self.place(name) {
            Some(place) => place,
            None if self.entries.is_full() => return Err(InsertError::Full { capacity: N }),
            None => {
                let value = make().map_err(InsertError::Make)?;
                // The push cannot fail: the length was checked above.
                let _ = self.entries.push((name, value));
                self.entries.len().saturating_sub(1)
            }
        };
        let entry = self.entries.get(place);
        entry
            .map(|(_, value)| value)
            .ok_or(InsertError::Full { capacity: N })
    }

    /// Inserts `value` under `name`, and returns the previous value.
    ///
    /// # Errors
    ///
    /// Returns `value` if there is no room.
    pub fn insert(&mut self, name: Name, value: H) -> Result<Option<H>, H> {
        let place = self.place(name);
        match place.and_then(|place| self.entries.get_mut(place)) {
            Some((_, known)) => Ok(Some(core::mem::replace(known, value))),
            None => match self.entries.push((name, value)) {
                Ok(()) => Ok(None),
                Err((_, value)) => Err(value),
            },
        }
    }

    /// Removes and returns the value with this name.
    pub fn remove(&mut self, name: &str) -> Option<H> {
        let named = |(other, _): &(Name, H)| other.as_str() == name;
        let place = self.entries.iter().position(named)?;
        Some(self.entries.remove(place).1)
    }

    /// Returns all names and values, in order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = (Name, &H)> {
        self.entries.iter().map(|(name, value)| (*name, value))
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn place(&self, name: Name) -> Option<usize> {
        self.entries.iter().position(|(other, _)| *other == name)
    }
}

impl<H, const N: usize> Default for FixedRegistry<H, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The error of [`FixedRegistry::get_or_try_insert_with`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InsertError<E> {
    /// There is no room for another value.
    Full {
        /// The number of values, which equals the capacity.
        capacity: usize,
    },
    /// The value could not be created.
    Make(E),
}

impl<E: fmt::Display> fmt::Display for InsertError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { capacity } => write!(f, "the registry holds {capacity}, and evicts none"),
            Self::Make(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for InsertError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Full { .. } => None,
            Self::Make(error) => error.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Name = Name::truncated("a");
    const B: Name = Name::truncated("b");
    const C: Name = Name::truncated("c");

    #[test]
    fn a_value_is_made_once_and_found_by_its_name() {
        let mut registry = FixedRegistry::<u32, 2>::new();
        assert!(registry.is_empty());
        assert_eq!(
            registry.get_or_try_insert_with(A, || Ok::<_, ()>(1)),
            Ok(&1)
        );
        assert_eq!(registry.get_or_try_insert_with(A, || Err(())), Ok(&1));
        let failed = registry.get_or_try_insert_with(B, || Err("no"));
        assert_eq!(failed, Err(InsertError::Make("no")));
        assert_eq!((registry.get("a"), registry.get("b")), (Some(&1), None));
        assert_eq!(registry.insert(A, 5), Ok(Some(1)));
        assert!(registry.iter().eq([(A, &5)]));
        assert_eq!(
            (registry.remove("a"), registry.remove("a")),
            (Some(5), None)
        );
    }

    #[test]
    fn a_full_registry_gives_the_value_back_and_makes_none() {
        let mut registry = FixedRegistry::<u32, 2>::new();
        assert_eq!(
            (registry.insert(A, 1), registry.insert(B, 2)),
            (Ok(None), Ok(None))
        );
        assert_eq!(registry.insert(C, 3), Err(3));
        let mut made = false;
        let refused = registry.get_or_try_insert_with(C, || {
            made = true;
            Ok::<_, ()>(3)
        });
        assert_eq!(refused, Err(InsertError::Full { capacity: 2 }));
        assert!(!made);
        assert_eq!((registry.len(), registry.insert(B, 4)), (2, Ok(Some(2))));
    }
}
