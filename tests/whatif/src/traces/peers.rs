//! How others decide, on the same pairs: two rules without a budget, as read in their sources.

use std::collections::VecDeque;

/// A rule that learns a delay from what it sees.
pub(super) trait Peer {
    /// After how long the next request is hedged, in milliseconds; `None` if it is not.
    fn delay(&mut self) -> Option<f64>;

    /// A request is over: how long its caller waited, and how long the attempt took that answered, from that attempt's
    /// own start.
    fn record(&mut self, waited: f64, answered: f64);
}

/// How many samples a rule needs.
const LEAST: usize = 10;

/// The 95th percentile, or another, of the last 1000 answers: what one writes first. Primaries that lose are forgotten.
pub(super) struct Naive {
    percentile: f64,
    recent: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Naive {
    const WINDOW: usize = 1000;

    pub(super) fn new(percentile: f64) -> Self {
        Self {
            percentile,
            recent: VecDeque::new(),
            sorted: Vec::new(),
        }
    }
}

impl Peer for Naive {
    fn delay(&mut self) -> Option<f64> {
        (self.sorted.len() >= LEAST).then(|| crate::lab::percentile(&self.sorted, self.percentile))
    }

    fn record(&mut self, waited: f64, _: f64) {
        let place = self.sorted.partition_point(|other| *other < waited);
        self.sorted.insert(place, waited);
        self.recent.push_back(waited);
        if self.recent.len() > Self::WINDOW
            && let Some(old) = self.recent.pop_front()
        {
            let place = self.sorted.partition_point(|other| *other < old);
            self.sorted.remove(place);
        }
    }
}

/// `tower::hedge`: a percentile of the last period, read from one of two histograms that change places, in whole
/// milliseconds. An answer is as long as the attempt took that gave it. A period is as long as a thousand requests one
/// after the other.
pub(super) struct TowerHedge {
    percentile: f64,
    period: f64,
    now: f64,
    turned: f64,
    read: Vec<f64>,
    write: Vec<f64>,
}

impl TowerHedge {
    /// `mean` is that of the latencies to come, in milliseconds.
    pub(super) fn new(percentile: f64, mean: f64) -> Self {
        Self {
            percentile,
            period: 1000.0 * mean.max(1e-6),
            now: 0.0,
            turned: 0.0,
            read: Vec::new(),
            write: Vec::new(),
        }
    }
}

impl Peer for TowerHedge {
    fn delay(&mut self) -> Option<f64> {
        let periods = ((self.now - self.turned) / self.period).floor();
        if periods >= 1.0 {
            core::mem::swap(&mut self.read, &mut self.write);
            self.write.clear();
            self.read.sort_by(f64::total_cmp);
        }
        if periods >= 2.0 {
            self.read.clear();
        }
        self.turned += periods * self.period;
        (self.read.len() >= LEAST).then(|| crate::lab::percentile(&self.read, self.percentile))
    }

    fn record(&mut self, waited: f64, answered: f64) {
        self.now += waited;
        self.write.push(answered.ceil().max(1.0));
    }
}

/// Runs a rule over pairs of a primary's and a hedge's latency: how long callers waited, and which requests were hedged.
pub(super) fn run(peer: &mut dyn Peer, pairs: &[[f64; 2]]) -> (Vec<f64>, Vec<bool>) {
    let request = |[primary, hedge]: &[f64; 2]| {
        let delay = peer.delay().filter(|delay| primary > delay);
        let rescued = delay.map(|delay| delay + hedge).filter(|end| end < primary);
        let (waited, answered) = match rescued {
            Some(end) => (end, *hedge),
            None => (*primary, *primary),
        };
        peer.record(waited, answered);
        (waited, delay.is_some())
    };
    pairs.iter().map(request).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 19 of 20 take 10, one takes 100; hedges take 10.
    fn pairs() -> Vec<[f64; 2]> {
        let latency = |n| if n % 20 == 19 { 100.0 } else { 10.0 };
        (0..5000).map(|n| [latency(n), 10.0]).collect()
    }

    #[test]
    fn the_naive_rule_hedges_what_exceeds_its_own_answers() {
        let (waited, hedged) = run(&mut Naive::new(90.0), &pairs());
        // Nothing before ten samples.
        assert!(hedged[..10].iter().all(|hedged| !hedged));
        let late = &hedged[1000..];
        assert_eq!(
            late.iter().filter(|hedged| **hedged).count(),
            late.len() / 20
        );
        assert!(waited[1000..].iter().all(|waited| *waited <= 20.0));
    }

    #[test]
    fn the_two_histograms_change_places() {
        let mut peer = TowerHedge::new(95.0, 10.0);
        for _ in 0..1000 {
            assert_eq!(peer.delay(), None);
            peer.record(10.0, 9.2);
        }
        // One period has passed; what was written is read, in whole milliseconds.
        assert_eq!(peer.delay(), Some(10.0));
        // After two without a request nothing is known.
        peer.record(25_000.0, 1.0);
        assert_eq!(peer.delay(), None);
    }
}
