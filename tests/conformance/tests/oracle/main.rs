//! Random requests against a model of what a request does, written from the contract and not from the
//! code.

mod model;
mod seen;

use core::cell::RefCell;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use futures_lite::{FutureExt, StreamExt, stream};
use hedge_conformance::Draws;
use hedge_core::adapter::{BudgetHandle, Group, SharedState};
use hedge_core::manual::ManualTimer;
use hedge_core::stream::First;
use hedge_core::{
    Attempt, Budget, Cause, Error, Fixed, Hedged, Hedger, Instant, Options, Sink, Suppressed,
    Timer, Verdict,
};
use model::{Model, Notes};
use seen::Seen;

const SCENARIOS: u64 = 40_000;
const ATTEMPTS: usize = 4;
/// The percentage of the hedges that are withheld, in scenarios with a control group.
const HOLDBACK: f64 = 25.0;
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
            let mut control = model.clone();
            let (mut expected, mut notes) = model.request(request, Group::Hedged);
            // The group is drawn, so what happened says which it was.
            if notes.drawn && *told != expected {
                (expected, notes) = control.request(request, Group::Control);
                model = control;
            }
            assert_eq!(told, &expected, "request {n} of {scenario:#?}");
            seen.count(&expected, notes);
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
    attempt_timeout: Option<u64>,
    max_pushback: Option<u64>,
    holdback: bool,
    budget: Limits,
    metrics: bool,
    /// Polls that nobody asked for come up to so many milliseconds apart.
    spurious: Option<u64>,
    requests: Vec<Script>,
    /// Attempts give streams, whose first items are the results.
    streams: bool,
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
    /// Until then another request has a hedge in flight.
    crowded_until: u64,
    dropped_at: u64,
    /// From the request's start; 0 has passed.
    deadline: Option<u64>,
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

/// What the caller can see of a request, times in milliseconds from its start.
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
        let attempt_timeout = (draws.below(4) == 0).then(|| 1 + draws.below(24));
        let max_pushback = (draws.below(4) == 0).then(|| draws.below(24));
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
                    3 if !often(draws, 3) => Verdict::Wait,
                    3 if !often(draws, 2) => Verdict::Fatal,
                    _ => Verdict::Accept,
                },
                ok: often(draws, 3),
            }),
            crowded_until: if draws.below(2) == 0 {
                draws.below(60)
            } else {
                0
            },
            dropped_at: if draws.below(6) == 0 {
                draws.below(40)
            } else {
                PATIENCE
            },
            deadline: (draws.below(6) == 0).then(|| draws.below(40)),
        };
        let requests = 1 + draws.below(3);
        Self {
            seed,
            delay,
            max_hedges,
            timeout,
            attempt_timeout,
            max_pushback,
            holdback: draws.below(4) == 0,
            budget: Limits {
                quarters,
                max_in_flight,
            },
            metrics: often(draws, 2),
            spurious: (draws.below(2) == 0).then(|| 1 + draws.below(12)),
            requests: (0..requests).map(|_| request(draws)).collect(),
            streams: often(draws, 3),
        }
    }

    /// When a request's time is up.
    fn end(&self, script: &Script) -> Option<u64> {
        self.timeout.into_iter().chain(script.deadline).min()
    }

    /// What the crate does.
    fn play(&self) -> Vec<Told> {
        let clock = ManualTimer::<16>::new();
        let mut options = Options::default();
        options.max_hedges = self.max_hedges;
        options.timeout = self.timeout.map(ms);
        options.attempt_timeout = self.attempt_timeout.map(ms);
        options.max_pushback = self.max_pushback.map(ms);
        options.holdback_percent = if self.holdback { HOLDBACK } else { 0.0 };
        let builder = Hedger::builder(&clock)
            .strategy(Fixed::new(self.delay.map_or(Duration::MAX, ms)))
            .attempts::<ATTEMPTS>()
            .options(options)
            // Other draws than those that made the scenario.
            .seed(self.seed | 1 << 63)
            .budget(self.budget.build());
        if self.metrics {
            let hedger = builder.build_local().unwrap();
            let told = self.play_on(&clock, &hedger);
            let metrics = hedger.metrics();
            let attempts: usize = told.iter().map(|told| told.starts.len()).sum();
            assert_eq!(metrics.total_requests, told.len() as u64, "{self:#?}");
            let primaries = told.iter().filter(|told| !told.starts.is_empty()).count();
            assert_eq!(metrics.hedges, (attempts - primaries) as u64, "{self:#?}");
            let is_withheld = |told: &&Told| match &told.ended {
                Ended::Ok(answer) => answer.suppressed == Some(Suppressed::Holdback),
                _ => false,
            };
            let withheld = told.iter().filter(is_withheld).count() as u64;
            // Those that were not answered are counted as well.
            let counted = metrics.refused(Suppressed::Holdback);
            assert!(counted >= withheld, "{counted} of {withheld}: {self:#?}");
            told
        } else {
            self.play_on(&clock, &builder.without_metrics().build_local().unwrap())
        }
    }

    fn play_on<'c, L: SharedState, B: BudgetHandle>(
        &self,
        clock: &'c ManualTimer<16>,
        hedger: &Hedger<&'c ManualTimer<16>, L, B, hedge_core::telemetry::NoSink, ATTEMPTS>,
    ) -> Vec<Told> {
        let mut draws = Draws::new(!self.seed);
        let mut told = Vec::new();
        for script in &self.requests {
            let start = clock.now();
            let free = start + ms(script.crowded_until);
            let mut is_crowded = true;
            hedger.budget().edit(|budget| budget.hold(1));
            let log = RefCell::new(Vec::new());
            let drops = RefCell::new(Vec::new());
            let launch = |attempt: Attempt| {
                log.borrow_mut()
                    .push((millis(clock.now().since(start)), attempt.cause()));
                drops.borrow_mut().push(0);
                assert_eq!(attempt.elapsed(), clock.now().since(start));
                let left = self
                    .end(script)
                    .map(|end| (start + ms(end)).since(clock.now()));
                let limits = left.into_iter().chain(self.attempt_timeout.map(ms));
                assert_eq!(attempt.remaining(), limits.min(), "{self:#?}");
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
                let deadline = script.deadline.map_or(Instant::MAX, |end| start + ms(end));
                let mut request = if self.streams {
                    as_stream(hedger, deadline, launch).boxed_local()
                } else {
                    let call = hedger.call().deadline(deadline).classify(verdict);
                    call.request(launch).boxed_local()
                };
                let give_up = start + ms(script.dropped_at);
                let result = loop {
                    if is_crowded && clock.now() >= free {
                        hedger.budget().give_back(1);
                        is_crowded = false;
                    }
                    let poll = request
                        .as_mut()
                        .poll(&mut Context::from_waker(Waker::noop()));
                    match poll {
                        Poll::Ready(result) => break Some(result),
                        Poll::Pending if clock.now() >= give_up => break None,
                        Poll::Pending => {}
                    }
                    let next = clock.next_deadline().unwrap_or(Instant::MAX).min(give_up);
                    let next = if is_crowded { next.min(free) } else { next };
                    let wake = match self.spurious {
                        Some(apart) => next.min(clock.now() + ms(1 + draws.below(apart))),
                        None => next,
                    };
                    clock.advance(wake.since(clock.now()));
                };
                if is_crowded {
                    hedger.budget().give_back(1);
                }
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

/// Makes a request for streams. The item of each is the result of an attempt, and comes with the head or after it.
async fn as_stream<T, L, B, K, M, F>(
    hedger: &Hedger<T, L, B, K, ATTEMPTS>,
    deadline: Instant,
    mut launch: M,
) -> Result<Hedged<Returned>, Error<Returned>>
where
    T: Timer + Clone,
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
    M: FnMut(Attempt) -> F,
    F: Future<Output = Result<Returned, Returned>>,
{
    let call = hedger.call().deadline(deadline).classify(
        |result: &Result<First<Returned, _>, Returned>| match result {
            Ok(first) => first.item.map_or(Verdict::Fatal, |item| item.verdict),
            Err(returned) => returned.verdict,
        },
    );
    let opens = |attempt: Attempt| {
        let answer = launch(attempt);
        async move {
            Ok(if attempt.index().is_multiple_of(2) {
                stream::once_future(answer).boxed_local()
            } else {
                stream::once(answer.await).boxed_local()
            })
        }
    };
    let Hedged { mut value, outcome } = call.stream(opens).await?;
    let value = value.next().await.unwrap().unwrap();
    Ok(Hedged { value, outcome })
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

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Whole milliseconds; the clock shows no others.
fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
