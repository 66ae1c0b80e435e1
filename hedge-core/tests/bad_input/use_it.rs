//! What is done with whatever was accepted, and what must be said of what was refused.

use core::time::Duration;

use hedge_core::telemetry::NoSink;
use hedge_core::{ConfigError, LocalHedger, Metrics, Verdict};
use proptest::prelude::*;

use crate::Clock;
use crate::draws::{Any, Attempts, CallOptions};

/// An error says which option is wrong.
pub(crate) fn is_told(error: &ConfigError) -> Result<(), TestCaseError> {
    let text = error.to_string();
    prop_assert!(
        text.contains(error.option()) && text.contains("must be"),
        "{text}"
    );
    Ok(())
}

/// Makes requests, and checks what is said of them.
pub(crate) fn use_it(
    clock: &Clock,
    hedger: &LocalHedger<&Clock, Any, Metrics, NoSink, 8>,
    attempts: &Attempts,
    wishes: CallOptions,
) -> Result<(), TestCaseError> {
    let mut next = attempts.iter().cycle();
    let (timeout, deadline, hedges, hints) = wishes;
    for request in 0..attempts.len() {
        let call = hedger.call().hints(hints);
        let call = if request % 3 == 0 {
            call.timeout(timeout).deadline(deadline).max_hedges(hedges)
        } else {
            call
        };
        let call = call.classify(|result: &Result<Verdict, Verdict>| match result {
            Ok(verdict) | Err(verdict) => *verdict,
        });
        let result = clock.try_drive(call.request(|attempt| {
            let immediate = (Duration::ZERO, Verdict::Accept);
            let (latency, verdict) = next.next().copied().unwrap_or(immediate);
            async move {
                clock.sleep(latency).await;
                if attempt.is_hedge() {
                    Ok(verdict)
                } else {
                    Err(verdict)
                }
            }
        }));
        let Some(result) = result else {
            return Err(TestCaseError::fail("waits for nothing"));
        };
        if let Ok(hedged) = result {
            let outcome = hedged.outcome;
            prop_assert!(outcome.attempts >= 1 && outcome.attempts <= 8);
            prop_assert!(outcome.winner < outcome.attempts);
            prop_assert!(outcome.cost.is_finite() && outcome.cost >= 0.0);
        }
        prop_assert_eq!(hedger.in_flight(), 0);
    }
    let metrics = hedger.metrics();
    prop_assert_eq!(metrics.total_requests, attempts.len() as u64);
    for number in [
        metrics.hedge_rate,
        metrics.hedge_win_rate,
        metrics.hedge_effectiveness,
        metrics.total_cost,
        metrics.avg_cost,
        metrics.cost_overhead,
        metrics.requests_per_second,
    ] {
        prop_assert!(!number.is_nan() && number >= 0.0, "{:?}", metrics);
    }
    Ok(())
}
