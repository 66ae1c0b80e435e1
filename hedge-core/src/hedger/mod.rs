//! The hedger, and the state that its requests share.

use core::cell::RefCell;

use crate::error::ConfigError;
use crate::metrics::{HedgerStatus, Metrics, MetricsSnapshot};
use crate::name::Name;
use crate::strategy::{Percentile, Strategy};
use crate::telemetry::{Emitter, Event, EventKind, NoSink, Sink};
use crate::time::Timer;

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

pub use budget::{Budget, BudgetHandle, Claim, Payment};
pub use builder::Builder;
pub(crate) use builder::{check_cost, telemetry_prefix};
#[cfg(feature = "std")]
pub(crate) use in_flight::HasBudget;
pub(crate) use in_flight::InFlight;
pub use options::Options;
pub(crate) use options::{Labels, PolicyOptions};
pub(crate) use plan::Losers;
pub use plan::{HedgerFlags, RequestPlan};
pub use policy::{Admitted, HedgeQuery, Policy, Refusal};
pub use registry::{FixedRegistry, InsertError};
pub use state::{HedgerState, SharedState};
pub use traffic::Traffic;

/// The parts of a hedger that its requests share.
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
/// A hedger is used through a shared reference, by any number of requests at once. Its parts are
/// generic, to fit servers as well as microcontrollers: the timer `T`, the [`SharedState`] `L`, the
/// budget `B`, the event sink `K`, and `MAX`, the number of attempts for which a request has room.
/// The runtime crates provide aliases with the usual types.
#[derive(Debug)]
pub struct Hedger<T, L, B, K = NoSink, const MAX: usize = 2> {
    timer: T,
    parts: HedgerParts<L, B, K>,
}

/// A hedger for one thread, as in a single-threaded executor, a test or a simulation.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::{Budget, Hedger, Percentile, Timer};
///
/// let clock = ManualTimer::<8>::new();
/// let hedger = Hedger::builder(&clock)
///     .strategy(Percentile::new(95.0).initial_delay(Duration::from_millis(100)))
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
    /// Returns a builder for a hedger.
    pub const fn builder(timer: T) -> Builder<T, Percentile, Metrics, NoSink, 2> {
        Builder::new(timer)
    }
}

impl<T, L, B, K, const MAX: usize> Hedger<T, L, B, K, MAX> {
    /// Creates a hedger from its parts, also in a `const`. Nothing is validated, and invalid values
    /// are clamped; [`validate`](Self::validate) returns an error for them.
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

    /// Sets the name of the hedger.
    #[must_use]
    pub const fn named(mut self, strategy_name: Name) -> Self {
        self.parts.labels.strategy_name = strategy_name;
        self
    }

    /// Returns the hedger's `strategy_name`; empty if it has none.
    pub const fn strategy_name(&self) -> Name {
        self.parts.labels.strategy_name
    }

    /// Returns the prefix of the names of events.
    pub const fn telemetry_prefix(&self) -> Name {
        self.parts.labels.telemetry_prefix
    }

    /// Returns the timer.
    pub const fn timer(&self) -> &T {
        &self.timer
    }

    /// Returns the budget.
    pub const fn budget(&self) -> &B {
        &self.parts.budget
    }

    pub(crate) const fn parts(&self) -> &HedgerParts<L, B, K> {
        &self.parts
    }

    /// Returns the sink.
    pub const fn sink(&self) -> &K {
        &self.parts.sink
    }
}

impl<T: Timer, L: SharedState, B: BudgetHandle, K, const MAX: usize> Hedger<T, L, B, K, MAX> {
    /// Validates the parts of the hedger. A builder has already done so; use this for a hedger that
    /// was created in a `const`.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option.
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
    /// Returns the metrics of all requests that have ended.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.parts.state.metrics(self.timer.now())
    }

    /// Emits an event that belongs to no request, such as [`EventKind::ReplicaRefused`]: its number is 0.
    pub fn emit(&self, kind: EventKind) {
        let HedgerParts { sink, labels, .. } = &self.parts;
        let mut emitter = Emitter::new();
        if emitter.is_heard(sink) {
            let event = Event {
                request: 0,
                at: self.timer.now(),
                strategy_name: labels.strategy_name,
                key: Name::EMPTY,
                kind,
            };
            emitter.emit(sink, &labels.telemetry_prefix, &event);
        }
    }

    /// Returns the state of the guard and of the budget.
    pub fn status(&self) -> HedgerStatus {
        let (strategy, (guard_level, is_slow)) =
            self.parts.state.edit(self.timer.now(), |policy| {
                (policy.strategy.kind(), policy.guard_state())
            });
        let (tokens, capacity, in_flight) = self.parts.budget.edit(|budget| {
            (
                budget.tokens(),
                budget.capacity_tokens(),
                budget.in_flight(),
            )
        });
        HedgerStatus {
            strategy,
            strategy_name: self.strategy_name(),
            guard_level,
            is_slow,
            tokens,
            capacity,
            in_flight,
        }
    }

    /// Resets all metrics.
    pub fn reset_metrics(&self) {
        self.parts.state.reset_metrics(self.timer.now());
    }

    /// Calls `f` with the strategy, for example to read its `stats()`. No request is planned or
    /// recorded meanwhile: `f` must be short, and must not use the hedger.
    pub fn with_strategy<R>(&self, f: impl FnOnce(&mut L::Strategy) -> R) -> R {
        self.parts
            .state
            .edit(self.timer.now(), |policy| f(&mut policy.strategy))
    }

    /// Replaces the strategy of the running hedger. What the old strategy had learned is lost.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub fn set_strategy(&self, strategy: L::Strategy) -> Result<(), ConfigError> {
        strategy.validate()?;
        self.parts
            .state
            .edit(self.timer.now(), |policy| policy.set_strategy(strategy));
        Ok(())
    }

    /// Resets what the strategy and the guard have learned. Options, metrics and budget stay.
    pub fn reset(&self) {
        self.parts
            .state
            .edit(self.timer.now(), |policy| policy.reset());
    }

    /// Returns what the hedger has learned, so that it can be restored after a restart.
    ///
    /// The state of the guard, which takes 24 hedges to recover, and the metrics are not included.
    ///
    /// Without an allocator, use [`with_strategy`](Self::with_strategy) to call
    /// [`Strategy::export`](crate::Strategy::export).
    #[cfg(feature = "alloc")]
    pub fn export(&self) -> crate::strategy::Learned {
        let now = self.timer.now();
        self.with_strategy(|strategy| crate::strategy::Learned::of(strategy, now))
    }

    /// Restores what was learned before, and replaces what has been learned since.
    ///
    /// # Errors
    ///
    /// Returns an error if `learned` is of another kind of strategy or contains an invalid value.
    /// Nothing is changed in this case.
    #[cfg(feature = "alloc")]
    pub fn restore(
        &self,
        learned: &crate::strategy::Learned,
    ) -> Result<(), crate::strategy::RestoreError> {
        let now = self.timer.now();
        self.with_strategy(|strategy| learned.restore(strategy, now))
    }

    /// Returns the current options.
    pub fn options(&self) -> Options {
        self.parts
            .state
            .edit(self.timer.now(), |policy| policy.options())
    }

    /// Changes the options of the running hedger, for requests that are made from now on.
    ///
    /// The options are not checked against the budget: if they allow fewer hedges than the budget
    /// pays for, the remainder is not spent.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub fn set_options(&self, options: Options) -> Result<(), ConfigError> {
        check_room(options.max_hedges, MAX)?;
        self.parts
            .state
            .edit(self.timer.now(), |policy| policy.set_options(options))
    }

    /// Changes the options of the budget. Hedges in flight stay counted.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option. Nothing is changed in this case.
    pub fn set_budget(&self, budget: Budget) -> Result<(), ConfigError> {
        budget.validate(self.options().max_hedges)?;
        self.parts.budget.edit(|old| old.reconfigure(budget));
        Ok(())
    }

    /// Returns the number of running hedges, over all hedgers that share the budget.
    pub fn in_flight(&self) -> u32 {
        self.parts.budget.edit(|budget| budget.in_flight())
    }
}

/// Checks that there is room for a primary and `max_hedges` hedges.
pub(crate) fn check_room(max_hedges: u8, max_attempts: usize) -> Result<(), ConfigError> {
    // A hedger with one attempt never hedges, so `max_hedges` does not matter.
    if max_attempts == 1 {
        return Ok(());
    }
    let room = max_attempts.saturating_sub(1) as f64;
    let why = "the number of hedges that the hedger's type has room for";
    ConfigError::check_at_most("max_hedges", max_hedges.into(), room, why)
}
