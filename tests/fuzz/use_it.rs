//! What is done with whatever was accepted: requests, whose decisions must be sane.

use core::time::Duration;

use hedge_core::strategy::Strategy;
use hedge_core::{Instant, Suppressed};

use crate::engine::{self, Ask, Lab};

/// Room for the most attempts that a config can ask for.
pub(crate) const MAX: usize = 8;

/// Makes requests whose latencies grow, shrink and get stuck, one after the other from `now` on.
pub(crate) fn use_it<S: Strategy>(hedger: &Lab<S, MAX>, mut now: Instant, requests: u64) {
    let options = hedger.options();
    for request in 0..requests {
        let latency = |attempt: usize| match (request + attempt as u64) % 7 {
            0 => Duration::ZERO,
            1 => Duration::from_nanos(1),
            6 if request % 5 == 0 => Duration::MAX,
            n => Duration::from_micros((n * 1_000 + request) << (request % 12)),
        };
        let (end, _, outcome) = engine::request(hedger, &Ask::PLAIN, now, latency);

        assert!(end >= now);
        assert!(outcome.attempts >= 1 && outcome.attempts <= options.max_hedges + 1);
        assert_eq!(outcome.hedged, outcome.attempts > 1);
        assert!(outcome.cost.is_finite() && outcome.cost >= 0.0);
        if let Some(timeout) = options.timeout {
            assert!(outcome.total_latency <= timeout);
        }
        if let Some(delay) = outcome.hedge_delay
            && learns(hedger)
        {
            assert!(delay >= options.min_delay, "{delay:?}");
            assert!(
                options.max_delay.is_none_or(|max| delay <= max),
                "{delay:?}"
            );
        }
        if !options.enabled {
            assert_eq!(outcome.suppressed, Some(Suppressed::Off));
        }
        now = end;
    }
    assert_eq!(hedger.in_flight(), 0);
    hedger.with_strategy(|strategy| {
        assert_eq!(strategy.validate(), Ok(()));
        if let Some(wins) = strategy.expected_win_rate() {
            assert!((0.0..=1.0).contains(&wins), "{wins}");
        }
    });
}

/// Only a learned delay is clamped.
fn learns<S: Strategy>(hedger: &Lab<S, MAX>) -> bool {
    hedger.with_strategy(|strategy| strategy.learns())
}
