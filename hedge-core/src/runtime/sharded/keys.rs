//! A table of values by key, in which a lookup takes no lock.

use core::sync::atomic::Ordering;
use std::boxed::Box;
use std::sync::OnceLock;

use super::shards::lock;
use crate::config::HedgeConfig;
use crate::sync::{AtomicUsize, Mutex};

/// A kind of requests of one hedger, such as a route, whose latencies are learned separately. See
/// [`Hedger::key`](crate::runtime::Hedger::key).
///
/// A key is valid only for the hedger that returned it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Key(u16);

impl Key {
    /// No key, for requests that are made without one.
    pub const NONE: Self = Self(u16::MAX);
    /// The key that all further names share when there is no room for more keys.
    pub const OTHER: Self = Self(u16::MAX - 1);
    /// The name of [`OTHER`](Self::OTHER).
    pub const OTHER_NAME: &'static str = "other";
}

/// A table of values by name that only grows, up to a number of names.
///
/// Finding a name takes no lock. Adding one takes a lock.
#[derive(Debug)]
pub(super) struct Keys<T> {
    /// A hash table with open addressing. The number of slots is a power of two, of which at most half are used.
    slots: Box<[OnceLock<Box<Slot<T>>>]>,
    other: OnceLock<Box<T>>,
    capacity: usize,
    used: AtomicUsize,
    /// Locked while a name is added, or while none may be added.
    changes: Mutex<()>,
}

#[derive(Debug)]
struct Slot<T> {
    hash: u64,
    name: Box<str>,
    value: T,
}

impl<T> Keys<T> {
    /// The largest capacity.
    const MAX: usize = HedgeConfig::MAX_KEYS as usize;

    /// Creates a table for up to `capacity` names, at most [`HedgeConfig::MAX_KEYS`].
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(Self::MAX);
        let slots = match capacity {
            0 => 0,
            _ => (2 * capacity).next_power_of_two(),
        };
        Self {
            slots: (0..slots).map(|_| OnceLock::new()).collect(),
            other: OnceLock::new(),
            capacity,
            used: AtomicUsize::new(0),
            changes: Mutex::new(()),
        }
    }

    /// Returns the key of `name`, if it has one already.
    pub(super) fn find(&self, name: &str) -> Option<Key> {
        match self.search(name, hash(name)) {
            Search::Found(key) => Some(key),
            Search::Free(_) if name == Key::OTHER_NAME || self.is_full() => Some(Key::OTHER),
            Search::Free(_) => None,
        }
    }

    /// Returns the key of `name`, and creates its value with `make` if the name is new. `None` if `make` returns none.
    #[cold]
    pub(super) fn add(&self, name: &str, make: impl FnOnce() -> Option<T>) -> Option<Key> {
        let _changes = lock(&self.changes);
        if let Some(key) = self.find(name) {
            return Some(key);
        }
        let hash = hash(name);
        let Search::Free(index) = self.search(name, hash) else {
            return None;
        };
        let slot = Box::new(Slot {
            hash,
            name: name.into(),
            value: make()?,
        });
        // The slot is free: slots are only added under this lock.
        let _ = self.slots.get(index)?.set(slot);
        self.used.fetch_add(1, Ordering::Release);
        Some(Key(index as u16))
    }

    /// Returns the value of `key`; `None` if it has none. The value of [`Key::OTHER`] is created by `make`.
    #[inline]
    pub(super) fn get(&self, key: Key, make: impl FnOnce() -> Option<T>) -> Option<&T> {
        match key {
            Key::NONE => None,
            Key::OTHER => self.other(make),
            Key(index) => Some(&self.slots.get(usize::from(index))?.get()?.value),
        }
    }

    #[cold]
    fn other(&self, make: impl FnOnce() -> Option<T>) -> Option<&T> {
        if let Some(other) = self.other.get() {
            return Some(other);
        }
        let _changes = lock(&self.changes);
        if self.other.get().is_none() {
            let _ = self.other.set(Box::new(make()?));
        }
        self.other.get().map(|other| &**other)
    }

    /// Calls `f` while no name is added.
    pub(super) fn unchanged<V>(&self, f: impl FnOnce() -> V) -> V {
        let _changes = lock(&self.changes);
        f()
    }

    #[cfg(test)]
    pub(super) fn is_held(&self) -> bool {
        self.changes.try_lock().is_err()
    }

    /// Returns every key with its name and value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &str, &T)> {
        let slots = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let slot = slot.get()?;
            Some((Key(index as u16), &*slot.name, &slot.value))
        });
        let other = self.other.get();
        slots.chain(other.map(|other| (Key::OTHER, Key::OTHER_NAME, &**other)))
    }

    fn is_full(&self) -> bool {
        self.used.load(Ordering::Acquire) >= self.capacity
    }

    #[inline]
    fn search(&self, name: &str, hash: u64) -> Search {
        let mask = self.slots.len().wrapping_sub(1);
        let mut index = hash as usize & mask;
        // The loop ends, because at least half of the slots are free.
        while let Some(slot) = self.slots.get(index) {
            match slot.get() {
                None => return Search::Free(index),
                Some(slot) if slot.hash == hash && &*slot.name == name => {
                    return Search::Found(Key(index as u16));
                }
                Some(_) => index = (index + 1) & mask,
            }
        }
        Search::Free(0)
    }
}

enum Search {
    Found(Key),
    /// The name is not in the table, and belongs into this slot.
    Free(usize),
}

/// Hashes a name, eight bytes at a time. The hash decides in which slot a search begins, and which random numbers a key
/// draws.
#[inline]
pub(super) fn hash(name: &str) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(FACTOR);
        product as u64 ^ (product >> 64) as u64
    };
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let seed = FACTOR ^ name.len() as u64;
    let hash = words
        .iter()
        .fold(seed, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let last = rest
        .iter()
        .fold(0, |word, byte| word << 8 | u64::from(*byte));
    mix(mix(hash, last), FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::vec::Vec;

    #[test]
    fn names_beyond_the_capacity_share_one_key() {
        let keys = Keys::new(64);
        let mut made = 0;
        let mut key = |name: &str| {
            let found = keys.find(name);
            found.or_else(|| {
                keys.add(name, || {
                    made += 1;
                    Some(made)
                })
            })
        };
        let names: Vec<_> = (0..10_000).map(|n| format!("GET /items/{n}")).collect();
        let found: Vec<_> = names.iter().map(|name| key(name).unwrap()).collect();
        assert_eq!(key("other"), Some(Key::OTHER));
        // The first names get a key, and keep it.
        for (n, name) in names.iter().enumerate() {
            assert_eq!(key(name), Some(found[n]));
            assert_eq!(found[n] == Key::OTHER, n >= 64, "{n}");
        }
        assert_eq!(made, 64);
        for (n, key) in found.iter().enumerate().take(64) {
            assert_eq!(keys.get(*key, || None), Some(&(n + 1)));
        }
        assert_eq!(keys.iter().count(), 64);
        assert_eq!(keys.get(Key::OTHER, || Some(0)), Some(&0));
        assert_eq!(keys.get(Key::OTHER, || Some(1)), Some(&0));
        assert_eq!(keys.get(Key::NONE, || Some(1)), None);
        assert_eq!(keys.iter().count(), 65);
    }

    #[test]
    fn a_table_without_room_has_one_key() {
        let keys = Keys::<u8>::new(0);
        assert_eq!(keys.find("a"), Some(Key::OTHER));
        assert_eq!(keys.get(Key(3), || Some(1)), None);
    }

    #[test]
    fn a_name_that_is_refused_a_value_has_no_key() {
        let keys = Keys::<u8>::new(4);
        assert_eq!(keys.add("a", || None), None);
        assert_eq!(keys.find("a"), None);
        assert!(keys.add("a", || Some(1)).is_some());
    }

    #[test]
    fn names_are_spread() {
        let mut slots: Vec<_> = (0..64)
            .map(|n| hash(&format!("GET /v1/{n}")) % 128)
            .collect();
        slots.sort_unstable();
        slots.dedup();
        // A random function would use about 50 slots.
        assert!(slots.len() >= 40, "{}", slots.len());
        assert_ne!(hash("a"), hash("\0a"));
        assert_ne!(hash(""), hash("\0"));
    }
}
