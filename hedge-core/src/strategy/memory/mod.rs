//! What primaries took, slowly forgotten, and the delay that a share of them exceeds.
//!
//! Slow requests cluster. A window of the last thousand follows each cluster and raises the delay just when
//! hedges matter; a histogram that forgets over thousands of requests does not. It needs no correction for
//! primaries that were dropped because their hedge won: each is recorded when it had lasted longer than the
//! delay, so that "recorded above the delay" is the same as "took longer than the delay", and the
//! delay settles where the share of those is the one that was asked for.
//!
//! Three rules handle what a slow memory alone would get wrong:
//!
//! * When everything becomes faster, nothing passes the delay, and the median falls. Once both have lasted for
//!   [`FASTER_AFTER`] requests, all that was recorded before is forgotten. The median that is compared with
//!   rises within tens of requests, so that this ends short incidents and stalls, too. Where it happens
//!   again and again, slow times are part of the traffic: it takes four times as long each time.
//! * An attempt that was dropped shortly after the delay counts as 1.25 × the delay. Extreme percentiles
//!   would drift down towards the time that a hedge takes otherwise.
//! * Where more attempts hang than the share allows, the share cannot be met, and the delay would creep up
//!   without bound. It stays within 1.75 × an upper percentile of the attempts that did finish: one that those do not
//!   raise which are slow and finish because the budget refused their hedge.

use core::time::Duration;

use super::Plan;
use super::warmup::{Start, saturated};
use crate::error::ConfigError;
use crate::record::{AttemptEnd, NONE, Record};
use crate::time::{Instant, millis, nanos};

use expiry::Expiry;
use histogram::{CoarseHistogram, ForgettingHistogram};

pub(crate) use histogram::Share;
pub(super) use options::memory_options;

mod expiry;
mod histogram;
#[cfg(feature = "alloc")]
pub(crate) mod merged {
    /// The most that one entry weighs in a merge, and that the merge weighs: 4000 samples.
    pub(crate) const MOST_WEIGHT: f64 = 4000.0 * super::histogram::SAMPLE as f64;
    /// The weight of one sample.
    pub(crate) const SAMPLE: f64 = super::histogram::SAMPLE as f64;
    /// How many buckets share one weight for the attempts that were dropped in them.
    pub(crate) const GROUP: f64 = super::histogram::GROUP as f64;
}
mod options;
mod table;
#[cfg(test)]
mod tests;

/// For how many requests in a row, more or less, all has to be faster before the delay follows.
const FASTER_AFTER: u16 = 300;
/// For how many the median has to be twice what it was before the slow median follows at once.
const SLOWER_AFTER: u16 = 64;
/// After how many halvings it counts one time less that all was forgotten.
const RESTART_AGE: u8 = 12;
/// How many times count.
const MOST_RESTARTS: u8 = 3;
/// How many requests are recorded between two estimates, at most.
const REFRESH: u16 = 32;
/// A share that is small.
const EXTREME: Share = Share::above(98.0);

/// Latencies of primaries, and the delay that a share of them exceeds. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct LatencyMemory {
    histogram: ForgettingHistogram,
    expiry: Expiry,
    share: Share,
    /// How many samples halve the weight of those before.
    half_life: u16,
    /// How many samples there are since that happened last.
    since_halving: u16,
    /// What to do until there are enough samples.
    pub(super) start: Start,
    /// As asked for; `half_life` is within what is possible.
    window: u32,
    /// Whether a primary that was dropped after the delay counts as at least 1.25 × the delay.
    stretch_dropped: bool,
    /// How many samples arrived since all were forgotten, up to the largest number.
    samples: u16,
    /// How many samples are to come before the next estimate.
    until_refresh: u16,
    delay: u64,
    median: u64,
    /// A median that follows within tens of requests, and one that takes thousands.
    fast_median: RunningMedian,
    slow_median: RunningMedian,
    /// Evidence that everything has become slower.
    slower: u16,
    /// Evidence that everything has become faster, what was recorded meanwhile, and the median when that began.
    faster: u16,
    recent: CoarseHistogram,
    recent_median: RunningMedian,
    /// How often all was forgotten lately, because everything had become faster.
    restarts: u8,
    /// How many times all weights are halved before one of these is forgotten.
    restart_age: u8,
}

/// How the primary of a request ended, as far as it teaches how long one takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Primary {
    /// It finished after so many nanoseconds.
    Finished(u64),
    /// It was dropped after so many nanoseconds, by its hedge or by its caller.
    Dropped(u64),
}

impl LatencyMemory {
    /// The numbers of samples that may halve the weight of those before.
    pub(crate) const LEAST_WINDOW: u32 = 200;
    pub(crate) const MOST_WINDOW: u32 = 8000;
    pub(crate) const DEFAULT_WINDOW: u32 = 4000;

    /// The delay is what a share `above` of the latencies exceed.
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

    /// Records what a dropped primary had lasted as it is.
    pub(crate) const fn without_stretch(mut self) -> Self {
        self.stretch_dropped = false;
        self
    }

    /// About how many of the last latencies count: 200 to 8000.
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

    /// Samples as old as this do not count.
    pub(crate) const fn with_max_age(mut self, max_age: Duration) -> Self {
        self.expiry = Expiry::after(Some(max_age));
        self
    }

    /// The share of latencies that the delay leaves above it.
    pub(crate) const fn share(&self) -> Share {
        self.share
    }

    /// After how long samples do not count any more, if that was set.
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

    /// How many of them are attempts that were dropped.
    pub(crate) fn dropped(&self) -> usize {
        self.histogram.dropped() as usize
    }

    /// How many samples have arrived, 65 535 standing for more.
    pub(crate) const fn samples(&self) -> usize {
        self.samples as usize
    }

    /// Whether there are enough samples.
    pub(crate) fn is_warm(&self) -> bool {
        self.start.is_over(self.samples.into(), self.window())
    }

    /// The plan, given the delay that the samples suggest.
    pub(super) fn plan(&self, learned: Option<Duration>) -> Plan {
        self.start.plan(learned, self.samples(), self.window())
    }

    /// `plan`, which holds for every request until the next record, unless samples may expire before that.
    pub(super) fn lasting(&self, plan: Plan) -> Plan {
        if self.expiry.max_age().is_some() {
            plan
        } else {
            plan.reusable()
        }
    }

    /// The median, once there are enough samples.
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

    /// The delay that the share of latencies exceed; `None` before the first sample.
    pub(crate) fn delay(&self) -> Option<Duration> {
        (self.samples > 0).then(|| Duration::from_nanos(self.delay))
    }

    /// What half of the latencies do not exceed; `None` before the first sample.
    pub(crate) fn median(&self) -> Option<Duration> {
        (self.samples > 0).then(|| Duration::from_nanos(self.median))
    }

    /// The share of the hedges started after `delay` that would win if they took as long as any attempt.
    pub(crate) fn wins_after(&self, delay: Duration) -> f32 {
        self.histogram.wins_after(nanos(delay))
    }

    /// What is remembered.
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

    /// Forgets the samples that are too old. Returns whether there were any.
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

    /// Records a primary, given the delay that its request was planned with, or [`NONE`]. Returns whether it was
    /// recorded: one that was dropped at once says nothing.
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

    /// The delay once it is warm.
    fn usable_delay(&self) -> u64 {
        if self.is_warm() { self.delay } else { 0 }
    }

    /// What a primary that was dropped after `planned` counts as, if it had not lasted longer.
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

    /// Whether few samples lie above the delay.
    const fn is_extreme(&self) -> bool {
        self.share.bits() <= EXTREME.bits()
    }

    /// Whether so many requests have been recorded that 40 should have passed their delay.
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

    /// So much that evidence and passes balance where nine tenths of the share passes.
    const fn weight_of_pass(&self) -> u16 {
        let weight = (9 << 29) / (self.share.bits() as u64 + 1);
        if weight < u16::MAX as u64 {
            weight as u16
        } else {
            u16::MAX
        }
    }

    /// Forgets all but what was recorded since the median fell.
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
        let mut delay = quantiles.of_all(self.share);
        if self.is_settled() {
            let above = if self.is_extreme() {
                self.share.tenths(2)
            } else {
                self.share.tenths(7)
            };
            let finished = quantiles.of_finished(above);
            delay = delay.min(finished.saturating_add(finished / 4 * 3));
        }
        self.delay = delay.max(1);
        self.median = quantiles.of_all(Share::HALF);
    }
}

fn add_to(histogram: &mut ForgettingHistogram, primary: Primary, nanos: u64) {
    match primary {
        Primary::Finished(_) => histogram.add_finished(nanos),
        Primary::Dropped(_) => histogram.add_dropped(nanos),
    }
}

/// A median that moves by a fixed share of itself towards each sample.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct RunningMedian {
    /// In nanoseconds, with 8 fractional bits; zero before the first sample.
    scaled: u64,
}

impl RunningMedian {
    const NONE: Self = Self { scaled: 0 };
    const FRACTION_BITS: u32 = 8;
    /// More than six months.
    const MOST: u64 = 1 << 54;

    const fn of(nanos: u64) -> Self {
        Self {
            scaled: nanos << Self::FRACTION_BITS,
        }
    }

    /// Moves by one part in 2^`slowness` towards the sample.
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

    /// In nanoseconds. A step may lead a little beyond the most that a sample counts as.
    fn nanos(self) -> u64 {
        (self.scaled >> Self::FRACTION_BITS).min(Self::MOST)
    }

    const fn is_below_half_of(self, other: Self) -> bool {
        self.scaled < other.scaled / 2
    }
}
