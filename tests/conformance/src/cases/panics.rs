//! Code of the caller's that panics.

use core::future::{Future, poll_fn};
use core::mem;
use core::panic::AssertUnwindSafe;
use core::pin::{Pin, pin};
use core::task::Poll;
use std::boxed::Box;
use std::panic;

use hedge_core::{Attempt, Budget, Charge, Timer};

use crate::backend::{Backend, never, ok};
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

fn hedger<T: Timer + Clone, H: Home>(world: &World<T, H>) -> Built<T, H, hedge_core::Fixed> {
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
    hedger: &Built<T, H, hedge_core::Fixed>,
    hedges: u32,
) {
    let metrics = hedger.metrics();
    assert_eq!((metrics.total_requests, metrics.cancelled), (1, 1));
    assert_eq!(metrics.hedges, hedges.into());
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
