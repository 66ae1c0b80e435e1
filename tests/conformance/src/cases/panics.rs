//! Code of the caller's that panics.

use core::future::{Future, poll_fn};
use core::mem;
use core::panic::AssertUnwindSafe;
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;
use std::boxed::Box;
use std::panic;

use futures_lite::{StreamExt, stream};
use hedge_core::adapter::{BudgetHandle, Lock};
use hedge_core::replicas::Replicas;
use hedge_core::strategy::{Hints, Plan, Strategy};
use hedge_core::stream::{StreamEnd, StreamReport};
use hedge_core::{Attempt, Budget, Event, Fixed, Hedger, Instant, Metrics, Record, Sink, Timer};

use super::run_until;
use crate::backend::{Backend, Step, err, never, ok};
use crate::world::Built;
use crate::{Home, World};

/// A panic without a message in the log.
fn fail() -> ! {
    panic::resume_unwind(Box::new(()))
}

/// Polls `request` until it panics.
async fn until_it_panics<F: Future>(mut request: Pin<&mut F>) {
    poll_fn(
        |cx| match panic::catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(cx))) {
            Ok(Poll::Ready(_)) => panic!("it did not panic"),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        },
    )
    .await;
}

fn hedger<T: Timer + Clone, H: Home>(world: &World<T, H>) -> Built<T, H, Fixed> {
    world.build(
        world
            .fixed(1)
            .max_hedges(2)
            .budget(Budget::percent(100.0).burst(8)),
    )
}

/// One request was dropped after `hedges` had started, and the hedger works.
async fn works<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
    hedger: &Built<T, H, Fixed>,
    hedges: u32,
) {
    let metrics = hedger.metrics();
    assert_eq!((metrics.total_requests, metrics.cancelled), (1, 1));
    assert_eq!(metrics.hedges, u64::from(hedges));
    assert_eq!(hedger.in_flight(), 0);
    assert_eq!(
        hedger.budget().edit(|budget| budget.tokens()),
        f64::from(8 - hedges)
    );
    let backend = Backend::new(world, &[never(), ok(1)]);
    assert_eq!(
        hedger
            .request(|attempt| backend.call(attempt))
            .await
            .unwrap()
            .value,
        1
    );
    assert_eq!((hedger.metrics().won, hedger.in_flight()), (1, 0));
}

/// An attempt that panics unwinds to the caller; the request is then dropped like any other.
pub async fn an_attempt_may_panic<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    for culprit in [0, 1] {
        let hedger = hedger(world);
        let backend = Backend::new(world, &[never(), never()]);
        {
            let launch = |attempt: Attempt| {
                let call = backend.call(attempt);
                async move {
                    let mut call = pin!(call);
                    let _ = futures_lite::future::poll_once(call.as_mut()).await;
                    if attempt.index() == culprit {
                        fail();
                    }
                    call.await
                }
            };
            until_it_panics(pin!(hedger.request(launch))).await;
        }
        assert_eq!(backend.started(), culprit + 1);
        assert_eq!((backend.running(), backend.dropped()), (0, culprit + 1));
        works(world, &hedger, culprit as u32).await;
    }
}

/// An attempt at a replica that panics is not counted any more, nor are the others of its request.
pub async fn an_attempt_at_a_replica_may_panic<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let set = H::lock(Replicas::<3>::all());
    let hedger = hedger(world);
    for launches in [true, false] {
        let backend = Backend::new(world, &[]);
        {
            let request = pin!(hedger.request_on(&set, |attempt| {
                let fails = attempt.index() == 1;
                if fails && !launches {
                    fail();
                }
                let call = backend.call(attempt);
                async move {
                    if fails {
                        fail();
                    }
                    call.await
                }
            }));
            until_it_panics(request).await;
        }
        assert_eq!(
            set.with(|replicas| replicas.stats(world.now()).in_flight()),
            0
        );
    }
}

/// A request at a replica whose first launch panics pays once, though it is polled again.
pub async fn a_request_at_a_replica_pays_once<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let set = H::lock(Replicas::<2>::all());
    let hedger = world.build(world.fixed(1).budget(Budget::percent(50.0).burst(8)));
    let tokens = || hedger.budget().edit(|budget| budget.tokens());
    // Leaves room for deposits.
    hedger.budget().edit(|budget| {
        budget.withdraw(world.now()).unwrap();
        budget.give_back(1);
    });
    let before = tokens();
    let mut fails = true;
    let mut request = pin!(hedger.request_on(&set, |_| {
        if mem::take(&mut fails) {
            fail();
        }
        async { Ok::<_, ()>(()) }
    }));
    until_it_panics(request.as_mut()).await;
    assert_eq!(request.await.map(|hedged| hedged.outcome.attempts), Ok(1));
    assert_eq!(tokens() - before, 0.5);
}

/// A stream that panics unwinds to whoever polls it: the request before the first item, the reader after it.
pub async fn a_stream_may_panic<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    for culprit in [0, 1] {
        let hedger = hedger(world);
        let backend = Backend::new(world, &[]);
        let launch = |attempt: Attempt| {
            let visit = backend.visit(attempt);
            async move {
                let mut items = 0..;
                Ok::<_, ()>(stream::poll_fn(move |_| {
                    let _ = &visit;
                    let n = items.next().filter(|_| attempt.index() == 1);
                    if n.is_some_and(|n| n == culprit) {
                        fail();
                    }
                    n.map_or(Poll::Pending, |n| Poll::Ready(Some(Ok(n))))
                }))
            }
        };
        if culprit == 0 {
            until_it_panics(pin!(hedger.stream(launch))).await;
            assert_eq!((backend.running(), backend.dropped()), (0, 2));
            works(world, &hedger, 1).await;
        } else {
            let ended = H::lock(None);
            {
                let value = hedger.stream(launch).await.unwrap().value;
                let report = |report: StreamReport| ended.with(|ended| *ended = Some(report.end));
                let mut items = pin!(value.report(report));
                assert!(items.next().await.is_some());
                until_it_panics(pin!(items.next())).await;
            }
            assert_eq!(ended.with(|ended| *ended), Some(StreamEnd::Dropped));
            assert_eq!((backend.running(), hedger.metrics().won), (0, 1));
        }
    }
}

/// The closure that starts attempts may panic.
pub async fn the_launch_closure_may_panic<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    for culprit in [0, 1] {
        let hedger = hedger(world);
        let backend = Backend::new(world, &[]);
        {
            let launch = |attempt: Attempt| {
                if attempt.index() == culprit {
                    fail();
                }
                backend.call(attempt)
            };
            until_it_panics(pin!(hedger.request(launch))).await;
        }
        assert_eq!((backend.running(), backend.dropped()), (0, culprit));
        // A hedge that was admitted is paid for, whatever became of it.
        works(world, &hedger, culprit as u32).await;
    }
}

/// A classifier may panic.
pub async fn the_classifier_may_panic<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = hedger(world);
    let backend = Backend::new(world, &[never(), ok(0)]);
    {
        let call = hedger.call().classify(|_: &Result<usize, _>| fail());
        until_it_panics(pin!(call.request(|attempt| backend.call(attempt)))).await;
    }
    assert_eq!((backend.running(), backend.dropped()), (0, 1));
    works(world, &hedger, 1).await;
}

/// A request that panicked may be polled again; it is still one request.
pub async fn a_request_that_panicked_may_be_polled<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    let hedger = hedger(world);
    let backend = Backend::new(world, &[ok(2), never()]);
    let mut request = pin!(hedger.request(|attempt| {
        let mut call = Box::pin(backend.call(attempt));
        let mut sound = attempt.is_hedge();
        poll_fn(move |cx| {
            if !mem::replace(&mut sound, true) {
                fail();
            }
            call.as_mut().poll(cx)
        })
    }));
    until_it_panics(request.as_mut()).await;
    assert_eq!(request.await.unwrap().value, 0);
    assert_eq!(
        (hedger.metrics().total_requests, hedger.metrics().won),
        (1, 1)
    );
}

/// A hedger whose events are not audited: a request does not tell its end to a sink that panicked.
type Unaudited<T, H, K> =
    Hedger<T, <H as Home>::SharedState<Fixed, Metrics>, <H as Home>::Budget, K, 4>;

fn unaudited<T: Timer + Clone, H: Home, K: Sink>(
    world: &World<T, H>,
    budget: Budget,
    sink: K,
) -> Unaudited<T, H, K> {
    let builder = world.fixed(1).budget(budget);
    let hedger = builder.sink(sink).build_with(H::ledger, H::budget);
    hedger.unwrap_or_else(|error| panic!("{error}"))
}

/// A sink may panic at any event. The panic unwinds through whoever polls or drops the request, which tells it no
/// more; the request is accounted for as it was at that moment, and the hedger works.
pub async fn a_sink_may_panic<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    /// How many requests were won, failed and cancelled.
    type Ends = (u64, u64, u64);
    const WON: Ends = (1, 0, 0);
    const FAILED: Ends = (0, 1, 0);
    const CANCELLED: Ends = (0, 0, 1);

    let rich = || Budget::percent(100.0).burst(8);
    let poor = || Budget::percent(0.0);
    let hedge_wins: [Step; 2] = [never(), ok(1)];
    for (culprit, script, budget, ends, hedges) in [
        ("request.start", [ok(0); 2], rich(), CANCELLED, 0),
        ("hedge.fired", hedge_wins, rich(), CANCELLED, 1),
        ("hedge.suppressed", [ok(5); 2], poor(), CANCELLED, 0),
        ("hedge.won", hedge_wins, rich(), WON, 1),
        ("request.cancelled", hedge_wins, rich(), WON, 1),
        ("request.stop", hedge_wins, rich(), WON, 1),
        ("request.exception", [err(0); 2], rich(), FAILED, 1),
        ("request.dropped", [never(); 2], rich(), CANCELLED, 1),
    ] {
        let (told, calm) = (H::lock(0_u32), H::lock(false));
        let before = budget.tokens();
        let hedger = unaudited(world, budget, |event: &Event| {
            if event.kind.name() == culprit && !calm.with(|calm| *calm) {
                told.with(|told| *told += 1);
            }
            // From then on, whatever it is told.
            if told.with(|told| *told > 0) && !calm.with(|calm| *calm) {
                fail();
            }
        });
        let backend = Backend::new(world, &script);
        let mut request = Box::pin(hedger.request(|attempt| backend.call(attempt)));
        if culprit == "request.dropped" {
            run_until(request.as_mut(), || backend.running() == 2).await;
            let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(request)));
            assert!(dropped.is_err());
        } else {
            until_it_panics(request.as_mut()).await;
            drop(request);
        }

        assert_eq!(told.with(|told| *told), 1, "{culprit}");
        let metrics = hedger.metrics();
        assert_eq!(
            (metrics.won, metrics.failed, metrics.cancelled),
            ends,
            "{culprit}"
        );
        assert_eq!(
            (metrics.total_requests, metrics.hedges),
            (1, hedges),
            "{culprit}"
        );
        assert_eq!((backend.running(), hedger.in_flight()), (0, 0), "{culprit}");
        let tokens = hedger.budget().edit(|budget| budget.tokens());
        assert_eq!(tokens, before - hedges as f64, "{culprit}");

        calm.with(|calm| *calm = true);
        let backend = Backend::new(world, &[ok(3), ok(1)]);
        assert!(
            hedger
                .request(|attempt| backend.call(attempt))
                .await
                .is_ok()
        );
        assert_eq!(
            (hedger.metrics().total_requests, hedger.in_flight()),
            (2, 0)
        );
    }
}

/// An attempt panics, and so does the sink when it hears that the request is dropped by that.
pub async fn a_sink_that_panics_in_a_panic_is_caught<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = unaudited(world, Budget::unlimited(), |event: &Event| {
        if event.kind.name() != "request.start" {
            fail();
        }
    });
    poll_fn(|cx| {
        let unwound = panic::catch_unwind(AssertUnwindSafe(|| {
            let attempt = |_| async { panic::resume_unwind(Box::new("the attempt's")) };
            let mut request = Box::pin(hedger.request::<_, _, (), ()>(attempt));
            // Dropped while this unwinds.
            let _ = request.as_mut().poll(cx);
        }));
        let payload = unwound.unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"the attempt's"));
        Poll::Ready(())
    })
    .await;
    let metrics = hedger.metrics();
    assert_eq!((metrics.total_requests, metrics.cancelled), (1, 1));
}

/// A request may be polled again after its sink panicked, at its start and later: it is one request.
pub async fn a_request_whose_sink_panicked_may_be_polled<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    for culprit in ["request.start", "hedge.suppressed"] {
        let hedger = unaudited(world, Budget::percent(0.0), |event: &Event| {
            if event.kind.name() == culprit {
                fail();
            }
        });
        let backend = Backend::new(world, &[ok(3)]);
        let mut request = Box::pin(hedger.request(|attempt| backend.call(attempt)));
        until_it_panics(request.as_mut()).await;
        let hedged = request.await.unwrap();
        assert_eq!((hedged.value, hedged.outcome.attempts), (0, 1));
        let metrics = hedger.metrics();
        assert_eq!((metrics.total_requests, metrics.won), (1, 1), "{culprit}");
    }
}

/// An attempt may panic when it is dropped: the others are dropped all the same.
pub async fn an_attempt_may_panic_when_it_is_dropped<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    struct Fails;
    impl Drop for Fails {
        fn drop(&mut self) {
            fail();
        }
    }

    let hedger = hedger(world);
    let backend = Backend::new(world, &[never(), never(), ok(1)]);
    {
        let launch = |attempt: Attempt| {
            let call = backend.call(attempt);
            async move {
                let _fails = (attempt.index() == 1).then(|| Fails);
                call.await
            }
        };
        until_it_panics(pin!(hedger.request(launch))).await;
    }
    assert_eq!((backend.running(), backend.dropped()), (0, 2));
    works(world, &hedger, 2).await;
}

/// After the closure that starts attempts has panicked, other attempts do not take that one's place, and it is reported.
pub async fn an_attempt_that_was_not_launched_leaves_a_gap<T: Timer + Clone, H: Home>(
    world: &World<T, H>,
) {
    let hedger = hedger(world);
    let backend = Backend::new(world, &[never(), never(), ok(1)]);
    let mut request = pin!(hedger.request(|attempt: Attempt| {
        if attempt.index() == 1 {
            fail();
        }
        backend.call(attempt)
    }));
    until_it_panics(request.as_mut()).await;
    let hedged = request.await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.winner), (2, 2));
    assert_eq!(hedger.in_flight(), 0);

    // So it is where the primary is the only attempt that runs.
    let backend = Backend::new(world, &[ok(6)]);
    let mut request = pin!(hedger.call().max_hedges(1).request(|attempt: Attempt| {
        if attempt.is_hedge() {
            fail();
        }
        backend.call(attempt)
    }));
    until_it_panics(request.as_mut()).await;
    let hedged = request.as_mut().await.unwrap();
    assert_eq!((hedged.value, hedged.outcome.attempts), (0, 2));
    assert_eq!(hedger.in_flight(), 0);
    assert_eq!(hedger.metrics().hedged_requests, 2);
}

/// A strategy that panics the first time it plans, or learns, unless that is sound.
struct Panicky {
    delay: Duration,
    plans: bool,
    learns: bool,
}

impl Strategy for Panicky {
    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        if !mem::replace(&mut self.plans, true) {
            fail();
        }
        Plan::after(self.delay)
    }

    fn record(&mut self, _: &Record) {
        if !mem::replace(&mut self.learns, true) {
            fail();
        }
    }
}

/// A strategy that panics over a request does not hide it, and the hedger works.
pub async fn the_strategy_may_panic<T: Timer + Clone, H: Home>(world: &World<T, H>) {
    for (plans, learns, ends) in [(false, true, (0, 1)), (true, false, (1, 0))] {
        let strategy = Panicky {
            delay: world.ticks(1),
            plans,
            learns,
        };
        // Its events are not audited: of one there is no end.
        let hedger = world
            .with_strategy(strategy)
            .build_with(H::ledger, H::budget);
        let hedger = hedger.unwrap();
        let backend = Backend::new(world, &[never(), ok(1)]);
        until_it_panics(pin!(hedger.request(|attempt| backend.call(attempt)))).await;
        assert_eq!((backend.running(), hedger.in_flight()), (0, 0));
        let metrics = hedger.metrics();
        assert_eq!((metrics.won, metrics.cancelled), ends);
        let backend = Backend::new(world, &[never(), ok(1)]);
        let hedged = hedger.request(|attempt| backend.call(attempt)).await;
        assert_eq!(hedged.unwrap().value, 1);
        assert_eq!(hedger.metrics().total_requests, 2);
    }
}
