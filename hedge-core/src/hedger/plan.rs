//! The plan of one request, made when it first has to wait.

use core::num::NonZeroU8;
use core::time::Duration;

use crate::hedger::{PolicyOptions, Traffic};
use crate::outcome::{StrategyKind, Suppressed};
use crate::strategy::{Hints, HintsClass, Plan, Strategy};
use crate::time;
use crate::time::Instant;

/// The plan and the limits of one request.
///
/// It has 40 bytes, so that a request in flight stays small and servers can publish it in a few
/// atomics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestPlan {
    delay: u64,
    step: u64,
    timeout: u64,
    attempt_timeout: u64,
    chance: f32,
    reason: u8,
    max_hedges: u8,
    flags: u8,
    losers: Losers,
}

/// How attempts end when another one has answered their request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
// This variant needs `std`, as tasks do.
#[cfg_attr(not(feature = "std"), allow(dead_code))]
pub(crate) enum Losers {
    /// The request's future drops them.
    Dropped,
    /// They stay in the future, so that they can be polled further.
    Kept,
    /// They are tasks that are aborted, and end some time later. Each one holds its own permit.
    Aborted,
    /// They are tasks that run to completion. Each one holds its own permit.
    Detached,
}

impl Losers {
    /// Returns whether attempts hold their own permits.
    pub(crate) fn hold_places(self) -> bool {
        // Tasks need `std`.
        cfg!(feature = "std") && matches!(self, Self::Aborted | Self::Detached)
    }
}

/// The number of nanoseconds that stands for `None`.
const NEVER: u64 = u64::MAX;

impl RequestPlan {
    /// The plan of a request that is never hedged.
    pub(crate) const OFF: Self = Self {
        delay: NEVER,
        step: 0,
        timeout: NEVER,
        attempt_timeout: NEVER,
        chance: 1.0,
        reason: Suppressed::Off as u8,
        max_hedges: 0,
        flags: 0,
        losers: Losers::Dropped,
    };
    const OBSERVE_ONLY: u8 = 1;

    pub(crate) fn new(plan: &Plan, options: &PolicyOptions, hints: &Hints) -> Self {
        let planned = Self {
            delay: plan.delay_nanos(),
            step: plan.step_nanos(),
            timeout: options.timeout,
            attempt_timeout: options.attempt_timeout,
            chance: plan.chance(),
            reason: plan.suppressed().unwrap_or(Suppressed::NotDue) as u8,
            max_hedges: options.max_hedges,
            flags: u8::from(options.observe_only) | hints.class().0 << 1,
            losers: if options.enable_cancellation {
                Losers::Dropped
            } else {
                Losers::Kept
            },
        };
        if planned.is_off() {
            planned.without_limits()
        } else {
            planned
        }
    }

    /// Returns the plan without the hedger's time limits, which a request that may not be hedged
    /// would not have had without the hedger.
    pub(crate) fn without_limits(self) -> Self {
        Self {
            timeout: NEVER,
            attempt_timeout: NEVER,
            ..self
        }
    }

    /// Returns whether hedging is off, including retries.
    pub(crate) fn is_off(&self) -> bool {
        self.reason() == Suppressed::Off
    }

    /// Returns the plan with hedging turned off.
    pub(crate) fn off(self) -> Self {
        Self {
            delay: NEVER,
            reason: Suppressed::Off as u8,
            ..self
        }
    }

    /// Returns the plan with a time limit of at most `timeout` nanoseconds.
    pub(crate) fn within(self, timeout: u64) -> Self {
        Self {
            timeout: self.timeout.min(timeout),
            ..self
        }
    }

    /// Returns the plan for a request that started at `start` and must end by `deadline`.
    /// [`Instant::MAX`] means no deadline.
    pub(crate) fn until(self, deadline: Instant, start: Instant) -> Self {
        match deadline {
            Instant::MAX => self,
            _ => self.within(deadline.nanos_since(start)),
        }
    }

    /// Returns the plan with another choice about losers.
    pub(crate) fn with_losers(self, losers: Losers) -> Self {
        Self { losers, ..self }
    }

    /// Returns the plan with at most `max_hedges` hedges.
    pub(crate) fn at_most(self, max_hedges: u8) -> Self {
        Self {
            max_hedges: self.max_hedges.min(max_hedges),
            ..self
        }
    }

    /// Returns why no hedge is planned; `NotDue` if one is.
    pub(crate) fn reason(&self) -> Suppressed {
        let reason = Suppressed::ALL.get(usize::from(self.reason));
        reason.copied().unwrap_or(Suppressed::NotDue)
    }

    pub(crate) fn delay(&self) -> Option<Duration> {
        (self.delay != NEVER).then(|| time::duration(self.delay))
    }

    /// Returns the delay in nanoseconds; the largest number if no hedge is planned.
    pub(crate) fn delay_nanos(&self) -> u64 {
        self.delay
    }

    /// Returns when hedge `k`, 1 or more, is due, in nanoseconds from the start of the request.
    pub(crate) fn offset(&self, k: u8) -> Option<u64> {
        let later = self.step.saturating_mul(u64::from(k.saturating_sub(1)));
        (self.delay != NEVER).then(|| self.delay.saturating_add(later))
    }

    pub(crate) fn deadline(&self, start: Instant) -> Option<Instant> {
        (self.timeout != NEVER).then(|| start.later(self.timeout))
    }

    /// Returns how long the primary may take, in nanoseconds; the largest number if there is no limit.
    pub(crate) fn limit(&self) -> u64 {
        self.timeout.min(self.attempt_timeout)
    }

    /// Returns the time limit of each attempt, in nanoseconds; `None` if there is none.
    pub(crate) fn attempt_timeout(&self) -> Option<u64> {
        (self.attempt_timeout != NEVER).then_some(self.attempt_timeout)
    }

    pub(crate) fn chance(&self) -> f32 {
        self.chance
    }

    pub(crate) fn max_hedges(&self) -> u8 {
        self.max_hedges
    }

    /// Returns how many nanoseconds a request has whose primary a hedge may replace if it never answers; 0 if no hedge
    /// is planned. The largest number means no limit.
    pub(crate) fn rescue_limit(&self) -> u64 {
        let may_start = self.max_hedges > 0 && !self.observe_only() && self.chance > 0.0;
        if may_start && self.delay != NEVER {
            self.timeout
        } else {
            0
        }
    }

    pub(crate) fn observe_only(&self) -> bool {
        self.flags & Self::OBSERVE_ONLY != 0
    }

    /// Returns the caller's hints, completed by the hedger's defaults.
    pub(crate) fn hints(&self) -> HintsClass {
        HintsClass(self.flags >> 1)
    }

    pub(crate) fn losers(&self) -> Losers {
        self.losers
    }

    /// Encodes the plan for storage in atomics.
    #[cfg(feature = "std")]
    pub(crate) fn to_words(self) -> [u64; 5] {
        let [c0, c1, c2, c3] = self.chance.to_le_bytes();
        let kept = u8::from(self.losers == Losers::Kept);
        let rest = [
            c0,
            c1,
            c2,
            c3,
            self.reason,
            self.max_hedges,
            self.flags,
            kept,
        ];
        [
            self.delay,
            self.step,
            self.timeout,
            self.attempt_timeout,
            u64::from_le_bytes(rest),
        ]
    }

    #[cfg(feature = "std")]
    pub(crate) fn from_words(words: [u64; 5]) -> Self {
        let [delay, step, timeout, attempt_timeout, rest] = words;
        let [c0, c1, c2, c3, reason, max_hedges, flags, kept] = rest.to_le_bytes();
        Self {
            delay,
            step,
            timeout,
            attempt_timeout,
            chance: f32::from_le_bytes([c0, c1, c2, c3]),
            reason,
            max_hedges,
            flags,
            // The other variants are never published: they are options of a single request.
            losers: if kept == 0 {
                Losers::Dropped
            } else {
                Losers::Kept
            },
        }
    }
}

/// The flags of a hedger that are needed even for a request that is ready immediately.
///
/// The kind of the strategy and the flags are stored in one byte, so that servers can publish it in
/// an atomic and each request can hold a copy. The byte is never 0, so that an `Option` of it is a byte too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HedgerFlags(NonZeroU8);

impl HedgerFlags {
    const LIMITED: u8 = 1 << 4;
    const SLOW: u8 = 1 << 5;
    const OFF: u8 = 1 << 6;
    const LEARNS: u8 = 1 << 7;

    pub(crate) fn new<S: Strategy>(
        strategy: &S,
        options: &PolicyOptions,
        guarded: bool,
        slow: bool,
    ) -> Self {
        let kind = strategy.kind();
        let off = !options.enabled || kind == StrategyKind::Off;
        let learns = strategy.learns() || guarded;
        let limited = options.limit() != NEVER || options.max_pushback != NEVER;
        let limited = !off && limited;
        Self::of(kind, off, learns, slow, limited)
    }

    fn of(kind: StrategyKind, off: bool, learns: bool, slow: bool, limited: bool) -> Self {
        let off = if off { Self::OFF } else { 0 };
        let learns = if learns { Self::LEARNS } else { 0 };
        let slow = if slow { Self::SLOW } else { 0 };
        let limited = if limited { Self::LIMITED } else { 0 };
        // The kind is stored plus 1.
        Self(NonZeroU8::MIN.saturating_add(kind as u8) | (off | learns | slow | limited))
    }

    const fn has(self, flag: u8) -> bool {
        self.0.get() & flag != 0
    }

    pub(crate) fn kind(self) -> StrategyKind {
        let kind = usize::from(self.0.get() & (Self::LIMITED - 1));
        let kind = StrategyKind::ALL.get(kind.wrapping_sub(1));
        kind.copied().unwrap_or(StrategyKind::Custom)
    }

    pub(crate) const fn off(self) -> bool {
        self.has(Self::OFF)
    }

    /// Returns whether the hedger learns from requests, so that they have to be timed.
    pub(crate) const fn learns(self) -> bool {
        self.has(Self::LEARNS)
    }

    /// Returns whether the hedger limits the time of requests or attempts, or how long they wait for a server.
    pub(crate) const fn is_limited(self) -> bool {
        self.has(Self::LIMITED)
    }

    /// Returns whether the strategy may plan [`Suppressed::Off`] for some requests and not for others: a custom one,
    /// by itself or within another.
    pub(crate) fn may_plan_off(self) -> bool {
        matches!(
            self.kind(),
            StrategyKind::Custom | StrategyKind::WorkloadAware
        )
    }

    /// Returns the state of the traffic, which a deposit reports to the budget.
    pub(crate) const fn traffic(self) -> Traffic {
        Traffic {
            surging: false,
            slow: self.has(Self::SLOW),
        }
    }

    #[cfg(feature = "std")]
    pub(crate) const fn to_byte(self) -> u8 {
        self.0.get()
    }

    #[cfg(feature = "std")]
    pub(crate) fn from_byte(byte: u8) -> Self {
        Self(NonZeroU8::new(byte).unwrap_or(NonZeroU8::MIN))
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::hedger::Options;

    #[test]
    fn words_lose_nothing() {
        let mut options = Options {
            attempt_timeout: Some(Duration::from_nanos(987)),
            observe_only: true,
            ..Options::DEFAULT
        };
        let plan = Plan::after(Duration::from_nanos(123_456_789_012))
            .then_every(Duration::from_nanos(7))
            .with_chance(0.3);
        for keep in [false, true] {
            options.enable_cancellation = keep;
            for plan in [plan, Plan::never(Suppressed::WarmingUp)] {
                let request = RequestPlan::new(&plan, &PolicyOptions::new(options), &Hints::NONE);
                assert_eq!(RequestPlan::from_words(request.to_words()), request);
                assert_eq!(request.offset(3), plan.offset(3).map(time::nanos));
            }
        }
        for kind in StrategyKind::ALL {
            let flags = HedgerFlags::of(kind, true, false, true, false);
            assert!(!flags.is_limited());
            assert!(HedgerFlags::of(kind, false, false, false, true).is_limited());
            assert_eq!(
                (flags.kind(), flags.off(), flags.learns()),
                (kind, true, false)
            );
            assert!(flags.traffic().slow);
            assert_eq!(HedgerFlags::from_byte(flags.to_byte()), flags);
        }
    }
}
