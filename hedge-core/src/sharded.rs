//! The ledger and the budget of servers: requests on different threads pass each other.
//!
//! A request that ends without hedging touches only a shard that other threads rarely use. What it
//! taught waits there until a few requests have gathered or a millisecond has passed, and is then handed
//! to the policy in one go. What the policy decides is published in atomics, so that a request that has
//! to wait reads it without a lock. Only a request that hedges takes the policy's lock.

use core::cell::Cell;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::boxed::Box;
use std::sync::{Arc, PoisonError, TryLockError};

use heapless::Vec;

use crate::ledger::{Ledger, State};
use crate::metrics::{MetricsSnapshot, Recorder};
use crate::policy::{Ask, Policy};
use crate::strategy::{Hints, Strategy};
use crate::sync::{self, AtomicU32, AtomicU64, Mutex, MutexGuard, fence};
use crate::terms::{Standing, Terms};
use crate::{Budget, Charge, Instant, Report, Suppressed};

/// A [`Ledger`] for many threads.
///
/// Counters are exact. The strategy hears of a request when [`BATCH`](Self::BATCH) requests of its thread
/// have ended, or with the first that ends a millisecond later (twice that many, if another thread has
/// the strategy just then); `edit` and `metrics` take every request into account.
#[derive(Debug)]
pub struct Sharded<S, M> {
    shards: Box<[Padded<Mutex<Shard<M>>>]>,
    desk: Mutex<Desk<S>>,
    published: Published,
    standing: AtomicU32,
}

/// What a shard keeps until it is handed on.
#[derive(Debug)]
struct Shard<M> {
    metrics: M,
    /// With the time that each request ended.
    reports: Reports,
    handed_on: Instant,
}

/// Empties the reports when it is dropped, so that a strategy that panics over one is not asked again.
struct Emptied<'a>(&'a mut Reports);

impl Drop for Emptied<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

#[derive(Debug)]
struct Desk<S> {
    policy: Policy<S>,
    /// Whether the policy's last plan held for every request until the next record.
    reusable: bool,
}

type Reports = Vec<(Report, Instant), { 2 * BATCH }>;

/// A model is to see it full.
const BATCH: usize = if cfg!(hedge_loom) { 1 } else { 16 };
const FRESH: Duration = Duration::from_millis(1);

impl<S: Strategy, M: Recorder> Sharded<S, M> {
    /// How many requests of one thread gather before the strategy hears of them, if they end within a
    /// millisecond.
    pub const BATCH: usize = BATCH;

    /// A ledger with a shard for every processor.
    pub fn new(state: State<S, M>) -> Self {
        let policy = state.into_policy();
        let shard = || Shard {
            metrics: M::default(),
            reports: Vec::new(),
            handed_on: Instant::ZERO,
        };
        let standing = AtomicU32::new(policy.standing().to_word());
        Self {
            shards: (0..shard_count())
                .map(|_| Padded(Mutex::new(shard())))
                .collect(),
            desk: Mutex::new(Desk {
                policy,
                reusable: false,
            }),
            published: Published::default(),
            standing,
        }
    }

    /// A shard that is free, this thread's own if it can be had.
    fn shard(&self) -> Option<MutexGuard<'_, Shard<M>>> {
        let own = thread_index();
        for i in 0..self.shards.len() {
            match self.shards.get((own + i) % self.shards.len())?.0.try_lock() {
                Ok(shard) => return Some(shard),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.shards
            .get(own % self.shards.len())
            .map(|shard| lock(&shard.0))
    }

    /// Hands on what `shard` gathered. Locks are always taken in this order: shard, then desk.
    fn hand_on(&self, shard: &mut Shard<M>, mut desk: MutexGuard<'_, Desk<S>>, now: Instant) {
        let Desk { policy, reusable } = &mut *desk;
        shard.handed_on = now;
        let reports = Emptied(&mut shard.reports);
        for (report, end) in reports.0.iter() {
            policy.record(report, *end);
        }
        drop(reports);
        // Planned here, so that no request has to wait for it.
        if *reusable {
            let (terms, still) = policy.terms(&Hints::NONE, now);
            *reusable = still;
            self.published.set(still.then_some(terms));
        }
    }

    fn hand_on_all(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = lock(&shard.0);
            self.hand_on(&mut shard, lock(&self.desk), now);
        }
    }
}

impl<S: Strategy, M: Recorder> Ledger for Sharded<S, M> {
    type Strategy = S;
    type Metrics = M;

    fn standing(&self) -> Standing {
        Standing::from_word(self.standing.load(Ordering::Relaxed))
    }

    fn terms(&self, hints: &Hints, now: Instant) -> Terms {
        let anybody = hints.is_empty();
        if anybody && let Some(terms) = self.published.get() {
            return terms;
        }
        let mut desk = lock(&self.desk);
        let (terms, reusable) = desk.policy.terms(hints, now);
        if anybody {
            desk.reusable = reusable;
            self.published.set(reusable.then_some(terms));
        }
        terms
    }

    fn permit(&self, ask: &Ask) -> Result<(), Suppressed> {
        lock(&self.desk).policy.permit(ask)
    }

    fn settle(&self, report: &Report, now: Instant) {
        let Some(mut shard) = self.shard() else {
            return;
        };
        shard.metrics.record(report, now);
        if !self.standing().learns {
            return;
        }
        // There is room: a full shard is handed on before it is left.
        let _ = shard.reports.push((*report, now));
        if shard.reports.is_full() {
            self.hand_on(&mut shard, lock(&self.desk), now);
        } else if shard.reports.len() >= BATCH || now.since(shard.handed_on) >= FRESH {
            match self.desk.try_lock() {
                Ok(desk) => self.hand_on(&mut shard, desk, now),
                Err(TryLockError::Poisoned(desk)) => {
                    self.hand_on(&mut shard, desk.into_inner(), now)
                }
                Err(TryLockError::WouldBlock) => {}
            }
        }
    }

    fn next_id(&self) -> u64 {
        THREAD.try_with(Thread::next_request).unwrap_or_default()
    }

    fn edit<R>(&self, now: Instant, f: impl FnOnce(&mut Policy<S>) -> R) -> R {
        self.hand_on_all(now);
        let mut desk = lock(&self.desk);
        // Whatever `f` does, and should it panic: the next request asks anew.
        self.published.set(None);
        desk.reusable = false;
        let result = f(&mut desk.policy);
        self.standing
            .store(desk.policy.standing().to_word(), Ordering::Relaxed);
        result
    }

    fn metrics(&self, now: Instant) -> MetricsSnapshot {
        let mut total = M::default();
        for shard in &self.shards {
            total.merge(&lock(&shard.0).metrics);
        }
        total.snapshot(now)
    }

    fn reset_metrics(&self, now: Instant) {
        for shard in &self.shards {
            lock(&shard.0).metrics.reset(now);
        }
    }
}

/// A [`Budget`] for many threads, and for several hedgers: a clone is another handle to the same budget.
///
/// A deposit touches a counter that other threads rarely use, or none when the budget is full. What was
/// deposited is counted before anything is charged, so that the sum is exact.
///
/// ```
/// use hedge_core::{Budget, Charge, Instant, SharedBudget, Suppressed};
///
/// let budget = SharedBudget::new(Budget::percent(50.0).burst(1));
/// let retries = budget.clone();
/// assert_eq!(budget.charge(Instant::ZERO), Ok(()));
/// assert_eq!(retries.charge(Instant::ZERO), Err(Suppressed::BudgetRatio));
/// retries.deposit();
/// retries.deposit();
/// assert_eq!(budget.charge(Instant::ZERO), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct SharedBudget(Arc<Purse>);

#[derive(Debug)]
struct Purse {
    /// Deposits that have not been counted.
    deposits: Box<[Padded<AtomicU32>]>,
    /// More deposits than this change nothing: the budget is full.
    enough: AtomicU32,
    budget: Mutex<Budget>,
}

impl SharedBudget {
    /// Shares `budget`.
    pub fn new(budget: Budget) -> Self {
        Self(Arc::new(Purse {
            deposits: (0..shard_count())
                .map(|_| Padded(AtomicU32::new(0)))
                .collect(),
            enough: AtomicU32::new(budget.deposits_to_fill()),
            budget: Mutex::new(budget),
        }))
    }
}

impl From<Budget> for SharedBudget {
    fn from(budget: Budget) -> Self {
        Self::new(budget)
    }
}

impl Charge for SharedBudget {
    fn deposit(&self) {
        let own = thread_index() % self.0.deposits.len();
        if let Some(Padded(deposits)) = self.0.deposits.get(own)
            && deposits.load(Ordering::Relaxed) < self.0.enough.load(Ordering::Relaxed)
        {
            deposits.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn charge(&self, now: Instant) -> Result<(), Suppressed> {
        self.edit(|budget| budget.charge(now))
    }

    fn release(&self, hedges: u32) {
        lock(&self.0.budget).release(hedges);
    }

    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R {
        let mut budget = lock(&self.0.budget);
        for Padded(deposits) in &self.0.deposits {
            // Most are empty, and reading leaves them with their threads.
            if deposits.load(Ordering::Relaxed) > 0 {
                budget.deposit_many(deposits.swap(0, Ordering::Relaxed));
            }
        }
        let result = f(&mut budget);
        let enough = budget.deposits_to_fill();
        if self.0.enough.load(Ordering::Relaxed) != enough {
            self.0.enough.store(enough, Ordering::Relaxed);
        }
        result
    }
}

/// Terms that readers take without a lock: a sequence lock over atomics. There is one writer at a time.
#[derive(Debug, Default)]
struct Published {
    /// Odd while the words change.
    version: AtomicU64,
    words: [AtomicU64; 4],
    valid: AtomicU32,
}

impl Published {
    fn get(&self) -> Option<Terms> {
        let before = self.version.load(Ordering::Acquire);
        let valid = self.valid.load(Ordering::Relaxed) != 0;
        let words = self
            .words
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let after = self.version.load(Ordering::Relaxed);
        (valid && before.is_multiple_of(2) && before == after).then(|| Terms::from_words(words))
    }

    fn set(&self, terms: Option<Terms>) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        if let Some(terms) = terms {
            for (word, value) in self.words.iter().zip(terms.to_words()) {
                word.store(value, Ordering::Relaxed);
            }
        }
        self.valid.store(terms.is_some().into(), Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }
}

/// Alone on its cache lines (two, which processors fetch together).
#[derive(Debug)]
#[repr(align(128))]
struct Padded<T>(T);

/// Poisoning is ignored: what is guarded holds no invariant that a panic could break half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shard_count() -> usize {
    sync::processors().next_power_of_two().min(16)
}

/// A number for every thread, and for every request that it makes.
struct Thread {
    index: usize,
    requests: Cell<u64>,
}

impl Thread {
    fn next_request(&self) -> u64 {
        let request = self.requests.get().wrapping_add(1);
        self.requests.set(request);
        (self.index as u64) << 40 | request & ((1 << 40) - 1)
    }
}

sync::thread_local! {
    static THREAD: Thread = Thread { index: sync::number_of_thread(), requests: Cell::new(0) };
}

fn thread_index() -> usize {
    THREAD.try_with(|thread| thread.index).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use core::panic::AssertUnwindSafe;
    use std::panic::catch_unwind;

    use super::*;
    use crate::metrics::Metrics;
    use crate::strategy::Plan;
    use crate::{Options, Sample};

    /// Panics over the third report, and counts them all.
    #[derive(Debug, Default)]
    struct Touchy(u32);

    impl Strategy for Touchy {
        fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
            Plan::after(Duration::from_millis(self.0.into())).reusable()
        }

        fn record(&mut self, _: &Report, _: Instant) {
            self.0 += 1;
            assert_ne!(self.0, 3, "as planned");
        }
    }

    fn ledger() -> Sharded<Touchy, Metrics> {
        Sharded::new(State::new(
            Policy::new(Touchy::default(), Options::DEFAULT),
            Metrics::new(),
        ))
    }

    fn report() -> Report {
        Report::new(Sample::Finished(Duration::from_millis(5)))
    }

    fn at(ms: u64) -> Instant {
        Instant::from_epoch(Duration::from_millis(ms))
    }

    #[test]
    fn a_strategy_that_panics_over_a_report_is_not_asked_again() {
        let ledger = ledger();
        let panics = (1..=10).filter(|&n| {
            // A millisecond apart, so that each is handed on at once.
            catch_unwind(AssertUnwindSafe(|| ledger.settle(&report(), at(2 * n)))).is_err()
        });
        assert_eq!(panics.count(), 1);
        assert_eq!(ledger.edit(at(99), |policy| policy.strategy.0), 10);
        assert_eq!(ledger.metrics(at(99)).total_requests, 10);
    }

    #[test]
    fn reports_that_gather_are_all_taken_into_account() {
        let ledger = ledger();
        ledger.settle(&report(), at(2));
        // Within a millisecond of the first, so these wait.
        ledger.settle(&report(), at(2));
        assert_eq!(lock(&ledger.desk).policy.strategy.0, 1);
        assert_eq!(ledger.edit(at(2), |policy| policy.strategy.0), 2);
    }

    #[test]
    fn published_terms_follow_the_strategy_and_the_options() {
        let ledger = ledger();
        let delay = || ledger.terms(&Hints::NONE, at(2)).delay();
        assert_eq!(delay(), Some(Duration::ZERO));
        assert!(ledger.published.get().is_some());
        ledger.settle(&report(), at(2));
        assert_eq!(
            ledger.published.get().and_then(|terms| terms.delay()),
            Some(Duration::from_millis(1))
        );
        assert_eq!(delay(), Some(Duration::from_millis(1)));

        let options = Options {
            enabled: false,
            ..Options::DEFAULT
        };
        ledger
            .edit(at(2), |policy| policy.set_options(options))
            .unwrap();
        assert_eq!(delay(), None);
        assert!(ledger.standing().off);
    }

    #[test]
    fn deposits_that_gather_count_before_anything_is_charged() {
        let budget = SharedBudget::new(Budget::percent(50.0).burst(2));
        let charges = || (0..5).filter(|_| budget.charge(at(0)).is_ok()).count();
        assert_eq!(charges(), 2);
        (0..3).for_each(|_| budget.deposit());
        assert_eq!(charges(), 1);
        // The half that was left, and a half.
        budget.deposit();
        assert_eq!(charges(), 1);
        // No more than the bucket holds.
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!(charges(), 2);
    }
}
