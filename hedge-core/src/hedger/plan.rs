//! The plan of one request, made when it first has to wait.

use core::time::Duration;

use crate::hedger::{Options, Traffic};
use crate::outcome::{StrategyKind, Suppressed};
use crate::strategy::{Plan, Strategy};
use crate::time;
use crate::time::Instant;

/// The plan and the limits of one request.
///
/// It has 32 bytes, so that a request in flight stays small and servers can publish it in a few
/// atomics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestPlan {
    delay: u64,
    step: u64,
    timeout: u64,
    chance: f32,
    reason: u8,
    max_hedges: u8,
    observe_only: bool,
    losers: Losers,
}

/// How attempts end when another one has answered their request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
// Tasks need `std`.
#[cfg_attr(not(feature = "std"), allow(dead_code))]
pub(crate) enum Losers {
    /// The future drops them, which ends them.
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
        matches!(self, Self::Aborted | Self::Detached)
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
        chance: 1.0,
        reason: Suppressed::Off as u8,
        max_hedges: 0,
        observe_only: false,
        losers: Losers::Dropped,
    };

    pub(crate) fn new(plan: &Plan, options: &Options) -> Self {
        Self {
            delay: plan.delay().map_or(NEVER, time::nanos),
            step: plan.step().map_or(0, time::nanos),
            timeout: options.timeout.map_or(NEVER, time::nanos),
            chance: plan.chance(),
            reason: plan.suppressed().unwrap_or(Suppressed::NotDue) as u8,
            max_hedges: options.max_hedges,
            observe_only: options.observe_only,
            losers: if options.enable_cancellation {
                Losers::Dropped
            } else {
                Losers::Kept
            },
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
        (self.delay != NEVER).then(|| Duration::from_nanos(self.delay))
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

    pub(crate) fn chance(&self) -> f32 {
        self.chance
    }

    pub(crate) fn max_hedges(&self) -> u8 {
        self.max_hedges
    }

    pub(crate) fn observe_only(&self) -> bool {
        self.observe_only
    }

    pub(crate) fn losers(&self) -> Losers {
        self.losers
    }

    /// Encodes the plan for storage in atomics.
    #[cfg(feature = "std")]
    pub(crate) fn to_words(self) -> [u64; 4] {
        let [c0, c1, c2, c3] = self.chance.to_le_bytes();
        let flags = u8::from(self.observe_only) | u8::from(self.losers == Losers::Kept) << 1;
        let rest = [c0, c1, c2, c3, self.reason, self.max_hedges, flags, 0];
        [
            self.delay,
            self.step,
            self.timeout,
            u64::from_le_bytes(rest),
        ]
    }

    #[cfg(feature = "std")]
    pub(crate) fn from_words([delay, step, timeout, rest]: [u64; 4]) -> Self {
        let [c0, c1, c2, c3, reason, max_hedges, flags, _] = rest.to_le_bytes();
        Self {
            delay,
            step,
            timeout,
            chance: f32::from_le_bytes([c0, c1, c2, c3]),
            reason,
            max_hedges,
            observe_only: flags & 1 != 0,
            // The other variants are never published: they are options of a single request.
            losers: if flags & 2 == 0 {
                Losers::Dropped
            } else {
                Losers::Kept
            },
        }
    }
}

/// The flags of a hedger that are needed even for a request that is ready immediately.
///
/// The kind of the strategy and two flags are stored in one byte, so that servers can publish it in
/// an atomic and each request can hold a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HedgerFlags(u8);

impl HedgerFlags {
    const SLOW: u8 = 1 << 5;
    const OFF: u8 = 1 << 6;
    const LEARNS: u8 = 1 << 7;

    pub(crate) fn new<S: Strategy>(
        strategy: &S,
        options: &Options,
        guarded: bool,
        slow: bool,
    ) -> Self {
        let kind = strategy.kind();
        let off = !options.enabled || kind == StrategyKind::Off;
        let learns = strategy.learns() || guarded;
        Self::of(kind, off, learns, slow)
    }

    const fn of(kind: StrategyKind, off: bool, learns: bool, slow: bool) -> Self {
        let off = if off { Self::OFF } else { 0 };
        let learns = if learns { Self::LEARNS } else { 0 };
        let slow = if slow { Self::SLOW } else { 0 };
        Self(kind as u8 | off | learns | slow)
    }

    pub(crate) fn kind(self) -> StrategyKind {
        let kind = usize::from(self.0 & !(Self::OFF | Self::LEARNS | Self::SLOW));
        let kind = StrategyKind::ALL.get(kind);
        kind.copied().unwrap_or(StrategyKind::Custom)
    }

    pub(crate) const fn off(self) -> bool {
        self.0 & Self::OFF != 0
    }

    /// Returns whether the hedger learns from requests, so that they have to be timed.
    pub(crate) const fn learns(self) -> bool {
        self.0 & Self::LEARNS != 0
    }

    /// What the budget is told of a request that is made.
    pub(crate) const fn traffic(self) -> Traffic {
        Traffic {
            surging: false,
            slow: self.0 & Self::SLOW != 0,
        }
    }

    #[cfg(feature = "std")]
    pub(crate) const fn to_byte(self) -> u8 {
        self.0
    }

    #[cfg(feature = "std")]
    pub(crate) const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn words_lose_nothing() {
        let mut options = Options {
            timeout: None,
            observe_only: true,
            ..Options::DEFAULT
        };
        let plan = Plan::after(Duration::from_nanos(123_456_789_012))
            .then_every(Duration::from_nanos(7))
            .with_chance(0.3);
        for keep in [false, true] {
            options.enable_cancellation = keep;
            for plan in [plan, Plan::never(Suppressed::WarmingUp)] {
                let request = RequestPlan::new(&plan, &options);
                assert_eq!(RequestPlan::from_words(request.to_words()), request);
                assert_eq!(request.offset(3), plan.offset(3).map(time::nanos));
            }
        }
        for kind in StrategyKind::ALL {
            let flags = HedgerFlags::of(kind, true, false, true);
            assert_eq!(
                (flags.kind(), flags.off(), flags.learns()),
                (kind, true, false)
            );
            assert!(flags.traffic().slow);
            assert_eq!(HedgerFlags::from_byte(flags.to_byte()), flags);
        }
    }
}
