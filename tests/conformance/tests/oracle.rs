//! Random requests against a model of what a request does, written from the contract and not from the
//! code.

use core::cell::RefCell;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use hedge_conformance::Draws;
use hedge_core::manual::ManualTimer;
use hedge_core::{
    Attempt, Budget, Cause, Charge, Error, Fixed, Hedged, Hedger, Instant, Ledger, Options,
    Suppressed, Timer, Verdict,
};

const SCENARIOS: u64 = 20_000;
const ATTEMPTS: usize = 4;
/// A request that has not ended by then, in milliseconds, is dropped.
const PATIENCE: u64 = 1_000;

#[test]
fn requests_do_what_the_model_says() {
    let mut seen = Seen::default();
    for seed in 0..SCENARIOS {
        let scenario = Scenario::draw(seed);
        let mut model = Model::new(&scenario);
        let told = scenario.play();
        for (n, (request, told)) in scenario.requests.iter().zip(&told).enumerate() {
            let expected = model.request(request);
            assert_eq!(told, &expected, "request {n} of {scenario:#?}");
            seen.count(&expected);
        }
    }
    seen.assert_all();
}

/// A hedger and what happens to it.
#[derive(Debug)]
struct Scenario {
    seed: u64,
    delay: Option<u64>,
    max_hedges: u8,
    timeout: Option<u64>,
    budget: Limits,
    metrics: bool,
    /// Polls that nobody asked for come up to so many milliseconds apart.
    spurious: Option<u64>,
    requests: Vec<Script>,
}

/// A budget in quarters of a token; `None` is unlimited.
#[derive(Clone, Copy, Debug)]
struct Limits {
    quarters: Option<Quarters>,
    max_in_flight: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Quarters {
    deposit: u64,
    burst: u32,
}

#[derive(Clone, Copy, Debug)]
struct Script {
    attempts: [Step; ATTEMPTS],
    dropped_at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    /// `None` for ever.
    latency: Option<u64>,
    verdict: Verdict,
    /// Whether the result is an `Ok`, which need not mean that it is accepted.
    ok: bool,
}

/// What an attempt returns, as a value or as an error.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Returned {
    attempt: usize,
    verdict: Verdict,
}

/// What can be told of a request, times in milliseconds from its start.
#[derive(Debug, PartialEq)]
struct Told {
    ended: Ended,
    at: u64,
    starts: Vec<(u64, Cause)>,
    /// Tokens left, in quarters.
    tokens: Option<u64>,
}

#[derive(Debug, PartialEq)]
enum Ended {
    Ok(Answer),
    Failed { attempt: usize, attempts: u8 },
    TimedOut { attempts: u8, error: Option<usize> },
    Dropped,
}

#[derive(Debug, PartialEq)]
struct Answer {
    attempt: usize,
    accepted: bool,
    hedged: bool,
    hedge_won: bool,
    primary: Option<u64>,
    backup: Option<u64>,
    suppressed: Option<Suppressed>,
}

impl Scenario {
    fn draw(seed: u64) -> Self {
        let draws = &mut Draws::new(seed);
        let often = |draws: &mut Draws, n| draws.below(n) > 0;
        let delay = often(draws, 8).then(|| draws.below(16));
        let timeout = often(draws, 3).then(|| 1 + draws.below(60));
        let quarters = often(draws, 4).then(|| Quarters {
            deposit: draws.below(5),
            burst: draws.below(4) as u32,
        });
        let max_in_flight = (draws.below(4) == 0).then(|| 1 + draws.below(2) as u32);
        let max_hedges = 1 + draws.below(3) as u8;
        // Many failures make other requests than few.
        let accepts = draws.pick(&[1, 3, 8]);
        let request = |draws: &mut Draws| Script {
            attempts: core::array::from_fn(|_| Step {
                latency: often(draws, 8).then(|| draws.below(32)),
                verdict: match draws.below(accepts + 4) {
                    0 | 1 => Verdict::Retry,
                    2 if !often(draws, 8) => Verdict::RetryAfter(Duration::MAX),
                    2 => Verdict::RetryAfter(ms(draws.below(24))),
                    3 if !often(draws, 2) => Verdict::Fatal,
                    _ => Verdict::Accept,
                },
                ok: often(draws, 3),
            }),
            dropped_at: if draws.below(6) == 0 {
                draws.below(40)
            } else {
                PATIENCE
            },
        };
        let requests = 1 + draws.below(3);
        Self {
            seed,
            delay,
            max_hedges,
            timeout,
            budget: Limits {
                quarters,
                max_in_flight,
            },
            metrics: often(draws, 2),
            spurious: (draws.below(2) == 0).then(|| 1 + draws.below(12)),
            requests: (0..requests).map(|_| request(draws)).collect(),
        }
    }

    /// What the crate does.
    fn play(&self) -> Vec<Told> {
        let clock = ManualTimer::<16>::new();
        let mut options = Options::default();
        options.max_hedges = self.max_hedges;
        options.timeout = self.timeout.map(ms);
        let builder = Hedger::builder(&clock)
            .strategy(Fixed::new(self.delay.map_or(Duration::MAX, ms)))
            .attempts::<ATTEMPTS>()
            .options(options)
            .budget(self.budget.build());
        if self.metrics {
            let hedger = builder.build_local().unwrap();
            let told = self.play_on(&clock, &hedger);
            let metrics = hedger.metrics();
            let attempts: usize = told.iter().map(|told| told.starts.len()).sum();
            assert_eq!(metrics.total_requests, told.len() as u64, "{self:#?}");
            assert_eq!(metrics.hedges, (attempts - told.len()) as u64, "{self:#?}");
            told
        } else {
            self.play_on(&clock, &builder.without_metrics().build_local().unwrap())
        }
    }

    fn play_on<'c, L: Ledger, B: Charge>(
        &self,
        clock: &'c ManualTimer<16>,
        hedger: &Hedger<&'c ManualTimer<16>, L, B, hedge_core::NoSink, ATTEMPTS>,
    ) -> Vec<Told> {
        let mut draws = Draws::new(!self.seed);
        let mut told = Vec::new();
        for script in &self.requests {
            let start = clock.now();
            let log = RefCell::new(Vec::new());
            let drops = RefCell::new(Vec::new());
            let launch = |attempt: Attempt| {
                log.borrow_mut()
                    .push((millis(clock.now().since(start)), attempt.cause()));
                drops.borrow_mut().push(0);
                assert_eq!(attempt.elapsed(), clock.now().since(start));
                let guard = CountDrops(&drops, attempt.index());
                async move {
                    let _guard = guard;
                    let step = script.attempts[attempt.index()];
                    match step.latency {
                        Some(latency) => clock.sleep(ms(latency)).await,
                        None => core::future::pending().await,
                    }
                    let returned = Returned {
                        attempt: attempt.index(),
                        verdict: step.verdict,
                    };
                    if step.ok { Ok(returned) } else { Err(returned) }
                }
            };
            let verdict = |result: &Result<Returned, Returned>| match result {
                Ok(returned) | Err(returned) => returned.verdict,
            };
            let result = {
                let mut request = pin!(hedger.call().classify(verdict).request(launch));
                let give_up = start + ms(script.dropped_at);
                let result = loop {
                    let poll = request
                        .as_mut()
                        .poll(&mut Context::from_waker(Waker::noop()));
                    match poll {
                        Poll::Ready(result) => break Some(result),
                        Poll::Pending if clock.now() >= give_up => break None,
                        Poll::Pending => {}
                    }
                    let next = clock.next_deadline().unwrap_or(Instant::MAX).min(give_up);
                    let wake = match self.spurious {
                        Some(apart) => next.min(clock.now() + ms(1 + draws.below(apart))),
                        None => next,
                    };
                    clock.advance(wake.since(clock.now()));
                };
                if result.is_some() {
                    // Losers are gone though the request is alive.
                    assert!(drops.borrow().iter().all(|drops| *drops == 1), "{self:#?}");
                    assert_eq!(hedger.in_flight(), 0, "{self:#?}");
                    assert_eq!(clock.next_deadline(), None, "{self:#?}");
                }
                result
            };
            let at = clock.now().since(start);
            assert!(drops.borrow().iter().all(|drops| *drops == 1), "{self:#?}");
            assert_eq!(hedger.in_flight(), 0, "{self:#?}");
            let tokens = hedger.budget().edit(|budget| budget.tokens());
            let starts = log.into_inner();
            if let Some(result) = &result {
                check_numbers(result, at, starts.len());
            }
            told.push(Told {
                ended: ended(result),
                at: millis(at),
                starts,
                tokens: tokens.is_finite().then_some((tokens * 4.0) as u64),
            });
        }
        told
    }
}

struct CountDrops<'a>(&'a RefCell<Vec<u32>>, usize);

impl Drop for CountDrops<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut()[self.1] += 1;
    }
}

/// What an outcome says about time and cost agrees with what was seen.
fn check_numbers(result: &Result<Hedged<Returned>, Error<Returned>>, at: Duration, started: usize) {
    match result {
        Ok(Hedged { outcome, .. }) => {
            assert_eq!(
                (outcome.total_latency, usize::from(outcome.attempts)),
                (at, started)
            );
            assert_eq!(outcome.cost, started as f64);
        }
        Err(Error::Timeout { elapsed, .. }) => assert_eq!(*elapsed, at),
        Err(_) => {}
    }
}

fn ended(result: Option<Result<Hedged<Returned>, Error<Returned>>>) -> Ended {
    match result {
        None => Ended::Dropped,
        Some(Ok(Hedged { value, outcome })) => {
            assert_eq!(usize::from(outcome.winner), value.attempt);
            Ended::Ok(Answer {
                attempt: value.attempt,
                accepted: outcome.accepted,
                hedged: outcome.hedged,
                hedge_won: outcome.hedge_won,
                primary: outcome.primary_latency.map(millis),
                backup: outcome.backup_latency.map(millis),
                suppressed: outcome.suppressed,
            })
        }
        Some(Err(Error::Failed { error, attempts })) => Ended::Failed {
            attempt: error.attempt,
            attempts,
        },
        Some(Err(Error::Timeout {
            attempts, error, ..
        })) => Ended::TimedOut {
            attempts,
            error: error.map(|error| error.attempt),
        },
        Some(Err(error)) => panic!("{error:?}"),
    }
}

impl Limits {
    fn build(self) -> Budget {
        let budget = match self.quarters {
            Some(Quarters { deposit, burst }) => {
                Budget::percent(25.0 * deposit as f64).burst(burst)
            }
            None => Budget::unlimited(),
        };
        match self.max_in_flight {
            Some(max) => budget.max_in_flight(max),
            None => budget,
        }
    }
}

/// The contract, as a simulation from one moment at which something happens to the next.
struct Model<'s> {
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
    fn new(scenario: &'s Scenario) -> Self {
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

    fn request(&mut self, script: &Script) -> Told {
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
            return Some(request.patience);
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

/// How often the scenarios came to each kind of end: a model of nothing but wins would prove little.
#[derive(Debug, Default)]
struct Seen {
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
}

impl Seen {
    fn count(&mut self, told: &Told) {
        let add = |counter: &mut u32, yes: bool| *counter += u32::from(yes);
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

    fn assert_all(&self) {
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
        ];
        assert!(
            most.iter().chain(&rest).all(|count| *count > 500),
            "{self:#?}"
        );
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Whole milliseconds; the clock shows no others.
fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
