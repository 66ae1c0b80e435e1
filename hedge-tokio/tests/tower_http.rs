//! What `HttpPolicy` hedges, what it does with responses, and the layers around it, in paused time.

use core::convert::Infallible;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use hedge_tokio::tower::{
    BoxError, HedgeLayer, HedgeReplicas, HedgeService, HttpPolicy, ReplayBody, ReplayLayer,
    RequestOptions,
};
use hedge_tokio::{Budget, Fixed, HedgeConfig, Hedger, Outcome, standard};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn hedger() -> Hedger {
    let builder = Hedger::builder().strategy(Fixed::new(ms(20))).max_hedges(2);
    builder.budget(Budget::percent(200.0)).build().unwrap()
}

/// How many attempts a request makes whose every attempt takes 500 ms, and how long it takes.
async fn attempts(policy: HttpPolicy, request: Request<String>) -> (usize, Duration) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service = service_fn(move |_: Request<String>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            sleep(ms(500)).await;
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let start = Instant::now();
    let service = HedgeService::new(service, hedger(), policy);
    service.oneshot(request).await.unwrap();
    (calls.load(Ordering::SeqCst), start.elapsed())
}

fn request(method: Method) -> Request<String> {
    let request = Request::builder().method(method);
    request.body(String::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_delete_is_hedged_only_if_asked_to() {
    let delete = || request(Method::DELETE);
    assert_eq!(attempts(HttpPolicy::new(), delete()).await.0, 1);
    assert_eq!(
        attempts(HttpPolicy::new().deletes(true), delete()).await.0,
        3
    );
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_is_never_hedged() {
    let policy = HttpPolicy::new().deletes(true).idempotency_keys(true);
    for method in [Method::GET, Method::DELETE, Method::POST] {
        let mut upgrade = request(method);
        let headers = upgrade.headers_mut();
        headers.insert("connection", "Upgrade".parse().unwrap());
        headers.insert("upgrade", "websocket".parse().unwrap());
        assert_eq!(attempts(policy, upgrade).await.0, 1);
    }
    assert_eq!(attempts(policy, request(Method::CONNECT)).await.0, 1);
}

/// How many attempts are made if each is answered at once with `status` and `retry-after`, whether the answer counts
/// as one, and how long it takes.
async fn answered(status: u16, retry_after: Option<&str>) -> (u8, bool, Duration) {
    let mut headers = HeaderMap::new();
    if let Some(value) = retry_after {
        headers.insert("retry-after", value.parse().unwrap());
    }
    let service = service_fn(move |_: Request<String>| {
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers.clone();
        async { Ok::<_, Infallible>(response) }
    });
    let service = HedgeService::new(service, hedger(), HttpPolicy::new());
    let start = Instant::now();
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(response.status(), status);
    let outcome = response.extensions().get::<Outcome>().unwrap();
    (outcome.attempts, outcome.accepted, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn only_what_another_attempt_may_mend_is_retried() {
    for status in [425, 429, 500, 502, 503, 504, 507] {
        assert_eq!(answered(status, None).await, (3, false, ms(0)), "{status}");
    }
    for status in [501, 505, 511] {
        assert_eq!(answered(status, None).await, (1, false, ms(0)), "{status}");
    }
    for status in [101, 200, 304, 404, 409, 418] {
        assert_eq!(answered(status, None).await, (1, true, ms(0)), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_kept_to_and_never_read_as_now() {
    assert_eq!(answered(503, Some("2")).await, (3, false, ms(4000)));
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(1000));
    let (attempts, _, elapsed) = answered(503, Some(&date)).await;
    assert_eq!(attempts, 3);
    assert!(elapsed > Duration::from_secs(1800), "{elapsed:?}");
    for value in ["1.5", "-1", "12345678901234567890123", "never", ""] {
        let waited = answered(503, Some(value)).await;
        assert_eq!(waited, (1, false, ms(0)), "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_hedged_gets_no_limit() {
    let slow = || {
        service_fn(|_: Request<String>| async {
            sleep(Duration::from_secs(45)).await;
            Ok::<_, Infallible>(Response::new(String::new()))
        })
    };
    let config = HedgeConfig {
        attempt_timeout_ms: Some(10_000.0),
        ..HedgeConfig::default()
    };
    assert_eq!(config.timeout_ms, Some(30_000.0));
    let off = HedgeConfig {
        enabled: false,
        ..config.clone()
    };
    for (config, method) in [(&config, Method::POST), (&off, Method::GET)] {
        let hedger = Hedger::from_config(config).unwrap();
        let service = HedgeService::new(slow(), hedger, HttpPolicy::new());
        let start = Instant::now();
        service.oneshot(request(method)).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(45));
    }
    let hedger = Hedger::from_config(&config).unwrap();
    let service = HedgeService::new(slow(), hedger, HttpPolicy::new());
    assert!(service.oneshot(request(Method::GET)).await.is_err());
}

/// A body that holds a connection.
struct Held(#[allow(dead_code)] OwnedSemaphorePermit);

impl Body for Held {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_response_lets_its_connection_go() {
    let pool = Arc::new(Semaphore::new(1));
    let calls = Arc::new(AtomicUsize::new(0));
    let service = service_fn(move |_: Request<String>| {
        let (pool, calls) = (pool.clone(), calls.clone());
        async move {
            let held = Held(pool.acquire_owned().await.unwrap());
            let mut response = Response::new(held);
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let ask = |request: Request<String>| {
        let service = HedgeService::new(service.clone(), hedger(), HttpPolicy::new());
        tokio::time::timeout(Duration::from_secs(30), service.oneshot(request))
    };
    let response = ask(request(Method::GET)).await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_ask_for_refused_responses_to_be_kept() {
    let calls = Arc::new(AtomicUsize::new(0));
    let service = service_fn(move |_: Request<String>| {
        let status = 500 + calls.fetch_add(1, Ordering::SeqCst) as u16 * 2;
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let mut ask = HedgeService::new(service, hedger(), HttpPolicy::new());
    let response = ask.ready().await.unwrap().call(request(Method::GET)).await;
    assert_eq!(response.unwrap().status(), 504, "the last one");
    let mut keeping = request(Method::GET);
    keeping
        .extensions_mut()
        .insert(RequestOptions::new().keep_refused(true));
    let response = ask.ready().await.unwrap().call(keeping).await;
    assert_eq!(response.unwrap().status(), 506, "the earliest one");
}

/// A client with one connection, number 0 of which is stuck.
#[derive(Clone)]
struct Connection(u8);

impl Service<Request<String>> for Connection {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        let Self(number) = *self;
        Box::pin(async move {
            sleep(if number == 0 { ms(5000) } else { ms(5) }).await;
            Ok(Response::new(format!("connection {number}")))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_goes_through_its_sibling() {
    let alone = HedgeService::new(Connection(0), hedger(), HttpPolicy::new());
    let start = Instant::now();
    alone.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(start.elapsed(), ms(5000));

    let layer = HedgeLayer::new(hedger(), HttpPolicy::new()).hedges_through(Connection(1));
    let mut service = ServiceBuilder::new().layer(layer).service(Connection(0));
    for _ in 0..2 {
        let start = Instant::now();
        let response = service
            .ready()
            .await
            .unwrap()
            .call(request(Method::GET))
            .await;
        assert_eq!(response.unwrap().body(), "connection 1");
        assert_eq!(start.elapsed(), ms(25));
    }
    // Primaries do not use it.
    let posted = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(posted.body(), "connection 0");
}

#[tokio::test(start_paused = true)]
async fn all_attempts_of_a_request_have_one_idempotency_key() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let seen = keys.clone();
    let service = service_fn(move |request: Request<String>| {
        let key = request.headers().get("idempotency-key").cloned();
        seen.lock().unwrap().push(key);
        async {
            sleep(ms(500)).await;
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let policy = HttpPolicy::new().idempotency_keys(true);
    let mut service = HedgeService::new(service, hedger(), policy);
    let mut own = request(Method::PATCH);
    own.headers_mut()
        .insert("idempotency-key", "mine".parse().unwrap());
    for request in [request(Method::POST), request(Method::POST), own] {
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    let keys = core::mem::take(&mut *keys.lock().unwrap());
    let keys: Vec<_> = keys.iter().map(|key| key.as_ref().unwrap()).collect();
    let [first, second, own] = [keys[0], keys[3], keys[6]];
    assert_eq!(
        keys,
        [first, first, first, second, second, second, own, own, own]
    );
    assert!(first != second && own == "mine", "{keys:?}");
    let text = first.to_str().unwrap();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    assert_eq!(text.map(str::len), Some(36), "{first:?}");
    // A GET needs none.
    let policy = HttpPolicy::new().idempotency_keys(true);
    let plain = service_fn(|request: Request<String>| async move {
        assert!(!request.headers().contains_key("idempotency-key"));
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let service = HedgeService::new(plain, hedger(), policy);
    service.oneshot(request(Method::GET)).await.unwrap();
}

/// A body of so many chunks, 1 ms apart.
struct Chunks(u8, Pin<Box<tokio::time::Sleep>>);

impl Chunks {
    fn new(chunks: u8) -> Self {
        Self(chunks, Box::pin(sleep(ms(1))))
    }
}

impl Body for Chunks {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        core::task::ready!(self.1.as_mut().poll(cx));
        self.0 -= 1;
        self.1 = Box::pin(sleep(ms(1)));
        Poll::Ready(Some(Ok(Frame::data(vec![self.0; 10].into()))))
    }
}

/// Sends a body of `chunks` of 10 bytes through a layer with a limit of 35, and returns what each attempt sent, or why it could not.
async fn replayed(layer: ReplayLayer, chunks: u8) -> Vec<Vec<u8>> {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = sent.clone();
    let service = service_fn(move |request: Request<ReplayBody<Chunks>>| {
        let seen = seen.clone();
        async move {
            let hint = request.body().size_hint();
            let bytes = match request.into_body().collect().await {
                Ok(bytes) => bytes.to_bytes(),
                Err(error) => {
                    seen.lock().unwrap().push(error.to_string().into_bytes());
                    return Err(error);
                }
            };
            assert!(hint.lower() <= bytes.len() as u64);
            assert!(hint.upper().is_none_or(|upper| upper == bytes.len() as u64));
            seen.lock().unwrap().push(bytes.to_vec());
            sleep(ms(500)).await;
            Ok::<_, BoxError>(Response::new(String::new()))
        }
    });
    let hedged = HedgeLayer::new(hedger(), HttpPolicy::new()).layer(service);
    let request = Request::put("/").body(Chunks::new(chunks)).unwrap();
    layer.layer(hedged).oneshot(request).await.unwrap();
    sent.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_body_in_memory_is_sent_again_and_a_longer_one_once() {
    let layer = ReplayLayer::new(35);
    let bytes =
        |chunks: u8| -> Vec<u8> { (0..chunks).rev().flat_map(|chunk| [chunk; 10]).collect() };
    assert_eq!(replayed(layer, 0).await, vec![bytes(0); 3]);
    assert_eq!(replayed(layer, 1).await, vec![bytes(1); 3]);
    assert_eq!(replayed(layer, 3).await, vec![bytes(3); 3]);
    assert_eq!(replayed(layer, 4).await, vec![bytes(4); 1]);
    assert_eq!(replayed(layer, 9).await, vec![bytes(9); 1]);
    assert_eq!(replayed(layer.only(|_| false), 3).await, vec![bytes(3); 1]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_known_to_be_too_long_is_not_read() {
    let service = service_fn(
        |request: Request<ReplayBody<Full<bytes::Bytes>>>| async move {
            assert!(!request.body().is_whole());
            assert_eq!(request.body().size_hint().exact(), Some(36));
            assert_eq!(request.into_body().collect().await?.to_bytes().len(), 36);
            Ok::<_, BoxError>(Response::new(String::new()))
        },
    );
    let request = Request::new(Full::new(vec![0; 36].into()));
    let service = ReplayLayer::new(35).layer(service);
    service.oneshot(request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_standard_stack_hedges_retries_and_limits() {
    let counts: [Arc<AtomicUsize>; 3] = Default::default();
    let most = Arc::new(AtomicUsize::new(0));
    let services = counts.clone().map(|running| {
        let most = most.clone();
        service_fn(move |request: Request<String>| {
            let (running, most) = (running.clone(), most.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(ms(request.body().parse().unwrap())).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(String::new()))
            }
        })
    });
    let service = standard(services)
        .in_flight(2)
        .timeout(ms(1000))
        .hedger(|builder| builder.strategy(Fixed::new(ms(5000))))
        .build()
        .unwrap();
    let asks = (0..12).map(|_| {
        let request = Request::new("100".to_owned());
        tokio::spawn(service.clone().oneshot(request))
    });
    let start = Instant::now();
    for ask in asks.collect::<Vec<_>>() {
        ask.await.unwrap().unwrap();
    }
    // Two at each of three, twice.
    assert_eq!((start.elapsed(), most.load(Ordering::SeqCst)), (ms(200), 2));
    // The limit of a request, and none for one that may not be hedged.
    let slow = |method| {
        let mut request = Request::new("3000".to_owned());
        *request.method_mut() = method;
        service.clone().oneshot(request)
    };
    assert!(slow(Method::GET).await.is_err());
    assert!(slow(Method::POST).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_standard_stack_sends_a_retry_elsewhere() {
    let services = [500, 200, 200].map(|status: u16| {
        service_fn(move |_: Request<String>| {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            async move {
                sleep(ms(10)).await;
                Ok::<_, Infallible>(response)
            }
        })
    });
    let stack = standard(services);
    let stack = stack.hedger(|builder| builder.budget(Budget::percent(100.0)));
    let mut service = stack.attempt_timeout(ms(50)).build().unwrap();
    for _ in 0..20 {
        let response = service
            .ready()
            .await
            .unwrap()
            .call(request(Method::GET))
            .await;
        assert_eq!(response.unwrap().status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_the_standard_stack_holds_no_places() {
    let services = [0, 1].map(|_| {
        service_fn(|_: Request<String>| async {
            sleep(ms(10)).await;
            Ok::<_, Infallible>(Response::new(String::new()))
        })
    });
    let stack = standard(services).in_flight(1).build().unwrap();
    let mut first = stack.clone();
    // It was found ready: that is not true of its clone.
    first.ready().await.unwrap();
    let mut second = first.clone();
    first.call(request(Method::GET)).await.unwrap();
    // The first clone is idle, and the replica that it did not use is free.
    for _ in 0..2 {
        let ask = async { second.ready().await?.call(request(Method::GET)).await };
        assert!(tokio::time::timeout(ms(100), ask).await.unwrap().is_ok());
    }
    let asks = [stack.clone(), stack.clone()]
        .map(|service| tokio::spawn(service.oneshot(request(Method::GET))));
    let start = Instant::now();
    for ask in asks {
        ask.await.unwrap().unwrap();
    }
    assert_eq!(start.elapsed(), ms(10), "one at each replica");
}

#[test]
fn a_limit_of_no_requests_in_flight_is_refused() {
    let services = [service_fn(|_: Request<String>| async {
        Ok::<_, Infallible>(Response::new(String::new()))
    })];
    let error = standard(services).in_flight(0).build().unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("in_flight") && error.contains("at least 1"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_is_sent_once() {
    let policy = HttpPolicy::new().deletes(true);
    for name in ["if-match", "if-none-match", "if-unmodified-since"] {
        for (method, expected) in [
            (Method::PUT, 1),
            (Method::DELETE, 1),
            (Method::GET, 3),
            (Method::HEAD, 3),
        ] {
            let mut conditional = request(method.clone());
            let value = "\"tag\"".parse().unwrap();
            conditional.headers_mut().insert(name, value);
            let sent = attempts(policy, conditional).await.0;
            assert_eq!(sent, expected, "{method} {name}");
        }
    }
    // The server answers all attempts with one key alike.
    let mut conditional = request(Method::PATCH);
    conditional
        .headers_mut()
        .insert("if-match", "\"tag\"".parse().unwrap());
    let policy = policy.idempotency_keys(true);
    assert_eq!(attempts(policy, conditional).await.0, 3);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_an_earlier_attempt_is_no_answer() {
    let answered = async |method, policy| {
        let calls = Arc::new(AtomicUsize::new(0));
        let service = service_fn(move |_: Request<String>| {
            let is_first = calls.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                let mut response = Response::new(String::new());
                sleep(ms(if is_first { 100 } else { 5 })).await;
                if !is_first {
                    *response.status_mut() = StatusCode::CONFLICT;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let service = HedgeService::new(service, hedger(), policy);
        let response = service.oneshot(request(method)).await.unwrap();
        let outcome = response.extensions().get::<Outcome>().unwrap();
        (response.status().as_u16(), outcome.attempts)
    };
    let keys = HttpPolicy::new().idempotency_keys(true);
    assert_eq!(answered(Method::POST, keys).await, (200, 2));
    // Without a key, it is an answer.
    assert_eq!(answered(Method::PUT, keys).await, (409, 2));
}

#[tokio::test(start_paused = true)]
async fn bodies_in_memory_go_to_the_standard_stack() {
    let services = [0, 1].map(|_| {
        service_fn(|_: Request<ReplayBody<Full<bytes::Bytes>>>| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        })
    });
    let stack = standard(services).in_flight(1).build().unwrap();
    let mut service = ReplayLayer::new(35).layer(stack);
    for _ in 0..4 {
        let request = Request::put("/").body(Full::new(bytes::Bytes::from_static(b"body")));
        let ask = async { service.ready().await?.call(request.unwrap()).await };
        let response = tokio::time::timeout(ms(100), ask).await;
        assert!(response.expect("a place is held").is_ok());
    }
}

/// How many of 5000 requests one of three replicas gets that answers with `status` at once, and how many are answered with
/// 200.
async fn fails_fast(status: u16) -> (usize, usize) {
    let calls = Arc::new(AtomicUsize::new(0));
    let services = [1, 15, 15].map(|latency| {
        let calls = calls.clone();
        service_fn(move |_: Request<String>| {
            let mut response = Response::new(());
            if latency == 1 {
                calls.fetch_add(1, Ordering::Relaxed);
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
            }
            async move {
                sleep(ms(latency)).await;
                Ok::<_, BoxError>(response)
            }
        })
    });
    let mut service = standard(services).build().unwrap();
    let mut good = 0;
    for _ in 0..5000 {
        let response = service.ready().await.unwrap().call(request(Method::GET));
        good += usize::from(response.await.unwrap().status() == 200);
    }
    (calls.load(Ordering::Relaxed), good)
}

/// A verdict says whether to send another attempt, and not whether the replica is well.
#[tokio::test(start_paused = true)]
async fn a_replica_that_fails_fast_attracts_nothing() {
    for status in [500, 503, 501, 505, 511, 429, 408] {
        let (calls, good) = fails_fast(status).await;
        assert!(calls <= 110 && good >= 4990, "{status}: {calls} {good}");
    }
    // A replica is not to blame for what is wrong with the request.
    let (calls, _) = fails_fast(404).await;
    assert!(calls > 4000, "{calls}");
}

/// A hedge that is answered with 409, since the primary is still being processed, says nothing against its replica.
#[tokio::test(start_paused = true)]
async fn a_conflict_does_not_blame_the_replica() {
    let slow = Arc::new(AtomicUsize::new(0));
    let services = [0, 1, 2].map(|_| {
        let slow = slow.clone();
        service_fn(move |_: Request<String>| {
            let is_first = slow.swap(1, Ordering::Relaxed) == 0;
            async move {
                sleep(ms(if is_first { 30 } else { 2 })).await;
                let mut response = Response::new(());
                if !is_first {
                    *response.status_mut() = StatusCode::CONFLICT;
                }
                Ok::<_, BoxError>(response)
            }
        })
    });
    let policy = HttpPolicy::new().idempotency_keys(true);
    let mut service = HedgeReplicas::new(services, hedger(), policy).unwrap();
    for _ in 0..30 {
        slow.store(0, Ordering::Relaxed);
        let response = service.ready().await.unwrap().call(request(Method::POST));
        assert_eq!(response.await.unwrap().status(), 200);
    }
    let stats = service.stats();
    for replica in stats.iter() {
        assert!(replica.latency.unwrap() <= ms(31), "{stats}");
    }
}

type Upload = Pin<Box<dyn Body<Data = bytes::Bytes, Error = Infallible> + Send>>;

/// A body that is being uploaded holds no place at any replica.
#[tokio::test(start_paused = true)]
async fn a_slow_upload_holds_no_place() {
    let services = [0, 1].map(|_| {
        service_fn(|_: Request<ReplayBody<Upload>>| async {
            sleep(ms(5)).await;
            Ok::<_, BoxError>(Response::new(()))
        })
    });
    let stack = standard(services).in_flight(1).build().unwrap();
    let service = ReplayLayer::new(1024).layer(stack);
    let send = |body: Upload| {
        let mut service = service.clone();
        tokio::spawn(async move {
            let request = Request::put("/").body(body).unwrap();
            service.ready().await.unwrap().call(request).await
        })
    };
    let slow = [(); 2].map(|()| send(Box::pin(Chunks::new(100))));
    sleep(ms(10)).await;
    for _ in 0..4 {
        let other = send(Box::pin(Full::new("whole".into())));
        let other = tokio::time::timeout(ms(20), other).await;
        other.expect("a place is held").unwrap().unwrap();
    }
    for upload in slow {
        upload.await.unwrap().unwrap();
    }
}

/// What announces its size has no trailers, as far as a client of HTTP/1 is concerned.
#[tokio::test(start_paused = true)]
async fn trailers_are_not_behind_an_exact_size() {
    let frames = |parts: &[&'static str]| {
        let data = parts.iter().map(|part| Frame::data((*part).into()));
        let mut trailers = HeaderMap::new();
        trailers.insert("digest", "x".parse().unwrap());
        let frames: Vec<_> = data.chain([Frame::trailers(trailers)]).map(Ok).collect();
        let body = StreamBody::new(futures_lite::stream::iter(frames));
        Box::pin(body) as Upload
    };
    for parts in [&["hello"][..], &[], &["hello", "again"]] {
        let server = service_fn(|request: Request<ReplayBody<Upload>>| async {
            assert_eq!(request.body().size_hint().upper(), None);
            let body = request.into_body().collect().await?;
            assert!(body.trailers().is_some());
            Ok::<_, BoxError>(Response::new(()))
        });
        let service = ReplayLayer::new(1024).layer(server);
        let request = Request::put("/").body(frames(parts)).unwrap();
        service.oneshot(request).await.unwrap();
    }
    let server = service_fn(move |_: Request<()>| {
        let body = frames(&["hello"]);
        async { Ok::<_, BoxError>(Response::new(body)) }
    });
    let service = HttpPolicy::first_data(|data: &[u8]| data == b"never").layer(server);
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.body().size_hint().upper(), None);
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .trailers()
            .is_some()
    );
}
