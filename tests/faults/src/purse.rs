//! What a budget should hold, kept by other means than the budget's own.

use hedge_core::Budget;

use crate::clock::Clock;
use crate::world::World;

const TOKEN: i64 = 1_000_000;
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
            burst: world.pick(&[0, 1, 2, 3, 10, 50, u32::MAX]),
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

    /// The deposit of one request, in millionths of a token.
    pub(crate) fn deposit(self) -> i64 {
        i64::from(self.percent.unwrap_or(0)) * TOKEN / 100
    }

    pub(crate) fn capacity(self) -> i64 {
        match self.percent {
            None | Some(0) => 0,
            Some(_) => i64::from(self.burst) * TOKEN,
        }
    }

    /// What a new budget holds.
    fn start(self) -> i64 {
        self.capacity().min(10 * TOKEN)
    }

    /// In hedges a second and hedges at once, rounded up.
    fn reserve(self) -> u128 {
        self.per_second.ceil() as u128
    }
}

/// Deposits and charges, in millionths of a token.
///
/// What a budget reserves for a hedge that has to be patient cannot be seen. So it is known between which two numbers its
/// tokens are: as if all had been reserved that may have been, and as if nothing had.
#[derive(Debug)]
pub(crate) struct Purse {
    limits: Limits,
    /// Less than 0 where more may have been reserved than there was.
    least: i64,
    most: i64,
    /// How many requests may have reserved a token.
    reserving: u32,
    /// Something was refused, so that delay hedges and retries may keep to their halves.
    contested: bool,
    /// What was paid by the reserve, and what that may have been without the present options.
    reserve_paid: u128,
    reserve_before: u128,
    since: u64,
}

impl Purse {
    pub(crate) fn new(limits: Limits, now: u64) -> Self {
        let tokens = limits.start();
        Self {
            limits,
            least: tokens,
            most: tokens,
            reserving: 0,
            contested: false,
            reserve_paid: 0,
            reserve_before: 0,
            since: now,
        }
    }

    /// The least and the most that there may be. `None` if the budget has no limit.
    pub(crate) fn tokens(&self) -> Option<(i64, i64)> {
        self.limits.percent.map(|_| (self.least, self.most))
    }

    /// How many requests may have reserved a token and a place.
    pub(crate) fn reserving(&self) -> u32 {
        self.reserving
    }

    pub(crate) fn deposit(&mut self) {
        if self.limits.percent.is_some() {
            let deposit = self.limits.deposit();
            // What is about to be reserved may not have been when the bucket was full.
            let reserved = i64::from(self.reserving) * TOKEN;
            self.least = (self.least + deposit).min(self.limits.capacity() - reserved);
            self.most = (self.most + deposit).min(self.most_capacity());
        }
    }

    /// What is reserved leaves room for deposits, and is given back in part.
    fn most_capacity(&self) -> i64 {
        self.limits.capacity() + i64::from(self.reserving) * TOKEN
    }

    /// A request asks for a token to reserve. Where the reserve per second pays, nothing shows that the bucket refused.
    pub(crate) fn may_be_refused_unseen(&mut self) {
        self.contested |= self.has_reserve() && self.least < TOKEN;
    }

    /// A request may reserve a token from now on.
    pub(crate) fn may_reserve(&mut self) {
        self.reserving += 1;
        self.least -= TOKEN;
    }

    /// A request that may have reserved a token is over.
    pub(crate) fn may_have_refunded(&mut self) {
        self.reserving -= 1;
        self.least = (self.least + TOKEN).min(self.limits.capacity());
        self.most = self.most.min(self.most_capacity());
    }

    /// The budget has refused something, or may have.
    pub(crate) fn contest(&mut self) {
        self.contested = true;
    }

    /// Whether the bucket would pay for another hedge, for all that is known.
    pub(crate) fn has_token(&self) -> bool {
        self.limits.percent.is_none() || self.least >= TOKEN && !self.contested
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
        let is_known = self.has_token() && self.reserving == 0;
        if !self.has_reserve() || is_known {
            let paid = self.most >= TOKEN;
            self.least -= TOKEN;
            self.most -= TOKEN;
            return paid;
        }
        // The bucket refused before the reserve paid.
        self.contested = true;
        if self.most >= TOKEN {
            // Which of them paid is not known.
            self.least -= TOKEN;
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
        (self.least, self.most) = match self.limits.percent {
            Some(_) => (self.least, self.most),
            None => (limits.start(), limits.start()),
        };
        self.limits = limits;
        self.least = self.least.min(limits.capacity());
        self.most = self.most.min(self.most_capacity());
    }
}
