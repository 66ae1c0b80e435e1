//! How often a request through the tower services allocates.

use core::convert::Infallible;
use core::future::{Future, ready};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use hedge_tokio::Hedger;
use hedge_tokio::tower::{HedgeReplicas, HedgeService, HttpPolicy};
use http::{Method, Request, Response};
use tower::{Service, service_fn};

/// Makes a request whose response is there at once, and counts the allocations.
fn allocations<S>(service: &mut S, method: Method) -> u64
where
    S: Service<Request<u8>, Response = Response<u8>>,
{
    let cx = &mut Context::from_waker(Waker::noop());
    let mut count = 0;
    // The first requests set up what later ones share.
    for _ in 0..100 {
        let mut request = Request::new(0);
        *request.method_mut() = method.clone();
        assert!(matches!(service.poll_ready(cx), Poll::Ready(Ok(()))));
        let mut response = None;
        let counted = allocation_counter::measure(|| {
            let mut future = pin!(service.call(request));
            response = Some(future.as_mut().poll(cx));
        });
        // The outcome goes into the extensions of the response.
        assert!(matches!(response, Some(Poll::Ready(Ok(_)))));
        count = counted.count_total;
    }
    count
}

#[test]
fn a_request_takes_one_box() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let _guard = runtime.enter();
    let plain = || service_fn(|_: Request<u8>| ready(Ok::<_, Infallible>(Response::new(0))));
    let hedger = || Hedger::builder().build().unwrap();

    // A box for the future; the extensions of a response take two allocations with their first entry, the outcome.
    let extensions = 3;
    let mut service = HedgeService::new(plain(), hedger(), HttpPolicy::new());
    for method in [Method::GET, Method::POST] {
        assert_eq!(allocations(&mut service, method), 1 + extensions);
    }
    let mut service = HedgeReplicas::new([plain(), plain()], hedger(), HttpPolicy::new()).unwrap();
    for method in [Method::GET, Method::POST] {
        assert_eq!(allocations(&mut service, method), 1 + extensions);
    }
}
