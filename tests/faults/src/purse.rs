//! What a budget should hold, kept by other means than the budget's own.

use hedge_core::Budget;

use crate::clock::Clock;
use crate::world::World;

const TOKEN: u64 = 1_000_000;
const SECOND: u128 = 1_000_000_000;

/// The options of a budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `None` for no limit.
    percent: Option<u32>,
    burst: u32,
    per_second: f64,
    max_in_flight: Option<u32>,
}

impl Limits {
    pub(crate) fn draw(world: &World, max_hedges: u8) -> Self {
        let most = 100 * u32::from(max_hedges);
        let percent = world.pick(&[0, 1, 10, 25, 50, 100, most]);
        Self {
            percent: (world.below(4) > 0).then_some(percent.min(most)),
            burst: world.pick(&[0, 1, 2, 3, 10, u32::MAX]),
            per_second: world.pick(&[0.0, 0.0, 0.5, 3.0, 1000.0]),
            max_in_flight: (world.below(4) == 0).then(|| 1 + world.below(3) as u32),
        }
    }

    pub(crate) fn budget(self) -> Budget {
        let budget = match self.percent {
            Some(percent) => Budget::percent(percent.into())
                .burst(self.burst)
                .min_per_second(self.per_second),
            None => Budget::unlimited(),
        };
        match self.max_in_flight {
            Some(max) => budget.max_in_flight(max),
            None => budget,
        }
    }

    /// No limit.
    pub(crate) const NONE: Self = Self {
        percent: None,
        burst: 0,
        per_second: 0.0,
        max_in_flight: None,
    };

    fn capacity(self) -> u64 {
        match self.percent {
            None | Some(0) => 0,
            Some(_) => u64::from(self.burst) * TOKEN,
        }
    }

    /// In hedges a second and hedges at once, rounded up.
    fn reserve(self) -> u128 {
        self.per_second.ceil() as u128
    }
}

/// Deposits and charges, in millionths of a token.
#[derive(Debug)]
pub(crate) struct Purse {
    limits: Limits,
    tokens: u64,
    /// What was paid by the reserve, and what that may have been without the present options.
    reserve_paid: u128,
    reserve_before: u128,
    since: u64,
}

impl Purse {
    pub(crate) fn new(limits: Limits, now: u64) -> Self {
        Self {
            limits,
            tokens: limits.capacity(),
            reserve_paid: 0,
            reserve_before: 0,
            since: now,
        }
    }

    /// Absent if the budget has no limit.
    pub(crate) fn tokens(&self) -> Option<u64> {
        self.limits.percent.map(|_| self.tokens)
    }

    pub(crate) fn deposit(&mut self) {
        if let Some(percent) = self.limits.percent {
            let deposit = u64::from(percent) * TOKEN / 100;
            self.tokens = (self.tokens + deposit).min(self.limits.capacity());
        }
    }

    /// Whether the bucket pays for another hedge.
    pub(crate) fn has_token(&self) -> bool {
        self.limits.percent.is_none() || self.tokens >= TOKEN
    }

    pub(crate) fn has_reserve(&self) -> bool {
        self.limits.percent.is_some() && self.limits.per_second > 0.0
    }

    pub(crate) fn max_in_flight(&self) -> u32 {
        self.limits.max_in_flight.unwrap_or(u32::MAX)
    }

    /// A hedge was paid for. Whether that can be.
    pub(crate) fn charge(&mut self, clock: &Clock) -> bool {
        if self.limits.percent.is_none() {
            return true;
        }
        if let Some(rest) = self.tokens.checked_sub(TOKEN) {
            self.tokens = rest;
            return true;
        }
        self.reserve_paid += 1;
        self.reserve_paid <= self.reserve_before + self.reserve(clock)
    }

    /// What the reserve may have paid under the present options: a second's worth that it had, and what
    /// was added since.
    fn reserve(&self, clock: &Clock) -> u128 {
        if !self.has_reserve() {
            return 0;
        }
        let rate = self.limits.reserve();
        let elapsed = u128::from(clock.most_since(self.since));
        rate + (rate * elapsed).div_ceil(SECOND)
    }

    pub(crate) fn reconfigure(&mut self, limits: Limits, clock: &Clock) {
        self.reserve_before += self.reserve(clock);
        self.since = clock.now();
        self.tokens = match self.limits.percent {
            Some(_) => self.tokens.min(limits.capacity()),
            None => limits.capacity(),
        };
        self.limits = limits;
    }
}
