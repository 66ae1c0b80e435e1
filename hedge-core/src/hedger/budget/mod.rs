//! The budget, which bounds the extra load that hedges cause.

use crate::attempt::Cause;
use crate::error::ConfigError;
use crate::hedger::Traffic;
use crate::outcome::Suppressed;
use crate::time::Instant;

use bucket::{Bucket, TOKEN};
use reserve::Reserve;
use surge::SurgeBucket;

pub use claim::{Claim, Payment};
pub use handle::BudgetHandle;

mod bucket;
mod claim;
mod handle;
mod reserve;
mod surge;
#[cfg(test)]
mod tests;

/// Limits extra attempts in three ways: to a share of the requests, to a reserve per second when that share is spent,
/// and by the number in flight. If one of the limits refuses a hedge, the hedge takes nothing from the others.
///
/// * **Ratio.** A token bucket that holds `burst` tokens. Every request deposits `percent / 100` of a token and every
///   hedge takes one: n requests start at most `burst + n × percent / 100` hedges, however slow the callee
///   becomes. A new budget holds at most [`START`](Self::START) tokens, so that restarts cause no bursts.
/// * **Reserve.** When the bucket refuses, up to `min_per_second` more hedges per second may start, so that a client
///   with little traffic can hedge, too.
/// * **In flight.** At most `max_in_flight` hedges run at once.
///
/// Every request deposits. Several hedgers and a retry layer can share one budget: share the
/// [`Lock`](crate::adapter::Lock) around it, or a `SharedBudget` on servers.
///
/// # The surge gate
///
/// Slow requests come in clusters, so the default burst is [large](Self::BURST): tokens that quiet times did not need
/// are there for a cluster. But when most requests pass the hedge delay, the backend has become slow as a whole, and
/// hedges would add to its load. While a hedger reports such [surging traffic](Traffic::surging), each hedge also needs
/// a token of a second, small bucket. The small bucket earns and pays the same amounts as the large one, holds up to
/// [`START`](Self::START) tokens, and can owe up to [`DEBT`](Self::DEBT). A budget whose burst was [set](Self::burst)
/// has no surge gate.
///
/// # Scarcity
///
/// A hedge that was refused because there was no token is asked for again later. It then leaves the [last
/// token](Claim::again) to requests that ask for the first time. So while the budget cannot pay for all hedges, those
/// that start do so as soon as their delay has passed.
///
/// # Delay hedges and retries
///
/// Hedges for slow requests and retries after failures are both extra attempts, and each kind has half of the bucket.
/// It may also take the other kind's tokens, unless the other kind was refused within as many requests as fill the
/// bucket. So errors that all replicas share cannot take the tokens that slow requests need.
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
    /// Whether the budget has a surge gate.
    gated: bool,

    /// The deposit of one request, in millionths of a token.
    deposit: u32,
    bucket: Bucket,
    /// The small bucket of the surge gate.
    surge: SurgeBucket,
    reserve: Reserve,
    in_flight: u32,
}

impl Budget {
    /// The number of tokens that the bucket holds by default.
    pub const BURST: u32 = 80;
    /// The number of tokens in a new budget, unless its bucket holds fewer, and the most that the small bucket of the
    /// surge gate holds.
    pub const START: u32 = 10;
    /// The most tokens that the small bucket of the surge gate can owe.
    pub const DEBT: u32 = 30;

    /// Creates a budget for hedges of up to `percent` of the requests: 0 for none, 10 for one request in ten, at most
    /// 100 × `max_hedges`. Rounded to a millionth of a hedge per request. At 0 the bucket holds nothing, whatever the
    /// burst is.
    pub const fn percent(percent: f64) -> Self {
        // The cast saturates and turns NaN into 0; `validate` reports such values.
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
            surge: SurgeBucket::new(0),
            reserve: Reserve::new(0.0),
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

    /// Sets how many tokens the bucket holds, and turns off the [surge gate](Self#the-surge-gate) and the smaller
    /// deposits while the callee is slow. If more hedges become due at once, the others are refused, even at 100 %. So
    /// choose at least the number of requests that can become slow at the same time. Default: [`BURST`](Self::BURST),
    /// gated.
    ///
    /// The bursts of a fleet add up. Where a thousand clients make a few requests a second each, choose a small one, such
    /// as 5: otherwise they can hedge nearly every request for some seconds when their callee becomes slow.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self.gated = false;
        self.fresh()
    }

    /// Sets how many hedges per second may start when the bucket is empty, 0 or more, rounded to a millionth. Default:
    /// 0.
    #[must_use]
    pub const fn min_per_second(mut self, hedges: f64) -> Self {
        self.min_per_second = hedges;
        self.reserve = Reserve::new(hedges);
        self
    }

    /// Sets how many hedges may run at once. Default: any number.
    #[must_use]
    pub const fn max_in_flight(mut self, hedges: u32) -> Self {
        self.max_in_flight = Some(hedges);
        self
    }

    /// Fills the buckets as in a new budget.
    const fn fresh(mut self) -> Self {
        let start = Self::START as u64 * TOKEN;
        let tokens = if start < self.capacity() {
            start
        } else {
            self.capacity()
        };
        self.bucket = Bucket::new(tokens);
        self.surge = SurgeBucket::new(tokens);
        self
    }

    /// Returns the deposit of one request while traffic is slow, which is three quarters of the usual.
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

    /// Checks the options for requests of up to `max_hedges` hedges.
    ///
    /// # Errors
    ///
    /// Returns an error if `budget_percent` is not within 0 to 100 × `max_hedges`, if `budget_min_per_second` is
    /// negative or not finite, or if `max_in_flight` is 0.
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
            self.surge.deposit(amount(self.deposit), capacity);
        }
    }

    /// Withdraws the cost of a retry that is made without a hedger, and takes a place in flight.
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
    /// Returns which limit refused: [`Suppressed::InFlight`], [`Suppressed::BudgetRatio`], or
    /// [`Suppressed::BudgetRate`] if there is a reserve and it is empty, too. Nothing is taken in this case.
    pub fn withdraw_for(&mut self, claim: Claim, now: Instant) -> Result<Payment, Suppressed> {
        if self.max_in_flight.is_some_and(|max| self.in_flight >= max) {
            return Err(Suppressed::InFlight);
        }
        let payment = if self.unlimited {
            Payment::Free
        } else if let Some(payment) = self.withdraw_from_bucket(claim) {
            payment
        } else if self.reserve.is_none() {
            return Err(Suppressed::BudgetRatio);
        } else if self.reserve.withdraw(claim.needed_tokens(), now) {
            Payment::Reserve
        } else {
            return Err(Suppressed::BudgetRate);
        };
        self.hold(1);
        Ok(payment)
    }

    /// Takes a token of the bucket, if it holds what the claim needs and the surge gate is open.
    fn withdraw_from_bucket(&mut self, claim: Claim) -> Option<Payment> {
        let needed = claim.needed();
        if self.gated && claim.traffic.surging && !self.surge.covers(needed) {
            return None;
        }
        let (capacity, reserved) = (self.capacity(), self.deposits_to_fill());
        let granted = self
            .bucket
            .withdraw(claim.cause, needed, capacity, reserved);
        granted.then(|| Payment::Bucket {
            cause: claim.cause,
            surge_token: self.gated && self.surge.withdraw(),
        })
    }

    /// Refunds the payment for an attempt that was not started, and gives back its place in flight.
    pub fn refund(&mut self, payment: Payment) {
        match payment {
            Payment::Bucket { cause, surge_token } => {
                let capacity = self.capacity();
                if surge_token {
                    self.surge.refund(capacity);
                }
                self.bucket.refund(cause, capacity);
            }
            Payment::Reserve => self.reserve.refund(),
            Payment::Free => {}
        }
        self.give_back(1);
    }

    /// Gives back the places in flight of `hedges` that ended. Their tokens stay spent.
    pub fn give_back(&mut self, hedges: u32) {
        self.in_flight = self.in_flight.saturating_sub(hedges);
    }

    /// Counts `hedges` in flight that were started outside of a request, without taking tokens and without a limit.
    /// [`give_back`](Self::give_back) gives the places back.
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

    /// Takes over the options of `other`. Hedges in flight stay counted, and the bucket keeps the tokens that the new
    /// one has room for.
    pub fn reconfigure(&mut self, other: Self) {
        let (mut bucket, mut surge, mut reserve) = (self.bucket.clone(), self.surge, self.reserve);
        if self.unlimited {
            (bucket, surge) = (other.bucket.clone(), other.surge);
        }
        bucket.shrink(other.capacity());
        if !self.gated {
            // The small bucket holds no more than the large one has.
            surge = SurgeBucket::new(bucket.tokens());
        }
        reserve.reconfigure(other.reserve);
        *self = Self {
            bucket,
            surge,
            reserve,
            in_flight: self.in_flight,
            ..other
        };
    }

    /// Returns a budget with the options of `after` where they differ from those of `before`, and with these where not.
    #[cfg(feature = "std")]
    pub(crate) fn with_changes(&self, before: &Self, after: &Self) -> Self {
        // `reconfigure` takes none of the tokens of `after` unless this budget is unlimited.
        let mut changed = after.clone();
        if (before.percent, before.unlimited) == (after.percent, after.unlimited) {
            changed.percent = self.percent;
            changed.unlimited = self.unlimited;
            changed.deposit = self.deposit;
        }
        if (before.burst, before.gated) == (after.burst, after.gated) {
            changed.burst = self.burst;
            changed.gated = self.gated;
        }
        if before.min_per_second == after.min_per_second {
            changed.min_per_second = self.min_per_second;
            changed.reserve = self.reserve;
        }
        if before.max_in_flight == after.max_in_flight {
            changed.max_in_flight = self.max_in_flight;
        }
        changed
    }

    /// Returns the number of deposits that fill an empty bucket.
    fn deposits_to_fill(&self) -> u32 {
        self.deposits_for(self.deposit)
    }

    /// Returns the number of deposits after which the bucket is full in any traffic; further ones change nothing.
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

/// The default: 10 % of the requests, and up to 80 at once with the surge gate.
impl Default for Budget {
    fn default() -> Self {
        Self::percent(10.0)
    }
}
