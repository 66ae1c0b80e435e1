//! The retry guard, which starts fewer retries while retries fail.

use super::ewma::{Ewma, ONE};
use crate::record::{Record, RequestEnd};

/// Admits a share of the retries that depends on how many succeeded recently.
///
/// A retry does not help if all replicas return the same error. While at least one retry in eight succeeds, all are
/// admitted. Below that, fewer are, down to one in 64, so that the end of an outage is noticed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RetryGuard {
    succeeded: Ewma<32>,
    /// The part of the next admission that has been earned.
    credit: u32,
}

impl RetryGuard {
    /// The number of retries that are admitted for one that succeeds.
    const GAIN: u32 = 8;
    /// The smallest share of retries that is admitted.
    const LEAST: u32 = ONE / 64;

    pub(crate) const fn new() -> Self {
        Self {
            succeeded: Ewma::ONE,
            credit: 0,
        }
    }

    /// Returns whether a retry may start.
    pub(crate) fn admit(&mut self) -> bool {
        self.credit += (Self::GAIN * self.succeeded.parts()).clamp(Self::LEAST, ONE);
        let admitted = self.credit >= ONE;
        if admitted {
            self.credit -= ONE;
        }
        admitted
    }

    /// Takes back the admission of a retry that did not start: the next one is admitted instead.
    pub(crate) fn give_back(&mut self) {
        self.credit = (self.credit + ONE).min(ONE);
    }

    /// Records a request. Its retries failed if the request failed or ran out of time, since no retry starts with less
    /// time than an attempt usually takes. Retries that lost to another attempt are not counted, as their result is
    /// unknown.
    pub(crate) fn record(&mut self, record: &Record) {
        match record.end {
            RequestEnd::Won(winner) if record.is_retry(winner) => self.succeeded.observe(true),
            RequestEnd::Failed(_) | RequestEnd::Fatal(_) | RequestEnd::TimedOut => {
                (0..record.retries()).for_each(|_| self.succeeded.observe(false));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::attempt::Cause;
    use crate::record::Sample;

    fn retried(succeeds: bool) -> Record {
        let after = Duration::from_millis(1);
        let retry = if succeeds {
            Sample::Finished(after)
        } else {
            Sample::Failed(after)
        };
        let end = if succeeds {
            RequestEnd::Won(1)
        } else {
            RequestEnd::Failed(0)
        };
        Record::new(Sample::Failed(after))
            .with_hedge(Cause::Retry, after, retry)
            .ended(end, after)
    }

    /// Returns how many of `wanted` retries are admitted. `succeeds` returns which of the admitted ones succeed.
    fn admitted(guard: &mut RetryGuard, wanted: u32, succeeds: impl Fn(u32) -> bool) -> u32 {
        let mut admitted = 0;
        for _ in 0..wanted {
            if guard.admit() {
                guard.record(&retried(succeeds(admitted)));
                admitted += 1;
            }
        }
        admitted
    }

    #[test]
    fn retries_that_succeed_one_time_in_four_are_all_admitted() {
        let mut guard = RetryGuard::new();
        assert_eq!(admitted(&mut guard, 1000, |n| n % 4 == 0), 1000);
    }

    #[test]
    fn retries_that_always_fail_fade_to_one_in_64() {
        let mut guard = RetryGuard::new();
        // 8 × (31/32)^n is above 1 until n = 66.
        let early = admitted(&mut guard, 100, |_| false);
        assert!((66..100).contains(&early), "{early}");
        // The share falls to 1/64 within a few hundred retries.
        let _ = admitted(&mut guard, 10_000, |_| false);
        let late = admitted(&mut guard, 6400, |_| false);
        assert!((99..=101).contains(&late), "{late}");
    }

    #[test]
    fn a_retry_that_did_not_start_is_owed_once() {
        let mut guard = RetryGuard::new();
        let _ = admitted(&mut guard, 10_000, |_| false);
        while !guard.admit() {}
        // However often it is refused for another reason.
        for _ in 0..100 {
            guard.give_back();
            assert!(guard.admit());
        }
        assert_eq!(admitted(&mut guard, 60, |_| false), 0);
    }

    #[test]
    fn only_retries_count() {
        let after = Duration::from_millis(1);
        let hedge = |cause, end| {
            Record::new(Sample::Failed(after))
                .with_hedge(cause, after, Sample::Failed(after))
                .ended(end, after)
        };
        let mut guard = RetryGuard::new();
        guard.record(&Record::new(Sample::Failed(after)));
        guard.record(&hedge(Cause::Delay, RequestEnd::Failed(0)));
        guard.record(&hedge(Cause::Delay, RequestEnd::TimedOut));
        guard.record(&hedge(Cause::Retry, RequestEnd::Dropped));
        // The primary was answered after all.
        guard.record(&hedge(Cause::Retry, RequestEnd::Won(0)));
        assert_eq!(guard, RetryGuard::new());
        for end in [RequestEnd::Fatal(0), RequestEnd::TimedOut] {
            let mut guard = RetryGuard::new();
            guard.record(&hedge(Cause::Retry, end));
            assert_ne!(guard, RetryGuard::new());
        }
    }

    #[test]
    fn an_outage_that_is_over_is_noticed() {
        let mut guard = RetryGuard::new();
        let _ = admitted(&mut guard, 10_000, |_| false);
        let soon = admitted(&mut guard, 300, |_| true);
        assert!(soon > 150, "{soon}");
        assert_eq!(admitted(&mut guard, 100, |_| true), 100);
    }
}
