//! Attempts as tasks: how they are counted and reported, on tokio's paused clock.

use core::time::Duration;
use std::panic;
use std::sync::{Arc, Mutex};

use hedge_tokio::telemetry::{Ring, RingSink};
use hedge_tokio::{Attempt, Budget, Event, Fixed, Hedger, Hints, SharedBudget, Verdict};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

type Ears = Arc<RingSink<32, Mutex<Ring<32>>>>;

/// Hedges after 20 ms, and once, with one place in flight.
fn hedger() -> (Hedger, SharedBudget, Ears) {
    let ears = Ears::new(RingSink::new(Mutex::new(Ring::new())));
    let budget = SharedBudget::new(Budget::percent(100.0).burst(10).max_in_flight(1));
    let hedger = Hedger::builder()
        .strategy(Fixed::new(ms(20)))
        .timeout(ms(200))
        .shared_budget(budget.clone())
        .sink(ears.clone())
        .build()
        .unwrap();
    (hedger, budget, ears)
}

fn told(ears: &Ears) -> Vec<&'static str> {
    core::iter::from_fn(|| ears.pop())
        .map(|event| event.kind.name())
        .collect()
}

/// The primary takes so long, and the hedge so long.
fn takes(primary: u64, hedge: u64) -> impl Fn(Attempt) -> Answer + Clone {
    move |attempt| {
        Box::pin(async move {
            sleep(ms(if attempt.is_hedge() { hedge } else { primary })).await;
            Ok(attempt.index())
        })
    }
}

type Answer = core::pin::Pin<Box<dyn Future<Output = Result<usize, ()>> + Send>>;

#[tokio::test(start_paused = true)]
async fn a_detached_loser_keeps_its_place_and_is_not_reported_as_cancelled() {
    let (hedger, _, ears) = hedger();
    let hedged = hedger.request_detached(takes(50, 100)).await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 2));
    assert_eq!(
        told(&ears),
        ["request.start", "hedge.fired", "request.stop"]
    );
    assert_eq!(hedger.in_flight(), 1);
    sleep(ms(71)).await;
    assert_eq!(hedger.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn detached_attempts_outlive_a_timeout() {
    let (hedger, _, ears) = hedger();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let attempt = |attempt: Attempt| {
        let answers = answers.clone();
        async move {
            sleep(ms(300)).await;
            answers.lock().unwrap().push(attempt.index());
            Ok::<_, ()>(())
        }
    };
    assert!(
        hedger
            .request_detached(attempt)
            .await
            .unwrap_err()
            .is_timeout()
    );
    assert_eq!(
        told(&ears),
        ["request.start", "hedge.fired", "request.exception"]
    );
    assert_eq!(hedger.in_flight(), 1);
    sleep(ms(200)).await;
    assert_eq!(*answers.lock().unwrap(), [0, 1]);
    assert_eq!(hedger.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_loser_is_cancelled_and_leaves_its_place_when_it_has_ended() {
    let (hedger, _, ears) = hedger();
    let hedged = hedger.request_spawned(takes(50, 100)).await.unwrap();
    assert_eq!(hedged.value, 0);
    let names = [
        "request.start",
        "hedge.fired",
        "request.cancelled",
        "request.stop",
    ];
    assert_eq!(told(&ears), names);
    // Until the runtime comes to drop the task.
    assert_eq!(hedger.in_flight(), 1);
    yield_now().await;
    assert_eq!(hedger.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_may_have_tasks_and_options_of_its_own() {
    let (hedger, ..) = hedger();
    let start = Instant::now();
    let call = || hedger.call().timeout(ms(10)).hints(Hints::NONE);
    assert!(call().request_detached(takes(50, 50)).await.is_err());
    assert!(call().request_spawned(takes(50, 50)).await.is_err());
    assert_eq!(start.elapsed(), ms(20));

    let picky = |result: &Result<usize, ()>| match result {
        Ok(0) => Verdict::Retry,
        _ => Verdict::Accept,
    };
    let hedged = hedger
        .call()
        .classify(picky)
        .request_spawned(takes(1, 1))
        .await;
    assert_eq!(hedged.unwrap().value, 1);
    let hedged = hedger
        .call()
        .unhedged()
        .request_detached(takes(90, 1))
        .await;
    assert_eq!(hedged.unwrap().outcome.attempts, 1);
}

/// A place is given back by whoever was to start the attempt, if that panics.
#[tokio::test(start_paused = true)]
async fn a_hedge_that_cannot_be_launched_leaves_its_place() {
    let (hedger, ..) = hedger();
    let launch = |attempt: Attempt| -> Answer {
        if attempt.is_hedge() {
            panic::resume_unwind(Box::new(()));
        }
        takes(90, 90)(attempt)
    };
    let task = {
        let hedger = hedger.clone();
        tokio::spawn(async move { hedger.request_spawned(launch).await })
    };
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!((hedger.in_flight(), hedger.metrics().cancelled), (0, 1));
}

/// A sink that panics when a hedge is fired, before there is a task to hold the place.
#[tokio::test(start_paused = true)]
async fn a_hedge_whose_sink_panics_leaves_its_place() {
    let hedger = Hedger::builder()
        .strategy(Fixed::new(ms(20)))
        .sink(|event: &Event| {
            if event.kind.name() == "hedge.fired" {
                panic::resume_unwind(Box::new(()));
            }
        })
        .build()
        .unwrap();
    let task = {
        let hedger = hedger.clone();
        tokio::spawn(async move { hedger.request_detached(takes(90, 90)).await })
    };
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!((hedger.in_flight(), hedger.metrics().cancelled), (0, 1));
}
