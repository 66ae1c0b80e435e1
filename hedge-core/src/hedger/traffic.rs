//! Detection of a backend that has become slow as a whole.

use super::ewma::Ewma;

/// The state of a hedger's traffic, which it passes to the budget.
///
/// The budget does not track this itself, since several hedgers may share it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Whether most of the latest requests passed the hedge delay, which is a slowdown and not a tail. While it lasts,
    /// hedges are limited to a small part of the burst.
    pub surging: bool,
    /// Whether more requests pass the hedge delay in the long run than the strategy plans. Deposits then are smaller.
    pub slow: bool,
}

impl Traffic {
    /// Traffic in which most requests are answered before a hedge is due.
    pub const CALM: Self = Self {
        surging: false,
        slow: false,
    };
}

/// Tracks the share of a hedger's requests that pass the hedge delay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TrafficMonitor {
    /// The share among the last 20 requests or so: a surge must be noticed before it has spent the budget.
    recent: Ewma<20>,
    /// The share among the last 512 requests or so whose strategy plans a share.
    long_run: Ewma<512>,
}

impl TrafficMonitor {
    /// The share of recent requests above which traffic surges, if no strategy plans a larger one.
    const SURGE: f32 = 0.65;
    /// The share of requests above which traffic is slow, if no strategy plans a larger one.
    const SLOW: f32 = 0.15;

    pub(crate) const fn new() -> Self {
        Self {
            recent: Ewma::ZERO,
            long_run: Ewma::ZERO,
        }
    }

    /// Records whether a request passed its hedge delay. `planned` is the share that the strategy plans, if it plans
    /// one.
    #[inline]
    pub(crate) fn record(&mut self, passed: bool, planned: Option<f32>) {
        self.recent.observe(passed);
        // An early delay that is not aimed at a percentile says nothing about the backend.
        if planned.is_some() {
            self.long_run.observe(passed);
        }
    }

    /// Returns the state of the traffic, for the budget.
    pub(crate) fn traffic(&self, planned: Option<f32>) -> Traffic {
        // A NaN is no share.
        let planned = planned.filter(|planned| *planned > 0.0).unwrap_or(0.0);
        let (recent, long_run) = (self.recent.share(), self.long_run.share());
        Traffic {
            surging: recent > 0.95 || recent > Self::SURGE && recent > 1.5 * planned,
            slow: long_run > Self::SLOW && long_run > 3.0 * planned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(monitor: &mut TrafficMonitor, requests: u32, passed: fn(u32) -> bool) -> Traffic {
        (0..requests).for_each(|n| monitor.record(passed(n), Some(0.05)));
        monitor.traffic(Some(0.05))
    }

    #[test]
    fn a_tail_is_neither_a_surge_nor_slow() {
        let mut monitor = TrafficMonitor::new();
        assert_eq!(after(&mut monitor, 2000, |n| n % 20 == 0), Traffic::CALM);
        // A cluster of ten slow requests is no surge: 1 − 0.95^10 is 0.4.
        assert_eq!(after(&mut monitor, 10, |_| true), Traffic::CALM);
    }

    #[test]
    fn a_surge_is_noticed_within_21_requests_and_over_after_as_many() {
        let mut monitor = TrafficMonitor::new();
        assert!(!after(&mut monitor, 20, |_| true).surging);
        assert!(after(&mut monitor, 1, |_| true).surging);
        (0..200).for_each(|_| monitor.record(true, Some(0.05)));
        assert!(after(&mut monitor, 8, |_| false).surging);
        assert!(!after(&mut monitor, 1, |_| false).surging);
    }

    #[test]
    fn slowness_is_a_matter_of_hundreds_of_requests() {
        let mut monitor = TrafficMonitor::new();
        // 1 − (511 / 512)^n is above 0.15 from n = 84.
        assert!(!after(&mut monitor, 83, |_| true).slow);
        assert!(after(&mut monitor, 1, |_| true).slow);
        assert!(!after(&mut monitor, 8, |_| false).slow);
        // A steady 20 % is slow, and 12 % is not.
        assert!(after(&mut monitor, 5000, |n| n % 5 == 0).slow);
        assert!(!after(&mut monitor, 5000, |n| n % 8 == 0).slow);
    }

    #[test]
    fn a_share_that_is_planned_is_no_surge() {
        let planned = |share| {
            let mut monitor = TrafficMonitor::new();
            // Nine in ten requests pass the delay.
            (0..5000_u32).for_each(|n| monitor.record(n % 10 != 0, share));
            monitor.traffic(share)
        };
        assert_eq!(planned(Some(0.9)), Traffic::CALM);
        let surge = Traffic {
            surging: true,
            slow: true,
        };
        assert_eq!(planned(Some(0.05)), surge);
        assert_eq!(planned(Some(f32::NAN)), surge);
        // Without a planned share, the traffic can surge but cannot be slower than planned.
        assert_eq!(
            planned(None),
            Traffic {
                surging: true,
                slow: false
            }
        );
    }

    #[test]
    fn nearly_all_is_a_surge_whatever_is_planned() {
        let mut monitor = TrafficMonitor::new();
        (0..200).for_each(|_| monitor.record(true, Some(1.0)));
        assert!(monitor.traffic(Some(1.0)).surging);
    }
}
