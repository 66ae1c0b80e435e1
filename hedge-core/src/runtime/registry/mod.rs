//! One hedger for each of many backends.

use core::fmt;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::vec::Vec;

use super::hedger::Supplied;
use super::{Builder, Hedger, Runtime};
use crate::config::{HedgeConfig, Settings};
use crate::error::ConfigError;
use crate::hedger::{Budget, check_room};
use crate::name::Name;
use crate::replica_id::ReplicaId;
use crate::strategy::{Learned, RestoreError};

#[cfg(test)]
mod tests;

/// A set of hedgers, one for each `strategy_name`, each created from its config on first use. A
/// clone is another handle to the same registry.
///
/// The key of a config without a name is the name of its strategy, such as `percentile`. All
/// configs without a name and with the same strategy share a hedger.
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
/// // Returns the same hedger, reconfigured while it runs.
/// config.percentile = 99.0;
/// registry.hedger(&config)?;
/// for (name, hedger) in registry.list() {
///     println!("{name}: {} requests", hedger.metrics().total_requests);
/// }
/// assert_eq!(registry.len(), 1);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Capacity
///
/// A registry holds [`CAPACITY`](Self::CAPACITY) hedgers by default, and
/// [`with_capacity`](Registry::with_capacity) changes that. A hedger takes about 50 kB on two
/// processors and 180 kB on eight or more. When the registry is full, a new name is an error.
///
/// Hedgers are never evicted, which would silently lose their state, metrics and budget. Names
/// should come from a config rather than from requests; [`remove`](Self::remove) makes room.
#[derive(Clone, Debug)]
pub struct Registry<R, const MAX: usize = 4> {
    shared: Arc<Shared<R, MAX>>,
}

struct Shared<R, const MAX: usize> {
    capacity: usize,
    customize: Option<Customize<R, MAX>>,
    state: RwLock<HedgerState<R, MAX>>,
}

/// The function that customizes each builder before it builds.
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
    /// Restored states of hedgers that have not been used since.
    waiting: BTreeMap<Name, Learned>,
}

#[derive(Debug)]
struct Configured<R, const MAX: usize> {
    config: HedgeConfig,
    /// The parts that `customize` has set, so that the config does not decide them.
    supplied: Supplied,
    /// The replicas that were added for the config, by their indices. A handle may have removed some.
    replicas: Vec<ReplicaId>,
    hedger: Hedger<R, MAX>,
}

impl<R> Registry<R> {
    /// Creates an empty registry.
    pub fn new() -> Self {
        Self::with_capacity(Self::CAPACITY)
    }

    /// Creates a registry with room for `capacity` hedgers. Memory is allocated when a hedger is
    /// first used.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::empty(capacity, None)
    }

    /// Creates a registry that passes each builder to `customize`, with the hedger's name, before
    /// it builds.
    ///
    /// Use it for parts that a config cannot express, such as a sink, a shared budget or a custom
    /// strategy. `customize` must not use the registry. It is called once for each hedger, and what it
    /// sets stays when the config changes.
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

    /// Creates a registry with room for `capacity` hedgers whose requests make up to `N` attempts,
    /// 1 to 8, including the primary.
    pub fn with_attempts<const N: usize>(capacity: usize) -> Registry<R, N> {
        Registry::empty(capacity, None)
    }
}

impl<R, const MAX: usize> Registry<R, MAX> {
    /// The default capacity.
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

    /// Returns the number of hedgers.
    pub fn len(&self) -> usize {
        self.read().hedgers.len()
    }

    /// Returns whether there are no hedgers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the maximum number of hedgers.
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    fn read(&self) -> RwLockReadGuard<'_, HedgerState<R, MAX>> {
        let state = self.shared.state.read();
        // Ignore poisoning: each change is made in one step, so a panic leaves no partial state.
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
    /// Returns the hedger that `config` names, and creates it if there is none.
    ///
    /// An existing hedger with a different config is reconfigured while it runs. What differs from its last config
    /// changes, and nothing else does: an option, a budget or a strategy that was set through a handle or by the
    /// function given to [`customized`](Registry::customized) stays. What was learned is kept if the kind of strategy
    /// stays the same; metrics and hedges in flight are always kept. With an unchanged config, this call costs a
    /// comparison under a shared lock.
    ///
    /// If callers pass different configs, the last one applies to all of them.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::Config`] for an option that is invalid or that cannot change while
    /// a hedger runs (`telemetry_prefix`, `cost_per_attempt`, `max_keys`, `replicas` at an index that a replica added through
    /// a handle has), and [`RegistryError::Full`] for a
    /// new name when there is no room. Nothing is changed in these cases.
    pub fn hedger(&self, config: &HedgeConfig) -> Result<Hedger<R, MAX>, RegistryError> {
        let name = config.strategy_name;
        let name = name.unwrap_or_else(|| Name::truncated(config.strategy.as_str()));
        self.hedger_at(name, name, config)
    }

    /// Returns the hedger under `key`. Outcomes and events report it as `name`.
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
                known.get_mut().apply(config, settings).map_err(refused)?;
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
                let supplied = builder.supplied;
                let hedger = builder.build().map_err(refused)?;
                if let Some(learned) = waiting.remove(&key) {
                    // If the config now has another kind of strategy, the hedger starts without
                    // state.
                    let _ = hedger.restore(&learned);
                }
                vacant.insert(Configured {
                    config: config.clone(),
                    supplied,
                    replicas: (0..config.replicas.len())
                        .filter_map(|index| hedger.replicas().id(index))
                        .collect(),
                    hedger: hedger.clone(),
                });
                Ok(hedger)
            }
        }
    }

    /// Returns the hedger with this name, if there is one.
    pub fn get(&self, name: &str) -> Option<Hedger<R, MAX>> {
        let name = name.parse().ok()?;
        let state = self.read();
        state.hedgers.get(&name).map(|known| known.hedger.clone())
    }

    /// Returns all hedgers with their names, in the order of names.
    pub fn list(&self) -> Vec<(Name, Hedger<R, MAX>)> {
        let state = self.read();
        let hedgers = state.hedgers.iter();
        hedgers
            .map(|(name, known)| (*name, known.hedger.clone()))
            .collect()
    }

    /// Removes the hedger with this name. Existing handles to it keep working. The next use of the
    /// name creates a new hedger without state.
    pub fn remove(&self, name: &str) -> Option<Hedger<R, MAX>> {
        let name = name.parse().ok()?;
        let mut state = self.write();
        state.waiting.remove(&name);
        state.hedgers.remove(&name).map(|known| known.hedger)
    }

    /// Returns what all hedgers have learned, so that it can be restored after a restart.
    ///
    /// This includes restored states whose hedgers have not been used since the last
    /// [`restore`](Self::restore). With the feature `serde` the result can be written to a file.
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
        // Export without holding the lock, since exporting a hedger takes a while.
        let hedgers = self.list().into_iter();
        learned.extend(hedgers.map(|(name, hedger)| (name, hedger.export())));
        learned
    }

    /// Restores what was learned before: existing hedgers immediately, others when they are first
    /// used.
    ///
    /// A state that is invalid or of another kind of strategy is ignored, and that hedger learns
    /// from the start. The names of existing hedgers for which this happens are returned with the
    /// reason.
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
    fn apply(&mut self, config: &HedgeConfig, settings: Settings) -> Result<(), ConfigError> {
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
        let keys = config.max_keys;
        if keys != self.config.max_keys {
            return Err(ConfigError::number("max_keys", keys.into(), expected));
        }
        // Another thread may have changed the config in the meantime.
        if *config != self.config {
            self.reconfigure(config, settings)?;
            self.config = config.clone();
        }
        Ok(())
    }

    /// Applies the options that differ between the previous config and `config`, whose settings are `after`, except for
    /// the parts that `customize` has set.
    fn reconfigure(
        &mut self,
        config: &HedgeConfig,
        mut after: Settings,
    ) -> Result<(), ConfigError> {
        let before = self.config.validate()?;
        let Self {
            hedger,
            supplied,
            replicas,
            ..
        } = self;
        if supplied.max_hedges {
            after.options.max_hedges = before.options.max_hedges;
        }
        if supplied.timeout {
            after.options.timeout = before.options.timeout;
        }
        if supplied.attempt_timeout {
            after.options.attempt_timeout = before.options.attempt_timeout;
        }
        if supplied.holdback_percent {
            after.options.holdback_percent = before.options.holdback_percent;
        }
        if supplied.max_pushback {
            after.options.max_pushback = before.options.max_pushback;
        }
        if supplied.observe_only {
            after.options.observe_only = before.options.observe_only;
        }
        if supplied.guard {
            after.options.guard = before.options.guard;
        }
        let mut options = hedger.options();
        if !supplied.options {
            options.take_changes(&before.options, &after.options);
        }
        // Validate before anything is changed.
        options.validate()?;
        check_room(options.max_hedges, MAX)?;
        let budget = (!supplied.budget && before.budget != after.budget).then(|| {
            let changed = |budget: &mut Budget| budget.with_changes(&before.budget, &after.budget);
            hedger.budget().edit(changed)
        });
        if let Some(budget) = &budget {
            budget.validate(options.max_hedges)?;
        }
        // First, since an index may be taken; the rest cannot fail.
        hedger.change_replicas(replicas, &before.replicas, &after.replicas)?;
        hedger.set_options(options)?;
        if let Some(budget) = budget {
            hedger.set_budget(budget)?;
        }
        if !supplied.strategy && !config.has_same_strategy(&self.config) {
            hedger.exchange_strategy(after.strategy)?;
        }
        Ok(())
    }
}

/// The error of a [`Registry`] that cannot return a hedger.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RegistryError {
    /// An option is invalid.
    Config {
        /// The name of the hedger.
        name: Name,
        /// The option, its value and what is valid.
        error: Box<ConfigError>,
    },
    /// There is no room for another hedger.
    Full {
        /// The name of the hedger.
        name: Name,
        /// The number of hedgers, which equals the capacity.
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
