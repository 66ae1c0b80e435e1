//! How much extra load the callee is asked to bear.

use crate::error::ConfigError;
use crate::lock::Lock;
use crate::outcome::Suppressed;
use crate::time::Instant;

/// Bounds extra attempts three ways: by a share of the requests, by a reserve per second for when that is
/// spent, and by how many are in flight. A hedge is charged to all that it needs or to none.
///
/// * **Ratio.** A token bucket that holds `burst` tokens and starts full. Every request deposits
///   `percent / 100` of a token and every hedge takes one: n requests start at most `burst + n ×
///   percent / 100` hedges, however slow the callee becomes.
/// * **Reserve.** When the bucket is empty, up to `min_per_second` more hedges a second may start, so
///   that a client with little traffic can hedge at all.
/// * **In flight.** At most `max_in_flight` hedges run at once.
///
/// Whoever makes a request deposits. One budget can serve several hedgers and a retry layer: share the
/// [`Lock`] around it, or `SharedBudget` on servers.
///
/// ```
/// use hedge_core::{Budget, Instant, Suppressed};
///
/// let mut budget = Budget::percent(10.0).burst(1);
/// assert_eq!(budget.withdraw(Instant::ZERO), Ok(()));
/// assert_eq!(budget.withdraw(Instant::ZERO), Err(Suppressed::BudgetRatio));
/// for _ in 0..10 {
///     budget.deposit();
/// }
/// assert_eq!(budget.withdraw(Instant::ZERO), Ok(()));
/// assert_eq!(budget.in_flight(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    percent: f64,
    burst: u32,
    min_per_second: f64,
    max_in_flight: Option<u32>,
    unlimited: bool,

    /// What a request deposits, in millionths of a token, as are the next three.
    deposit: u32,
    tokens: u64,
    /// What a second adds to the reserve.
    rate: u64,
    reserve: u64,
    refilled: Instant,
    in_flight: u32,
}

const TOKEN: u64 = 1_000_000;

impl Budget {
    /// Hedges up to `percent` of the requests: 0 for none, 10 for one request in ten, up to 100 × the
    /// number of hedges a request may have. Millionths of a request are the finest step. At 0 the
    /// bucket holds nothing, whatever the burst.
    pub const fn percent(percent: f64) -> Self {
        // Casts of floats saturate, and a NaN becomes 0; `validate` says so.
        let deposit = (percent * (TOKEN / 100) as f64 + 0.5) as u32;
        Self {
            percent,
            burst: 10,
            min_per_second: 0.0,
            max_in_flight: None,
            unlimited: false,
            deposit,
            tokens: 0,
            rate: 0,
            reserve: 0,
            refilled: Instant::ZERO,
            in_flight: 0,
        }
        .full()
    }

    /// No bound, for tests and for measuring what a budget costs. Not for production: when the callee
    /// is slow, every request becomes several.
    pub const fn unlimited() -> Self {
        Self {
            unlimited: true,
            ..Self::percent(0.0)
        }
    }

    /// How many tokens the bucket holds. Default: 10. Where more hedges than that come due at one moment, the
    /// others are refused, even at 100 %: take at least as many as requests that may become slow together.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self.full()
    }

    /// How many hedges a second may start when the bucket is empty; millionths of a hedge are the finest
    /// step. Default: 0.
    #[must_use]
    pub const fn min_per_second(mut self, hedges: f64) -> Self {
        self.min_per_second = hedges;
        self.rate = (hedges * TOKEN as f64 + 0.5) as u64;
        self.full()
    }

    /// How many hedges may run at once. Default: any number.
    #[must_use]
    pub const fn max_in_flight(mut self, hedges: u32) -> Self {
        self.max_in_flight = Some(hedges);
        self
    }

    /// Whether it never allows a hedge.
    pub(crate) const fn is_closed(&self) -> bool {
        !self.unlimited && self.deposit == 0 && self.rate == 0
    }

    const fn full(mut self) -> Self {
        self.tokens = self.capacity();
        self.reserve = self.reserve_capacity();
        self
    }

    const fn capacity(&self) -> u64 {
        if self.deposit == 0 {
            0
        } else {
            self.burst as u64 * TOKEN
        }
    }

    /// A second's worth, and at least one hedge.
    const fn reserve_capacity(&self) -> u64 {
        match self.rate {
            0 => 0,
            1..TOKEN => TOKEN,
            rate => rate,
        }
    }

    /// Whether the options can be right for requests of up to `max_hedges` hedges.
    ///
    /// # Errors
    ///
    /// `budget_percent` outside 0 to 100 × `max_hedges`, `budget_min_per_second` negative or not
    /// finite, `max_in_flight` 0.
    pub fn validate(&self, max_hedges: u8) -> Result<(), ConfigError> {
        if !self.unlimited {
            let most = 100.0 * f64::from(max_hedges);
            ConfigError::check_range("budget_percent", self.percent, 0.0, most)?;
        }
        ConfigError::check_at_least("budget_min_per_second", self.min_per_second, 0.0)?;
        if self.max_in_flight == Some(0) {
            return Err(ConfigError::number("max_in_flight", 0.0, "at least 1"));
        }
        Ok(())
    }

    /// A request is made.
    pub fn deposit(&mut self) {
        self.deposit_many(1);
    }

    /// `requests` are made, with no hedge between them.
    pub fn deposit_many(&mut self, requests: u32) {
        let deposit = u64::from(self.deposit) * u64::from(requests);
        self.tokens = self.tokens.saturating_add(deposit).min(self.capacity());
    }

    /// Takes what one hedge costs, and a place in flight.
    ///
    /// # Errors
    ///
    /// Takes nothing and says which limit refused: [`Suppressed::InFlight`];
    /// [`Suppressed::BudgetRatio`]; or, if there is a reserve and that is empty too,
    /// [`Suppressed::BudgetRate`].
    pub fn withdraw(&mut self, now: Instant) -> Result<(), Suppressed> {
        if self.max_in_flight.is_some_and(|max| self.in_flight >= max) {
            return Err(Suppressed::InFlight);
        }
        if !self.unlimited {
            if let Some(rest) = self.tokens.checked_sub(TOKEN) {
                self.tokens = rest;
            } else if self.rate > 0 {
                self.refill(now);
                let rest = self.reserve.checked_sub(TOKEN);
                self.reserve = rest.ok_or(Suppressed::BudgetRate)?;
            } else {
                return Err(Suppressed::BudgetRatio);
            }
        }
        self.hold(1);
        Ok(())
    }

    fn refill(&mut self, now: Instant) {
        const SECOND: u64 = 1_000_000_000;
        let elapsed = now.nanos_since(self.refilled);
        // Not all that was earned in a long time at a high rate; the rest is earned when next asked.
        let earned = elapsed.saturating_mul(self.rate) / SECOND;
        self.reserve = self.reserve.saturating_add(earned);
        if self.reserve < self.reserve_capacity() {
            // Only as far as was paid for: being asked often must not lose fractions.
            let paid = (earned * SECOND).div_ceil(self.rate);
            self.refilled = self.refilled.later(paid);
        } else {
            self.reserve = self.reserve_capacity();
            self.refilled = self.refilled.max(now);
        }
    }

    /// Gives back the places in flight of `hedges` that ended. Their tokens stay spent.
    pub fn give_back(&mut self, hedges: u32) {
        self.in_flight = self.in_flight.saturating_sub(hedges);
    }

    /// Takes places in flight for `hedges` that run without a request to answer for them. Nothing is
    /// refused and no token taken; [`give_back`](Self::give_back) gives the places back.
    pub fn hold(&mut self, hedges: u32) {
        self.in_flight = self.in_flight.saturating_add(hedges);
    }

    /// How many hedges are running.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How many hedges the bucket could pay for now; fractions count.
    pub fn tokens(&self) -> f64 {
        if self.unlimited {
            f64::INFINITY
        } else {
            self.tokens as f64 / TOKEN as f64
        }
    }

    /// Takes over the options of `other`. Hedges in flight stay counted, and the bucket keeps its
    /// tokens as far as the new one holds them.
    pub fn reconfigure(&mut self, other: Self) {
        let tokens = if self.unlimited {
            other.tokens
        } else {
            self.tokens.min(other.tokens)
        };
        let reserve = self.reserve.min(other.reserve);
        let (refilled, in_flight) = (self.refilled, self.in_flight);
        *self = Self {
            tokens,
            reserve,
            refilled,
            in_flight,
            ..other
        };
    }

    /// After how many deposits an empty bucket is full, whatever else is deposited.
    #[cfg(feature = "std")]
    pub(crate) fn deposits_to_fill(&self) -> u32 {
        match self.deposit {
            0 => 0,
            deposit => self
                .capacity()
                .div_ceil(deposit.into())
                .try_into()
                .unwrap_or(u32::MAX),
        }
    }
}

/// 10 % of the requests, 10 at once.
impl Default for Budget {
    fn default() -> Self {
        Self::percent(10.0)
    }
}

/// A budget that can be charged through a shared reference: a [`Lock`] around a [`Budget`], or
/// `SharedBudget` on servers.
pub trait BudgetHandle {
    /// A request is made.
    fn deposit(&self);

    /// Takes what one hedge costs, and a place in flight.
    ///
    /// # Errors
    ///
    /// Takes nothing and says which limit refused.
    fn withdraw(&self, now: Instant) -> Result<(), Suppressed>;

    /// Gives back the places in flight of `hedges` that ended.
    fn give_back(&self, hedges: u32);

    /// Exclusive access to the budget, every deposit counted.
    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R;
}

impl<L: Lock<Data = Budget>> BudgetHandle for L {
    fn deposit(&self) {
        self.with(Budget::deposit);
    }

    fn withdraw(&self, now: Instant) -> Result<(), Suppressed> {
        self.with(|budget| budget.withdraw(now))
    }

    fn give_back(&self, hedges: u32) {
        self.with(|budget| budget.give_back(hedges));
    }

    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R {
        self.with(f)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_epoch(Duration::from_millis(ms))
    }

    #[test]
    fn n_requests_start_at_most_burst_plus_their_share() {
        let mut budget = Budget::percent(10.0);
        let mut hedges = 0;
        for n in 1..=4000 {
            budget.deposit();
            hedges += u32::from(budget.withdraw(at(n)).is_ok());
            if n == 100 {
                assert!(hedges <= 20, "{hedges}");
            }
        }
        // The first deposit finds a full bucket.
        assert_eq!(hedges, 409);
    }

    #[test]
    fn shares_are_rounded_to_millionths() {
        // Ten deposits of a tenth make one token, and not a millionth less.
        let mut budget = Budget::percent(10.0).burst(1);
        assert_eq!(budget.withdraw(at(0)), Ok(()));
        (0..10).for_each(|_| budget.deposit());
        assert_eq!(budget.tokens(), 1.0);
        let mut little = Budget::percent(0.000_06).burst(1);
        assert_eq!(little.withdraw(at(0)), Ok(()));
        little.deposit();
        assert_eq!(little.tokens(), 1e-6);
    }

    #[test]
    fn many_deposits_are_as_many_times_one() {
        let mut budget = Budget::percent(30.0).burst(2);
        assert_eq!(budget.withdraw(at(0)), Ok(()));
        assert_eq!(budget.withdraw(at(0)), Ok(()));
        budget.deposit_many(3);
        assert_eq!(budget.tokens(), 0.9);
        budget.deposit_many(1);
        assert_eq!(budget.tokens(), 1.2);
        budget.deposit_many(u32::MAX);
        assert_eq!(budget.tokens(), 2.0);
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let mut budget = Budget::unlimited();
        assert!((0..1000).all(|_| budget.withdraw(at(0)).is_ok()));
        assert_eq!((budget.in_flight(), budget.tokens()), (1000, f64::INFINITY));
        let mut budget = Budget::unlimited().max_in_flight(2);
        let granted = (0..9).filter(|_| budget.withdraw(at(0)).is_ok());
        assert_eq!(granted.count(), 2);
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let mut budget = Budget::percent(100.0).burst(5).max_in_flight(1);
        assert_eq!(budget.withdraw(at(0)), Ok(()));
        let before = budget.clone();
        assert_eq!(budget.withdraw(at(0)), Err(Suppressed::InFlight));
        assert_eq!(budget, before);
        budget.give_back(1);
        assert_eq!(budget.withdraw(at(0)), Ok(()));
    }

    #[test]
    fn the_reserve_serves_when_the_bucket_is_empty() {
        let mut budget = Budget::percent(10.0).burst(1).min_per_second(2.0);
        assert_eq!(budget.withdraw(at(0)), Ok(()));
        assert_eq!(budget.withdraw(at(0)), Ok(()));
        assert_eq!(budget.withdraw(at(0)), Ok(()));
        assert_eq!(budget.withdraw(at(0)), Err(Suppressed::BudgetRate));
        assert_eq!(budget.withdraw(at(499)), Err(Suppressed::BudgetRate));
        assert_eq!(budget.withdraw(at(501)), Ok(()));
        // Asked often, it loses no fractions.
        let mut slow = Budget::percent(0.0).min_per_second(0.01);
        let micros = |n: u64| Instant::from_epoch(Duration::from_micros(n));
        // Half a millionth of a token each time: one from the start, one after 100 s.
        let granted = (0..2_200_000).filter(|n| slow.withdraw(micros(50 * n)).is_ok());
        assert_eq!(granted.count(), 2);
        // Nor does a high rate, of more than fits at once, but for parts of a nanosecond.
        let mut fast = Budget::percent(0.0).min_per_second(100_000.0);
        let mut granted = |ms| {
            (0..200_000)
                .filter(|_| fast.withdraw(at(ms)).is_ok())
                .count()
        };
        assert_eq!(granted(0), 100_000);
        assert!((49_990..=50_000).contains(&granted(500)));
        // Time does not run backwards, nor does the reserve overflow.
        assert_eq!(budget.withdraw(at(0)), Err(Suppressed::BudgetRate));
        assert_eq!(budget.withdraw(Instant::MAX), Ok(()));
        assert_eq!(budget.withdraw(Instant::MAX), Ok(()));
        assert_eq!(budget.withdraw(Instant::MAX), Err(Suppressed::BudgetRate));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(
            Budget::percent(0.0).withdraw(at(0)),
            Err(Suppressed::BudgetRatio)
        );
        assert_eq!(
            Budget::percent(f64::NAN).withdraw(at(0)),
            Err(Suppressed::BudgetRatio)
        );
        assert_eq!(
            Budget::percent(10.0).burst(0).withdraw(at(0)),
            Err(Suppressed::BudgetRatio)
        );
    }

    #[test]
    fn wrong_options_are_named() {
        let option = |budget: Budget| budget.validate(2).unwrap_err().option();
        assert_eq!(option(Budget::percent(201.0)), "budget_percent");
        assert_eq!(option(Budget::percent(-1.0)), "budget_percent");
        assert_eq!(option(Budget::percent(f64::NAN)), "budget_percent");
        assert_eq!(option(Budget::percent(f64::INFINITY)), "budget_percent");
        assert_eq!(
            option(Budget::default().min_per_second(-1.0)),
            "budget_min_per_second"
        );
        assert_eq!(option(Budget::default().max_in_flight(0)), "max_in_flight");
        assert!(Budget::percent(200.0).validate(2).is_ok());
        assert!(Budget::unlimited().validate(1).is_ok());
    }

    #[test]
    fn new_options_keep_what_is_in_flight() {
        let mut budget = Budget::percent(10.0).burst(4);
        budget.withdraw(at(0)).unwrap();
        budget.reconfigure(Budget::percent(20.0).burst(2));
        assert_eq!((budget.in_flight(), budget.tokens()), (1, 2.0));
    }

    #[test]
    fn new_options_give_back_nothing() {
        let options = || Budget::percent(10.0).burst(2).min_per_second(2.0);
        let mut budget = options();
        let granted =
            |budget: &mut Budget, ms| (0..9).filter(|_| budget.withdraw(at(ms)).is_ok()).count();
        assert_eq!(granted(&mut budget, 1000), 4);
        // Neither tokens, nor the reserve, nor what was earned until then.
        budget.reconfigure(options().burst(9));
        assert_eq!((granted(&mut budget, 1000), budget.tokens()), (0, 0.0));
        assert_eq!(granted(&mut budget, 1500), 1);
        // Where there was no limit, the bucket starts full.
        let mut budget = Budget::unlimited();
        budget.reconfigure(Budget::percent(10.0).burst(3));
        assert_eq!(budget.tokens(), 3.0);
    }

    #[test]
    fn a_budget_behind_a_lock_can_be_charged() {
        let budget = core::cell::RefCell::new(Budget::percent(50.0).burst(1));
        assert_eq!(BudgetHandle::withdraw(&budget, at(0)), Ok(()));
        assert_eq!(
            BudgetHandle::withdraw(&budget, at(0)),
            Err(Suppressed::BudgetRatio)
        );
        BudgetHandle::deposit(&budget);
        BudgetHandle::deposit(&budget);
        assert_eq!(budget.edit(|b| (b.in_flight(), b.tokens())), (1, 1.0));
        BudgetHandle::give_back(&budget, 1);
        assert_eq!(budget.edit(|b| b.in_flight()), 0);
    }
}
