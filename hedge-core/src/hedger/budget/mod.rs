//! How much extra load the callee is asked to bear.

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
/// [`Lock`](crate::adapter::Lock) around it, or `SharedBudget` on servers.
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

    /// What a request deposits, in millionths of a token.
    deposit: u32,
    bucket: Bucket,
    /// The small bucket of the surge gate.
    surge: SurgeBucket,
    reserve: Reserve,
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
        self.reserve = Reserve::new(hedges);
        self
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
        self.surge = SurgeBucket::new(tokens);
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
            self.surge.deposit(amount(self.deposit), capacity);
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
        } else if self.reserve.is_none() {
            return Err(Suppressed::BudgetRatio);
        } else if self.reserve.withdraw(claim.needed(), now) {
            Payment::Reserve
        } else {
            return Err(Suppressed::BudgetRate);
        };
        self.hold(1);
        Ok(payment)
    }

    /// Takes a token of the bucket, if there are as many as the claim needs and the surge gate is open.
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

    /// Gives back what an attempt was to cost that was never started, and its place in flight.
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
