//! The decisions of a cascade: when tiers start, and which answer is returned.

use super::{CascadeOutcome, Plan, Quality, TierEnd, TierReport};
use crate::attempt::{Attempt, Cause, Verdict};
use crate::name::Name;
use crate::race::{Controller, Refused, ResultController};
use crate::record::RequestEnd;
use crate::telemetry::{Emitter, Event, EventKind, Sink};
use crate::time::Instant;

/// The decisions of one cascade.
#[derive(Debug)]
pub(super) struct CascadeController<'c, Q, K, const N: usize> {
    plan: &'c Plan<N>,
    quality: &'c Q,
    sink: &'c K,
    emitter: Emitter,
    id: u64,
    start: Instant,
    started: u8,
    /// The first `len` entries are the tiers of the plan.
    tiers: [TierReport; N],
    /// When the last tier that was started ended, if it did not return an acceptable answer.
    escalate: Option<Instant>,
}

impl<'c, Q, K: Sink, const N: usize> CascadeController<'c, Q, K, N> {
    pub(super) fn new(plan: &'c Plan<N>, quality: &'c Q, sink: &'c K) -> Self {
        let tiers = plan.tiers.map(|tier| TierReport {
            name: tier.name,
            end: TierEnd::Unused,
            start: None,
            latency: None,
            quality: None,
            cost: tier.cost,
        });
        Self {
            plan,
            quality,
            sink,
            emitter: Emitter::new(),
            id: 0,
            start: Instant::ZERO,
            started: 0,
            tiers,
            escalate: None,
        }
    }

    fn start_of(&self, index: u8) -> Instant {
        let tier = self.tiers.get(usize::from(index));
        let start = tier.and_then(|tier| tier.start);
        self.start + start.unwrap_or_default()
    }

    /// Starts tier `index`.
    fn ask(&mut self, index: u8, now: Instant) {
        self.started = index + 1;
        self.escalate = None;
        let elapsed = now.since(self.start);
        if let Some(tier) = self.tiers.get_mut(usize::from(index)) {
            tier.start = Some(elapsed);
            // This end remains if the tier is dropped before it ends.
            tier.end = TierEnd::Cancelled;
            let name = tier.name;
            self.emit(now, EventKind::TierStart { tier: index, name });
        }
    }

    /// Returns the quality of tier `index`'s answer. NaN counts as worse than any number.
    fn quality_of(&self, index: u8) -> f64 {
        let tier = self.tiers.get(usize::from(index));
        let quality = tier.and_then(|tier| tier.quality);
        quality
            .filter(|quality| !quality.is_nan())
            .unwrap_or(f64::NEG_INFINITY)
    }

    fn outcome(&self, end: RequestEnd, now: Instant) -> CascadeOutcome<N> {
        let tiers = || self.tiers.iter().take(self.plan.len);
        let cost = |counts: fn(&TierReport) -> bool| {
            let counted = tiers().filter(|tier| counts(tier));
            // Fold from +0, since the `sum` of nothing is −0.
            counted.fold(0.0, |sum, tier| sum + tier.cost)
        };
        // Finds the best of the answers below their thresholds, or the first of equally good ones.
        let best = || {
            let answered = |index: &u8| {
                let tier = self.tiers.get(usize::from(*index));
                tier.is_some_and(|tier| tier.quality.is_some())
            };
            let better = |best, index| {
                if self.quality_of(index) > self.quality_of(best) {
                    index
                } else {
                    best
                }
            };
            (0..self.started).filter(answered).reduce(better)
        };
        let tier = match end {
            RequestEnd::Won(index) => Some(index),
            RequestEnd::Fatal(_) | RequestEnd::Dropped | RequestEnd::NoReplica(_) => None,
            RequestEnd::Failed(_) | RequestEnd::TimedOut => best(),
        };
        CascadeOutcome {
            accepted: matches!(end, RequestEnd::Won(_)),
            timed_out: end == RequestEnd::TimedOut,
            tier: tier.map(usize::from),
            hedges_fired: self.started.saturating_sub(1),
            total_latency: now.since(self.start),
            total_cost: cost(|tier| tier.start.is_some()),
            completed_cost: cost(|tier| tier.quality.is_some()),
            tiers: self.tiers,
            len: self.plan.len,
        }
    }

    fn emit(&mut self, at: Instant, kind: EventKind) {
        if self.emitter.is_heard(self.sink) {
            let event = Event {
                request: self.id,
                at,
                strategy_name: self.plan.name,
                key: Name::EMPTY,
                kind,
            };
            let prefix = &self.plan.telemetry_prefix;
            self.emitter.emit(self.sink, prefix, &event);
        }
    }

    fn emit_end(&mut self, end: RequestEnd, now: Instant, outcome: &CascadeOutcome<N>) {
        for (index, tier) in (0..self.started).zip(self.tiers) {
            if let (TierEnd::Cancelled, Some(elapsed)) = (tier.end, tier.latency) {
                let name = tier.name;
                self.emit(
                    now,
                    EventKind::TierCancelled {
                        tier: index,
                        name,
                        elapsed,
                    },
                );
            }
        }
        let duration = outcome.total_latency;
        self.emit(
            now,
            match outcome.tier {
                Some(tier) => EventKind::CascadeStop {
                    duration,
                    tier: tier as u8,
                    accepted: outcome.accepted,
                    total_cost: outcome.total_cost,
                    completed_cost: outcome.completed_cost,
                },
                None if end == RequestEnd::Dropped => EventKind::CascadeDropped { duration },
                None => EventKind::CascadeException {
                    duration,
                    timed_out: outcome.timed_out,
                },
            },
        );
    }
}

impl<Q, K: Sink, const N: usize> Controller for CascadeController<'_, Q, K, N> {
    type Output = CascadeOutcome<N>;

    fn start(&mut self, now: Instant) {
        self.start = now;
        if self.emitter.is_heard(self.sink) {
            self.id = self.plan.ids.next();
        }
        let tiers = self.plan.len as u8;
        self.emit(now, EventKind::CascadeStart { tiers });
        // Without time, nothing is sent.
        if self.plan.timeout != Some(core::time::Duration::ZERO) {
            self.ask(0, now);
        }
    }

    fn primary(&mut self) -> Result<Attempt, RequestEnd> {
        if self.started == 0 {
            return Err(RequestEnd::TimedOut);
        }
        Ok(Attempt::PRIMARY)
    }

    fn deadline(&mut self) -> Option<Instant> {
        Some(self.start + self.plan.timeout?)
    }

    fn due(&mut self) -> Option<Instant> {
        if usize::from(self.started) >= self.plan.len {
            return None;
        }
        if self.escalate.is_some() {
            return self.escalate;
        }
        let last = self.started.checked_sub(1)?;
        let delay = self.plan.tiers.get(usize::from(last))?.delay?;
        Some(self.start_of(last) + delay)
    }

    fn admit(&mut self, now: Instant) -> Option<Attempt> {
        let (index, last) = (self.started, self.started.saturating_sub(1));
        let cause = if self.escalate.is_some() {
            Cause::Retry
        } else {
            let elapsed = now.since(self.start_of(last));
            let name = self.tiers.get(usize::from(last))?.name;
            self.emit(
                now,
                EventKind::TierTimeout {
                    tier: last,
                    name,
                    elapsed,
                },
            );
            Cause::Delay
        };
        self.ask(index, now);
        Some(Attempt::new(index, cause, now.since(self.start)))
    }

    fn completed(&mut self, end: RequestEnd, now: Instant) -> CascadeOutcome<N> {
        let elapsed = now.since(self.start);
        for tier in &mut self.tiers {
            if tier.latency.is_none() {
                tier.latency = tier.start.map(|start| elapsed.saturating_sub(start));
            }
        }
        let outcome = self.outcome(end, now);
        self.emit_end(end, now, &outcome);
        outcome
    }
}

impl<V, E, Q: Quality<V>, K: Sink, const N: usize> ResultController<V, E>
    for CascadeController<'_, Q, K, N>
{
    fn finished(&mut self, index: u8, result: &Result<V, E>, now: Instant) -> Verdict {
        let quality = result.as_ref().ok().map(|value| self.quality.of(value));
        let latency = now.since(self.start_of(index));
        let threshold = self.plan.tiers.get(usize::from(index));
        let accepted = quality
            .zip(threshold)
            .is_some_and(|(quality, tier)| tier.accepts(quality));
        if let Some(tier) = self.tiers.get_mut(usize::from(index)) {
            tier.latency = Some(latency);
            tier.quality = quality;
            tier.end = match quality {
                Some(_) if accepted => TierEnd::Won,
                Some(_) => TierEnd::Insufficient,
                None => TierEnd::Failed,
            };
            let completed = EventKind::TierCompleted {
                tier: index,
                name: tier.name,
                latency,
                quality,
                accepted,
            };
            self.emit(now, completed);
        }
        if accepted {
            return Verdict::Accept;
        }
        if index + 1 == self.started {
            self.escalate = Some(now);
        }
        Verdict::Retry
    }
}

/// Keeps the best of the answers below their thresholds, and all errors.
#[derive(Debug)]
pub(super) struct Kept<V, E, const N: usize> {
    best: Option<(u8, V)>,
    pub(super) errors: [Option<E>; N],
}

impl<V, E, const N: usize> Default for Kept<V, E, N> {
    fn default() -> Self {
        Self {
            best: None,
            errors: [const { None }; N],
        }
    }
}

impl<V, E, Q, K: Sink, const N: usize> Refused<CascadeController<'_, Q, K, N>, V, E>
    for Kept<V, E, N>
{
    fn keep(
        &mut self,
        controller: &CascadeController<'_, Q, K, N>,
        index: u8,
        result: Result<V, E>,
    ) {
        match result {
            Ok(value) => {
                // Tiers may answer out of order. Of equally good answers, keep the first tier's.
                let rank = |index: u8| (controller.quality_of(index), core::cmp::Reverse(index));
                if self
                    .best
                    .as_ref()
                    .is_none_or(|(best, _)| rank(index) > rank(*best))
                {
                    self.best = Some((index, value));
                }
            }
            Err(error) => {
                if let Some(slot) = self.errors.get_mut(usize::from(index)) {
                    *slot = Some(error);
                }
            }
        }
    }

    fn take(&mut self) -> Option<(u8, Result<V, E>)> {
        if let Some((index, value)) = self.best.take() {
            return Some((index, Ok(value)));
        }
        let failed =
            |(index, slot): (usize, &mut Option<E>)| Some((index as u8, Err(slot.take()?)));
        self.errors.iter_mut().enumerate().find_map(failed)
    }

    /// Returns the best answer, even though it is below its threshold.
    fn take_late(&mut self) -> Option<Result<V, E>> {
        self.best.take().map(|(_, value)| Ok(value))
    }
}
