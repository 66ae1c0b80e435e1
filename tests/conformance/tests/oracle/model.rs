//! What a request does, as the contract says.

use super::*;

/// The contract, as a simulation from one moment at which something happens to the next.
#[derive(Clone)]
pub(super) struct Model<'s> {
    scenario: &'s Scenario,
    /// What delay hedges and what retries have of the bucket, in eighths of a token.
    halves: [u64; 2],
    /// For how many more requests each of them keeps the other to its half, since it was refused.
    wanting: [u64; 2],
    notes: Notes,
}

/// What came up in a request, that cannot be seen from without.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notes {
    pub(super) started_when_asked_again: bool,
    pub(super) refused_before_a_wait: bool,
    pub(super) refunded: bool,
    pub(super) kept_to_its_half: bool,
    pub(super) left_the_last_token: bool,
    pub(super) expired: bool,
    pub(super) too_much_patience: bool,
    pub(super) unsent: bool,
    /// A hedge could start, and there is a control group.
    pub(super) drawn: bool,
    pub(super) withheld: bool,
}

const DELAY: usize = 0;
const RETRY: usize = 1;

/// A request of the model.
struct Running {
    attempts: Vec<Started>,
    /// Failures that a hedge has yet to answer.
    unanswered: u32,
    /// No hedge before this.
    patience: u64,
    /// Whether the hedge that has to be patient is paid for.
    reserved: bool,
    /// How late the schedule runs.
    late: u64,
    /// How often the wait for the next hedge has doubled.
    doublings: u32,
    /// Whether that was refused when its delay had passed, and whether it is asked for again.
    refused: bool,
    exhausted: bool,
    /// Whether the next hedge was refused for want of a token.
    lacked_token: bool,
    /// Why the last hedge was not started.
    refusal: Option<Suppressed>,
    asked_for_patience: bool,
    /// A result said that nothing more is to be started.
    waits: bool,
    /// Whether what was paid for a hedge that is not to start any more is to be given back.
    refunds: bool,
    crowded_until: u64,
    /// When its time is up.
    end: Option<u64>,
    /// The longest wait that a result has asked for.
    pushback: u64,
    group: Group,
}

struct Started {
    at: u64,
    cause: Cause,
    ends: Option<u64>,
    over: bool,
    /// It lasted too long, and was dropped.
    expired: bool,
    step: Step,
}

impl<'s> Model<'s> {
    pub(super) fn new(scenario: &'s Scenario) -> Self {
        let mut model = Self {
            scenario,
            halves: [0; 2],
            wanting: [0; 2],
            notes: Notes::default(),
        };
        // No scenario has a burst of more than a new budget holds.
        model.halves = [model.half(); 2];
        model
    }

    /// What a half holds, in eighths. A budget of 0 % holds nothing.
    fn half(&self) -> u64 {
        match self.scenario.budget.quarters {
            Some(Quarters {
                deposit: 1..,
                burst,
            }) => 4 * u64::from(burst),
            _ => 0,
        }
    }

    /// Each half gets half of what a request deposits, and what the other has no room for.
    fn deposit(&mut self) {
        let Some(Quarters { deposit, .. }) = self.scenario.budget.quarters else {
            return;
        };
        let full = self.half();
        let mut over = 0;
        for half in &mut self.halves {
            *half += deposit;
            over += half.saturating_sub(full);
            *half = (*half).min(full);
        }
        for half in &mut self.halves {
            let more = over.min(full - *half);
            *half += more;
            over -= more;
        }
        for wanting in &mut self.wanting {
            *wanting = wanting.saturating_sub(1);
        }
    }

    /// A request that is in `group`, if it comes to that.
    pub(super) fn request(&mut self, script: &Script, group: Group) -> (Told, Notes) {
        self.notes = Notes::default();
        if script.deadline == Some(0) {
            return (self.unsent(), self.notes);
        }
        self.deposit();
        let mut request = Running {
            attempts: Vec::new(),
            unanswered: 0,
            patience: 0,
            reserved: false,
            late: 0,
            doublings: 0,
            refused: false,
            exhausted: false,
            lacked_token: false,
            refusal: None,
            asked_for_patience: false,
            waits: false,
            refunds: false,
            crowded_until: script.crowded_until,
            end: self.scenario.end(script),
            pushback: 0,
            group,
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
        if request.reserved {
            self.refund();
        }
        let told = Told {
            ended,
            at: now,
            starts: request.starts(),
            tokens: self.tokens(),
        };
        (told, self.notes)
    }

    fn tokens(&self) -> Option<u64> {
        let eighths: u64 = self.halves.iter().sum();
        self.scenario.budget.quarters.map(|_| eighths / 2)
    }

    /// A request whose deadline has passed: nothing is sent or deposited.
    fn unsent(&mut self) -> Told {
        self.notes.unsent = true;
        Told {
            ended: Ended::TimedOut {
                attempts: 0,
                error: None,
            },
            at: 0,
            starts: Vec::new(),
            tokens: self.tokens(),
        }
    }

    /// Gives back what was paid for a hedge that was to wait.
    fn refund(&mut self) {
        if self.scenario.budget.quarters.is_some() {
            self.notes.refunded = true;
            self.give_back(RETRY);
        }
    }

    fn give_back(&mut self, half: usize) {
        if self.scenario.budget.quarters.is_some() {
            self.halves[half] += 8;
            self.settle_halves();
        }
    }

    /// The next moment at which anything can happen.
    fn next(&self, request: &Running, script: &Script) -> u64 {
        let ends = request
            .attempts
            .iter()
            .filter(|a| !a.over)
            .filter_map(|a| a.ends);
        let due = self.due(request).filter(|due| !request.too_late(*due));
        let limit = self.scenario.attempt_timeout;
        let running = request.attempts.iter().filter(|attempt| !attempt.over);
        let expiries = running.filter_map(|attempt| Some(attempt.at + limit?));
        ends.chain(due)
            .chain(expiries)
            .chain(request.end)
            .chain([script.dropped_at])
            .min()
            .unwrap()
    }

    /// What happens now: results in the order in which attempts were started, then the timeout, then
    /// hedges, each of which may have its result at once.
    fn at(&mut self, now: u64, request: &mut Running, script: &Script) -> Option<Ended> {
        for attempt in 0..request.attempts.len() {
            let ended = request.result(attempt, now);
            if core::mem::take(&mut request.refunds) {
                self.refund();
            }
            if ended.is_some() {
                return ended;
            }
        }
        if request.too_late(now) {
            return Some(request.timed_out());
        }
        if let Some(limit) = self.scenario.attempt_timeout {
            self.notes.expired |= request.expire(now, limit);
        }
        if self.gives_up(request) {
            self.notes.too_much_patience = true;
            request.unanswered = 0;
            request.waits = true;
            if core::mem::take(&mut request.reserved) {
                self.refund();
            }
        }
        while self.due(request).is_some_and(|due| due <= now) {
            let retry = request.unanswered > 0;
            let waits = retry && !request.reserved && request.patience > now;
            if !retry && self.notes.withheld {
                request.withhold();
                continue;
            }
            let paid = request.reserved && retry || self.pay(request, retry, now);
            if paid && !retry && self.scenario.holdback {
                self.notes.drawn = true;
                if request.group == Group::Control {
                    self.notes.withheld = true;
                    self.give_back(DELAY);
                    request.withhold();
                    continue;
                }
            }
            if !paid {
                self.notes.refused_before_a_wait |= waits;
                self.refuse(request, retry, now);
                continue;
            }
            request.reserved = waits;
            if waits {
                continue;
            }
            if let Some(scheduled) = self.scheduled(request) {
                request.late += request.patience.saturating_sub(scheduled);
            }
            self.notes.started_when_asked_again |= !retry && request.refused;
            request.unanswered -= u32::from(retry);
            request.start(now, if retry { Cause::Retry } else { Cause::Delay }, script);
            if let Some(ended) = request.result(request.attempts.len() - 1, now) {
                return Some(ended);
            }
            return self.at(now, request, script);
        }
        let hopeless = self
            .due(request)
            .is_none_or(|due| due == u64::MAX || request.too_late(due));
        (hopeless && request.attempts.iter().all(|attempt| attempt.over))
            .then(|| request.exhausted())
    }

    /// Whether a result has asked for more patience than the request has, or may have.
    fn gives_up(&self, request: &Running) -> bool {
        let most = self.scenario.max_pushback;
        let too_long = most.is_some_and(|most| request.pushback > most);
        let never = request.patience == u64::MAX;
        request.unanswered > 0 && (too_long || never || request.too_late(request.patience))
    }

    /// When the next hedge is due: after a failure at once, if it does not have to be patient and is paid for that; else by
    /// the schedule, while anything runs; never before what patience was asked for.
    fn due(&self, request: &Running) -> Option<u64> {
        if request.waits || request.attempts.len() > usize::from(self.scenario.max_hedges) {
            return None;
        }
        if request.unanswered > 0 {
            return Some(if request.reserved {
                request.patience
            } else {
                0
            });
        }
        if request.exhausted || request.attempts.iter().all(|attempt| attempt.over) {
            return None;
        }
        self.scheduled(request)
            .map(|scheduled| scheduled.max(request.patience))
    }

    fn scheduled(&self, request: &Running) -> Option<u64> {
        let k = request.attempts.len() as u64;
        let waited = |delay| (k * delay) << request.doublings;
        self.scenario
            .delay
            .map(|delay| waited(delay) + request.late)
    }

    /// A hedge is not started. It is asked for again at twice the time, and twice that.
    fn refuse(&mut self, request: &mut Running, retry: bool, now: u64) {
        request.unanswered = 0;
        let reason = self.reason(request, now);
        if retry || !request.refused {
            request.refusal = Some(reason);
        }
        request.refused |= !retry;
        request.lacked_token |= !retry && reason == Suppressed::BudgetRatio;
        match self.scenario.delay {
            // Never again, since twice nothing is nothing.
            None | Some(0) => request.exhausted = true,
            Some(_) => {
                while self.scheduled(request).is_some_and(|due| due <= now) {
                    request.doublings += 1;
                }
            }
        }
    }

    fn is_crowded(&self, request: &Running, now: u64) -> bool {
        let hedges = request.attempts.iter().skip(1);
        let running = hedges.filter(|attempt| !attempt.over).count();
        let others = usize::from(now < request.crowded_until);
        let places = running + others + usize::from(request.reserved);
        let most = self.scenario.budget.max_in_flight;
        most.is_some_and(|most| places >= most as usize)
    }

    fn reason(&self, request: &Running, now: u64) -> Suppressed {
        if self.is_crowded(request, now) {
            Suppressed::InFlight
        } else {
            Suppressed::BudgetRatio
        }
    }

    fn pay(&mut self, request: &Running, retry: bool, now: u64) -> bool {
        if self.is_crowded(request, now) {
            return false;
        }
        let Some(Quarters { deposit, burst }) = self.scenario.budget.quarters else {
            return true;
        };
        let (own, other) = if retry {
            (RETRY, DELAY)
        } else {
            (DELAY, RETRY)
        };
        let together: u64 = self.halves.iter().sum();
        // One that is asked for again leaves the last token to others, unless the bucket is full.
        let again = !retry && request.lacked_token;
        let needed = if again {
            16.min(2 * self.half()).max(8)
        } else {
            8
        };
        let has_own = self.halves[own] >= self.half().min(8);
        let may_borrow = self.wanting[other] == 0;
        if together < needed || !has_own && !may_borrow {
            self.notes.kept_to_its_half |= together >= needed;
            self.notes.left_the_last_token |= (8..needed).contains(&together);
            // As long as it takes to fill the bucket.
            self.wanting[own] = (4 * u64::from(burst)).checked_div(deposit).unwrap_or(0)
                + u64::from(deposit > 0 && !(4 * u64::from(burst)).is_multiple_of(deposit));
            return false;
        }
        let paid = self.halves[own].min(8);
        self.halves[own] -= paid;
        self.halves[other] -= 8 - paid;
        true
    }

    /// What one half has no room for is the other's.
    fn settle_halves(&mut self) {
        let full = self.half();
        for (half, other) in [(DELAY, RETRY), (RETRY, DELAY)] {
            let over = self.halves[half].saturating_sub(full);
            self.halves[half] -= over;
            self.halves[other] += over;
        }
        self.halves = self.halves.map(|half| half.min(full));
    }
}

impl Running {
    fn start(&mut self, now: u64, cause: Cause, script: &Script) {
        let step = script.attempts[self.attempts.len()];
        (self.doublings, self.refused, self.exhausted) = (0, false, false);
        self.lacked_token = false;
        let ends = step.latency.map(|latency| now + latency);
        self.attempts.push(Started {
            at: now,
            cause,
            ends,
            over: false,
            expired: false,
            step,
        });
    }

    /// The hedge that is due is withheld, and so is every later one but for retries.
    fn withhold(&mut self) {
        self.refusal = Some(Suppressed::Holdback);
        (self.refused, self.exhausted) = (true, true);
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
                self.pushback = self.pushback.max(millis(patience));
                self.patience = self.patience.max(now.saturating_add(millis(patience)));
            }
            Verdict::Wait => {
                self.waits = true;
                self.unanswered = 0;
                self.refunds = core::mem::take(&mut self.reserved);
                return None;
            }
            // A retry at once.
            _ => {}
        }
        self.unanswered += 1;
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
        let over = |attempt: &&Started| attempt.over && !attempt.expired;
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
                (_, Some(reason)) => Some(reason),
                _ if self.asked_for_patience || self.waits => Some(Suppressed::Pushback),
                _ => Some(Suppressed::NotDue),
            },
        })
    }

    fn too_late(&self, moment: u64) -> bool {
        self.end.is_some_and(|end| moment >= end)
    }

    /// Drops the attempts that have lasted too long, as if they had failed. Whether there were any.
    fn expire(&mut self, now: u64, limit: u64) -> bool {
        let mut failures = 0;
        for attempt in &mut self.attempts {
            if !attempt.over && now >= attempt.at + limit {
                (attempt.over, attempt.expired) = (true, true);
                failures += 1;
            }
        }
        if !self.waits {
            self.unanswered += failures;
        }
        failures > 0
    }

    /// Nothing is left to wait for: the earliest result, if there is one.
    fn exhausted(&self) -> Ended {
        let returned = |attempt: &Started| !attempt.expired;
        match self.attempts.iter().position(returned) {
            Some(attempt) => self.answer(attempt, false),
            None => self.timed_out(),
        }
    }

    fn timed_out(&self) -> Ended {
        let erred = |attempt: &Started| attempt.over && !attempt.expired && !attempt.step.ok;
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
