//! How requests are hedged in an incident, and what becomes of them.

use core::cmp::Reverse;
use core::ops::Range;
use std::collections::BinaryHeap;

use hedge_core::{HedgeConfig, Instant, Outcome, StrategyKind, Suppressed};

use super::scenario::{Attempt, Scenario};
use crate::candidate::Candidate;
use crate::engine::{Ended, Flight, ms};
use crate::lab::{self, percentile};

/// The defaults, but for what `change` says. Requests have no timeout unless it says so.
pub(super) fn rule(change: impl FnOnce(&mut HedgeConfig)) -> HedgeConfig {
    let mut config = HedgeConfig {
        timeout_ms: None,
        ..HedgeConfig::default()
    };
    change(&mut config);
    config
}

/// `optimal` with its defaults.
pub(super) fn optimal() -> HedgeConfig {
    rule(|config| config.strategy = StrategyKind::Optimal)
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    /// In milliseconds, as are the others.
    pub(super) start: f64,
    pub(super) latency: f64,
    pub(super) hedge_delay: Option<f64>,
    pub(super) ended: Ended,
    pub(super) attempts: u8,
    pub(super) hedge_won: bool,
    pub(super) suppressed: Option<Suppressed>,
}

impl Done {
    fn new(start: Instant, end: Instant, ended: Ended, outcome: &Outcome) -> Self {
        let millis = |duration: core::time::Duration| duration.as_secs_f64() * 1e3;
        Self {
            start: millis(start.since_epoch()),
            latency: millis(end.since(start)),
            hedge_delay: outcome.hedge_delay.map(millis),
            ended,
            attempts: outcome.attempts,
            hedge_won: outcome.hedge_won,
            suppressed: outcome.suppressed,
        }
    }

    pub(super) fn hedges(&self) -> u32 {
        u32::from(self.attempts) - 1
    }
}

/// What became of every request, in their order.
pub(super) struct Run {
    pub(super) done: Vec<Done>,
}

/// Sends a scenario's requests as they come, whether or not those before are answered.
pub(super) fn run(scenario: &Scenario, config: &HedgeConfig, seed: u64) -> Result<Run, String> {
    let candidate = Candidate {
        name: config.strategy.to_string(),
        config: config.clone(),
        times_out: true,
    };
    let hedger = lab::hedger_of(&candidate, seed)?;
    let answer = |request: usize, index: usize, at: Instant| {
        let at = at.since_epoch().as_secs_f64() * 1e3;
        (scenario.answer)(&Attempt::new(request, index, at, seed))
    };
    let mut done = vec![None; scenario.requests];
    let mut flights = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events: BinaryHeap<Reverse<(Instant, usize, usize)>> = BinaryHeap::new();
    let mut arrivals = (0..scenario.requests).peekable();
    loop {
        let arrival = arrivals
            .peek()
            .map(|request| Instant::ZERO + ms(scenario.start(*request)));
        let next = events.peek().map(|Reverse((at, ..))| *at);
        let place = match (arrival, next) {
            (None, None) => break,
            (Some(arrival), next) if next.is_none_or(|next| arrival < next) => {
                let request = arrivals.next().unwrap_or_default();
                let ask = (scenario.ask)(request);
                let primary = answer(request, 0, arrival);
                let flight = Flight::start(&hedger, &ask, arrival, primary);
                let under_way = Some((request, arrival, flight));
                match free.pop() {
                    Some(place) => {
                        flights[place] = under_way;
                        place
                    }
                    None => {
                        flights.push(under_way);
                        flights.len() - 1
                    }
                }
            }
            _ => {
                let Some(Reverse((_, _, place))) = events.pop() else {
                    break;
                };
                if let Some((request, start, mut flight)) = flights[place].take() {
                    let end = flight.step(|index, at| answer(request, index, at));
                    if let Some((how, end)) = end {
                        let (ended, outcome) = flight.settle(how, end);
                        done[request] = Some(Done::new(start, end, ended, &outcome));
                        free.push(place);
                        continue;
                    }
                    flights[place] = Some((request, start, flight));
                }
                place
            }
        };
        if let Some((request, _, flight)) = &mut flights[place] {
            events.push(Reverse((flight.next(), *request, place)));
        }
    }
    Ok(Run {
        done: done.into_iter().flatten().collect(),
    })
}

impl Run {
    /// Hedges over requests.
    pub(super) fn extra(&self, range: Range<usize>) -> f64 {
        let requests = &self.done[range];
        let hedges: u32 = requests.iter().map(Done::hedges).sum();
        f64::from(hedges) / requests.len().max(1) as f64
    }

    /// The share of the requests in `range` of which `is` holds; 1 if there are none.
    pub(super) fn share(&self, range: Range<usize>, is: impl Fn(usize, &Done) -> bool) -> f64 {
        let count = range.len();
        if count == 0 {
            return 1.0;
        }
        range.filter(|n| is(*n, &self.done[*n])).count() as f64 / count as f64
    }

    /// Of the requests in `range` that `of` picks, the share of which `is` holds; 1 if there are none.
    pub(super) fn share_of(
        &self,
        range: Range<usize>,
        of: impl Fn(usize, &Done) -> bool,
        is: impl Fn(&Done) -> bool,
    ) -> f64 {
        let picked: Vec<&Done> = range
            .map(|n| (n, &self.done[n]))
            .filter(|(n, done)| of(*n, done))
            .map(|(_, done)| done)
            .collect();
        if picked.is_empty() {
            return 1.0;
        }
        picked.iter().filter(|done| is(done)).count() as f64 / picked.len() as f64
    }

    /// Every latency, in milliseconds.
    pub(super) fn latencies(&self) -> impl Iterator<Item = f64> {
        self.done.iter().map(|done| done.latency)
    }

    /// The percentile of the latencies of those that `of` picks.
    pub(super) fn percentile(
        &self,
        range: Range<usize>,
        p: f64,
        of: impl Fn(usize) -> bool,
    ) -> f64 {
        let mut latencies: Vec<f64> = range
            .filter(|n| of(*n))
            .map(|n| self.done[n].latency)
            .collect();
        latencies.sort_by(f64::total_cmp);
        percentile(&latencies, p)
    }

    /// The median of the planned delays, in milliseconds; 0 if none was planned.
    pub(super) fn delay(&self, range: Range<usize>) -> f64 {
        let mut delays: Vec<f64> = self.done[range]
            .iter()
            .filter_map(|done| done.hedge_delay)
            .collect();
        delays.sort_by(f64::total_cmp);
        if delays.is_empty() {
            0.0
        } else {
            percentile(&delays, 50.0)
        }
    }

    /// The first request in `range` from which on the delay is at most `most` milliseconds, and how many there are
    /// before it.
    pub(super) fn until_delay(&self, range: Range<usize>, most: f64) -> usize {
        let within = |done: &Done| done.hedge_delay.is_some_and(|delay| delay <= most);
        let requests = &self.done[range];
        requests.iter().position(within).unwrap_or(requests.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Answer;

    #[test]
    fn requests_do_not_wait_for_those_before() {
        // Ten a second that take a second each: all are under way at once.
        let scenario = Scenario::new(10, 10.0, |_| Answer::ok(1000.0));
        let off = rule(|config| config.strategy = StrategyKind::Off);
        let run = run(&scenario, &off, 1).unwrap();
        assert_eq!(run.done.len(), 10);
        for (n, done) in run.done.iter().enumerate() {
            assert_eq!((done.start, done.latency), (100.0 * n as f64, 1000.0));
            assert_eq!((done.hedges(), done.ended), (0, Ended::Answered));
        }
    }

    #[test]
    fn a_hedge_rescues_what_hangs_and_an_error_is_tried_again() {
        let fixed = rule(|config| {
            config.strategy = StrategyKind::Fixed;
            config.delay_ms = Some(20.0);
            config.timeout_ms = Some(5000.0);
        });
        let hang = Scenario::new(1, 1.0, |attempt| match attempt.index {
            0 => Answer::NEVER,
            _ => Answer::ok(5.0),
        });
        let done = run(&hang, &fixed, 1).unwrap().done[0];
        assert_eq!((done.latency, done.hedge_won), (25.0, true));

        let error = Scenario::new(1, 1.0, |attempt| match attempt.index {
            0 => Answer::error(3.0),
            _ => Answer::ok(5.0),
        });
        let done = run(&error, &fixed, 1).unwrap().done[0];
        assert_eq!((done.latency, done.ended), (8.0, Ended::Answered));

        let errors = Scenario::new(1, 1.0, |_| Answer::error(3.0));
        let done = run(&errors, &fixed, 1).unwrap().done[0];
        assert_eq!((done.latency, done.ended), (6.0, Ended::Failed));

        let dead = Scenario::new(1, 1.0, |_| Answer::NEVER);
        let done = run(&dead, &fixed, 1).unwrap().done[0];
        assert_eq!((done.latency, done.ended), (5000.0, Ended::TimedOut));
    }
}
