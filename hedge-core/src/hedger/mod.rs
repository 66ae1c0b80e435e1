//! What a program holds for each backend it calls.

use core::cell::RefCell;

use crate::error::ConfigError;
use crate::metrics::{Metrics, MetricsSnapshot};
use crate::name::Name;
use crate::strategy::{Percentile, Strategy};
use crate::telemetry::{NoSink, Sink};
use crate::time::Timer;

mod bucket;
mod budget;
mod builder;
mod ewma;
mod guard;
mod in_flight;
mod options;
mod plan;
mod policy;
mod probe;
mod registry;
mod retry_guard;
mod state;
mod traffic;

pub use budget::{Budget, BudgetHandle, Payment};
pub use builder::Builder;
pub(crate) use builder::{check_cost, telemetry_prefix};
pub(crate) use in_flight::InFlight;
pub(crate) use options::Labels;
pub use options::Options;
pub(crate) use plan::Losers;
pub use plan::{HedgerFlags, RequestPlan};
pub use policy::{HedgeQuery, Policy, Refusal};
pub use registry::{FixedRegistry, InsertError};
pub use state::{HedgerState, SharedState};
pub use traffic::Traffic;

/// What the requests of one hedger share.
#[derive(Debug)]
pub(crate) struct HedgerParts<L, B, K> {
    pub(crate) state: L,
    pub(crate) budget: B,
    pub(crate) sink: K,
    pub(crate) labels: Labels,
    pub(crate) cost_per_attempt: f64,
}

/// Hedges the requests to one backend.
///
/// It is used through a shared reference, by any number of requests at once. Its parts are generic so
/// that it fits a server and a microcontroller alike: the timer `T`, the [`SharedState`] `L`
/// that keeps what requests share, the budget `B`, the event sink `K`, and `MAX`, how many attempts a
/// request has room for. The runtime crates name the usual choices.
#[derive(Debug)]
pub struct Hedger<T, L, B, K = NoSink, const MAX: usize = 2> {
    timer: T,
    parts: HedgerParts<L, B, K>,
}

/// A hedger for one thread: a single-threaded executor, a test or a simulation.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::{Budget, Hedger, Percentile, Timer};
///
/// let clock = ManualTimer::<8>::new();
/// let hedger = Hedger::builder(&clock)
///     .strategy(Percentile::new(95.0))
///     .budget(Budget::percent(10.0))
///     .build_local()?;
/// let hedged = clock.drive(hedger.request(|attempt| {
///     let latency = if attempt.is_hedge() { 5 } else { 900 };
///     let sleep = (&clock).sleep_until(clock.now() + Duration::from_millis(latency));
///     async move {
///         sleep.await;
///         Ok::<_, ()>(attempt.index())
///     }
/// })).unwrap();
/// assert_eq!(hedged.value, 1);
/// assert_eq!(hedged.outcome.total_latency, Duration::from_millis(105));
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
pub type LocalHedger<T, S, M = Metrics, K = NoSink, const MAX: usize = 2> =
    Hedger<T, RefCell<HedgerState<S, M>>, RefCell<Budget>, K, MAX>;

impl<T> Hedger<T, (), ()> {
    /// Starts to build a hedger.
    pub const fn builder(timer: T) -> Builder<T, Percentile, Metrics, NoSink, 2> {
        Builder::new(timer)
    }
}

impl<T, L, B, K, const MAX: usize> Hedger<T, L, B, K, MAX> {
    /// A hedger of parts, in a `const` if need be. Nothing is checked, and what cannot be right is clamped;
    /// [`validate`](Self::validate) says what that was.
    pub const fn from_parts(timer: T, state: L, budget: B, sink: K) -> Self {
        Self::assemble(timer, state, budget, sink, Labels::DEFAULT, 1.0)
    }

    pub(crate) const fn assemble(
        timer: T,
        state: L,
        budget: B,
        sink: K,
        labels: Labels,
        cost_per_attempt: f64,
    ) -> Self {
        const {
            assert!(
                1 <= MAX && MAX <= 8,
                "a request has room for 1 to 8 attempts"
            )
        };
        Self {
            timer,
            parts: HedgerParts {
                state,
                budget,
                sink,
                labels,
                cost_per_attempt,
            },
        }
    }

    /// The same hedger under a name of its own.
    #[must_use]
    pub const fn named(mut self, strategy_name: Name) -> Self {
        self.parts.labels.strategy_name = strategy_name;
        self
    }

    /// The hedger's `strategy_name`; empty if it has none.
    pub const fn strategy_name(&self) -> Name {
        self.parts.labels.strategy_name
    }

    /// What the names of its events begin with.
    pub const fn telemetry_prefix(&self) -> Name {
        self.parts.labels.telemetry_prefix
    }

    /// The clock that requests are timed by.
    pub const fn timer(&self) -> &T {
        &self.timer
    }

    /// What requests may spend.
    pub const fn budget(&self) -> &B {
        &self.parts.budget
    }

    pub(crate) const fn parts(&self) -> &HedgerParts<L, B, K> {
        &self.parts
    }

    /// Who hears of events.
    pub const fn sink(&self) -> &K {
        &self.parts.sink
    }
}

impl<T: Timer, L: SharedState, B: BudgetHandle, K, const MAX: usize> Hedger<T, L, B, K, MAX> {
    /// Whether its parts can be right. A builder has asked; whoever assembled them in a `const` has not.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let HedgerParts {
            state,
            budget,
            cost_per_attempt,
            ..
        } = &self.parts;
        let options = state.edit(self.timer.now(), |policy| {
            policy.strategy.validate()?;
            let options = policy.options();
            options.validate().map(|()| options)
        })?;
        check_room(options.max_hedges, MAX)?;
        budget.edit(|budget| budget.validate(options.max_hedges))?;
        check_cost(*cost_per_attempt)
    }
}

impl<T, L, B, K, const MAX: usize> Hedger<T, L, B, K, MAX>
where
    T: Timer + Clone,
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
{
    /// What was counted, every request that has ended included.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.parts.state.metrics(self.timer.now())
    }

    /// Starts counting anew.
    pub fn reset_metrics(&self) {
        self.parts.state.reset_metrics(self.timer.now());
    }

    /// Access to the strategy, as for its `stats()`. No request is planned or recorded meanwhile: `f`
    /// must be short, and must not use the hedger.
    pub fn with_strategy<R>(&self, f: impl FnOnce(&mut L::Strategy) -> R) -> R {
        self.parts
            .state
            .edit(self.timer.now(), |policy| f(&mut policy.strategy))
    }

    /// Changes the strategy of the working hedger. What the old one had learned is lost.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right; nothing is changed then.
    pub fn set_strategy(&self, strategy: L::Strategy) -> Result<(), ConfigError> {
        strategy.validate()?;
        self.parts
            .state
            .edit(self.timer.now(), |policy| policy.set_strategy(strategy));
        Ok(())
    }

    /// Forgets what was learned. Options, metrics and budget stay.
    pub fn reset(&self) {
        self.parts
            .state
            .edit(self.timer.now(), |policy| policy.reset());
    }

    /// What was learned, to be kept over a restart. Neither the guard's opinion, which takes 24 hedges
    /// to come back, nor the metrics are part of it.
    ///
    /// Without an allocator, [`with_strategy`](Self::with_strategy) gets at
    /// [`Strategy::export`](crate::Strategy::export).
    #[cfg(feature = "alloc")]
    pub fn export(&self) -> crate::strategy::Learned {
        let now = self.timer.now();
        self.with_strategy(|strategy| crate::strategy::Learned::of(strategy, now))
    }

    /// Goes on with what was learned before, in place of what has been learned since.
    ///
    /// # Errors
    ///
    /// If it is of another kind of strategy, or if something in it cannot be right; nothing is changed
    /// then.
    #[cfg(feature = "alloc")]
    pub fn restore(
        &self,
        learned: &crate::strategy::Learned,
    ) -> Result<(), crate::strategy::RestoreError> {
        let now = self.timer.now();
        self.with_strategy(|strategy| learned.restore(strategy, now))
    }

    /// The options in force.
    pub fn options(&self) -> Options {
        self.parts
            .state
            .edit(self.timer.now(), |policy| policy.options())
    }

    /// Changes options of the working hedger, for requests that are made from now on. The budget is not asked: where
    /// fewer hedges are allowed than its share would pay for, the rest is not spent.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right; nothing is changed then.
    pub fn set_options(&self, options: Options) -> Result<(), ConfigError> {
        check_room(options.max_hedges, MAX)?;
        self.parts
            .state
            .edit(self.timer.now(), |policy| policy.set_options(options))
    }

    /// Changes the budget's options. Hedges in flight stay counted.
    ///
    /// # Errors
    ///
    /// Names the first option that cannot be right; nothing is changed then.
    pub fn set_budget(&self, budget: Budget) -> Result<(), ConfigError> {
        budget.validate(self.options().max_hedges)?;
        self.parts.budget.edit(|old| old.reconfigure(budget));
        Ok(())
    }

    /// How many hedges are running, in all that share the budget.
    pub fn in_flight(&self) -> u32 {
        self.parts.budget.edit(|budget| budget.in_flight())
    }
}

/// `max_hedges` hedges and a primary need room.
pub(crate) fn check_room(max_hedges: u8, max_attempts: usize) -> Result<(), ConfigError> {
    // A hedger of one attempt never hedges, whatever the options say.
    if max_attempts == 1 {
        return Ok(());
    }
    let room = max_attempts.saturating_sub(1) as f64;
    let why = "the number of hedges that the hedger's type has room for";
    ConfigError::check_at_most("max_hedges", max_hedges.into(), room, why)
}
