//! A slowly forgetting memory of the latencies of primaries, and the delay that a share of them exceeds.
//!
//! Slow requests come in clusters. A window of the last thousand requests follows each cluster and raises the delay
//! just when hedges matter. A histogram that forgets over thousands of requests does not. It needs no correction for
//! primaries that were dropped because their hedge won: each of them had run for longer than the delay, so it is
//! recorded above the delay, as it would have been without the hedge. So the delay settles where the requested share of
//! primaries takes longer.
//!
//! Four rules correct the mistakes of a slow memory:
//!
//! * When all requests become faster, none passes the delay, and the median falls. When this has lasted for
//!   [`FASTER_AFTER`] requests, all older samples are forgotten. The median of the comparison rises within tens of
//!   requests, so that this rule also ends short incidents and stalls. If it applies again and again, slow times are
//!   part of the traffic, so it takes four times as long each time.
//! * An attempt that was dropped shortly after the delay counts as 1.25 × the delay. Otherwise, extreme percentiles
//!   would drift down, since attempts are dropped as soon as their hedge answers.
//! * If more attempts hang than the share allows, the share cannot be reached, and the delay would rise without bound.
//!   It is limited to 1.75 × an upper percentile of the attempts that finished, which is not raised by slow attempts
//!   that finished because the budget refused their hedge.
//! * If latencies differ by less than the width of a bucket, interpolation within the bucket may put the delay above or
//!   below all of them. See [`Correction`].

use core::time::Duration;

use super::Plan;
use super::warmup::{Start, saturated};
use crate::error::ConfigError;
use crate::record::{AttemptEnd, NONE, Record};
use crate::time::{Instant, millis, nanos};

use correction::Correction;
use expiry::Expiry;
use histogram::{CoarseHistogram, ForgettingHistogram};

pub(crate) use histogram::Share;
pub(super) use options::memory_options;

mod correction;
mod expiry;
mod histogram;
#[cfg(feature = "alloc")]
pub(crate) mod merged {
    /// The maximum weight of one entry in a merge, and of the merged state: 4000 samples.
    pub(crate) const MOST_WEIGHT: f64 = 4000.0 * super::histogram::SAMPLE as f64;
    /// The weight of one sample.
    pub(crate) const SAMPLE: f64 = super::histogram::SAMPLE as f64;
    /// The number of buckets that share one weight of dropped attempts.
    pub(crate) const GROUP: f64 = super::histogram::GROUP as f64;
}
mod options;
mod table;
#[cfg(test)]
mod tests;

/// For about how many requests in a row all must be faster before older samples are forgotten.
const FASTER_AFTER: u16 = 300;
/// For how many requests the median must have doubled before the slow median is set to it.
const SLOWER_AFTER: u16 = 64;
/// The number of halvings after which the count of restarts falls by one.
const RESTART_AGE: u8 = 12;
/// The maximum count of restarts.
const MOST_RESTARTS: u8 = 3;
/// The maximum number of requests between two estimates.
const REFRESH: u16 = 32;
/// The share up to which a percentile is extreme.
const EXTREME: Share = Share::above(98.0);

/// The latencies of primaries, and the delay that a share of them exceeds. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct LatencyMemory {
    histogram: ForgettingHistogram,
    expiry: Expiry,
    share: Share,
    /// The number of samples after which the weight of older ones is halved.
    half_life: u16,
    /// The number of samples since the last halving.
    since_halving: u16,
    /// The options for the time until there are enough samples.
    pub(super) start: Start,
    /// The window as it was set; `half_life` is clamped.
    window: u32,
    /// Whether a primary that was dropped after the delay counts as at least 1.25 × the delay.
    stretch_dropped: bool,
    /// The number of samples since the last restart, saturating.
    samples: u16,
    /// The number of samples until the next estimate.
    until_refresh: u16,
    delay: u64,
    correction: Correction,
    median: u64,
    /// Two running medians, one of which adapts within tens of requests and the other within thousands.
    fast_median: RunningMedian,
    slow_median: RunningMedian,
    /// The evidence that all requests have become slower.
    slower: u16,
    /// The evidence that all requests have become faster, the samples since it began, and the median at that time.
    faster: u16,
    recent: CoarseHistogram,
    recent_median: RunningMedian,
    /// The number of recent restarts.
    restarts: u8,
    /// The number of halvings until that count falls by one.
    restart_age: u8,
}

/// The end of a primary, as a sample of its latency.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Primary {
    /// The primary finished after this many nanoseconds.
    Finished(u64),
    /// The primary was dropped after this many nanoseconds, because its hedge won or its caller left.
    Dropped(u64),
}

impl LatencyMemory {
    /// The smallest window, in samples.
    pub(crate) const LEAST_WINDOW: u32 = 200;
    pub(crate) const MOST_WINDOW: u32 = 8000;
    pub(crate) const DEFAULT_WINDOW: u32 = 4000;

    /// Creates a memory whose delay is exceeded by a share `above` of the latencies.
    pub(crate) const fn new(above: Share) -> Self {
        Self {
            histogram: ForgettingHistogram::new(),
            expiry: Expiry::NEVER,
            share: above,
            half_life: Self::DEFAULT_WINDOW as u16,
            since_halving: 0,
            start: Start::DEFAULT,
            window: Self::DEFAULT_WINDOW,
            stretch_dropped: true,
            samples: 0,
            until_refresh: 0,
            delay: NONE,
            correction: Correction::NONE,
            median: NONE,
            fast_median: RunningMedian::NONE,
            slow_median: RunningMedian::NONE,
            slower: 0,
            restarts: 0,
            restart_age: 0,
            faster: 0,
            recent: CoarseHistogram::new(),
            recent_median: RunningMedian::NONE,
        }
    }

    /// Records dropped primaries with the time that they ran, without a minimum of 1.25 × the delay.
    pub(crate) const fn without_stretch(mut self) -> Self {
        self.stretch_dropped = false;
        self
    }

    /// Sets about how many of the last latencies count: 200 to 8000.
    pub(crate) const fn with_window(mut self, samples: usize) -> Self {
        self.window = saturated(samples);
        self.half_life = if self.window < Self::LEAST_WINDOW {
            Self::LEAST_WINDOW as u16
        } else if self.window > Self::MOST_WINDOW {
            Self::MOST_WINDOW as u16
        } else {
            self.window as u16
        };
        self
    }

    /// Sets the age at which samples expire.
    pub(crate) const fn with_max_age(mut self, max_age: Duration) -> Self {
        self.expiry = Expiry::after(Some(max_age));
        self
    }

    /// Returns the share of latencies above the delay.
    pub(crate) const fn share(&self) -> Share {
        self.share
    }

    /// Returns the age at which samples expire, if it was set.
    #[cfg(test)]
    pub(super) const fn max_age(&self) -> Option<Duration> {
        self.expiry.max_age()
    }

    pub(crate) const fn window(&self) -> usize {
        self.half_life as usize
    }

    /// About how many samples count.
    pub(crate) const fn weight(&self) -> usize {
        self.histogram.samples() as usize
    }

    /// Returns the number of samples of dropped attempts.
    pub(crate) fn dropped(&self) -> usize {
        self.histogram.dropped() as usize
    }

    /// Returns the number of samples that have arrived, at most 65 535.
    pub(crate) const fn samples(&self) -> usize {
        self.samples as usize
    }

    /// Returns whether there are enough samples.
    pub(crate) fn is_warm(&self) -> bool {
        self.start.is_over(self.samples.into(), self.window())
    }

    /// Returns the plan, given the delay that the samples suggest.
    pub(super) fn plan(&self, learned: Option<Duration>) -> Plan {
        self.start
            .plan(learned.map(nanos), self.samples(), self.window())
    }

    /// Returns `plan`, marked as reusable unless samples may expire before the next record.
    pub(super) fn lasting(&self, plan: Plan) -> Plan {
        if self.expiry.max_age().is_some() {
            plan
        } else {
            plan.reusable()
        }
    }

    /// Returns the median, once there are enough samples.
    pub(super) fn typical_latency(&self) -> Option<Duration> {
        if self.is_warm() { self.median() } else { None }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let (least, most) = (Self::LEAST_WINDOW.into(), Self::MOST_WINDOW.into());
        ConfigError::check_range("window_size", self.window.into(), least, most)?;
        self.start.validate(self.window())?;
        match self.expiry.max_age() {
            Some(age) => ConfigError::check_above("max_age_ms", millis(age), 0.0),
            None => Ok(()),
        }
    }

    /// Returns the delay that the share of latencies exceeds; `None` before the first sample.
    pub(crate) fn delay(&self) -> Option<Duration> {
        (self.samples > 0).then(|| Duration::from_nanos(self.delay))
    }

    /// Returns the median latency; `None` before the first sample.
    pub(crate) fn median(&self) -> Option<Duration> {
        (self.samples > 0).then(|| Duration::from_nanos(self.median))
    }

    /// Returns the share of hedges started after `delay` that would win if they took as long as any attempt.
    pub(crate) fn wins_after(&self, delay: Duration) -> f32 {
        self.histogram.wins_after(nanos(delay))
    }

    /// Returns the histogram.
    pub(super) const fn histogram(&self) -> &ForgettingHistogram {
        &self.histogram
    }

    /// Forgets every sample.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            histogram: ForgettingHistogram::new(),
            expiry: Expiry::after(self.expiry.max_age()),
            half_life: self.half_life,
            window: self.window,
            start: self.start,
            stretch_dropped: self.stretch_dropped,
            ..Self::new(self.share)
        };
    }

    /// Forgets expired samples. Returns whether there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let halves = self.expiry.advance(now);
        if halves == 0 || self.samples == 0 {
            return false;
        }
        if halves == 2 || self.expiry.samples == 0 {
            let expiry = self.expiry.emptied();
            self.clear();
            self.expiry = expiry;
            return true;
        }
        self.histogram = core::mem::replace(&mut self.expiry.young, ForgettingHistogram::new());
        self.samples = core::mem::take(&mut self.expiry.samples);
        self.refresh();
        true
    }

    /// Records the primary of a request. Returns whether it taught anything.
    #[cfg_attr(feature = "std", inline)]
    pub(crate) fn record(&mut self, record: &Record) -> bool {
        let primary = match record.primary_end {
            AttemptEnd::Finished => Primary::Finished(record.primary),
            AttemptEnd::Dropped => Primary::Dropped(record.primary),
            AttemptEnd::Failed => return false,
        };
        if self.expiry.max_age().is_some() {
            self.expire(record.ended_at);
        }
        // A primary that was dropped before a hedge was due is known to take longer than it had run. That is true of
        // most primaries, so skip it.
        if matches!(primary, Primary::Dropped(_))
            && !record.hedge_won()
            && record.primary <= record.hedge_delay
            && record.primary < self.usable_delay()
        {
            return false;
        }
        self.add(primary, record.hedge_delay)
    }

    /// Records a primary. `planned` is the delay of its request, or [`NONE`]. Returns false for a primary that was
    /// dropped at once, which is not recorded.
    #[cfg_attr(feature = "std", inline)]
    fn add(&mut self, primary: Primary, planned: u64) -> bool {
        let (Primary::Finished(nanos) | Primary::Dropped(nanos)) = primary;
        let passed = nanos > planned;
        let counted = match primary {
            Primary::Finished(_) => nanos,
            Primary::Dropped(0) => return false,
            Primary::Dropped(_) if passed && self.stretch_dropped => {
                nanos.max(self.stretched(planned))
            }
            Primary::Dropped(_) => nanos,
        };
        add_to(&mut self.histogram, primary, counted);
        if self.expiry.max_age().is_some() {
            add_to(&mut self.expiry.young, primary, counted);
            self.expiry.samples = self.expiry.samples.saturating_add(1);
        }
        self.samples = self.samples.saturating_add(1);
        self.since_halving += 1;
        if self.since_halving >= self.half_life {
            self.halve();
        }
        let is_warm = self.is_warm();
        self.follow(nanos, is_warm);
        if is_warm {
            self.watch_for_speedup(counted, passed);
            // The steps down count when the delay is estimated again.
            if self.correction.observe(counted, self.delay) {
                self.delay = self.correction.delay();
            }
        }
        self.until_refresh = self.until_refresh.saturating_sub(1);
        if self.until_refresh == 0 {
            self.refresh();
        }
        true
    }

    fn halve(&mut self) {
        self.since_halving = 0;
        self.histogram.halve();
        if self.expiry.max_age().is_some() {
            self.expiry.young.halve();
        }
        self.restart_age = self.restart_age.saturating_sub(1);
        if self.restart_age == 0 {
            self.restarts = self.restarts.saturating_sub(1);
            self.restart_age = RESTART_AGE;
        }
    }

    /// Returns the delay, or 0 during warm-up.
    fn usable_delay(&self) -> u64 {
        if self.is_warm() { self.delay } else { 0 }
    }

    /// Returns the least latency that a primary counts as if it was dropped after the `planned` delay.
    fn stretched(&self, planned: u64) -> u64 {
        // An extreme percentile depends on few samples, and at first there may be none. In steps of a quarter the delay
        // would take long to reach it.
        let more = if self.is_extreme() && !self.is_settled() {
            planned.saturating_mul(3)
        } else {
            planned / 4
        };
        planned.saturating_add(more)
    }

    /// Returns whether few samples lie above the delay.
    const fn is_extreme(&self) -> bool {
        self.share.bits() <= EXTREME.bits()
    }

    /// Returns whether there were enough requests that 40 of them should have passed their delay.
    const fn is_settled(&self) -> bool {
        (self.samples as u64 * self.share.bits() as u64) >> 32 >= 40
    }

    /// Updates the running medians.
    fn follow(&mut self, nanos: u64, is_warm: bool) {
        if !is_warm {
            self.fast_median.step(nanos, 3);
            self.slow_median = self.fast_median;
            return;
        }
        self.fast_median.step(nanos, 5);
        // Keep the slow median while there is evidence of a speedup, which is compared with it.
        if self.faster == 0 {
            self.slow_median.step(nanos, 11);
        }
        // The slow median takes thousands of requests to follow, and most incidents are shorter.
        if self.slow_median.is_below_half_of(self.fast_median) {
            self.slower = (self.slower + 1).min(SLOWER_AFTER);
        } else {
            self.slower = self.slower.saturating_sub(1);
        }
        if self.slower == SLOWER_AFTER {
            self.slow_median = self.slow_median.max(self.fast_median);
        }
    }

    /// Counts the evidence that everything has become faster: the median has halved, and less than nine tenths
    /// of the share pass.
    fn watch_for_speedup(&mut self, counted: u64, passed: bool) {
        let before = self.faster;
        if passed {
            self.faster = self.faster.saturating_sub(self.weight_of_pass());
        } else if self.fast_median.is_below_half_of(self.slow_median) {
            self.faster += 1;
        } else {
            self.faster = self.faster.saturating_sub(4);
        }
        if self.faster == 0 {
            return;
        }
        // While the median still falls, recent samples do not represent the new latencies.
        if before == 0 || self.fast_median.is_below_half_of(self.recent_median) {
            self.faster = 1;
            self.recent_median = self.fast_median;
            self.recent.clear();
        }
        self.recent.add(counted);
        if self.faster >= FASTER_AFTER << (2 * self.restarts) {
            self.restart();
        }
    }

    /// Returns the weight at which evidence and passes balance if nine tenths of the share passes.
    const fn weight_of_pass(&self) -> u16 {
        let weight = (9 << 29) / (self.share.bits() as u64 + 1);
        if weight < u16::MAX as u64 {
            weight as u16
        } else {
            u16::MAX
        }
    }

    /// Forgets all samples from before the median fell.
    fn restart(&mut self) {
        self.slow_median = self.fast_median;
        self.histogram.restart_from(&self.recent);
        if self.expiry.max_age().is_some() {
            self.expiry.young = self.histogram.clone();
        }
        self.recent.clear();
        self.since_halving = 0;
        self.restarts = (self.restarts + 1).min(MOST_RESTARTS);
        self.restart_age = RESTART_AGE;
        self.faster = 0;
        self.until_refresh = 0;
    }

    /// Estimates the delay and the median again.
    fn refresh(&mut self) {
        let weight = self.histogram.samples() as u16;
        self.until_refresh = (weight / 32).clamp(1, REFRESH);
        let quantiles = self.histogram.quantiles();
        let mut estimate = quantiles.estimate(self.share);
        if self.is_settled() {
            let above = if self.is_extreme() {
                self.share.tenths(2)
            } else {
                self.share.tenths(7)
            };
            let finished = quantiles.of_finished(above);
            estimate = estimate.at_most(finished.saturating_add(finished / 4 * 3));
        }
        self.correction.update(estimate);
        self.delay = self.correction.delay().max(1);
        self.median = quantiles.of_all(Share::HALF);
    }
}

fn add_to(histogram: &mut ForgettingHistogram, primary: Primary, nanos: u64) {
    match primary {
        Primary::Finished(_) => histogram.add_finished(nanos),
        Primary::Dropped(_) => histogram.add_dropped(nanos),
    }
}

/// A running median, which moves by a fixed share of itself towards each sample.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct RunningMedian {
    /// In nanoseconds, with 8 fractional bits; zero before the first sample.
    scaled: u64,
}

impl RunningMedian {
    const NONE: Self = Self { scaled: 0 };
    const FRACTION_BITS: u32 = 8;
    /// The largest sample, more than six months.
    const MOST: u64 = 1 << 54;

    const fn of(nanos: u64) -> Self {
        Self {
            scaled: nanos << Self::FRACTION_BITS,
        }
    }

    /// Moves the median by one part in 2^`slowness` towards the sample.
    fn step(&mut self, nanos: u64, slowness: u32) {
        let sample = nanos.clamp(1, Self::MOST) << Self::FRACTION_BITS;
        let step = self.scaled >> slowness;
        if self.scaled == 0 {
            self.scaled = sample;
            return;
        }
        // Compute without a branch, which would be mispredicted half of the time.
        let doubled = 2 * step * u64::from(sample > self.scaled);
        self.scaled = self.scaled - step + doubled;
    }

    /// Returns the median in nanoseconds, clamped, since a step may lead slightly beyond the largest sample.
    fn nanos(self) -> u64 {
        (self.scaled >> Self::FRACTION_BITS).min(Self::MOST)
    }

    const fn is_below_half_of(self, other: Self) -> bool {
        self.scaled < other.scaled / 2
    }
}
