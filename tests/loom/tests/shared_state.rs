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
fn ledger() -> (Arc<Shared>, Counting) {
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
fn settle(ledger: &Shared, millis: u64) {
    let report = Record::new(Sample::Finished(Duration::from_millis(1)));
    ledger.settle(&report, at(millis));
}

/// What is planned after so many requests.
fn terms_of(requests: u64) -> RequestPlan {
    let strategy = Counting(Arc::new(AtomicU64::new(requests)));
    let policy = Policy::new(strategy, Options::DEFAULT);
    RefCell::new(HedgerState::new(policy, Requests::default())).terms(&Hints::NONE, at(1))
}

#[test]
fn every_report_is_counted_and_heard_of_once() {
    loom::model(|| {
        let (ledger, strategy) = ledger();
        let other = ledger.clone();
        // Long after the last: it is handed on at once, if nobody else has the strategy.
        let thread = thread::spawn(move || settle(&other, 5));
        settle(&ledger, 5);
        thread.join().unwrap();
        assert_eq!(ledger.metrics(at(6)).total_requests, 2);
        ledger.edit(at(6), |_| ());
        assert_eq!(strategy.heard(), 2);
    });
}

#[test]
fn an_edit_takes_every_report_before_it_into_account() {
    loom::model(|| {
        let (ledger, strategy) = ledger();
        settle(&ledger, 0);
        let other = ledger.clone();
        let thread = thread::spawn(move || settle(&other, 0));
        let heard = ledger.edit(at(1), |_| strategy.heard());
        assert!((1..=2).contains(&heard));
        assert!(ledger.metrics(at(1)).total_requests >= heard);
        thread.join().unwrap();
        assert_eq!(ledger.edit(at(1), |_| strategy.heard()), 2);
    });
}

#[test]
fn published_terms_are_of_one_piece() {
    let [none, one] = [terms_of(0), terms_of(1)];
    loom::model(move || {
        let (ledger, _) = ledger();
        // From now on they are published.
        assert_eq!(ledger.terms(&Hints::NONE, at(1)), none);
        let other = ledger.clone();
        let thread = thread::spawn(move || settle(&other, 5));
        let meanwhile = ledger.terms(&Hints::NONE, at(1));
        assert!(meanwhile == none || meanwhile == one, "{meanwhile:?}");
        thread.join().unwrap();
        assert_eq!(ledger.terms(&Hints::NONE, at(5)), one);
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

fn hedger() -> Arc<Whole> {
    let (ledger, budget) = (
        shared(Counting::default()),
        SharedBudget::new(Budget::percent(10.0)),
    );
    let builder = Hedger::builder(Stopped).without_metrics();
    Arc::new(builder.build_with(|_| ledger, |_| budget).unwrap())
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
    let mut pace = hedger.call().controller();
    pace.start(at(5));
    pace.due()
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
