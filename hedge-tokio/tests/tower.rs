//! The hedge layer among other layers, on tokio's paused clock.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use hedge_tokio::tower::{
    BoxError, Cloned, HedgeLayer, HttpPolicy, Policy, RequestOptions, TimedOut,
};
use hedge_tokio::{Attempt, Budget, Fixed, Hedger, Outcome, Percentile, SharedBudget, Suppressed};
use http::{Method, Request, Response, StatusCode};
use tokio::time::{self, Instant};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the next call does.
type Script = Arc<Mutex<VecDeque<(u64, Result<Response<String>, Broken>)>>>;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Broken(u8);

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "broken {}", self.0)
    }
}

impl core::error::Error for Broken {}

/// A server that does as its script says. It insists on being asked whether it is ready.
struct Server {
    script: Script,
    calls: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    ready: AtomicBool,
}

impl Clone for Server {
    fn clone(&self) -> Self {
        Self {
            script: self.script.clone(),
            calls: self.calls.clone(),
            dropped: self.dropped.clone(),
            ready: AtomicBool::new(false),
        }
    }
}

impl Server {
    fn new(script: impl IntoIterator<Item = (u64, Result<Response<String>, Broken>)>) -> Self {
        Self {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            calls: Arc::default(),
            dropped: Arc::default(),
            ready: AtomicBool::new(false),
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }
}

/// Counts itself when it is dropped before it is done.
struct Unfinished(Option<Arc<AtomicUsize>>);

impl Unfinished {
    fn finish(&mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(dropped) = &self.0 {
            dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Service<Request<String>> for Server {
    type Response = Response<String>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.ready.store(true, Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        assert!(self.ready.swap(false, Ordering::SeqCst), "was not ready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (millis, result) = self
            .script
            .lock()
            .unwrap()
            .pop_front()
            .expect("no more calls");
        let mut unfinished = Unfinished(Some(self.dropped.clone()));
        Box::pin(async move {
            time::sleep(ms(millis)).await;
            unfinished.finish();
            result
        })
    }
}

fn ok(text: &str) -> Result<Response<String>, Broken> {
    Ok(Response::new(text.into()))
}

fn status(status: StatusCode) -> Result<Response<String>, Broken> {
    let mut response = Response::new(String::new());
    *response.status_mut() = status;
    Ok(response)
}

fn get() -> Request<String> {
    Request::new(String::new())
}

fn hedger() -> Hedger {
    let builder = Hedger::builder().strategy(Fixed::new(ms(20))).max_hedges(2);
    builder.budget(Budget::percent(200.0)).build().unwrap()
}

async fn call<S>(service: &mut S, request: Request<String>) -> Result<S::Response, S::Error>
where
    S: Service<Request<String>>,
{
    service.ready().await?.call(request).await
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_is_hedged_and_its_loser_dropped() {
    let server = Server::new([(500, ok("primary")), (15, ok("hedge"))]);
    let mut service = HedgeLayer::new(hedger(), HttpPolicy::new()).layer(server.clone());
    let start = Instant::now();
    let response = call(&mut service, get()).await.unwrap();
    assert_eq!(response.body(), "hedge");
    assert_eq!((start.elapsed(), server.dropped()), (ms(35), 1));
    let outcome = response.extensions().get::<Outcome>().unwrap();
    assert!(outcome.hedge_won);
    assert_eq!(service.hedger().metrics().hedge_wins, 1);
}

#[tokio::test(start_paused = true)]
async fn only_idempotent_methods_are_hedged() {
    for (method, calls) in [
        (Method::GET, 2),
        (Method::PUT, 2),
        (Method::DELETE, 1),
        (Method::POST, 1),
        (Method::PATCH, 1),
    ] {
        let server = Server::new([(500, ok("")), (10, ok(""))]);
        let mut service = HedgeLayer::new(hedger(), HttpPolicy::new()).layer(server.clone());
        let mut request = get();
        *request.method_mut() = method.clone();
        call(&mut service, request).await.unwrap();
        assert_eq!(server.calls(), calls, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_start_a_hedge_and_pushback_delays_it() {
    let busy = || {
        let mut response = status(StatusCode::TOO_MANY_REQUESTS).unwrap();
        let patience = "1".parse().unwrap();
        response.headers_mut().insert("retry-after", patience);
        Ok(response)
    };
    for (first, total) in [
        (status(StatusCode::BAD_GATEWAY), 15),
        (Err(Broken(1)), 15),
        (busy(), 1015),
    ] {
        let server = Server::new([(5, first), (10, ok("hedge"))]);
        let mut service = HedgeLayer::new(hedger(), HttpPolicy::new()).layer(server.clone());
        let start = Instant::now();
        assert_eq!(call(&mut service, get()).await.unwrap().body(), "hedge");
        assert_eq!(start.elapsed(), ms(total));
    }
}

#[tokio::test(start_paused = true)]
async fn if_all_fail_the_earliest_failure_is_returned() {
    let bad = || status(StatusCode::BAD_GATEWAY);
    let server = Server::new([(5, bad()), (5, Err(Broken(2))), (5, Err(Broken(3)))]);
    let mut service = HedgeLayer::new(hedger(), HttpPolicy::new()).layer(server);
    let mut request = get();
    let options = RequestOptions::new().keep_refused(true);
    request.extensions_mut().insert(options);
    let response = call(&mut service, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(!response.extensions().get::<Outcome>().unwrap().accepted);

    let server = Server::new([
        (5, Err(Broken(1))),
        (5, Err(Broken(2))),
        (5, Err(Broken(3))),
    ]);
    let mut service = HedgeLayer::new(hedger(), HttpPolicy::new()).layer(server);
    let error = call(&mut service, get()).await.unwrap_err();
    // As the service below made it.
    assert_eq!(error.downcast_ref(), Some(&Broken(1)));
}

#[tokio::test(start_paused = true)]
async fn the_time_may_be_up() {
    let server = Server::new([(5, Err(Broken(1))), (500, ok("")), (500, ok(""))]);
    let mut options = hedger().options();
    options.timeout = Some(ms(100));
    let hedger = hedger();
    hedger.set_options(options).unwrap();
    let mut service = HedgeLayer::new(hedger, HttpPolicy::new()).layer(server.clone());
    let error = call(&mut service, get()).await.unwrap_err();
    let timed_out = error.downcast_ref::<TimedOut>().unwrap();
    assert_eq!((timed_out.elapsed, timed_out.attempts), (ms(100), 3));
    assert_eq!(
        timed_out.to_string(),
        "no answer from 3 attempts after 100ms"
    );
    assert_eq!(error.source().unwrap().to_string(), "broken 1");
    assert_eq!(server.dropped(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_gets_no_hedge() {
    let server = Server::new([(100, ok("primary")), (1, ok("other"))]);
    let budget = SharedBudget::new(Budget::percent(10.0).burst(3));
    let hedger = Hedger::builder()
        .strategy(Fixed::new(ms(20)))
        .shared_budget(budget.clone())
        .build();
    let mut service = ServiceBuilder::new()
        .layer(HedgeLayer::new(hedger.unwrap(), HttpPolicy::new()))
        .concurrency_limit(1)
        .service(server.clone());
    let start = Instant::now();
    let response = call(&mut service, get()).await.unwrap();
    assert_eq!(
        (response.body().as_str(), start.elapsed()),
        ("primary", ms(100))
    );
    // Nothing was started, and nothing paid for.
    let outcome = response.extensions().get::<Outcome>().unwrap();
    assert_eq!(outcome.suppressed, Some(Suppressed::NotReady));
    assert_eq!((outcome.attempts, server.calls()), (1, 1));
    assert_eq!(budget.edit(|budget| budget.tokens()), 3.0);
    // The place is free again.
    assert_eq!(call(&mut service, get()).await.unwrap().body(), "other");
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_failed_leaves_its_place_to_the_hedge() {
    let server = Server::new([(10, Err(Broken(1))), (10, ok("hedge"))]);
    let mut service = ServiceBuilder::new()
        .layer(HedgeLayer::new(hedger(), HttpPolicy::new()))
        .concurrency_limit(1)
        .service(server);
    assert_eq!(call(&mut service, get()).await.unwrap().body(), "hedge");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_found_no_place_is_not_in_the_queue_for_one() {
    let server = Server::new([
        (500, ok("slow")),
        (60, ok("fast")),
        (10, ok("late")),
        (30, ok("hedge")),
    ]);
    let service = ServiceBuilder::new()
        .layer(HedgeLayer::new(hedger(), HttpPolicy::new()))
        .concurrency_limit(2)
        .service(server.clone());
    let start = Instant::now();
    let request = async |after| {
        time::sleep(ms(after)).await;
        let response = call(&mut service.clone(), get()).await.unwrap();
        (response.into_body(), start.elapsed())
    };
    // The slow one's hedge is due, and finds no place, before the late one waits for one. It is asked for again at 40, in
    // vain, and at 80.
    let (slow, fast, late) = tokio::join!(request(0), request(1), request(30));
    assert_eq!(slow, ("hedge".into(), ms(110)));
    assert_eq!(fast, ("fast".into(), ms(61)));
    assert_eq!(late, ("late".into(), ms(71)));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_the_budget_refuses_keeps_no_place() {
    let server = Server::new([(100, ok("first")), (10, ok("second"))]);
    let hedger = Hedger::builder().strategy(Fixed::new(ms(20)));
    let hedger = hedger.budget(Budget::percent(0.0)).build().unwrap();
    let service = ServiceBuilder::new()
        .layer(HedgeLayer::new(hedger, HttpPolicy::new()))
        .concurrency_limit(2)
        .service(server);
    let start = Instant::now();
    let second = async {
        // After the refusal at 20, and before the hedge is asked for again at 40.
        time::sleep(ms(30)).await;
        call(&mut service.clone(), get()).await.unwrap();
        start.elapsed()
    };
    let (mut clone, request) = (service.clone(), get());
    let (first, second) = tokio::join!(call(&mut clone, request), second);
    assert_eq!((first.unwrap().body().as_str(), second), ("first", ms(40)));
}

/// A service that works, and whose clones do not become ready.
struct Original(Server, Option<Broken>);

impl Clone for Original {
    fn clone(&self) -> Self {
        Self(self.0.clone(), Some(Broken(9)))
    }
}

impl Service<Request<String>> for Original {
    type Response = Response<String>;
    type Error = Broken;
    type Future = <Server as Service<Request<String>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self.1 {
            Some(broken) => Poll::Ready(Err(broken)),
            None => self.0.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_fails_to_become_ready_is_a_hedge_that_failed() {
    let server = Server::new([(100, ok("primary"))]);
    let layer = HedgeLayer::new(hedger(), HttpPolicy::new());
    let mut service = layer.layer(Original(server.clone(), None));
    let response = call(&mut service, get()).await.unwrap();
    assert_eq!((response.body().as_str(), server.calls()), ("primary", 1));
    let outcome = response.extensions().get::<Outcome>().unwrap();
    // One by the delay, and one for its failure.
    assert_eq!((outcome.attempts, outcome.hedge_won), (3, false));
}

/// Tells the server which attempt it sees.
#[derive(Clone)]
struct Marked;

impl Policy<String, String, Broken> for Marked {
    fn copy(&self, request: &String) -> Option<String> {
        Some(request.clone())
    }

    fn prepare(&self, request: &mut String, attempt: Attempt) {
        request.push_str(if attempt.is_hedge() {
            " again"
        } else {
            " first"
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_prepares_the_request_of_every_attempt() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = seen.clone();
    let service = tower::service_fn(move |request: String| {
        server.lock().unwrap().push(request.clone());
        async move {
            let slow = request.ends_with("first");
            time::sleep(ms(if slow { 100 } else { 1 })).await;
            Ok::<_, Broken>(request)
        }
    });
    let mut service = HedgeLayer::new(hedger(), Marked).layer(service);
    let answer = service.ready().await.unwrap().call("ask".into()).await;
    assert_eq!(answer.unwrap(), "ask again");
    assert_eq!(*seen.lock().unwrap(), ["ask first", "ask again"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_may_be_called_while_it_serves() {
    let server = Server::new([(50, ok("a")), (10, ok("b")), (10, ok("c"))]);
    let mut service = HedgeLayer::new(hedger(), HttpPolicy::new()).layer(server);
    let first = service.ready().await.unwrap().call(get());
    let second = service.ready().await.unwrap().call(get());
    let (first, second) = tokio::join!(first, second);
    // The hedge of the first wins at 30 ms.
    assert_eq!(
        (
            first.unwrap().body().as_str(),
            second.unwrap().body().as_str()
        ),
        ("c", "b")
    );
}

#[tokio::test(start_paused = true)]
async fn timeouts_above_and_below_are_theirs() {
    // Below: an attempt that is given up is a failure, and the next one starts.
    let server = Server::new([(500, ok("")), (500, ok("")), (10, ok("third"))]);
    let mut service = ServiceBuilder::new()
        .layer(HedgeLayer::new(hedger(), HttpPolicy::new()))
        .timeout(ms(50))
        .service(server);
    assert_eq!(call(&mut service, get()).await.unwrap().body(), "third");

    // Above: the request is dropped with all its attempts.
    let server = Server::new([(500, ok("")), (500, ok("")), (500, ok(""))]);
    let mut service = ServiceBuilder::new()
        .timeout(ms(50))
        .layer(HedgeLayer::new(hedger(), HttpPolicy::new()))
        .service(server.clone());
    let error: BoxError = call(&mut service, get()).await.unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    assert_eq!((server.calls(), server.dropped()), (3, 3));
}

/// Retries as long as the budget allows.
#[derive(Clone)]
struct Budgeted(SharedBudget);

impl tower::retry::Policy<Request<String>, Response<String>, BoxError> for Budgeted {
    type Future = core::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<String>,
        result: &mut Result<Response<String>, BoxError>,
    ) -> Option<Self::Future> {
        let retry = result.is_err() && self.0.try_withdraw().is_ok();
        retry.then(|| core::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<String>) -> Option<Request<String>> {
        Some(request.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_layer_may_share_the_budget() {
    // Three tokens: two go to hedges, one to a retry, whose own hedges find none.
    let budget = SharedBudget::new(Budget::percent(10.0).burst(3));
    let hedger = Hedger::builder()
        .max_hedges(2)
        .shared_budget(budget.clone());
    let server = Server::new((0..9).map(|n| (1, Err(Broken(n)))));
    let mut service = ServiceBuilder::new()
        .retry(Budgeted(budget))
        .layer(HedgeLayer::new(hedger.build().unwrap(), HttpPolicy::new()))
        .service(server.clone());
    let error = call(&mut service, get()).await.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Broken(3)));
    assert_eq!(server.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn load_that_is_shed_is_a_failure_of_the_attempt() {
    let server = Server::new([(100, ok("primary")), (100, ok("other"))]);
    let service = ServiceBuilder::new()
        .layer(HedgeLayer::new(hedger(), HttpPolicy::new()))
        .load_shed()
        .concurrency_limit(1)
        .service(server.clone());
    // The hedges are shed at once, and the primary answers.
    let mut service = service;
    assert_eq!(call(&mut service, get()).await.unwrap().body(), "primary");
    assert_eq!(server.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn load_may_be_shed_above() {
    // Both attempts of the first request are under way when the second is shed.
    let server = Server::new([(100, ok("primary")), (10, ok("hedge"))]);
    let service = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .layer(HedgeLayer::new(hedger(), HttpPolicy::new()))
        .service(server.clone());
    let second = async {
        time::sleep(ms(25)).await;
        call(&mut service.clone(), get()).await
    };
    let mut clone = service.clone();
    let (first, second) = tokio::join!(call(&mut clone, get()), second);
    assert_eq!(first.unwrap().body(), "hedge");
    assert!(
        second
            .unwrap_err()
            .is::<tower::load_shed::error::Overloaded>()
    );
    assert_eq!(server.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn any_request_that_can_be_cloned_may_be_hedged() {
    let service = tower::service_fn(|millis: u64| async move {
        time::sleep(ms(millis)).await;
        Ok::<_, Broken>(millis)
    });
    let mut service = HedgeLayer::new(hedger(), Cloned).layer(service);
    assert_eq!(service.ready().await.unwrap().call(30).await.unwrap(), 30);
    assert_eq!(service.hedger().metrics().hedged_requests, 1);
}

#[test]
fn layer_and_service_can_be_shared() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let layer = HedgeLayer::new(hedger(), HttpPolicy::new());
    shared(&layer);
    shared(&layer.layer(tower::service_fn(|_: Request<String>| async { ok("") })));
}

/// The options of a request are what its number says.
#[derive(Clone)]
struct Optional;

impl<Res, E> Policy<u64, Res, E> for Optional {
    fn copy(&self, request: &u64) -> Option<u64> {
        assert_ne!(
            *request, UNHEDGED,
            "a request that is not hedged is not copied"
        );
        Some(*request)
    }

    fn options<'r>(&self, request: &'r u64) -> RequestOptions<'r> {
        let options = RequestOptions::new();
        match *request {
            UNHEDGED => options.unhedged(),
            LIMITED => options.timeout(ms(70)),
            LATE => options.deadline(Instant::now() + ms(30)),
            ONE_HEDGE => options.max_hedges(1),
            UNTAUGHT => options.teaches(false).deposits(false),
            _ => options,
        }
    }
}

const UNHEDGED: u64 = 1000;
const LIMITED: u64 = 1001;
const LATE: u64 = 1002;
const ONE_HEDGE: u64 = 1003;
const UNTAUGHT: u64 = 1004;

#[tokio::test(start_paused = true)]
async fn a_policy_sets_the_options_of_each_request() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let slow = tower::service_fn(move |_: u64| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            time::sleep(ms(500)).await;
            Ok::<_, Broken>(())
        }
    });
    let builder = Hedger::builder().strategy(Fixed::new(ms(20))).max_hedges(2);
    let builder = builder
        .timeout(ms(200))
        .budget(Budget::percent(200.0).burst(80));
    let hedger = builder.build().unwrap();
    let mut service = HedgeLayer::new(hedger.clone(), Optional).layer(slow);
    // The request, when it ends, whether it is answered, and its attempts.
    for (request, end, is_ok, attempts) in [
        (0, 200, false, 3),
        // The hedger's limit is not for it.
        (UNHEDGED, 500, true, 1),
        (LIMITED, 70, false, 3),
        (LATE, 30, false, 2),
        (ONE_HEDGE, 200, false, 2),
        (UNTAUGHT, 200, false, 3),
    ] {
        let start = Instant::now();
        let result = service.ready().await.unwrap().call(request).await;
        let sent = calls.swap(0, Ordering::SeqCst);
        let found = (request, start.elapsed(), result.is_ok(), sent);
        assert_eq!(found, (request, ms(end), is_ok, attempts));
    }
    assert_eq!(hedger.metrics().total_requests, 6);
}

/// Reads at 8 to 12 ms, and writes at 2 s which may not be hedged, through one layer.
#[tokio::test(start_paused = true)]
async fn what_may_not_be_hedged_changes_nothing_for_others() {
    let server = tower::service_fn(|request: u64| async move {
        time::sleep(ms(if request == UNHEDGED {
            2000
        } else {
            8 + request % 5
        }))
        .await;
        Ok::<_, Broken>(())
    });
    let builder = Hedger::builder().strategy(Percentile::new(95.0));
    let hedger = builder.budget(Budget::percent(10.0)).build().unwrap();
    let mut service = HedgeLayer::new(hedger.clone(), Optional).layer(server);
    let tokens = || hedger.budget().edit(|budget| budget.tokens());
    for request in 0..400 {
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    let before = tokens();
    for _ in 0..200 {
        for request in [UNHEDGED, UNTAUGHT] {
            service.ready().await.unwrap().call(request).await.unwrap();
        }
    }
    assert!(tokens() <= before, "{} {before}", tokens());
    let learned = hedger.with_strategy(|percentile: &mut Percentile| percentile.stats());
    assert_eq!(learned.unwrap().samples, 400);
    assert!(hedger.metrics().hedge_rate <= 0.05);
}

#[tokio::test(start_paused = true)]
async fn a_request_brings_its_options_in_its_extensions() {
    let server = Server::new([(500, ok("primary"))]);
    let mut service = HedgeLayer::new(hedger(), HttpPolicy::new()).layer(server.clone());
    let mut request = get();
    let options = RequestOptions::new().unhedged().timeout(ms(100));
    request.extensions_mut().insert(options);
    let start = Instant::now();
    let error = call(&mut service, request).await.unwrap_err();
    assert!(error.is::<TimedOut>());
    assert_eq!((start.elapsed(), server.calls()), (ms(100), 1));
}

/// A service that counts its clones.
struct Counted(Arc<AtomicUsize>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        Self(self.0.clone())
    }
}

impl Service<u64> for Counted {
    type Response = u64;
    type Error = Broken;
    type Future = core::future::Ready<Result<u64, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        core::future::ready(Ok(request))
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_request_that_may_be_hedged_has_a_spare_service() {
    let clones = Arc::new(AtomicUsize::new(0));
    let mut service = HedgeLayer::new(hedger(), Optional).layer(Counted(clones.clone()));
    // One clone takes the place of the service that a request is sent through.
    for (request, expected) in [(UNHEDGED, 1), (0, 2)] {
        let before = clones.load(Ordering::SeqCst);
        let ready = service.ready().await.unwrap();
        assert_eq!(ready.call(request).await.unwrap(), request);
        assert_eq!(clones.load(Ordering::SeqCst) - before, expected);
    }
}
