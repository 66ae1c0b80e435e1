//! The ledger and the budget of servers: requests on different threads pass each other.
//!
//! A request that ends without hedging touches only a shard that other threads rarely use. What it
//! taught waits there until a few requests have gathered or a millisecond has passed, and is then handed
//! to the policy in one go. What the policy decides is published in atomics, so that a request that has
//! to wait reads it without a lock. Only a request that hedges takes the policy's lock.

use core::cell::Cell;
use core::sync::atomic::Ordering;
use std::boxed::Box;
use std::sync::{Arc, PoisonError, TryLockError};

use heapless::Vec;

use crate::ledger::{Ledger, State};
use crate::metrics::{MetricsSnapshot, Recorder};
use crate::policy::{Ask, Policy};
use crate::strategy::{Hints, Strategy};
use crate::sync::{self, AtomicU8, AtomicU32, AtomicU64, Mutex, MutexGuard, fence};
use crate::terms::{Standing, Terms};
use crate::{Alone, Budget, Charge, Instant, Report, Suppressed};

/// A [`Ledger`] for many threads.
///
/// Counters are exact. The strategy hears of a request when [`BATCH`](Self::BATCH) requests of its thread
/// have ended, or with the first that ends a millisecond later (twice that many, if another thread has
/// the strategy just then); `edit` and `metrics` take every request into account.
#[derive(Debug)]
pub struct Sharded<S, M> {
    shards: Box<[Padded<Mutex<Shard<M>>>]>,
    /// Apart from what every request reads.
    desk: Padded<Mutex<Desk<S>>>,
    published: Padded<Published>,
    standing: AtomicU8,
}

/// What a shard keeps until it is handed on.
#[derive(Debug)]
struct Shard<M> {
    metrics: M,
    gathered: Gathered,
    /// How many of them are in the metrics.
    counted: usize,
    handed_on: Instant,
}

impl<M: Recorder> Shard<M> {
    /// Forgets what was gathered.
    fn clear(&mut self) {
        self.gathered.clear();
        self.counted = 0;
    }

    /// Counts what was gathered.
    fn count(&mut self) {
        for alone in self.gathered.iter().skip(self.counted) {
            self.metrics.record_alone(alone);
        }
        self.counted = self.gathered.len();
    }
}

/// Empties itself when it is dropped, so that a strategy that panics over a report is not asked again.
struct Emptied<'a>(&'a mut Gathered);

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

type Gathered = Vec<Alone, { 2 * BATCH }>;

/// A model is to see it full.
const BATCH: usize = if cfg!(hedge_loom) { 1 } else { 32 };
/// A millisecond, in nanoseconds.
const FRESH: u64 = 1_000_000;

impl<S: Strategy, M: Recorder> Sharded<S, M> {
    /// How many requests of one thread, none of them hedged, gather before the strategy hears of them, if
    /// they end within a millisecond.
    pub const BATCH: usize = BATCH;

    /// A ledger with a shard for every processor.
    pub fn new(state: State<S, M>) -> Self {
        let policy = state.into_policy();
        let shard = || Shard {
            metrics: M::default(),
            gathered: Vec::new(),
            counted: 0,
            handed_on: Instant::ZERO,
        };
        let standing = AtomicU8::new(policy.standing().to_byte());
        Self {
            shards: (0..shard_count())
                .map(|_| Padded(Mutex::new(shard())))
                .collect(),
            desk: Padded(Mutex::new(Desk {
                policy,
                reusable: false,
            })),
            published: Padded(Published::default()),
            standing,
        }
    }

    /// A shard that is free, this thread's own if it can be had.
    fn shard(&self) -> Option<MutexGuard<'_, Shard<M>>> {
        let own = thread_index();
        match own_of(&self.shards, own)?.0.try_lock() {
            Ok(shard) => Some(shard),
            Err(_) => self.another_shard(own),
        }
    }

    #[cold]
    fn another_shard(&self, own: usize) -> Option<MutexGuard<'_, Shard<M>>> {
        for i in 0..self.shards.len() {
            match own_of(&self.shards, own + i)?.0.try_lock() {
                Ok(shard) => return Some(shard),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        own_of(&self.shards, own).map(|shard| lock(&shard.0))
    }

    /// Empties the shard, unless another has the desk and there is room yet.
    #[inline(never)]
    fn pass_on(&self, shard: &mut Shard<M>, now: Instant) {
        if !self.standing().learns() {
            shard.count();
            shard.clear();
        } else if shard.gathered.is_full() {
            self.hand_on(shard, lock(&self.desk.0), None, now);
        } else {
            match self.desk.0.try_lock() {
                Ok(desk) => self.hand_on(shard, desk, None, now),
                Err(TryLockError::Poisoned(desk)) => {
                    self.hand_on(shard, desk.into_inner(), None, now)
                }
                Err(TryLockError::WouldBlock) => {}
            }
        }
    }

    /// Hands on what `shard` gathered, and then `last`. Locks are always taken in this order: shard, then
    /// desk.
    fn hand_on(
        &self,
        shard: &mut Shard<M>,
        mut desk: MutexGuard<'_, Desk<S>>,
        last: Option<&Report>,
        now: Instant,
    ) {
        let Desk { policy, reusable } = &mut *desk;
        shard.handed_on = now;
        shard.count();
        shard.counted = 0;
        let gathered = Emptied(&mut shard.gathered);
        policy.record_alone(gathered.0);
        drop(gathered);
        if let Some(report) = last {
            policy.record(report, now);
        }
        // Planned here, so that no request has to wait for it.
        if *reusable {
            let (terms, still) = policy.terms(&Hints::NONE, now);
            *reusable = still;
            self.published.0.set(still.then_some(terms));
        }
    }

    fn hand_on_all(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = lock(&shard.0);
            self.hand_on(&mut shard, lock(&self.desk.0), None, now);
        }
    }
}

impl<S: Strategy, M: Recorder> Ledger for Sharded<S, M> {
    type Strategy = S;
    type Metrics = M;

    fn standing(&self) -> Standing {
        Standing::from_byte(self.standing.load(Ordering::Relaxed))
    }

    fn terms(&self, hints: &Hints, now: Instant) -> Terms {
        let anybody = hints.is_empty();
        if anybody && let Some(terms) = self.published.0.get() {
            return terms;
        }
        let mut desk = lock(&self.desk.0);
        let (terms, reusable) = desk.policy.terms(hints, now);
        if anybody {
            desk.reusable = reusable;
            self.published.0.set(reusable.then_some(terms));
        }
        terms
    }

    fn permit(&self, ask: &Ask) -> Result<(), Suppressed> {
        lock(&self.desk.0).policy.permit(ask)
    }

    const GATHERS: bool = true;

    fn settle(&self, report: &Report, now: Instant) {
        let Some(mut shard) = self.shard() else {
            return;
        };
        // In the order in which they ended.
        shard.count();
        shard.metrics.record(report, now);
        if self.standing().learns() {
            self.hand_on(&mut shard, lock(&self.desk.0), Some(report), now);
        }
    }

    fn settle_alone(&self, alone: &Alone) {
        let Some(mut shard) = self.shard() else {
            return;
        };
        // There is room: a full shard is handed on before it is left.
        let _ = shard.gathered.push(*alone);
        let waited = alone.now.nanos_since(shard.handed_on);
        if shard.gathered.len() >= BATCH || waited >= FRESH {
            self.pass_on(&mut shard, alone.now);
        }
    }

    fn next_id(&self) -> u64 {
        THREAD.try_with(Thread::next_request).unwrap_or_default()
    }

    fn edit<R>(&self, now: Instant, f: impl FnOnce(&mut Policy<S>) -> R) -> R {
        self.hand_on_all(now);
        let mut desk = lock(&self.desk.0);
        // Whatever `f` does, and should it panic: the next request asks anew.
        self.published.0.set(None);
        desk.reusable = false;
        let result = f(&mut desk.policy);
        self.standing
            .store(desk.policy.standing().to_byte(), Ordering::Relaxed);
        result
    }

    fn metrics(&self, now: Instant) -> MetricsSnapshot {
        let mut total = M::default();
        for shard in &self.shards {
            let mut shard = lock(&shard.0);
            shard.count();
            total.merge(&shard.metrics);
        }
        total.snapshot(now)
    }

    fn reset_metrics(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = lock(&shard.0);
            // What has been gathered ended before now.
            shard.count();
            shard.metrics.reset(now);
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
    budget: Padded<Mutex<Budget>>,
}

impl SharedBudget {
    /// Shares `budget`.
    pub fn new(budget: Budget) -> Self {
        Self(Arc::new(Purse {
            deposits: (0..shard_count())
                .map(|_| Padded(AtomicU32::new(0)))
                .collect(),
            enough: AtomicU32::new(budget.deposits_to_fill()),
            budget: Padded(Mutex::new(budget)),
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
        if let Some(Padded(deposits)) = own_of(&self.0.deposits, thread_index())
            && deposits.load(Ordering::Relaxed) < self.0.enough.load(Ordering::Relaxed)
        {
            deposits.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn charge(&self, now: Instant) -> Result<(), Suppressed> {
        self.edit(|budget| budget.charge(now))
    }

    fn release(&self, hedges: u32) {
        lock(&self.0.budget.0).release(hedges);
    }

    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R {
        let mut budget = lock(&self.0.budget.0);
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

/// The shard of the thread with this index.
fn own_of<T>(shards: &[T], thread: usize) -> Option<&T> {
    // A remainder, but without a division: their number is a power of two.
    shards.get(thread & shards.len().wrapping_sub(1))
}

/// A power of two. Twice the processors where they are few, for two threads that run may have the same
/// remainder.
fn shard_count() -> usize {
    (2 * sync::processors()).next_power_of_two().min(16)
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
    use core::time::Duration;
    use std::panic::catch_unwind;

    use super::*;
    use crate::metrics::Metrics;
    use crate::strategy::Plan;
    use crate::{End, Options};

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

    /// A request of one attempt, that ended then.
    fn alone(now: Instant) -> Alone {
        Alone {
            end: End::Won(0),
            total: 5_000_000,
            delay: 7_000_000,
            due: false,
            suppressed: Some(Suppressed::NotDue),
            cost: 1.0,
            now,
        }
    }

    fn at(ms: u64) -> Instant {
        Instant::from_epoch(Duration::from_millis(ms))
    }

    #[test]
    fn a_strategy_that_panics_over_a_report_is_not_asked_again() {
        let ledger = ledger();
        let panics = (1..=10).filter(|&n| {
            // A millisecond apart, so that each is handed on at once.
            let settle = || ledger.settle_alone(&alone(at(2 * n)));
            catch_unwind(AssertUnwindSafe(settle)).is_err()
        });
        assert_eq!(panics.count(), 1);
        assert_eq!(ledger.edit(at(99), |policy| policy.strategy.0), 10);
        assert_eq!(ledger.metrics(at(99)).total_requests, 10);
    }

    #[test]
    fn reports_that_gather_are_all_taken_into_account() {
        let ledger = ledger();
        let requests = || ledger.metrics(at(2)).total_requests;
        let heard = || lock(&ledger.desk.0).policy.strategy.0;
        ledger.settle_alone(&alone(at(2)));
        // Within a millisecond of the first, so these wait.
        ledger.settle_alone(&alone(at(2)));
        assert_eq!((requests(), heard()), (2, 1));
        ledger.edit(at(2), |_| ());
        assert_eq!((requests(), heard()), (2, 2));
    }

    #[test]
    fn a_request_that_hedged_takes_along_what_has_gathered() {
        let ledger = Sharded::new(State::new(
            Policy::new(Order::default(), Options::DEFAULT),
            Metrics::new(),
        ));
        ledger.settle_alone(&alone(at(2)));
        ledger.settle_alone(&alone(at(2)));
        let mut hedged = alone(at(2)).report();
        hedged.attempts = 2;
        ledger.settle(&hedged, at(2));
        assert_eq!(lock(&ledger.desk.0).policy.strategy.0, [1, 1, 2]);
        assert_eq!(ledger.metrics(at(2)).total_requests, 3);
        ledger.reset_metrics(at(3));
        assert_eq!(ledger.metrics(at(3)).total_requests, 0);
    }

    /// Notes how many attempts requests made.
    #[derive(Debug, Default)]
    struct Order(std::vec::Vec<u8>);

    impl Strategy for Order {
        fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
            Plan::after(Duration::ZERO)
        }

        fn record(&mut self, report: &Report, _: Instant) {
            self.0.push(report.attempts);
        }
    }

    #[test]
    fn published_terms_follow_the_strategy_and_the_options() {
        let ledger = ledger();
        let delay = || ledger.terms(&Hints::NONE, at(2)).delay();
        assert_eq!(delay(), Some(Duration::ZERO));
        assert!(ledger.published.0.get().is_some());
        ledger.settle_alone(&alone(at(2)));
        assert_eq!(
            ledger.published.0.get().and_then(|terms| terms.delay()),
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
        assert!(ledger.standing().off());
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
