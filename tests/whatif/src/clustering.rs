//! Whether slow requests come together.

/// How slow requests of a trace are spread over it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clustering {
    /// The 95th percentile, in milliseconds.
    pub(crate) p95: f64,
    /// The share of the requests that exceed it.
    pub(crate) slow: f64,
    /// Of the requests that follow one above it, the share that are above it, too.
    pub(crate) follows: f64,
    /// The most above it among a hundred in a row.
    pub(crate) of_hundred: usize,
}

impl Clustering {
    /// Measures latencies in their order; `None` for fewer than a thousand, which show too little.
    pub(crate) fn of(latencies: &[f64]) -> Option<Self> {
        if latencies.len() < 1000 {
            return None;
        }
        let mut sorted = latencies.to_vec();
        sorted.sort_by(f64::total_cmp);
        let p95 = crate::lab::percentile(&sorted, 95.0);
        let above: Vec<bool> = latencies.iter().map(|latency| *latency > p95).collect();
        let count = |flags: &[bool]| flags.iter().filter(|above| **above).count();
        // The last has no next.
        let followed = count(&above[..above.len() - 1]);
        let both = above.windows(2).filter(|pair| pair[0] && pair[1]).count();
        Some(Self {
            p95,
            slow: count(&above) as f64 / above.len() as f64,
            follows: both as f64 / followed.max(1) as f64,
            of_hundred: most(&above, 100),
        })
    }

    /// Whether slow requests come together so much that figures of independent ones mislead.
    pub(crate) fn is_strong(&self) -> bool {
        self.follows > 2.0 * self.slow.max(0.01)
    }

    /// What it means for the service.
    pub(crate) fn sentence(&self) -> String {
        let Self {
            p95,
            slow,
            follows,
            of_hundred,
        } = *self;
        let figures = format!(
            "After a request above P95 ({p95:.1} ms) the next is above it {:.0} % of the time ({:.0} % if requests were \
             independent), and 100 in a row hold up to {of_hundred} such.",
            100.0 * follows,
            100.0 * slow,
        );
        let meaning = if self.is_strong() {
            "Slow requests cluster: hedges are needed many at a time, when the budget is soonest spent and when another \
             attempt is likely slow, too."
        } else {
            "Slow requests come one by one: a hedge mostly finds the service as fast as ever."
        };
        format!("{figures} {meaning}")
    }
}

/// The most that are set among `window` flags in a row.
pub(crate) fn most(flags: &[bool], window: usize) -> usize {
    let mut within = 0;
    let mut most = 0;
    for (n, flag) in flags.iter().enumerate() {
        within += usize::from(*flag);
        if n >= window {
            within -= usize::from(flags[n - window]);
        }
        most = most.max(within);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_stretch_is_a_cluster_and_scattered_requests_are_none() {
        // 50 of 1000 are slow: in a row, or every twentieth.
        let stretch: Vec<f64> = (0..1000)
            .map(|n| if n < 50 { 100.0 } else { 1.0 })
            .collect();
        let scattered: Vec<f64> = (0..1000)
            .map(|n| if n % 20 == 0 { 100.0 } else { 1.0 })
            .collect();
        let stretch = Clustering::of(&stretch).unwrap();
        assert_eq!((stretch.p95, stretch.slow), (1.0, 0.05));
        assert_eq!((stretch.follows, stretch.of_hundred), (0.98, 50));
        assert!(stretch.is_strong());
        assert!(stretch.sentence().contains("98 % of the time (5 %"));
        let scattered = Clustering::of(&scattered).unwrap();
        assert_eq!((scattered.follows, scattered.of_hundred), (0.0, 5));
        assert!(!scattered.is_strong());
    }

    #[test]
    fn few_requests_show_nothing() {
        assert_eq!(Clustering::of(&[1.0; 999]), None);
    }
}
