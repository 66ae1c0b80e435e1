//! The state that the requests of one hedger share.

use crate::hedger::{Admitted, HedgeQuery, HedgerFlags, Policy, Refusal, RequestPlan};
use crate::lock::Lock;
use crate::metrics::{MetricsSnapshot, Recorder};
use crate::name::Name;
use crate::record::{Group, Record};
use crate::strategy::{Hints, Strategy};
use crate::time::Instant;

/// The policy and the metrics that requests share.
///
/// Implemented by any [`Lock`] around a [`HedgerState`]. Servers use `Sharded`, in which requests that do not hedge run
/// without contention. A request calls [`request_plan`](Self::request_plan) at most once and [`record`](Self::record)
/// at most once. No call waits for another request.
pub trait SharedState {
    /// The type of the strategy.
    type Strategy: Strategy;
    /// The type of the metrics.
    type Metrics: Recorder;

    /// Returns flags that are known without calling the strategy.
    fn flags(&self) -> HedgerFlags;

    /// Returns how many nanoseconds the first attempt of a request may take by the hedger's options.
    /// The largest number means no limit.
    fn limit(&self) -> u64;

    /// Returns the longest pushback that a request waits for by the hedger's options, in nanoseconds. The largest number
    /// means no limit.
    fn max_pushback(&self) -> u64;

    /// Returns the plan of a request that has to wait.
    fn request_plan(&self, hints: &Hints, now: Instant) -> RequestPlan;

    /// Returns whether the strategy and the guard allow a hedge.
    ///
    /// # Errors
    ///
    /// Returns why not, and whether the hedge may be asked for again.
    fn may_hedge(&self, query: &HedgeQuery) -> Result<Admitted, Refusal>;

    /// Takes back a probe that [`may_hedge`](Self::may_hedge) granted to a hedge that did not start.
    fn give_back_probe(&self, retry: bool);

    /// Draws whether a hedge that everything else allowed starts or is withheld; `None` if there is no control group,
    /// so that it starts.
    fn draw_group(&self) -> Option<Group>;

    /// Records a request that has ended in the metrics and the policy.
    fn record(&self, record: &Record);

    /// Counts a request that has ended, and does not learn from it.
    fn count(&self, record: &Record);

    /// Returns a number that no other request of this state has.
    fn next_id(&self) -> u64;

    /// Calls `f` with exclusive access to the policy, after all requests that have ended were
    /// recorded.
    fn edit<R>(&self, now: Instant, f: impl FnOnce(&mut Policy<Self::Strategy>) -> R) -> R;

    /// Returns the name of the key whose requests share this state; empty if they have none.
    fn key(&self) -> Name {
        Name::EMPTY
    }

    /// Returns the metrics of all requests that have ended.
    fn metrics(&self, now: Instant) -> MetricsSnapshot;

    /// Resets all metrics.
    fn reset_metrics(&self, now: Instant);
}

/// A [`Policy`] and its metrics, to be put into a [`Lock`].
#[derive(Clone, Debug)]
pub struct HedgerState<S, M> {
    policy: Policy<S>,
    metrics: M,
    requests: u64,
}

impl<S, M> HedgerState<S, M> {
    /// Creates a state.
    pub const fn new(policy: Policy<S>, metrics: M) -> Self {
        Self {
            policy,
            metrics,
            requests: 0,
        }
    }

    #[cfg(feature = "std")]
    pub(crate) fn into_policy(self) -> Policy<S> {
        self.policy
    }
}

impl<S: Strategy, M: Recorder, L: Lock<Data = HedgerState<S, M>>> SharedState for L {
    type Strategy = S;
    type Metrics = M;

    fn flags(&self) -> HedgerFlags {
        self.with(|state| state.policy.flags())
    }

    fn limit(&self) -> u64 {
        self.with(|state| state.policy.limit())
    }

    fn max_pushback(&self) -> u64 {
        self.with(|state| state.policy.max_pushback())
    }

    fn request_plan(&self, hints: &Hints, now: Instant) -> RequestPlan {
        self.with(|state| state.policy.request_plan(hints, now).0)
    }

    fn may_hedge(&self, query: &HedgeQuery) -> Result<Admitted, Refusal> {
        self.with(|state| state.policy.may_hedge(query))
    }

    fn give_back_probe(&self, retry: bool) {
        self.with(|state| state.policy.give_back_probe(retry));
    }

    fn draw_group(&self) -> Option<Group> {
        self.with(|state| state.policy.draw_group())
    }

    fn record(&self, record: &Record) {
        self.with(|state| {
            // Update the metrics first, so that the request is counted even if the strategy panics.
            state.metrics.record(record);
            state.policy.record(record);
        });
    }

    fn count(&self, record: &Record) {
        self.with(|state| state.metrics.record(record));
    }

    fn next_id(&self) -> u64 {
        self.with(|state| {
            state.requests += 1;
            state.requests
        })
    }

    fn edit<R>(&self, _: Instant, f: impl FnOnce(&mut Policy<S>) -> R) -> R {
        self.with(|state| f(&mut state.policy))
    }

    fn metrics(&self, now: Instant) -> MetricsSnapshot {
        self.with(|state| state.metrics.snapshot(now))
    }

    fn reset_metrics(&self, now: Instant) {
        self.with(|state| state.metrics.reset(now));
    }
}
