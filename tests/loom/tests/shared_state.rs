//! The state that the requests of several threads share.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use hedge_core::adapter::{
    Controller, HedgerState, Policy, RequestPlan, Sharded, SharedBudget, SharedState,
};
use hedge_core::metrics::{NoMetrics, Recorder};
use hedge_core::strategy::{Hints, Plan, Sample, Strategy};
use hedge_core::telemetry::NoSink;
use hedge_core::{Budget, Hedger, Instant, MetricsSnapshot, Options, Record, Timer};
use loom::thread;

/// Plans by how many requests it has heard of, in two numbers that belong together.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicU64>);

impl Counting {
    fn heard(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Strategy for Counting {
    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        let millis = Duration::from_millis(self.heard());
        Plan::after(millis).then_every(millis).reusable()
    }

    fn record(&mut self, _: &Record) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts requests, and is small: loom's threads have little stack.
#[derive(Debug, Default)]
struct Requests(u64);

impl Recorder for Requests {
    const ON: bool = true;

    fn record(&mut self, _: &Record) {
        self.0 += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }

    fn reset(&mut self, _: Instant) {
        self.0 = 0;
    }

    fn snapshot(&self, now: Instant) -> MetricsSnapshot {
        let mut snapshot = NoMetrics.snapshot(now);
        snapshot.total_requests = self.0;
        snapshot
    }
}

type Shared = Sharded<Counting, Requests>;

/// A shared state, and its strategy to look at.
fn shared_state() -> (Arc<Shared>, Counting) {
    let strategy = Counting::default();
    (Arc::new(shared(strategy.clone())), strategy)
}

fn shared(strategy: Counting) -> Shared {
    let policy = Policy::new(strategy, Options::DEFAULT);
    Sharded::new(HedgerState::new(policy, Requests::default()))
}

fn at(millis: u64) -> Instant {
    Instant::from_epoch(Duration::from_millis(millis))
}

/// A request that ended at `millis`.
fn end_request(state: &Shared, millis: u64) {
    let record = Record::new(Sample::Finished(Duration::from_millis(1)));
    state.record(&record.at(at(millis)));
}

/// What is planned after so many requests.
fn plan_after(requests: u64) -> RequestPlan {
    let strategy = Counting(Arc::new(AtomicU64::new(requests)));
    let policy = Policy::new(strategy, Options::DEFAULT);
    RefCell::new(HedgerState::new(policy, Requests::default())).request_plan(&Hints::NONE, at(1))
}

#[test]
fn every_record_is_counted_and_learned_from_once() {
    loom::model(|| {
        let (state, strategy) = shared_state();
        let other = state.clone();
        // Long after the last: it is handed on at once, if nobody else has the strategy.
        let thread = thread::spawn(move || end_request(&other, 5));
        end_request(&state, 5);
        thread.join().unwrap();
        assert_eq!(state.metrics(at(6)).total_requests, 2);
        state.edit(at(6), |_| ());
        assert_eq!(strategy.heard(), 2);
    });
}

/// The third thread has the shard of the first, whose ring is not its own.
#[test]
fn threads_that_share_a_shard_lose_no_record() {
    loom::model(|| {
        let (state, strategy) = shared_state();
        let end = |state: &Arc<Shared>| {
            let state = state.clone();
            thread::spawn(move || end_request(&state, 0))
        };
        end_request(&state, 0);
        end(&state).join().unwrap();
        let third = end(&state);
        end_request(&state, 0);
        assert!(state.metrics(at(0)).total_requests >= 3);
        third.join().unwrap();
        assert_eq!(state.metrics(at(0)).total_requests, 4);
        state.edit(at(0), |_| ());
        assert_eq!(strategy.heard(), 4);
    });
}

#[test]
fn an_edit_takes_every_record_before_it_into_account() {
    loom::model(|| {
        let (state, strategy) = shared_state();
        end_request(&state, 0);
        let other = state.clone();
        let thread = thread::spawn(move || end_request(&other, 0));
        let heard = state.edit(at(1), |_| strategy.heard());
        assert!((1..=2).contains(&heard));
        assert!(state.metrics(at(1)).total_requests >= heard);
        thread.join().unwrap();
        assert_eq!(state.edit(at(1), |_| strategy.heard()), 2);
    });
}

#[test]
fn published_plans_are_of_one_piece() {
    let [none, one] = [plan_after(0), plan_after(1)];
    loom::model(move || {
        let (state, _) = shared_state();
        // From now on they are published.
        assert_eq!(state.request_plan(&Hints::NONE, at(1)), none);
        let other = state.clone();
        let thread = thread::spawn(move || end_request(&other, 5));
        let meanwhile = state.request_plan(&Hints::NONE, at(1));
        assert!(meanwhile == none || meanwhile == one, "{meanwhile:?}");
        thread.join().unwrap();
        assert_eq!(state.request_plan(&Hints::NONE, at(5)), one);
    });
}

#[derive(Clone, Debug)]
struct Stopped;

impl Timer for Stopped {
    type Sleep = core::future::Pending<()>;

    fn now(&self) -> Instant {
        at(5)
    }

    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        core::future::pending()
    }
}

type Whole = Hedger<Stopped, Shared, SharedBudget, NoSink, 2>;

/// Not by a builder, which moves the window of the default strategy about: loom's threads have little stack.
fn hedger() -> Arc<Whole> {
    let (state, budget) = (
        shared(Counting::default()),
        SharedBudget::new(Budget::percent(10.0)),
    );
    Arc::new(Hedger::from_parts(Stopped, state, budget, NoSink))
}

#[test]
fn options_that_change_reach_the_next_request() {
    loom::model(|| {
        let hedger = hedger();
        let other = hedger.clone();
        let thread = thread::spawn(move || due(&other));
        let mut options = Options::default();
        options.enabled = false;
        hedger.set_options(options).unwrap();
        // What the other thread was told before, and publishes, is not told again.
        assert_eq!(due(&hedger), None);
        let _ = thread.join();
    });
}

/// When a request would be hedged.
fn due(hedger: &Whole) -> Option<Instant> {
    let mut controller = hedger.call().controller();
    controller.start(at(5));
    controller.due()
}

/// All of it together: two requests, of which one changes the options and reads the counters.
#[test]
fn a_hedger_that_threads_share() {
    loom::model(|| {
        let hedger = hedger();
        let other = hedger.clone();
        let request = |hedger: &Whole| {
            let result = loom::future::block_on(hedger.request(|_| async { Ok::<_, ()>(1) }));
            assert!(result.is_ok());
        };
        let thread = thread::spawn(move || request(&other));
        request(&hedger);
        hedger.set_options(Options::default()).unwrap();
        thread.join().unwrap();
        assert_eq!(hedger.metrics().total_requests, 2);
        assert_eq!(hedger.with_strategy(|strategy| strategy.heard()), 2);
        assert_eq!(hedger.in_flight(), 0);
    });
}
