//! The ledger and the budget of servers: requests on different threads pass each other.
//!
//! A request that ends without hedging touches only a shard that other threads rarely use. What it
//! taught waits there until a few requests have gathered or a millisecond has passed, and is then handed
//! to the policy in one go. What the policy decides is published in atomics, so that a request that has
//! to wait reads it without a lock. Only a request that hedges takes the policy's lock.

use core::sync::atomic::Ordering;
use std::boxed::Box;
use std::sync::TryLockError;

use heapless::Vec;

use crate::hedger::{Ask, Ledger, Policy, Standing, State, Terms};
use crate::metrics::{MetricsSnapshot, Recorder};
use crate::outcome::Suppressed;
use crate::panics::contain;
use crate::record::{Alone, Report};
use crate::runtime::sync::{AtomicU8, Mutex, MutexGuard};
use crate::strategy::{Hints, Strategy};
use crate::time::Instant;

use published::Published;
use shards::{Padded, lock, next_request, own_of, shard_count, thread_index};

pub use budget::SharedBudget;

mod budget;
mod published;
mod shards;
#[cfg(test)]
mod tests;

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
        let fresh = self.gathered.get(self.counted..).unwrap_or_default();
        self.metrics.record_alone(fresh);
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
    #[inline(always)]
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

    // Inlined, so that `alone` is written to its shard and nowhere else: to copy what was written piece by
    // piece just now is to wait for the pieces.
    #[inline(always)]
    fn settle_alone(&self, alone: &Alone) {
        let Some(mut shard) = self.shard() else {
            return;
        };
        // There is room: a full shard is handed on before it is left.
        let _ = shard.gathered.push(*alone);
        let waited = alone.now.nanos_since(shard.handed_on);
        if shard.gathered.len() >= BATCH || waited >= FRESH {
            contain(|| self.pass_on(&mut shard, alone.now));
        }
    }

    fn next_id(&self) -> u64 {
        next_request()
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
