//! Attempts at replicas as tasks: each is counted until it really ends. On tokio's paused clock.

use core::time::Duration;

use hedge_tokio::replicas::{ReplicaStats, SharedReplicas};
use hedge_tokio::{Attempt, Fixed, Hedger, Timer, TokioTimer, Verdict};
use tokio::task::yield_now;
use tokio::time::sleep;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

type Replicas = SharedReplicas<2>;

fn hedger() -> Hedger {
    Hedger::builder()
        .strategy(Fixed::new(ms(20)))
        .timeout(ms(200))
        .build()
        .unwrap()
}

/// The primary takes so long, and the hedge so long.
fn takes(primary: u64, hedge: u64) -> impl Fn(Attempt) -> Answer + Clone {
    move |attempt| {
        Box::pin(async move {
            sleep(ms(if attempt.is_hedge() { hedge } else { primary })).await;
            Ok(attempt.replica().index())
        })
    }
}

type Answer = core::pin::Pin<Box<dyn Future<Output = Result<usize, ()>> + Send>>;

fn stats(replicas: &Replicas, index: usize) -> ReplicaStats {
    *replicas
        .stats(TokioTimer::default().now())
        .get(index)
        .unwrap()
}

fn in_flight(replicas: &Replicas) -> u32 {
    replicas.stats(TokioTimer::default().now()).in_flight()
}

#[tokio::test(start_paused = true)]
async fn a_detached_loser_is_counted_until_it_ends() {
    let (hedger, replicas) = (hedger(), Replicas::of(2));
    let call = hedger.call().on(replicas.clone());
    let hedged = call.request_detached(takes(100, 5)).await.unwrap();
    let loser = 1 - hedged.value;
    assert_eq!(hedged.outcome.replicas_used, 0b11);
    assert_eq!(
        (in_flight(&replicas), stats(&replicas, loser).in_flight),
        (1, 1)
    );
    sleep(ms(80)).await;
    assert_eq!(in_flight(&replicas), 0);
    // It was answered in the end.
    let latency = stats(&replicas, loser).latency.unwrap();
    assert!((ms(97)..=ms(103)).contains(&latency), "{latency:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_detached_attempt_returns_is_judged_by_the_request() {
    let (hedger, replicas) = (hedger(), Replicas::of(2));
    for verdict in [Verdict::Accept, Verdict::Retry] {
        let call = hedger
            .call()
            .max_hedges(0)
            .classify(move |_: &Result<usize, ()>| verdict);
        let _ = call
            .on(replicas.clone())
            .among(1)
            .request_detached(takes(10, 10))
            .await;
        assert_eq!(in_flight(&replicas), 0);
    }
    // 16 times as slow as usual, a quarter of the way at least.
    assert!(stats(&replicas, 0).latency.unwrap() > ms(19));
}

#[tokio::test(start_paused = true)]
async fn detached_attempts_are_counted_after_the_request_was_dropped_or_timed_out() {
    let (hedger, replicas) = (hedger(), Replicas::of(2));
    let call = hedger.call().timeout(ms(50)).on(replicas.clone());
    assert!(
        call.request_detached(takes(90, 90))
            .await
            .unwrap_err()
            .is_timeout()
    );
    assert_eq!(in_flight(&replicas), 2);
    sleep(ms(100)).await;
    assert_eq!(in_flight(&replicas), 0);

    let call = hedger.call().on(replicas.clone());
    let request = call.request_detached(takes(90, 90));
    assert!(tokio::time::timeout(ms(30), request).await.is_err());
    assert_eq!(in_flight(&replicas), 2);
    sleep(ms(100)).await;
    assert_eq!(in_flight(&replicas), 0);
}

#[tokio::test(start_paused = true)]
async fn a_spawned_loser_is_counted_until_it_is_aborted() {
    let (hedger, replicas) = (hedger(), Replicas::of(2));
    let call = hedger.call().on(replicas.clone());
    let hedged = call.request_spawned(takes(900, 5)).await.unwrap();
    assert_eq!(hedged.outcome.replicas_used, 0b11);
    yield_now().await;
    assert_eq!(in_flight(&replicas), 0);
    // It had time to answer.
    let loser = stats(&replicas, 1 - hedged.value);
    assert!(loser.latency > Some(ms(20)), "{loser:?}");
}

/// The request reports the end of a task that was dropped before, and an aborted task reports its own end: both report
/// the same.
#[tokio::test(start_paused = true)]
async fn a_timeout_counts_the_same_whoever_reports_it() {
    let hedger = hedger();
    let mut latencies = Vec::new();
    for spawned in [true, false] {
        let replicas = Replicas::of(2);
        for _ in 0..40 {
            let call = hedger.call().on(replicas.clone());
            call.request(takes(10, 10)).await.unwrap();
        }
        let call = hedger.call().timeout(ms(28)).on(replicas.clone());
        let error = if spawned {
            call.request_spawned(takes(900, 900)).await.unwrap_err()
        } else {
            call.request(takes(900, 900)).await.unwrap_err()
        };
        assert_eq!(error.attempts(), 2);
        yield_now().await;
        assert_eq!(in_flight(&replicas), 0);
        let known = [0, 1].map(|index| stats(&replicas, index).latency.unwrap());
        latencies.push((known[0].min(known[1]), known[0].max(known[1])));
    }
    // The primary's has failed: 16 times as long as usual, a quarter of the way. The hedge had less
    // time, and counts as one that was given up.
    assert!(latencies[0].1 > ms(19), "{latencies:?}");
    assert!(latencies[0].0 < ms(14), "{latencies:?}");
    assert_eq!(latencies[0], latencies[1]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_is_not_counted() {
    let (hedger, replicas) = (hedger(), Replicas::of(2));
    for at_launch in [true, false] {
        let (hedger, replicas) = (hedger.clone(), replicas.clone());
        let counted = replicas.clone();
        let request = async move {
            let call = hedger.call().on(replicas);
            let fail = || std::panic::resume_unwind(Box::new(()));
            call.request_detached(|_| {
                if at_launch {
                    fail();
                }
                async move {
                    fail();
                    Ok::<_, ()>(())
                }
            })
            .await
        };
        assert!(tokio::spawn(request).await.unwrap_err().is_panic());
        yield_now().await;
        assert_eq!(in_flight(&counted), 0, "{at_launch}");
    }
}

/// The shorthand, over threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_a_set() {
    let (hedger, replicas) = (hedger(), Replicas::of(2));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (hedger, replicas) = (hedger.clone(), replicas.clone());
            tokio::spawn(async move {
                for _ in 0..500 {
                    let request = hedger.request_on(&replicas, |_| async {
                        yield_now().await;
                        Ok::<_, ()>(())
                    });
                    request.await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(in_flight(&replicas), 0);
}
