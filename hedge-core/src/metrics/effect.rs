//! The effect of hedges on the requests that were hedged, measured with a control group.
//!
//! Without an allocator, nothing is kept: two histograms would take too much memory on a microcontroller.

use crate::record::Record;

#[cfg(feature = "alloc")]
pub use on::{Effect, Interval};

/// The requests of both groups. Takes no memory until the first request has a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Groups {
    #[cfg(feature = "alloc")]
    arms: Option<alloc::boxed::Box<on::Arms>>,
}

impl Groups {
    pub(super) const NONE: Self = Self {
        #[cfg(feature = "alloc")]
        arms: None,
    };

    /// Records a request, if it has a group.
    pub(super) fn record(&mut self, record: &Record) {
        #[cfg(feature = "alloc")]
        if let Some(group) = record.group() {
            self.arms.get_or_insert_default().record(group, record);
        }
        #[cfg(not(feature = "alloc"))]
        let _ = record;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        #[cfg(feature = "alloc")]
        if let Some(others) = &other.arms {
            self.arms.get_or_insert_default().merge(others);
        }
        #[cfg(not(feature = "alloc"))]
        let _ = other;
    }

    /// Returns the effect, if both groups have enough requests. `more` is the share of requests that hedges added.
    #[cfg(feature = "alloc")]
    pub(super) fn effect(&self, more: f64) -> Option<Effect<'_>> {
        self.arms.as_ref()?.effect(more)
    }
}

#[cfg(feature = "alloc")]
mod on {
    use core::fmt;
    use core::time::Duration;

    use crate::metrics::Histogram;
    use crate::metrics::units::Unit;
    use crate::record::{Group, Record, RequestEnd};
    use crate::time::nanos;

    /// The 97.5th percentile of the standard normal distribution, for intervals of 95 %.
    const Z: f64 = 1.959_964;
    /// The smallest number of requests per group for which the formulas hold.
    const LEAST: u64 = 30;

    #[derive(Clone, Debug, Default, PartialEq)]
    pub(in crate::metrics) struct Arms {
        control: Arm,
        hedged: Arm,
    }

    /// The requests of one group.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Arm {
        /// The latencies of answered requests.
        latencies: Histogram,
        /// The number of requests, answered or not. This and the next two are integers, so that sums over shards are exact:
        /// the sum of the durations in nanoseconds, and the sum of their squares.
        count: u64,
        sum: u128,
        squares: u128,
    }

    impl Arms {
        pub(in crate::metrics) fn record(&mut self, group: Group, record: &Record) {
            let arm = match group {
                Group::Control => &mut self.control,
                Group::Hedged => &mut self.hedged,
            };
            arm.record(record);
        }

        pub(in crate::metrics) fn merge(&mut self, other: &Self) {
            self.control.merge(&other.control);
            self.hedged.merge(&other.hedged);
        }

        pub(in crate::metrics) fn effect(&self, more: f64) -> Option<Effect<'_>> {
            let enough = self.control.count.min(self.hedged.count) >= LEAST;
            enough.then_some(Effect { arms: self, more })
        }
    }

    impl Arm {
        fn record(&mut self, record: &Record) {
            if matches!(record.end, RequestEnd::Won(_)) {
                self.latencies.record_nanos(record.total);
            }
            let total = u128::from(record.total);
            self.count = self.count.saturating_add(1);
            self.sum = self.sum.saturating_add(total);
            self.squares = self.squares.saturating_add(total * total);
        }

        fn merge(&mut self, other: &Self) {
            self.latencies.merge(&other.latencies);
            self.count = self.count.saturating_add(other.count);
            self.sum = self.sum.saturating_add(other.sum);
            self.squares = self.squares.saturating_add(other.squares);
        }

        /// Returns the mean in seconds, and the variance of that mean.
        fn mean(&self) -> (f64, f64) {
            let (n, sum) = (self.count as f64, self.sum as f64 / 1e9);
            let mean = sum / n;
            let squares = self.squares as f64 / 1e18;
            let variance = (squares - sum * mean).max(0.0) / (n - 1.0);
            (mean, variance / n)
        }

        /// Returns the `q`-quantile with the order statistics around it as its interval. A request without an answer
        /// counts as infinitely slow.
        fn quantile(&self, q: f64) -> Interval {
            let n = self.count as f64;
            // Conover, Practical Nonparametric Statistics (1999), section 3.2: how many values are below a quantile is
            // binomial.
            let (middle, spread) = (n * q, Z * libm::sqrt(n * q * (1.0 - q)));
            let (low, high) = (
                libm::floor(middle - spread),
                libm::ceil(middle + spread) + 1.0,
            );
            let bounds = |rank: f64| self.latencies.bounds_of_rank(rank as u64).map(seconds_each);
            let beyond = f64::INFINITY;
            Interval {
                value: bounds(libm::ceil(middle).max(1.0))
                    .map_or(beyond, |(low, high)| low.midpoint(high)),
                low: if low < 1.0 {
                    0.0
                } else {
                    bounds(low).map_or(beyond, |(low, _)| low)
                },
                high: bounds(high).map_or(beyond, |(_, high)| high),
            }
        }

        /// Returns the share that was answered within `target` nanoseconds.
        fn within(&self, target: u64) -> Interval {
            let (surely, perhaps) = self.latencies.count_within(target);
            let middle = (surely as f64 + perhaps as f64) / 2.0;
            let n = self.count as f64;
            Interval {
                value: middle / n,
                low: wilson(surely as f64, n).0,
                high: wilson(perhaps as f64, n).1,
            }
        }

        fn answered(&self) -> Interval {
            let (count, n) = (self.latencies.count() as f64, self.count as f64);
            let (low, high) = wilson(count, n);
            Interval {
                value: count / n,
                low,
                high,
            }
        }
    }

    fn seconds_each((low, high): (u64, u64)) -> (f64, f64) {
        (low as f64 / 1e9, high as f64 / 1e9)
    }

    /// Returns the interval of a share (Wilson, J. Am. Stat. Assoc. 22, 1927, 209).
    fn wilson(count: f64, n: f64) -> (f64, f64) {
        let share = count / n;
        let scale = 1.0 + Z * Z / n;
        let middle = (share + Z * Z / (2.0 * n)) / scale;
        let half = Z * libm::sqrt(share * (1.0 - share) / n + Z * Z / (4.0 * n * n)) / scale;
        ((middle - half).max(0.0), (middle + half).min(1.0))
    }

    /// Returns the 97.5th percentile of Student's t (Abramowitz and Stegun, Handbook of Mathematical Functions, 1964,
    /// 26.7.5).
    pub(super) fn student(freedom: f64) -> f64 {
        let z3 = Z * Z * Z;
        let first = (z3 + Z) / 4.0;
        let second = (5.0 * z3 * Z * Z + 16.0 * z3 + 3.0 * Z) / 96.0;
        Z + first / freedom + second / (freedom * freedom)
    }

    /// An estimate, and the interval that contains the truth in 95 of 100 cases.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Interval {
        /// The estimate.
        pub value: f64,
        /// The lower end of the interval; may be infinite.
        pub low: f64,
        /// The upper end of the interval; may be infinite.
        pub high: f64,
    }

    impl Interval {
        /// Returns the difference to `other`, which is independent (Zou and Donner, Statist. Med. 27, 2008, 1693; for
        /// shares Newcombe, Statist. Med. 17, 1998, 873, method 10).
        fn minus(self, other: Self) -> Self {
            let value = self.value - other.value;
            let below = libm::hypot(self.value - self.low, other.high - other.value);
            let above = libm::hypot(self.high - self.value, other.value - other.low);
            Self {
                value,
                low: value - below,
                high: value + above,
            }
        }

        /// Returns whether the interval contains `value`.
        pub fn contains(&self, value: f64) -> bool {
            (self.low..=self.high).contains(&value)
        }
    }

    /// The effect of hedges on the requests that were hedged. It compares two groups of requests that passed the hedge
    /// delay and whose hedge was allowed by strategy, guard, budget and readiness. The requests of one group were
    /// hedged. The hedges of the other one, the control group, were withheld at random by
    /// [`holdback_percent`](crate::Options::holdback_percent).
    ///
    /// Differences of latencies are in seconds, and positive if hedged requests were faster; differences of shares are
    /// positive if hedged requests did better. In both groups, latencies are measured from the start of the request,
    /// and the primaries of the control group run to their end, so no latency is censored. The intervals of quantiles
    /// include the width of a bucket of the [`Histogram`].
    ///
    /// # What it cannot see
    ///
    /// Hedges load the callee, which may slow down *every* request, also those of the control group. Both groups are
    /// part of the same traffic, so this cancels out. To see it, compare hours with hedging to hours without, or
    /// monitor the callee. The effect also says nothing about requests that ended before the delay, which hedging does
    /// not change, nor about retries.
    ///
    /// ```
    /// use core::time::Duration;
    /// use hedge_core::manual::ManualTimer;
    /// use hedge_core::{Budget, Fixed, Hedger};
    ///
    /// let clock = ManualTimer::<8>::new();
    /// let hedger = Hedger::builder(&clock)
    ///     .strategy(Fixed::new(Duration::from_millis(50)))
    ///     .budget(Budget::unlimited())
    ///     .holdback_percent(20.0)
    ///     .build_local()?;
    /// for _ in 0..500 {
    ///     let fetch = async |ms| { clock.sleep(Duration::from_millis(ms)).await; Ok::<_, ()>(()) };
    ///     clock.drive(hedger.request(|attempt| fetch(if attempt.is_hedge() { 20 } else { 900 }))).unwrap();
    /// }
    /// let metrics = hedger.metrics();
    /// let effect = metrics.effect().expect("there are enough requests");
    /// // 900 ms instead of 70.
    /// assert!((effect.mean().value - 0.83).abs() < 1e-9);
    /// assert!(effect.within(Duration::from_millis(100)).low > 0.9);
    /// assert!(effect.to_string().starts_with("hedged 830 ms faster"), "{effect}");
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    #[derive(Clone, Copy, Debug)]
    pub struct Effect<'m> {
        arms: &'m Arms,
        more: f64,
    }

    impl Effect<'_> {
        /// Returns the number of requests in the control group and in the hedged group.
        pub fn requests(&self) -> (u64, u64) {
            (self.arms.control.count, self.arms.hedged.count)
        }

        /// Returns by how many seconds hedging shortened the mean time until a request ended, however it ended.
        ///
        /// The interval is Welch's: Biometrika 34 (1947), 28.
        pub fn mean(&self) -> Interval {
            let (control, c) = self.arms.control.mean();
            let (hedged, h) = self.arms.hedged.mean();
            let (n, m) = (
                self.arms.control.count as f64,
                self.arms.hedged.count as f64,
            );
            let together = c + h;
            // Numerator and denominator are 0 if all requests took equally long.
            let freedom = together * together / (c * c / (n - 1.0) + h * h / (m - 1.0));
            let freedom = if freedom >= 1.0 { freedom } else { n + m - 2.0 };
            let half = student(freedom) * libm::sqrt(together);
            let value = control - hedged;
            Interval {
                value,
                low: value - half,
                high: value + half,
            }
        }

        /// Returns by how many seconds hedging shortened the `q`-quantile of the latency, with `q` from 0 to 1. A
        /// request without an answer counts as infinitely slow; `None` if the quantile of one of the groups is
        /// infinite. An end of the interval is infinite if there are too few requests to estimate it.
        pub fn quantile(&self, q: f64) -> Option<Interval> {
            let q = q.clamp(0.0, 1.0);
            let [control, hedged] =
                [&self.arms.control, &self.arms.hedged].map(|arm| arm.quantile(q));
            let known = control.value.is_finite() && hedged.value.is_finite();
            known.then(|| control.minus(hedged))
        }

        /// Returns by how many seconds hedging shortened the median latency: see [`quantile`](Self::quantile).
        pub fn p50(&self) -> Option<Interval> {
            self.quantile(0.5)
        }

        /// Returns by how many seconds hedging shortened the 99th percentile of the latency: see
        /// [`quantile`](Self::quantile).
        pub fn p99(&self) -> Option<Interval> {
            self.quantile(0.99)
        }

        /// Returns by how much hedging raised the share of requests that were answered within `target`, from −1 to 1.
        pub fn within(&self, target: Duration) -> Interval {
            let target = nanos(target);
            self.arms
                .hedged
                .within(target)
                .minus(self.arms.control.within(target))
        }

        /// Returns by how much hedging raised the share of requests that were answered at all, from −1 to 1.
        pub fn answered(&self) -> Interval {
            self.arms
                .hedged
                .answered()
                .minus(self.arms.control.answered())
        }

        /// Returns how many attempts were added by hedges for slowness, as a share of all requests.
        pub const fn more_requests(&self) -> f64 {
            self.more
        }
    }

    /// Writes one line for humans: the mean, the 99th percentile of both groups if it is known, and the cost.
    impl fmt::Display for Effect<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Interval { value, low, high } = self.mean();
            let sign = if value < 0.0 { -1.0 } else { 1.0 };
            let (low, high) = if value < 0.0 {
                (-high, -low)
            } else {
                (low, high)
            };
            if low < 0.0 && high > 0.0 {
                f.write_str("no effect shows: ")?;
            }
            let way = if sign < 0.0 { "slower" } else { "faster" };
            let unit = Unit::of(libm::fabs(value).max(libm::fabs(high)));
            write!(
                f,
                "hedged {} {} {way}, ",
                unit.number(sign * value),
                unit.name
            )?;
            write!(f, "{} to {}", unit.number(low), unit.number(high))?;
            let (control, hedged) = (
                self.arms.control.quantile(0.99),
                self.arms.hedged.quantile(0.99),
            );
            let (n, m) = self.requests();
            if n.min(m) >= 100 && control.value.is_finite() && hedged.value.is_finite() {
                let (from, to) = (Unit::of(control.value), Unit::of(hedged.value));
                write!(
                    f,
                    "; P99 of these {} {}",
                    from.number(control.value),
                    from.name
                )?;
                write!(f, " → {} {}", to.number(hedged.value), to.name)?;
            }
            write!(f, "; {:.1} % more requests", 100.0 * self.more)
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests;
