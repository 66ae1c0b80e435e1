//! What has come up.

use super::*;

/// How often the scenarios came to each kind of end: a model of nothing but wins would prove little.
#[derive(Debug, Default)]
pub(super) struct Seen {
    unhedged: u32,
    hedge_won: u32,
    hedge_lost: u32,
    retried: u32,
    unaccepted: u32,
    suppressed: u32,
    failed: u32,
    timed_out: u32,
    timed_out_after_failures: u32,
    dropped: u32,
    four_attempts: u32,
    started_when_asked_again: u32,
    refused_before_a_wait: u32,
    refunded: u32,
    kept_to_its_half: u32,
    left_the_last_token: u32,
    expired: u32,
    all_expired: u32,
    too_much_patience: u32,
    unsent: u32,
    drawn: u32,
    withheld: u32,
}

impl Seen {
    pub(super) fn count(&mut self, told: &Told, notes: Notes) {
        let add = |counter: &mut u32, yes: bool| *counter += u32::from(yes);
        add(
            &mut self.started_when_asked_again,
            notes.started_when_asked_again,
        );
        add(&mut self.refused_before_a_wait, notes.refused_before_a_wait);
        add(&mut self.refunded, notes.refunded);
        add(&mut self.kept_to_its_half, notes.kept_to_its_half);
        add(&mut self.left_the_last_token, notes.left_the_last_token);
        add(&mut self.expired, notes.expired);
        let timed_out = matches!(told.ended, Ended::TimedOut { .. });
        add(&mut self.all_expired, notes.expired && timed_out);
        add(&mut self.too_much_patience, notes.too_much_patience);
        add(&mut self.unsent, notes.unsent);
        add(&mut self.drawn, notes.drawn);
        add(&mut self.withheld, notes.withheld);
        add(
            &mut self.retried,
            told.starts.iter().any(|(_, cause)| *cause == Cause::Retry),
        );
        add(&mut self.four_attempts, told.starts.len() == 4);
        match &told.ended {
            Ended::Ok(answer) => {
                add(&mut self.unhedged, !answer.hedged);
                add(&mut self.hedge_won, answer.hedge_won);
                add(&mut self.hedge_lost, answer.hedged && !answer.hedge_won);
                add(&mut self.unaccepted, !answer.accepted);
                let refused = answer
                    .suppressed
                    .is_some_and(|reason| reason != Suppressed::NotDue);
                add(&mut self.suppressed, refused);
            }
            Ended::Failed { .. } => self.failed += 1,
            Ended::TimedOut { error, .. } => {
                self.timed_out += 1;
                add(&mut self.timed_out_after_failures, error.is_some());
            }
            Ended::Dropped => self.dropped += 1,
        }
    }

    pub(super) fn assert_all(&self) {
        let Self {
            unhedged,
            hedge_won,
            hedge_lost,
            retried,
            unaccepted,
            ..
        } = *self;
        let Self {
            suppressed,
            failed,
            timed_out,
            timed_out_after_failures,
            dropped,
            ..
        } = *self;
        let most = [
            unhedged, hedge_won, hedge_lost, retried, unaccepted, suppressed, failed,
        ];
        let rest = [
            timed_out,
            timed_out_after_failures,
            dropped,
            self.four_attempts,
            self.refused_before_a_wait,
            self.expired,
            self.all_expired,
            self.too_much_patience,
        ];
        let rare = [
            self.started_when_asked_again,
            self.refunded,
            self.kept_to_its_half,
            self.left_the_last_token,
            self.unsent,
        ];
        assert!(
            most.iter().chain(&rest).all(|count| *count > 500),
            "{self:#?}"
        );
        assert!(rare.iter().all(|count| *count > 50), "{self:#?}");
        // As many as are to be, within four standard deviations.
        let (drawn, share) = (f64::from(self.drawn), HOLDBACK / 100.0);
        let off = f64::from(self.withheld) - share * drawn;
        assert!(drawn > 1000.0, "{self:#?}");
        assert!(
            off.abs() < 4.0 * (share * (1.0 - share) * drawn).sqrt(),
            "{self:#?}"
        );
    }
}
