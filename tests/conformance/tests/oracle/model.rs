//! What a request does, as the contract says.

use super::*;

/// The contract, as a simulation from one moment at which something happens to the next.
pub(super) struct Model<'s> {
    scenario: &'s Scenario,
    tokens: u64,
}

/// A request of the model.
struct Running {
    attempts: Vec<Started>,
    /// Failures that a hedge has yet to answer.
    unanswered: u32,
    /// No hedge before this.
    patience: u64,
    /// How late the schedule runs.
    late: u64,
    /// Why the last hedge that was due was not started, and whether nothing has failed since.
    refusal: Option<(Suppressed, bool)>,
    asked_for_patience: bool,
}

struct Started {
    at: u64,
    cause: Cause,
    ends: Option<u64>,
    over: bool,
    step: Step,
}

impl<'s> Model<'s> {
    pub(super) fn new(scenario: &'s Scenario) -> Self {
        let mut model = Self {
            scenario,
            tokens: 0,
        };
        model.tokens = model.capacity();
        model
    }

    /// In quarters. A budget of 0 % holds nothing.
    fn capacity(&self) -> u64 {
        match self.scenario.budget.quarters {
            Some(Quarters {
                deposit: 1..,
                burst,
            }) => 4 * u64::from(burst),
            _ => 0,
        }
    }

    pub(super) fn request(&mut self, script: &Script) -> Told {
        if let Some(Quarters { deposit, .. }) = self.scenario.budget.quarters {
            self.tokens = (self.tokens + deposit).min(self.capacity());
        }
        let mut request = Running {
            attempts: Vec::new(),
            unanswered: 0,
            patience: 0,
            late: 0,
            refusal: None,
            asked_for_patience: false,
        };
        request.start(0, Cause::Primary, script);
        let mut now = 0;
        let ended = loop {
            if let Some(ended) = self.at(now, &mut request, script) {
                break ended;
            }
            if now >= script.dropped_at {
                break Ended::Dropped;
            }
            now = self.next(&request, script);
        };
        let tokens = self.scenario.budget.quarters.map(|_| self.tokens);
        Told {
            ended,
            at: now,
            starts: request.starts(),
            tokens,
        }
    }

    /// The next moment at which anything can happen.
    fn next(&self, request: &Running, script: &Script) -> u64 {
        let ends = request
            .attempts
            .iter()
            .filter(|a| !a.over)
            .filter_map(|a| a.ends);
        let due = self.due(request).filter(|due| !self.too_late(*due));
        ends.chain(due)
            .chain(self.scenario.timeout)
            .chain([script.dropped_at])
            .min()
            .unwrap()
    }

    /// What happens now: results in the order in which attempts were started, then the timeout, then
    /// hedges, each of which may have its result at once.
    fn at(&mut self, now: u64, request: &mut Running, script: &Script) -> Option<Ended> {
        for attempt in 0..request.attempts.len() {
            if let Some(ended) = request.result(attempt, now) {
                return Some(ended);
            }
        }
        if self.too_late(now) {
            return Some(request.timed_out());
        }
        while self.due(request).is_some_and(|due| due <= now) {
            let retry = request.unanswered > 0;
            if let Err(reason) = self.pay(request) {
                request.unanswered = 0;
                request.refusal = Some((reason, true));
                continue;
            }
            if let Some(scheduled) = self.scheduled(request) {
                request.late += request.patience.saturating_sub(scheduled);
            }
            request.unanswered -= u32::from(retry);
            request.start(now, if retry { Cause::Retry } else { Cause::Delay }, script);
            if let Some(ended) = request.result(request.attempts.len() - 1, now) {
                return Some(ended);
            }
        }
        let hopeless = self
            .due(request)
            .is_none_or(|due| due == u64::MAX || self.too_late(due));
        (hopeless && request.attempts.iter().all(|attempt| attempt.over)).then(|| request.failed())
    }

    fn too_late(&self, moment: u64) -> bool {
        self.scenario
            .timeout
            .is_some_and(|timeout| moment >= timeout)
    }

    /// When the next hedge is due: after a failure at once, else by the schedule; never before what
    /// patience was asked for.
    fn due(&self, request: &Running) -> Option<u64> {
        if matches!(request.refusal, Some((_, true)))
            || request.attempts.len() > usize::from(self.scenario.max_hedges)
        {
            return None;
        }
        if request.unanswered > 0 {
            // A budget of 0 % never pays, so that patience would be in vain.
            let never = matches!(
                self.scenario.budget.quarters,
                Some(Quarters { deposit: 0, .. })
            );
            let vain = never && !self.too_late(request.patience);
            return Some(if vain { 0 } else { request.patience });
        }
        self.scheduled(request)
            .map(|scheduled| scheduled.max(request.patience))
    }

    fn scheduled(&self, request: &Running) -> Option<u64> {
        let k = request.attempts.len() as u64;
        self.scenario.delay.map(|delay| k * delay + request.late)
    }

    fn pay(&mut self, request: &Running) -> Result<(), Suppressed> {
        let in_flight = request
            .attempts
            .iter()
            .skip(1)
            .filter(|attempt| !attempt.over)
            .count();
        if self
            .scenario
            .budget
            .max_in_flight
            .is_some_and(|max| in_flight >= max as usize)
        {
            return Err(Suppressed::InFlight);
        }
        if self.scenario.budget.quarters.is_some() {
            self.tokens = self.tokens.checked_sub(4).ok_or(Suppressed::BudgetRatio)?;
        }
        Ok(())
    }
}

impl Running {
    fn start(&mut self, now: u64, cause: Cause, script: &Script) {
        let step = script.attempts[self.attempts.len()];
        let ends = step.latency.map(|latency| now + latency);
        self.attempts.push(Started {
            at: now,
            cause,
            ends,
            over: false,
            step,
        });
    }

    /// The result of this attempt if it has one now, and the end of the request if it is that.
    fn result(&mut self, index: usize, now: u64) -> Option<Ended> {
        let attempt = &mut self.attempts[index];
        if attempt.over || attempt.ends != Some(now) {
            return None;
        }
        attempt.over = true;
        match attempt.step.verdict {
            Verdict::Accept => return Some(self.answer(index, true)),
            Verdict::Fatal => return Some(self.answer(index, false)),
            Verdict::RetryAfter(patience) => {
                self.asked_for_patience = true;
                self.patience = self.patience.max(now.saturating_add(millis(patience)));
            }
            // A retry at once.
            _ => {}
        }
        self.unanswered += 1;
        if let Some((_, stands)) = &mut self.refusal {
            *stands = false;
        }
        None
    }

    /// The request ends with this attempt's result.
    fn answer(&self, index: usize, accepted: bool) -> Ended {
        if !self.attempts[index].step.ok {
            return Ended::Failed {
                attempt: index,
                attempts: self.attempts.len() as u8,
            };
        }
        let latency = |attempt: &Started| attempt.ends.unwrap() - attempt.at;
        let over = |attempt: &&Started| attempt.over;
        let hedges = self.attempts.iter().skip(1).filter(over);
        // Of those that end at the same moment the one that was started first.
        let first = hedges.min_by_key(|attempt| attempt.ends);
        let winner = Some(&self.attempts[index]).filter(|_| accepted && index > 0);
        Ended::Ok(Answer {
            attempt: index,
            accepted,
            hedged: self.attempts.len() > 1,
            hedge_won: winner.is_some(),
            primary: self.attempts.first().filter(over).map(latency),
            backup: winner.or(first).map(latency),
            suppressed: match (self.attempts.len(), self.refusal) {
                (2.., _) => None,
                (_, Some((reason, _))) => Some(reason),
                _ if self.asked_for_patience => Some(Suppressed::Pushback),
                _ => Some(Suppressed::NotDue),
            },
        })
    }

    /// Nothing is left to wait for.
    fn failed(&self) -> Ended {
        self.answer(0, false)
    }

    fn timed_out(&self) -> Ended {
        let erred = |attempt: &Started| attempt.over && !attempt.step.ok;
        Ended::TimedOut {
            attempts: self.attempts.len() as u8,
            error: self.attempts.iter().position(erred),
        }
    }

    fn starts(&self) -> Vec<(u64, Cause)> {
        self.attempts
            .iter()
            .map(|attempt| (attempt.at, attempt.cause))
            .collect()
    }
}
