//! The shared state and the budget of servers, in which threads rarely contend.
//!
//! A request that ends without hedging touches only a shard that other threads rarely use. Its
//! record waits in the shard's ring until that has a batch or a millisecond has passed, and the batch
//! is then flushed to the policy. The plan that the policy makes is published in atomics, so that a
//! request that has to wait reads it without a lock. Only a request that hedges takes the policy's
//! lock.

use core::sync::atomic::Ordering;
use std::boxed::Box;
use std::sync::OnceLock;

use heapless::Vec;

use crate::hedger::{
    Admitted, HedgeQuery, HedgerFlags, HedgerState, Policy, Refusal, RequestPlan, SharedState,
};
use crate::metrics::{MetricsSnapshot, Recorder};
use crate::name::Name;
use crate::record::{Group, Record};
use crate::replicas::SharedReplicas;
use crate::strategy::{Hints, Strategy};
use crate::sync::{AtomicBool, AtomicU8, AtomicU64, Mutex, MutexGuard};
use crate::time::Instant;

use keys::Keys;
use published::Published;
use ring::Ring;
use shards::{
    Padded, lock, next_request, shard_count, shard_of, thread_index, thread_number, try_lock,
};

pub use budget::SharedBudget;
pub use keys::Key;

mod budget;
mod keys;
mod published;
mod ring;
mod shards;
#[cfg(test)]
mod tests;

/// A [`SharedState`] for many threads.
///
/// Counters are exact. The strategy receives records in batches: when
/// [`MAX_BATCH`](Self::MAX_BATCH) requests of one thread have ended, or with the first request that
/// ends a millisecond later. If another thread is using the strategy at that time, a batch can grow
/// to twice that size. `edit` and `metrics` take every request into account.
#[derive(Debug)]
pub struct Sharded<S, M> {
    shards: Box<[Padded<Shard<M>>]>,
    /// The policy, on separate cache lines from the fields that every request reads.
    policy_cell: Padded<Mutex<PolicyCell<S>>>,
    published: Padded<Published>,
    flags: AtomicU8,
    /// The value that [`SharedState::limit`] returns.
    limit: AtomicU64,
    /// The value that [`SharedState::max_pushback`] returns.
    max_pushback: AtomicU64,
    /// The states of the requests with a key.
    keys: Keys<Self>,
    /// The name of the key whose state this is; empty if it has none.
    key: Name,
    /// The replicas that belong to the hedger, created when they are first used.
    replicas: OnceLock<SharedReplicas>,
    /// Whether hedges are withheld from some requests, so that groups are drawn.
    has_control: AtomicBool,
}

/// The records and the metrics of one thread, or of a few threads that share the shard.
#[derive(Debug)]
struct Shard<M> {
    ring: Ring,
    /// When the last batch was flushed, in nanoseconds.
    flushed_at: AtomicU64,
    books: Mutex<Books<M>>,
}

/// The part of a shard that is locked.
#[derive(Debug)]
struct Books<M> {
    metrics: M,
    /// The records that did not fit in the ring. They are older than those in the ring.
    pending: Pending,
    /// The number of pending records that the metrics already include.
    counted: usize,
    /// The position in the ring up to which the metrics include the records.
    counted_in_ring: usize,
}

impl<M: Recorder> Shard<M> {
    fn new() -> Self {
        Self {
            ring: Ring::new(),
            flushed_at: AtomicU64::new(0),
            books: Mutex::new(Books {
                metrics: M::default(),
                pending: Vec::new(),
                counted: 0,
                counted_in_ring: 0,
            }),
        }
    }

    /// Returns whether a batch that a request ends at `now` has waited for long enough.
    #[inline(always)]
    fn is_old(&self, now: Instant) -> bool {
        let flushed_at = Instant::ZERO.later(self.flushed_at.load(Ordering::Relaxed));
        now.nanos_since(flushed_at) >= MAX_BATCH_AGE
    }

    /// Adds all records to the metrics that they do not include yet.
    fn count(&self, books: &mut Books<M>) {
        books.count_pending();
        let mut places = books.counted_in_ring..self.ring.waiting().end;
        while places.start != places.end {
            let records = self.ring.read(&places);
            books.count_in_ring(places.start, &records);
            places.start = books.counted_in_ring;
        }
    }

    /// Counts all records, and moves those in the ring to the pending ones. Returns whether there is room for another
    /// record.
    fn gather(&self, books: &mut Books<M>) -> bool {
        self.count(books);
        let mut places = self.ring.waiting();
        places.end = books.counted_in_ring;
        while places.start != places.end {
            let records = self.ring.read(&places);
            if books.pending.extend_from_slice(&records).is_err() {
                return false;
            }
            books.counted = books.pending.len();
            self.ring.free(records.len());
            places.start = places.start.wrapping_add(records.len());
        }
        !books.pending.is_full()
    }
}

impl<M: Recorder> Books<M> {
    /// Adds the pending records to the metrics.
    fn count_pending(&mut self) {
        let fresh = self.pending.get(self.counted..).unwrap_or_default();
        self.metrics.record_batch(fresh);
        self.counted = self.pending.len();
    }

    /// Adds `records`, which are in the ring from `place` on, to the metrics, except for those that were added before.
    fn count_in_ring(&mut self, place: usize, records: &[Record]) {
        let known = self.counted_in_ring.wrapping_sub(place);
        let fresh = records.get(known..).unwrap_or_default();
        self.metrics.record_batch(fresh);
        self.counted_in_ring = self.counted_in_ring.wrapping_add(fresh.len());
    }
}

/// Clears the records when it is dropped, so that records over which a strategy panicked are not
/// recorded again.
struct ClearOnDrop<'a>(&'a mut Pending);

impl Drop for ClearOnDrop<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

#[derive(Debug)]
struct PolicyCell<S> {
    policy: Policy<S>,
    /// Whether the policy's last plan applies to every request until the next record.
    reusable: bool,
}

type Pending = Vec<Record, { 2 * MAX_BATCH }>;

/// The model checker needs a small batch to reach a full shard.
const MAX_BATCH: usize = if cfg!(hedge_loom) { 1 } else { 32 };
/// One millisecond, in nanoseconds.
const MAX_BATCH_AGE: u64 = 1_000_000;

impl<S: Strategy, M: Recorder> Sharded<S, M> {
    /// The number of unhedged requests of one thread that are recorded together, if they end within
    /// a millisecond.
    pub const MAX_BATCH: usize = MAX_BATCH;

    /// Creates a state with shards for the processors of this machine.
    pub fn new(state: HedgerState<S, M>) -> Self {
        let policy = state.into_policy();
        let flags = AtomicU8::new(policy.flags().to_byte());
        let limit = AtomicU64::new(policy.limit());
        let has_control = AtomicBool::new(policy.has_control());
        let max_pushback = AtomicU64::new(policy.max_pushback());
        Self {
            shards: (0..shard_count()).map(|_| Padded(Shard::new())).collect(),
            policy_cell: Padded(Mutex::new(PolicyCell {
                policy,
                reusable: false,
            })),
            published: Padded(Published::default()),
            flags,
            limit,
            has_control,
            max_pushback,
            keys: Keys::new(0),
            key: Name::EMPTY,
            replicas: OnceLock::new(),
        }
    }

    /// Sets the maximum number of keys, at most 16 384. Default: 0.
    #[must_use]
    pub fn with_keys(self, keys: usize) -> Self {
        let keys = Keys::new(keys);
        Self { keys, ..self }
    }

    /// Returns the replicas that belong to the hedger.
    pub fn replicas(&self) -> &SharedReplicas {
        self.replicas.get_or_init(SharedReplicas::empty)
    }

    /// Returns the replicas that belong to the hedger, if anybody has asked for them.
    pub(crate) fn used_replicas(&self) -> Option<&SharedReplicas> {
        self.replicas.get()
    }

    /// Returns the key of this name: [`Key::OTHER`] if there is no room for another one, and [`Key::NONE`] if the
    /// strategy cannot be [created afresh](Strategy::fresh).
    #[inline]
    pub fn key(&self, name: &str) -> Key {
        match self.keys.find(name) {
            Some(key) => key,
            None => self.add_key(name),
        }
    }

    #[cold]
    fn add_key(&self, name: &str) -> Key {
        let made = self.keys.add(name, || self.fresh(name));
        made.unwrap_or(Key::NONE)
    }

    /// Returns the state of the requests with this key.
    #[inline]
    pub fn keyed(&self, key: Key) -> &Self {
        let other = || self.fresh(Key::OTHER_NAME);
        self.keys.get(key, other).unwrap_or(self)
    }

    /// Returns every key that was used, with its name and its state, [`Key::OTHER`] last.
    pub fn keys(&self) -> impl Iterator<Item = (Key, &str, &Self)> {
        self.keys.iter()
    }

    /// Calls `f` while no key can be created, so that `f` can change all of them. `f` must not create one.
    pub(crate) fn with_all_keys<V>(&self, f: impl FnOnce() -> V) -> V {
        self.keys.unchanged(f)
    }

    #[cfg(test)]
    pub(crate) fn keys_are_held(&self) -> bool {
        self.keys.is_held()
    }

    /// Returns a state that has learned nothing, for the key of this name.
    fn fresh(&self, name: &str) -> Option<Self> {
        let policy = lock(&self.policy_cell.0).policy.fresh(keys::hash(name))?;
        let state = Self::new(HedgerState::new(policy, M::default()));
        let key = Name::truncated(name);
        Some(Self { key, ..state })
    }

    /// Adds the metrics of all requests, with and without a key.
    fn merge_metrics(&self, total: &mut M) {
        for Padded(shard) in &self.shards {
            let mut books = lock(&shard.books);
            shard.count(&mut books);
            total.merge(&books.metrics);
        }
        for (.., state) in self.keys() {
            state.merge_metrics(total);
        }
    }

    /// Locks a shard that is not locked: the shard of this thread if possible.
    fn lock_shard(&self) -> Option<(&Shard<M>, MutexGuard<'_, Books<M>>)> {
        let own = thread_index();
        for i in 0..self.shards.len() {
            let Padded(shard) = shard_of(&self.shards, own + i)?;
            if let Some(books) = try_lock(&shard.books) {
                return Some((shard, books));
            }
        }
        let Padded(shard) = shard_of(&self.shards, own)?;
        Some((shard, lock(&shard.books)))
    }

    /// Records a request under the lock, because its record does not fit in a ring or its thread has none.
    #[inline(never)]
    fn record_locked(&self, record: &Record) {
        let Some((shard, mut books)) = self.lock_shard() else {
            return;
        };
        let (now, hedged) = (record.ended_at, record.hedged());
        // The records that this thread has pushed into the ring are older.
        if !shard.gather(&mut books) {
            self.flush(shard, &mut books, lock(&self.policy_cell.0), now);
        }
        let _ = books.pending.push(*record);
        if books.pending.len() >= MAX_BATCH || shard.is_old(now) || hedged {
            let can_wait = !hedged && !books.pending.is_full();
            self.try_flush(shard, &mut books, now, can_wait);
        }
    }

    /// Flushes the records in the ring of this thread, if no other thread has the shard or the policy.
    #[inline(never)]
    fn flush_ring(&self, shard: &Shard<M>, now: Instant) {
        if let Some(mut books) = try_lock(&shard.books) {
            self.try_flush(shard, &mut books, now, true);
        }
    }

    /// Flushes the shard's records, unless another thread has the policy and the records
    /// `can_wait`.
    fn try_flush(&self, shard: &Shard<M>, books: &mut Books<M>, now: Instant, can_wait: bool) {
        let cell = if can_wait {
            try_lock(&self.policy_cell.0)
        } else {
            Some(lock(&self.policy_cell.0))
        };
        if let Some(cell) = cell {
            self.flush(shard, books, cell, now);
        }
    }

    /// Flushes the shard's records to the policy. To avoid deadlocks, locks are always
    /// taken in this order: the changes of the keys, shard, then policy.
    fn flush(
        &self,
        shard: &Shard<M>,
        books: &mut Books<M>,
        mut cell: MutexGuard<'_, PolicyCell<S>>,
        now: Instant,
    ) {
        let PolicyCell { policy, reusable } = &mut *cell;
        let nanos = now.nanos_since(Instant::ZERO);
        shard.flushed_at.store(nanos, Ordering::Relaxed);
        books.count_pending();
        books.counted = 0;
        let pending = ClearOnDrop(&mut books.pending);
        policy.record_batch(pending.0);
        drop(pending);
        let mut places = shard.ring.waiting();
        while places.start != places.end {
            let records = shard.ring.read(&places);
            books.count_in_ring(places.start, &records);
            // Free the slots before the policy receives the records, so that records over which a strategy panics are
            // not recorded again.
            shard.ring.free(records.len());
            places.start = places.start.wrapping_add(records.len());
            policy.record_batch(&records);
        }
        self.publish_flags(policy);
        // Make the next plan here, so that no request has to wait for it.
        if *reusable {
            let (plan, still) = policy.request_plan(&Hints::NONE, now);
            *reusable = still;
            self.published.0.set(still.then_some(plan));
        }
    }

    fn publish_flags(&self, policy: &Policy<S>) {
        let flags = policy.flags().to_byte();
        // Write only if they changed: every request reads them.
        if self.flags.load(Ordering::Relaxed) != flags {
            self.flags.store(flags, Ordering::Relaxed);
        }
        let has_control = policy.has_control();
        if self.has_control.load(Ordering::Relaxed) != has_control {
            self.has_control.store(has_control, Ordering::Relaxed);
        }
        let limit = policy.limit();
        if self.limit.load(Ordering::Relaxed) != limit {
            self.limit.store(limit, Ordering::Relaxed);
        }
        let max_pushback = policy.max_pushback();
        if self.max_pushback.load(Ordering::Relaxed) != max_pushback {
            self.max_pushback.store(max_pushback, Ordering::Relaxed);
        }
    }

    fn flush_all(&self, now: Instant) {
        for Padded(shard) in &self.shards {
            let mut books = lock(&shard.books);
            self.flush(shard, &mut books, lock(&self.policy_cell.0), now);
        }
    }
}

impl<S: Strategy, M: Recorder> SharedState for Sharded<S, M> {
    type Strategy = S;
    type Metrics = M;

    fn flags(&self) -> HedgerFlags {
        HedgerFlags::from_byte(self.flags.load(Ordering::Relaxed))
    }

    fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    fn max_pushback(&self) -> u64 {
        self.max_pushback.load(Ordering::Relaxed)
    }

    fn request_plan(&self, hints: &Hints, now: Instant) -> RequestPlan {
        let anybody = hints.is_empty();
        if anybody && let Some(plan) = self.published.0.get() {
            return plan;
        }
        let mut policy_cell = lock(&self.policy_cell.0);
        let (plan, reusable) = policy_cell.policy.request_plan(hints, now);
        if anybody {
            policy_cell.reusable = reusable;
            self.published.0.set(reusable.then_some(plan));
        }
        plan
    }

    fn may_hedge(&self, query: &HedgeQuery) -> Result<Admitted, Refusal> {
        lock(&self.policy_cell.0).policy.may_hedge(query)
    }

    fn give_back_probe(&self, retry: bool) {
        lock(&self.policy_cell.0).policy.give_back_probe(retry);
    }

    fn draw_group(&self) -> Option<Group> {
        if !self.has_control.load(Ordering::Relaxed) {
            return None;
        }
        lock(&self.policy_cell.0).policy.draw_group()
    }

    // Inline this, so that the record of a request goes from registers into the ring.
    #[inline(always)]
    fn record(&self, record: &Record) {
        let thread = thread_number();
        let Some(Padded(shard)) = shard_of(&self.shards, thread.unwrap_or_default()) else {
            return;
        };
        let single = record.to_single();
        let Some(waiting) = single.and_then(|single| shard.ring.push(thread, single)) else {
            return self.record_locked(record);
        };
        if waiting >= MAX_BATCH || shard.is_old(record.ended_at) {
            self.flush_ring(shard, record.ended_at);
        }
    }

    fn count(&self, record: &Record) {
        if let Some((shard, mut books)) = self.lock_shard() {
            // Count pending requests first, to keep the order in which requests ended.
            shard.count(&mut books);
            books.metrics.record(record);
        }
    }

    fn next_id(&self) -> u64 {
        next_request()
    }

    fn edit<R>(&self, now: Instant, f: impl FnOnce(&mut Policy<S>) -> R) -> R {
        self.flush_all(now);
        let mut policy_cell = lock(&self.policy_cell.0);
        // Invalidate the plan before calling `f`, in case `f` panics: the next request makes a new
        // one.
        self.published.0.set(None);
        policy_cell.reusable = false;
        let result = f(&mut policy_cell.policy);
        self.publish_flags(&policy_cell.policy);
        result
    }

    fn metrics(&self, now: Instant) -> MetricsSnapshot {
        let mut total = M::default();
        self.merge_metrics(&mut total);
        total.snapshot(now)
    }

    fn reset_metrics(&self, now: Instant) {
        for Padded(shard) in &self.shards {
            let mut books = lock(&shard.books);
            // The pending requests ended before now, so count them before the reset.
            shard.count(&mut books);
            books.metrics.reset(now);
        }
        for (.., state) in self.keys() {
            state.reset_metrics(now);
        }
    }

    fn key(&self) -> Name {
        self.key
    }
}
