//! How much extra load the callee is asked to bear.

use crate::attempt::Cause;
use crate::error::ConfigError;
use crate::hedger::Traffic;
use crate::lock::Lock;
use crate::outcome::Suppressed;
use crate::time::Instant;

use super::bucket::{Bucket, TOKEN};

/// Bounds extra attempts three ways: by a share of the requests, by a reserve per second for when that is
/// spent, and by how many are in flight. A hedge is charged to all that it needs or to none.
///
/// * **Ratio.** A token bucket that holds `burst` tokens. Every request deposits `percent / 100` of a token and every
///   hedge takes one: n requests start at most `burst + n × percent / 100` hedges, however slow the callee
///   becomes. A new budget holds at most [`START`](Self::START) tokens, so that restarts cause no bursts.
/// * **Reserve.** When the bucket refuses, up to `min_per_second` more hedges a second may start, so
///   that a client with little traffic can hedge at all.
/// * **In flight.** At most `max_in_flight` hedges run at once.
///
/// Whoever makes a request deposits. One budget can serve several hedgers and a retry layer: share the
/// [`Lock`] around it, or `SharedBudget` on servers.
///
/// # The surge gate
///
/// Slow requests come in clusters, which is why the default burst is [large](Self::BURST): what was not needed in quiet
/// times is there when it is. But when most requests pass the hedge delay, that is a backend that
/// has become slow as a whole, and hedges would add to its load. While a hedger reports such
/// [surging traffic](Traffic::surging), hedges need a token of a second, small bucket as well. It
/// earns what the large one earns and pays what that pays, holds [`START`](Self::START) tokens, and owes at
/// most [`DEBT`](Self::DEBT). A burst that was [set](Self::burst) is kept to at all times: it has no surge gate.
///
/// # Scarcity
///
/// A hedge that was refused because there was no token is asked for again later. It then leaves the [last
/// token](Claim::again) to requests that ask for the first time. So while more hedges are wanted than the budget pays
/// for, those that start do so when their delay has passed, and not after a wait.
///
/// # Delay hedges and retries
///
/// Both are extra attempts, and have half of the bucket each. Either takes the other's tokens too, unless the other was
/// refused within as many requests as fill the bucket. So errors that every replica shares cannot
/// take from slow requests what these need.
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
    /// Whether surging traffic needs the small bucket's tokens too.
    gated: bool,

    /// What a request deposits, in millionths of a token, as is all that follows.
    deposit: u32,
    bucket: Bucket,
    /// The small bucket of the surge gate; negative where it owes.
    surge_tokens: i32,
    /// What a second adds to the reserve.
    rate: u64,
    reserve: u64,
    refilled: Instant,
    in_flight: u32,
}

impl Budget {
    /// How many tokens the bucket holds by default.
    pub const BURST: u32 = 80;
    /// How many tokens a new budget holds, if its bucket has room for them, and how many the small bucket of the surge
    /// gate holds.
    pub const START: u32 = 10;
    /// How many tokens the small bucket of the surge gate may owe.
    pub const DEBT: u32 = 30;

    /// Hedges up to `percent` of the requests: 0 for none, 10 for one request in ten, up to 100 × the
    /// number of hedges a request may have. Millionths of a request are the finest step. At 0 the
    /// bucket holds nothing, whatever the burst.
    pub const fn percent(percent: f64) -> Self {
        // Casts of floats saturate, and a NaN becomes 0; `validate` says so.
        let deposit = (percent * (TOKEN / 100) as f64 + 0.5) as u32;
        Self {
            percent,
            burst: Self::BURST,
            min_per_second: 0.0,
            max_in_flight: None,
            unlimited: false,
            gated: true,
            deposit,
            bucket: Bucket::new(0),
            surge_tokens: 0,
            rate: 0,
            reserve: 0,
            refilled: Instant::ZERO,
            in_flight: 0,
        }
        .fresh()
    }

    /// Creates a budget without bounds, for tests and for measuring what a budget costs. It is not for production: when
    /// the callee is slow, every request becomes several.
    pub const fn unlimited() -> Self {
        Self {
            unlimited: true,
            ..Self::percent(0.0)
        }
    }

    /// Sets how many tokens the bucket holds, at all times: without the [surge gate](Self#the-surge-gate) that the
    /// default has, and without earning less while the callee is slow. Where more hedges than that come due at one
    /// moment, the others are refused, even at 100 %: take at least as many as requests that may become slow together.
    /// Default: [`BURST`](Self::BURST), gated.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self.gated = false;
        self.fresh()
    }

    /// Sets how many hedges a second may start when the bucket is empty; millionths of a hedge are the finest step.
    /// Default: 0.
    #[must_use]
    pub const fn min_per_second(mut self, hedges: f64) -> Self {
        self.min_per_second = hedges;
        self.rate = (hedges * TOKEN as f64 + 0.5) as u64;
        self.fresh()
    }

    /// Sets how many hedges may run at once. Default: any number.
    #[must_use]
    pub const fn max_in_flight(mut self, hedges: u32) -> Self {
        self.max_in_flight = Some(hedges);
        self
    }

    /// With the tokens of a new budget.
    const fn fresh(mut self) -> Self {
        let start = Self::START as u64 * TOKEN;
        let tokens = if start < self.capacity() {
            start
        } else {
            self.capacity()
        };
        self.bucket = Bucket::new(tokens);
        self.surge_tokens = tokens as i32;
        self.reserve = self.reserve_capacity();
        self
    }

    /// What a request deposits while traffic is slow: three quarters.
    const fn slow_deposit(&self) -> u32 {
        if self.gated {
            self.deposit - self.deposit / 4
        } else {
            self.deposit
        }
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

    /// Checks the options for requests of up to `max_hedges` hedges.
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

    /// Deposits for a request that is made.
    pub fn deposit(&mut self) {
        self.deposit_many(1);
    }

    /// Deposits for `requests` that are made with no hedge between them.
    pub fn deposit_many(&mut self, requests: u32) {
        self.deposit_in(requests, Traffic::CALM);
    }

    /// Deposits for `requests` that are made in this traffic, with no hedge between them.
    pub fn deposit_in(&mut self, requests: u32, traffic: Traffic) {
        let each = if traffic.slow {
            self.slow_deposit()
        } else {
            self.deposit
        };
        let amount = |each: u32| u64::from(each) * u64::from(requests);
        let capacity = self.capacity();
        self.bucket.deposit(amount(each), requests, capacity);
        if self.gated {
            let earned = amount(self.deposit).min(i32::MAX as u64) as i32;
            let most = (u64::from(Self::START) * TOKEN).min(capacity) as i32;
            self.surge_tokens = self.surge_tokens.saturating_add(earned).min(most);
        }
    }

    /// Takes what a retry costs that was made without a hedger, and a place in flight.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`withdraw_for`](Self::withdraw_for).
    pub fn withdraw(&mut self, now: Instant) -> Result<(), Suppressed> {
        self.withdraw_for(Claim::new(Cause::Retry, Traffic::CALM), now)
            .map(|_| ())
    }

    /// Withdraws what an attempt with this claim costs, and takes a place in flight.
    ///
    /// # Errors
    ///
    /// Takes nothing and says which limit refused: [`Suppressed::InFlight`];
    /// [`Suppressed::BudgetRatio`]; or, if there is a reserve and that is empty too,
    /// [`Suppressed::BudgetRate`].
    pub fn withdraw_for(&mut self, claim: Claim, now: Instant) -> Result<Payment, Suppressed> {
        if self.max_in_flight.is_some_and(|max| self.in_flight >= max) {
            return Err(Suppressed::InFlight);
        }
        let payment = if self.unlimited {
            Payment::Free
        } else if let Some(payment) = self.withdraw_from_bucket(claim) {
            payment
        } else if self.rate == 0 {
            return Err(Suppressed::BudgetRatio);
        } else {
            self.refill(now);
            if self.reserve < claim.needed().min(self.reserve_capacity()) {
                return Err(Suppressed::BudgetRate);
            }
            self.reserve = self.reserve.saturating_sub(TOKEN);
            Payment::Reserve
        };
        self.hold(1);
        Ok(payment)
    }

    /// Takes a token of the bucket, if there are as many as the claim needs and the surge gate is open.
    fn withdraw_from_bucket(&mut self, claim: Claim) -> Option<Payment> {
        let needed = claim.needed();
        if self.gated && claim.traffic.surging && self.surge_tokens < needed as i32 {
            return None;
        }
        let (capacity, reserved) = (self.capacity(), self.deposits_to_fill());
        let granted = self
            .bucket
            .withdraw(claim.cause, needed, capacity, reserved);
        let mut surge_token = false;
        if granted && self.gated {
            let least = -((Self::DEBT as u64 * TOKEN) as i32);
            let left = self.surge_tokens - TOKEN as i32;
            surge_token = left >= least;
            self.surge_tokens = left.max(least);
        }
        granted.then_some(Payment::Bucket {
            cause: claim.cause,
            surge_token,
        })
    }

    /// Gives back what an attempt was to cost that was never started, and its place in flight.
    pub fn refund(&mut self, payment: Payment) {
        match payment {
            Payment::Bucket { cause, surge_token } => {
                let capacity = self.capacity();
                if surge_token {
                    let most = (u64::from(Self::START) * TOKEN).min(capacity) as i32;
                    self.surge_tokens = (self.surge_tokens + TOKEN as i32).min(most);
                }
                self.bucket.refund(cause, capacity);
            }
            Payment::Reserve => {
                let reserve = self.reserve.saturating_add(TOKEN);
                self.reserve = reserve.min(self.reserve_capacity());
            }
            Payment::Free => {}
        }
        self.give_back(1);
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

    /// Returns how many hedges are running.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Returns how many tokens the bucket holds when it is full.
    pub fn capacity_tokens(&self) -> f64 {
        if self.unlimited {
            f64::INFINITY
        } else {
            self.capacity() as f64 / TOKEN as f64
        }
    }

    /// Returns how many hedges the bucket could pay for now; fractions count.
    pub fn tokens(&self) -> f64 {
        if self.unlimited {
            f64::INFINITY
        } else {
            self.bucket.tokens() as f64 / TOKEN as f64
        }
    }

    /// Takes over the options of `other`. Hedges in flight stay counted, and the bucket keeps its
    /// tokens as far as the new one holds them.
    pub fn reconfigure(&mut self, other: Self) {
        let (mut bucket, mut surge_tokens) = (self.bucket.clone(), self.surge_tokens);
        if self.unlimited {
            (bucket, surge_tokens) = (other.bucket.clone(), other.surge_tokens);
        }
        bucket.shrink(other.capacity());
        if !self.gated {
            // The small bucket holds no more than the large one has.
            surge_tokens = bucket.tokens().min(u64::from(Self::START) * TOKEN) as i32;
        }
        let reserve = self.reserve.min(other.reserve);
        let (refilled, in_flight) = (self.refilled, self.in_flight);
        *self = Self {
            bucket,
            surge_tokens,
            reserve,
            refilled,
            in_flight,
            ..other
        };
    }

    /// After how many deposits an empty bucket is full, whatever else is deposited.
    fn deposits_to_fill(&self) -> u32 {
        self.deposits_for(self.deposit)
    }

    /// How many deposits in slow traffic, and so in any, may change anything.
    #[cfg(feature = "std")]
    pub(crate) fn most_deposits(&self) -> u32 {
        self.deposits_for(self.slow_deposit())
    }

    fn deposits_for(&self, each: u32) -> u32 {
        match each {
            0 => 0,
            each => self
                .capacity()
                .div_ceil(each.into())
                .try_into()
                .unwrap_or(u32::MAX),
        }
    }
}

/// 10 % of the requests, up to 80 at once, gated.
impl Default for Budget {
    fn default() -> Self {
        Self::percent(10.0)
    }
}

/// What an attempt asks of a budget before it starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Why the attempt is to start.
    pub cause: Cause,
    /// Whether the attempt was refused before because there was no token for it. Such a claim leaves the last token to
    /// attempts that are asked for the first time, unless the bucket is full: while tokens are scarce they would come
    /// late for requests that have waited, and be missing for those that have not.
    pub again: bool,
    /// What the hedger knows of its traffic.
    pub traffic: Traffic,
}

impl Claim {
    /// Creates the first claim of an attempt.
    pub const fn new(cause: Cause, traffic: Traffic) -> Self {
        Self {
            cause,
            again: false,
            traffic,
        }
    }

    /// How much has to be there, in millionths of a token.
    const fn needed(self) -> u64 {
        if self.again { 2 * TOKEN } else { TOKEN }
    }
}

/// What has paid for an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Payment {
    /// The bucket.
    Bucket {
        /// Why the attempt was to start.
        cause: Cause,
        /// Whether the small bucket, which opens the surge gate, paid a token too. It does not if its debt is at the
        /// limit.
        surge_token: bool,
    },
    /// The reserve per second.
    Reserve,
    /// Nothing: there is no limit.
    Free,
}

/// A budget that can be charged through a shared reference: a [`Lock`] around a [`Budget`], or
/// `SharedBudget` on servers.
pub trait BudgetHandle {
    /// A request is made in such traffic.
    fn deposit_in(&self, traffic: Traffic);

    /// Withdraws what an attempt with this claim costs, and takes a place in flight.
    ///
    /// # Errors
    ///
    /// Takes nothing and says which limit refused.
    fn withdraw_for(&self, claim: Claim, now: Instant) -> Result<Payment, Suppressed>;

    /// Gives back the places in flight of `hedges` that ended.
    fn give_back(&self, hedges: u32);

    /// Exclusive access to the budget, every deposit counted.
    fn edit<R>(&self, f: impl FnOnce(&mut Budget) -> R) -> R;

    /// Gives back what an attempt was to cost that was never started, and its place in flight.
    fn refund(&self, payment: Payment) {
        self.edit(|budget| budget.refund(payment));
    }

    /// A request is made without a hedger.
    fn deposit(&self) {
        self.deposit_in(Traffic::CALM);
    }

    /// Takes what a retry costs that was made without a hedger, and a place in flight.
    ///
    /// # Errors
    ///
    /// Takes nothing and says which limit refused.
    fn withdraw(&self, now: Instant) -> Result<(), Suppressed> {
        self.withdraw_for(Claim::new(Cause::Retry, Traffic::CALM), now)
            .map(|_| ())
    }
}

impl<L: Lock<Data = Budget>> BudgetHandle for L {
    fn deposit_in(&self, traffic: Traffic) {
        self.with(|budget| budget.deposit_in(1, traffic));
    }

    fn withdraw_for(&self, claim: Claim, now: Instant) -> Result<Payment, Suppressed> {
        self.with(|budget| budget.withdraw_for(claim, now))
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

    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_epoch(Duration::from_millis(ms))
    }

    const SURGE: Traffic = Traffic {
        surging: true,
        slow: false,
    };

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
        // A new budget holds ten tokens, so that restarts cause no bursts.
        assert_eq!(hedges, 410);
    }

    #[test]
    fn what_quiet_times_earn_is_there_in_bad_ones() {
        let mut budget = Budget::percent(10.0);
        budget.deposit_many(10_000);
        assert_eq!(granted(&mut budget, Traffic::CALM, 200), 80);
    }

    #[test]
    fn a_surge_spends_the_small_bucket_only() {
        let mut budget = Budget::percent(10.0);
        budget.deposit_many(10_000);
        assert_eq!(granted(&mut budget, SURGE, 200), 10);
        // The rest is there when it is over.
        assert_eq!(granted(&mut budget, Traffic::CALM, 200), 70);
        // What was spent while traffic was calm is owed when it surges, 30 tokens of it.
        budget.deposit_many(300);
        assert_eq!(granted(&mut budget, SURGE, 200), 0);
        budget.deposit_many(10);
        assert_eq!(granted(&mut budget, SURGE, 200), 1);
    }

    #[test]
    fn one_that_is_asked_for_again_leaves_the_last_token() {
        let first = Claim::new(Cause::Delay, Traffic::CALM);
        let again = Claim {
            again: true,
            ..first
        };
        let mut budget = Budget::percent(10.0).burst(4);
        let granted = (0..9).filter(|_| budget.withdraw_for(again, at(0)).is_ok());
        assert_eq!(granted.count(), 3);
        assert!(budget.withdraw_for(first, at(0)).is_ok());
        // A bucket of one token is full with that.
        let mut small = Budget::percent(10.0).burst(1);
        assert!(small.withdraw_for(again, at(0)).is_ok());
        assert!(small.withdraw_for(again, at(0)).is_err());
        // The same of the small bucket and of the reserve.
        let surging = Claim {
            traffic: SURGE,
            ..again
        };
        let mut gated = Budget::percent(10.0);
        gated.deposit_many(1000);
        let granted = (0..99).filter(|_| gated.withdraw_for(surging, at(0)).is_ok());
        assert_eq!(granted.count(), 9);
        let mut reserve = Budget::percent(0.0).min_per_second(3.0);
        let granted = (0..9).filter(|_| reserve.withdraw_for(again, at(0)).is_ok());
        assert_eq!(granted.count(), 2);
        assert!(reserve.withdraw_for(first, at(0)).is_ok());
        let mut slow = Budget::percent(0.0).min_per_second(0.5);
        assert!(slow.withdraw_for(again, at(0)).is_ok());
    }

    #[test]
    fn while_tokens_are_scarce_those_who_ask_first_get_them() {
        let mut budget = Budget::percent(10.0);
        let mut granted = [0; 2];
        // A third of the requests want a hedge, and those that are refused ask again twice.
        for n in 0..30_000_u32 {
            budget.deposit();
            let claim = Claim {
                again: n % 3 > 0,
                ..Claim::new(Cause::Delay, Traffic::CALM)
            };
            let is_granted = budget.withdraw_for(claim, at(0)).is_ok();
            granted[usize::from(claim.again)] += u32::from(is_granted);
        }
        let [first, again] = granted;
        assert!(first >= 2990 && again <= 15, "{first} {again}");
        // Nobody else asks: they get what there is.
        let mut granted = 0;
        for n in 0..10_000_u32 {
            budget.deposit();
            let claim = Claim {
                again: true,
                ..Claim::new(Cause::Delay, Traffic::CALM)
            };
            granted += u32::from(n % 3 == 0 && budget.withdraw_for(claim, at(0)).is_ok());
        }
        assert!(granted >= 990, "{granted}");
    }

    #[test]
    fn a_burst_that_was_set_is_kept_to() {
        let mut budget = Budget::percent(10.0).burst(50);
        budget.deposit_in(
            500,
            Traffic {
                slow: true,
                ..SURGE
            },
        );
        assert_eq!(granted(&mut budget, SURGE, 200), 50);
        // It starts with ten tokens, as any other.
        assert_eq!(
            granted(&mut Budget::percent(10.0).burst(50), SURGE, 200),
            10
        );
        assert_eq!(granted(&mut Budget::percent(10.0).burst(4), SURGE, 200), 4);
    }

    #[test]
    fn slow_traffic_earns_three_quarters() {
        let slow = Traffic {
            surging: false,
            slow: true,
        };
        let mut budget = Budget::percent(10.0);
        budget.deposit_in(200, slow);
        assert_eq!(budget.tokens(), 10.0 + 15.0);
        // The small bucket earns all of it.
        assert_eq!(granted(&mut budget, Traffic::CALM, 25), 25);
        budget.deposit_in(160, slow);
        assert_eq!(granted(&mut budget, SURGE, 200), 1);
    }

    #[test]
    fn errors_leave_slow_requests_their_half() {
        // 12 %, then 32 % of the requests fail wherever they run, and 4 % are slow.
        for failing in [3, 8] {
            let mut budget = Budget::percent(10.0);
            let mut granted = [0; 2];
            for n in 0..20_000 {
                budget.deposit();
                let cause = match n % 25 {
                    12 => Cause::Delay,
                    place if place < failing => Cause::Retry,
                    _ => continue,
                };
                let granted = &mut granted[usize::from(cause == Cause::Retry)];
                *granted += u32::from(
                    budget
                        .withdraw_for(Claim::new(cause, Traffic::CALM), at(0))
                        .is_ok(),
                );
            }
            let [hedges, retries] = granted;
            assert!(hedges >= 760, "{failing}: {hedges} of 800");
            // Nothing is wasted.
            assert!(retries + hedges >= 1990, "{failing}: {retries}");
        }
    }

    #[test]
    fn what_is_not_needed_is_given_back() {
        let mut budget = Budget::percent(10.0).max_in_flight(1);
        let before = budget.clone();
        let paid = budget
            .withdraw_for(Claim::new(Cause::Retry, SURGE), at(0))
            .unwrap();
        let cause = Cause::Retry;
        let surge_token = true;
        assert_eq!(paid, Payment::Bucket { cause, surge_token });
        assert_eq!(budget.withdraw(at(0)), Err(Suppressed::InFlight));
        budget.refund(paid);
        assert_eq!(budget, before);
        // To the reserve, if that has paid.
        let mut reserve = Budget::percent(0.0).min_per_second(1.0);
        let paid = reserve
            .withdraw_for(Claim::new(Cause::Retry, SURGE), at(0))
            .unwrap();
        assert_eq!(paid, Payment::Reserve);
        assert_eq!(reserve.withdraw(at(0)), Err(Suppressed::BudgetRate));
        reserve.refund(paid);
        assert_eq!(reserve.withdraw(at(0)), Ok(()));
    }

    #[test]
    fn a_refund_gives_back_what_the_small_bucket_paid() {
        let most = (Budget::DEBT as u64 * TOKEN) as i32;
        for debt in [0, most - TOKEN as i32, most] {
            let mut budget = Budget::percent(10.0);
            budget.surge_tokens = -debt;
            let before = budget.clone();
            let claim = Claim::new(Cause::Delay, Traffic::CALM);
            let paid = budget.withdraw_for(claim, at(0)).unwrap();
            budget.refund(paid);
            assert_eq!(budget, before, "{debt}");
        }
    }

    proptest! {
        /// Against buckets that are counted in floating point, for one kind of attempts.
        #[test]
        fn two_buckets_follow_their_rules(
            percent in 1_u32..=100,
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 0..600),
        ) {
            let mut budget = Budget::percent(f64::from(percent));
            let each = f64::from(percent) / 100.0;
            let (mut large, mut small) = (10.0_f64, 10.0_f64);
            let mut spent = 0.0;
            for (n, (request, surging, slow)) in (0_u32..).zip(steps) {
                let traffic = Traffic { surging, slow };
                if request {
                    budget.deposit_in(1, traffic);
                    large = (large + if slow { 0.75 * each } else { each }).min(80.0);
                    small = (small + each).min(10.0);
                }
                // Sums of floats that should be whole may lack a little.
                let whole = |tokens: f64| tokens > 1.0 - 1e-9;
                let expected = whole(large) && (!surging || whole(small));
                if expected {
                    large -= 1.0;
                    small = (small - 1.0).max(-30.0);
                    spent += 1.0;
                }
                let granted = budget.withdraw_for(Claim::new(Cause::Delay, traffic), at(0)).is_ok();
                prop_assert_eq!(granted, expected);
                prop_assert!(spent <= 10.0 + f64::from(n + 1) * each + 1e-9);
            }
        }

        /// Whatever the traffic, the causes, the refunds and the options are.
        #[test]
        fn the_bound_holds(
            burst in prop::option::of(0_u32..100),
            percent in 0_u32..=100,
            steps in prop::collection::vec((0_u8..6, 0_u32..50), 0..300),
        ) {
            let mut budget = Budget::percent(f64::from(percent));
            if let Some(burst) = burst {
                budget = budget.burst(burst);
            }
            let most = if percent == 0 { 0 } else { burst.unwrap_or(80) };
            let (mut requests, mut spent) = (0, 0);
            for (step, n) in steps {
                let traffic = Traffic { surging: n % 2 == 0, slow: n % 3 == 0 };
                let cause = if n % 5 < 2 { Cause::Retry } else { Cause::Delay };
                match step {
                    0 => {
                        requests += n;
                        budget.deposit_in(n, traffic);
                    }
                    1 if spent > 0 => {
                        spent -= 1;
                        budget.refund(Payment::Bucket { cause, surge_token: true });
                    }
                    _ => spent += u32::from(budget.withdraw_for(Claim::new(cause, traffic), at(0)).is_ok()),
                }
                prop_assert!(100 * spent <= 100 * most + requests * percent);
                prop_assert_eq!(budget.in_flight(), spent);
            }
        }
    }

    fn granted(budget: &mut Budget, traffic: Traffic, asked: u32) -> u32 {
        let ask = |budget: &mut Budget| {
            budget
                .withdraw_for(Claim::new(Cause::Delay, traffic), at(0))
                .is_ok()
        };
        (0..asked).map(|_| u32::from(ask(budget))).sum()
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
