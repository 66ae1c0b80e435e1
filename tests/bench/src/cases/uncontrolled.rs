//! Shared state that draws no control group, whatever the options say: what a holdback of 0 is compared with.

use hedge_core::adapter::{
    Admitted, Group, HedgeQuery, HedgerFlags, Policy, Refusal, RequestPlan, SharedState,
};
use hedge_tokio::strategy::Hints;
use hedge_tokio::{Instant, MetricsSnapshot, Record};

pub(super) struct Uncontrolled<L>(pub(super) L);

impl<L: SharedState> SharedState for Uncontrolled<L> {
    type Strategy = L::Strategy;
    type Metrics = L::Metrics;

    #[inline(always)]
    fn flags(&self) -> HedgerFlags {
        self.0.flags()
    }

    #[inline(always)]
    fn limit(&self) -> u64 {
        self.0.limit()
    }

    #[inline(always)]
    fn max_pushback(&self) -> u64 {
        self.0.max_pushback()
    }

    #[inline(always)]
    fn request_plan(&self, hints: &Hints, now: Instant) -> RequestPlan {
        self.0.request_plan(hints, now)
    }

    #[inline(always)]
    fn may_hedge(&self, query: &HedgeQuery) -> Result<Admitted, Refusal> {
        self.0.may_hedge(query)
    }

    #[inline(always)]
    fn give_back_probe(&self, retry: bool) {
        self.0.give_back_probe(retry);
    }

    #[inline(always)]
    fn draw_group(&self) -> Option<Group> {
        None
    }

    #[inline(always)]
    fn record(&self, record: &Record) {
        self.0.record(record);
    }

    #[inline(always)]
    fn count(&self, record: &Record) {
        self.0.count(record);
    }

    #[inline(always)]
    fn next_id(&self) -> u64 {
        self.0.next_id()
    }

    fn edit<R>(&self, now: Instant, f: impl FnOnce(&mut Policy<L::Strategy>) -> R) -> R {
        self.0.edit(now, f)
    }

    fn metrics(&self, now: Instant) -> MetricsSnapshot {
        self.0.metrics(now)
    }

    fn reset_metrics(&self, now: Instant) {
        self.0.reset_metrics(now);
    }
}
