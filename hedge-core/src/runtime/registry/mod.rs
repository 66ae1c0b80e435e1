//! One hedger for each of many backends.

use core::fmt;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::vec::Vec;

use super::{Builder, Hedger, Runtime};
use crate::config::{HedgeConfig, Settings};
use crate::error::ConfigError;
use crate::name::Name;
use crate::strategy::{Learned, RestoreError};

#[cfg(test)]
mod tests;

/// One hedger for each `strategy_name`, made from its config on first use and shared from then on: a
/// clone is another handle to the same registry.
///
/// A config without a name goes by that of its strategy, such as `percentile`, and shares a hedger with
/// all others that do.
///
/// ```
/// # use core::future::{Pending, pending};
/// # use hedge_core::{Instant, Timer};
/// # #[derive(Clone, Default)]
/// # struct MyTimer;
/// # impl Timer for MyTimer {
/// #     type Sleep = Pending<()>;
/// #     fn now(&self) -> Instant { Instant::ZERO }
/// #     fn sleep_until(&self, _: Instant) -> Pending<()> { pending() }
/// # }
/// # impl hedge_core::runtime::Runtime for MyTimer {
/// #     type Instant = Instant;
/// #     fn instant(&self, instant: Instant) -> Instant { instant }
/// # }
/// use hedge_core::HedgeConfig;
/// use hedge_core::runtime::Registry;
///
/// let registry = Registry::<MyTimer>::new();
/// let mut config = HedgeConfig { strategy_name: Some("search".parse()?), ..HedgeConfig::default() };
/// registry.hedger(&config)?;
///
/// // The same hedger, reconfigured while it works.
/// config.percentile = 99.0;
/// registry.hedger(&config)?;
/// for (name, hedger) in registry.list() {
///     println!("{name}: {} requests", hedger.metrics().total_requests);
/// }
/// assert_eq!(registry.len(), 1);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Room
///
/// It holds [`CAPACITY`](Self::CAPACITY) hedgers unless [told otherwise](Registry::with_capacity), at some
/// 40 kB each on two processors and 130 kB on eight or more. When it is full, a new name is an error. No
/// hedger is ever evicted: that would lose its state, its metrics and its budget without a word, and the
/// backend would be hedged as if nothing were known of it. Names should come from a config, not from requests; [`remove`](Self::remove) makes room.
#[derive(Clone, Debug)]
pub struct Registry<R, const MAX: usize = 4> {
    shared: Arc<Shared<R, MAX>>,
}

struct Shared<R, const MAX: usize> {
    capacity: usize,
    customize: Option<Customize<R, MAX>>,
    state: RwLock<HedgerState<R, MAX>>,
}

/// What is done to each builder before it builds.
type Customize<R, const MAX: usize> =
    Box<dyn Fn(Name, Builder<R, MAX>) -> Builder<R, MAX> + Send + Sync>;

impl<R, const MAX: usize> fmt::Debug for Shared<R, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct HedgerState<R, const MAX: usize> {
    hedgers: BTreeMap<Name, Configured<R, MAX>>,
    /// What was restored, of hedgers that have not been used since.
    waiting: BTreeMap<Name, Learned>,
}

#[derive(Debug)]
struct Configured<R, const MAX: usize> {
    config: HedgeConfig,
    hedger: Hedger<R, MAX>,
}

impl<R> Registry<R> {
    /// A registry that is empty.
    pub fn new() -> Self {
        Self::with_capacity(Self::CAPACITY)
    }

    /// A registry with room for `capacity` hedgers. None is made, and no memory taken, before its use.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::empty(capacity, None)
    }

    /// A registry that hands each builder to `customize` before it builds, with the hedger's name: for what no config
    /// can say, such as a sink, a shared budget or a strategy of your own. It must not use the registry. Options and
    /// budget follow the config when that changes.
    ///
    /// ```
    /// # use core::future::{Pending, pending};
    /// # use hedge_core::{Instant, Timer};
    /// # #[derive(Clone, Default)]
    /// # struct MyTimer;
    /// # impl Timer for MyTimer {
    /// #     type Sleep = Pending<()>;
    /// #     fn now(&self) -> Instant { Instant::ZERO }
    /// #     fn sleep_until(&self, _: Instant) -> Pending<()> { pending() }
    /// # }
    /// # impl hedge_core::runtime::Runtime for MyTimer {
    /// #     type Instant = Instant;
    /// #     fn instant(&self, instant: Instant) -> Instant { instant }
    /// # }
    /// use hedge_core::runtime::Registry;
    /// use hedge_core::{Event, HedgeConfig};
    ///
    /// let registry = Registry::<MyTimer>::customized(|name, builder| {
    ///     builder.sink(move |event: &Event| println!("{name}: {}", event.kind))
    /// });
    /// registry.hedger(&HedgeConfig::default())?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn customized(
        customize: impl Fn(Name, Builder<R>) -> Builder<R> + Send + Sync + 'static,
    ) -> Self {
        Self::empty(Self::CAPACITY, Some(Box::new(customize)))
    }

    /// A registry with room for `capacity` hedgers whose requests make up to `N` attempts, 1 to 8; the primary is one of
    /// them.
    pub fn with_attempts<const N: usize>(capacity: usize) -> Registry<R, N> {
        Registry::empty(capacity, None)
    }
}

impl<R, const MAX: usize> Registry<R, MAX> {
    /// How many hedgers it holds unless told otherwise.
    pub const CAPACITY: usize = 1024;

    fn empty(capacity: usize, customize: Option<Customize<R, MAX>>) -> Self {
        let state = RwLock::new(HedgerState {
            hedgers: BTreeMap::new(),
            waiting: BTreeMap::new(),
        });
        Self {
            shared: Arc::new(Shared {
                capacity,
                customize,
                state,
            }),
        }
    }

    /// How many hedgers there are.
    pub fn len(&self) -> usize {
        self.read().hedgers.len()
    }

    /// Whether there is no hedger.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many hedgers there is room for.
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    fn read(&self) -> RwLockReadGuard<'_, HedgerState<R, MAX>> {
        let state = self.shared.state.read();
        // Changes are made in one step: there is no half-way for a panic to leave behind.
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HedgerState<R, MAX>> {
        let state = self.shared.state.write();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R, const MAX: usize> Default for Registry<R, MAX> {
    fn default() -> Self {
        Self::empty(Self::CAPACITY, None)
    }
}

impl<R: Runtime, const MAX: usize> Registry<R, MAX> {
    /// The hedger that `config` names, made if there is none.
    ///
    /// A hedger with another config takes this one on while it works: options, budget and strategy. What
    /// was learned stays where the kind of strategy does, and so do metrics and hedges in flight in any
    /// case. With the same config it costs a comparison under a shared lock.
    ///
    /// Where callers disagree, the last one counts, for all of them.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Config`] for an option that cannot be right, or that cannot change while a
    /// hedger works (`telemetry_prefix`, `cost_per_attempt`); [`RegistryError::Full`] for a new name when
    /// there is no room. Nothing is changed then.
    pub fn hedger(&self, config: &HedgeConfig) -> Result<Hedger<R, MAX>, RegistryError> {
        let name = config.strategy_name;
        let name = name.unwrap_or_else(|| Name::truncated(config.strategy.as_str()));
        self.hedger_at(name, name, config)
    }

    /// The same under `key`; outcomes and events call the hedger `name`.
    pub(crate) fn hedger_at(
        &self,
        key: Name,
        name: Name,
        config: &HedgeConfig,
    ) -> Result<Hedger<R, MAX>, RegistryError> {
        if let Some(known) = self.read().hedgers.get(&key)
            && known.config == *config
        {
            return Ok(known.hedger.clone());
        }
        let refused = |error| RegistryError::Config {
            name: key,
            error: Box::new(error),
        };
        let settings = config.validate().map_err(refused)?;

        let mut state = self.write();
        let HedgerState { hedgers, waiting } = &mut *state;
        let len = hedgers.len();
        match hedgers.entry(key) {
            Entry::Occupied(mut known) => {
                known.get_mut().take_on(config, settings).map_err(refused)?;
                Ok(known.get().hedger.clone())
            }
            Entry::Vacant(_) if len >= self.shared.capacity => Err(RegistryError::Full {
                name: key,
                capacity: self.shared.capacity,
            }),
            Entry::Vacant(vacant) => {
                let builder = Builder::from_settings(settings)
                    .strategy_name(name.as_str())
                    .attempts();
                let builder = match &self.shared.customize {
                    Some(customize) => customize(name, builder),
                    None => builder,
                };
                let hedger = builder.build().map_err(refused)?;
                if let Some(learned) = waiting.remove(&key) {
                    // The config may name another strategy than that of then, which starts afresh.
                    let _ = hedger.restore(&learned);
                }
                vacant.insert(Configured {
                    config: config.clone(),
                    hedger: hedger.clone(),
                });
                Ok(hedger)
            }
        }
    }

    /// The hedger of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<Hedger<R, MAX>> {
        let name = name.parse().ok()?;
        let state = self.read();
        state.hedgers.get(&name).map(|known| known.hedger.clone())
    }

    /// Every hedger under its name, in the order of names.
    pub fn list(&self) -> Vec<(Name, Hedger<R, MAX>)> {
        let state = self.read();
        let hedgers = state.hedgers.iter();
        hedgers
            .map(|(name, known)| (*name, known.hedger.clone()))
            .collect()
    }

    /// Takes the hedger of this name out. Handles to it work on; the next use of the name makes another,
    /// which knows nothing.
    pub fn remove(&self, name: &str) -> Option<Hedger<R, MAX>> {
        let name = name.parse().ok()?;
        let mut state = self.write();
        state.waiting.remove(&name);
        state.hedgers.remove(&name).map(|known| known.hedger)
    }

    /// What all hedgers have learned, to be kept over a restart; that of hedgers which have not been used
    /// since the last [`restore`](Self::restore) included. With feature `serde` it can be written to a file.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # use core::future::{Pending, pending};
    /// # use hedge_core::{HedgeConfig, Instant, Timer};
    /// # #[derive(Clone, Default)]
    /// # struct MyTimer;
    /// # impl Timer for MyTimer {
    /// #     type Sleep = Pending<()>;
    /// #     fn now(&self) -> Instant { Instant::ZERO }
    /// #     fn sleep_until(&self, _: Instant) -> Pending<()> { pending() }
    /// # }
    /// # impl hedge_core::runtime::Runtime for MyTimer {
    /// #     type Instant = Instant;
    /// #     fn instant(&self, instant: Instant) -> Instant { instant }
    /// # }
    /// use hedge_core::runtime::Registry;
    ///
    /// let registry = Registry::<MyTimer>::new();
    /// registry.hedger(&HedgeConfig::default())?;
    /// let file = serde_json::to_string(&registry.export())?;
    ///
    /// let restarted = Registry::<MyTimer>::new();
    /// let refused = restarted.restore(serde_json::from_str(&file)?);
    /// assert!(refused.is_empty());
    /// # }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn export(&self) -> BTreeMap<Name, Learned> {
        let mut learned = self.read().waiting.clone();
        // Without the lock: to export a hedger takes a while.
        let hedgers = self.list().into_iter();
        learned.extend(hedgers.map(|(name, hedger)| (name, hedger.export())));
        learned
    }

    /// Goes on with what was learned before: hedgers that exist at once, others when they are first used.
    ///
    /// What cannot be right, or is of another kind of strategy, is left out: that hedger learns anew.
    /// Those that exist and were given such are returned, each with what was wrong.
    pub fn restore(&self, states: BTreeMap<Name, Learned>) -> Vec<(Name, RestoreError)> {
        let mut state = self.write();
        let HedgerState { hedgers, waiting } = &mut *state;
        let mut refused = Vec::new();
        for (name, learned) in states {
            match hedgers
                .get(&name)
                .map(|known| known.hedger.restore(&learned))
            {
                Some(Ok(())) => {}
                Some(Err(error)) => refused.push((name, error)),
                None => drop(waiting.insert(name, learned)),
            }
        }
        refused
    }
}

impl<R: Runtime, const MAX: usize> Configured<R, MAX> {
    fn take_on(&mut self, config: &HedgeConfig, settings: Settings) -> Result<(), ConfigError> {
        let expected = "what it was when the hedger was made, or the hedger removed first";
        let prefix = config.telemetry_prefix;
        if prefix != self.config.telemetry_prefix {
            let option = "telemetry_prefix";
            return Err(ConfigError::text(option, prefix.as_str(), expected));
        }
        let cost = config.cost_per_attempt;
        if cost != self.config.cost_per_attempt {
            return Err(ConfigError::number("cost_per_attempt", cost, expected));
        }
        // Another thread may have been faster.
        if *config != self.config {
            self.hedger.reconfigure(settings)?;
            self.config = config.clone();
        }
        Ok(())
    }
}

/// Why a [`Registry`] has no hedger to give.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RegistryError {
    /// An option cannot be right.
    Config {
        /// The hedger's name.
        name: Name,
        /// Which option, its value and what would be right.
        error: Box<ConfigError>,
    },
    /// There is no room for another hedger.
    Full {
        /// The name of the hedger.
        name: Name,
        /// How many hedgers there are, which is how many there is room for.
        capacity: usize,
    },
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { name, error } => write!(f, "hedger `{name}`: {error}"),
            Self::Full { name, capacity } => write!(
                f,
                "no room for hedger `{name}`: the registry holds {capacity}, and evicts none"
            ),
        }
    }
}

impl core::error::Error for RegistryError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Config { error, .. } => Some(&**error),
            Self::Full { .. } => None,
        }
    }
}
