//! Calls of gRPC through the layer, in paused time, against a server that follows a script.

use core::convert::Infallible;
use core::future::{pending, poll_fn};
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use futures_core::Stream;
use hedge_tokio::grpc::{Code, GrpcAttempts, GrpcBody, GrpcCalls, GrpcLayer, GrpcPolicy};
use hedge_tokio::tower::{BoxError, HedgeDiscover, HedgeLayer, ReplayBody, RequestOptions};
use hedge_tokio::{Budget, Fixed, Hedger, Outcome, SharedBudget, standard};
use http::request::Builder;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::buffer::Buffer;
use tower::discover::Change;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A part of a response, so many milliseconds after the one before.
#[derive(Clone, Debug)]
enum Part {
    /// The headers, with the status if there is one.
    Head(u64, Option<u8>),
    Data(u64, Vec<u8>),
    Trailers(u64, u8),
    /// The connection breaks.
    Broken(u64),
    Never,
}
use Part::{Broken, Data, Head, Never, Trailers};

/// A message, with its prefix.
fn message(text: &str) -> Vec<u8> {
    let mut message = vec![0];
    message.extend((text.len() as u32).to_be_bytes());
    message.extend(text.bytes());
    message
}

fn ok(after: u64) -> Vec<Part> {
    vec![
        Head(after, None),
        Data(0, message("answer")),
        Trailers(0, 0),
    ]
}

fn failed(after: u64, code: u8) -> Vec<Part> {
    vec![Head(after, Some(code))]
}

struct Script {
    parts: VecDeque<Part>,
    wait: Pin<Box<Sleep>>,
    pushback: Option<&'static str>,
}

impl Script {
    fn new(parts: Vec<Part>, pushback: Option<&'static str>) -> Self {
        Self {
            parts: parts.into(),
            wait: Box::pin(sleep(ms(0))),
            pushback,
        }
        .waiting()
    }

    fn waiting(mut self) -> Self {
        self.wait = Box::pin(sleep(self.delay()));
        self
    }

    fn delay(&self) -> Duration {
        match self.parts.front() {
            Some(Head(after, _) | Data(after, _) | Trailers(after, _) | Broken(after)) => {
                ms(*after)
            }
            Some(Never) | None => ms(0),
        }
    }

    fn status(&self, code: u8) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", code.to_string().parse().unwrap());
        if let Some(pushback) = self.pushback {
            headers.insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
        }
        headers
    }

    async fn next(&mut self) -> Option<Part> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Part>> {
        if matches!(self.parts.front(), Some(Never)) {
            return Poll::Pending;
        }
        ready!(self.wait.as_mut().poll(cx));
        let part = self.parts.pop_front();
        self.wait = Box::pin(sleep(self.delay()));
        Poll::Ready(part)
    }

    async fn respond(mut self) -> Result<Response<Self>, BoxError> {
        match self.next().await {
            Some(Head(_, status)) => {
                let headers = status.map(|code| self.status(code)).unwrap_or_default();
                let mut response = Response::new(self);
                *response.headers_mut() = headers;
                Ok(response)
            }
            Some(Broken(_)) => Err("broken".into()),
            _ => pending().await,
        }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match ready!(self.poll_next(cx)) {
            Some(Data(_, bytes)) => Some(Ok(Frame::data(bytes.into()))),
            Some(Trailers(_, code)) => Some(Ok(Frame::trailers(self.status(code)))),
            Some(Broken(_)) => Some(Err("broken".into())),
            _ => None,
        })
    }
}

/// What a call came to.
#[derive(Debug, PartialEq)]
struct Ended {
    code: u8,
    text: String,
    attempts: usize,
    after: Duration,
}

impl Ended {
    fn new(code: u8, attempts: usize, after: u64) -> Self {
        Self {
            code,
            text: if code == 0 { "answer" } else { "" }.into(),
            attempts,
            after: ms(after),
        }
    }
}

/// Calls `/a.B/C`, with these headers; attempt i is answered by script i.
struct Case {
    scripts: Vec<Vec<Part>>,
    pushback: Option<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
    path: &'static str,
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Case {
    fn new(scripts: impl IntoIterator<Item = Vec<Part>>) -> Self {
        Self {
            scripts: scripts.into_iter().collect(),
            pushback: None,
            headers: Vec::new(),
            path: "/a.B/C",
            seen: Arc::default(),
        }
    }

    fn pushback(mut self, pushback: &'static str) -> Self {
        self.pushback = Some(pushback);
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn path(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    async fn response<B>(
        &self,
        policy: GrpcPolicy,
        body: B,
    ) -> Result<Response<GrpcBody<Script>>, BoxError>
    where
        B: Body + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let builder = Hedger::builder().strategy(Fixed::new(ms(20))).max_hedges(2);
        let hedger = builder.budget(Budget::unlimited()).build().unwrap();
        let layer = GrpcLayer::new(hedger, policy, |body: ReplayBody<B>| body);
        self.through(layer, body).await
    }

    async fn through<B, F>(
        &self,
        layer: GrpcLayer<F>,
        body: B,
    ) -> Result<Response<GrpcBody<Script>>, BoxError>
    where
        B: Body + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
        F: Fn(ReplayBody<B>) -> ReplayBody<B> + Clone + Send + 'static,
    {
        let scripts = Arc::new(Mutex::new(VecDeque::from(self.scripts.clone())));
        let (seen, pushback) = (self.seen.clone(), self.pushback);
        let server = service_fn(move |request: Request<ReplayBody<B>>| {
            let script = scripts
                .lock()
                .unwrap()
                .pop_front()
                .expect("one attempt more");
            let seen = seen.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                seen.lock().unwrap().push((parts.headers, body));
                Script::new(script, pushback).respond().await
            }
        });
        let mut request = Request::post(self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let service = ServiceBuilder::new().layer(layer).service(server);
        service.oneshot(request.body(body).unwrap()).await
    }

    async fn end(&self, policy: GrpcPolicy) -> Ended {
        let start = Instant::now();
        let body = Full::new(Bytes::from_static(b"request"));
        let response = timeout(Duration::from_secs(60), self.response(policy, body));
        let response = response.await.expect("the call does not end").unwrap();
        self.ended(response, start).await
    }

    async fn ended(&self, response: Response<GrpcBody<Script>>, start: Instant) -> Ended {
        let after = start.elapsed();
        let (parts, body) = response.into_parts();
        let body = timeout(Duration::from_secs(60), body.collect());
        let body = body.await.expect("the response does not end").unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = parts.headers.get("grpc-status");
        let status = status.or_else(|| trailers.get("grpc-status")).unwrap();
        let code = status.to_str().unwrap().parse().unwrap();
        let text = body.to_bytes();
        let text = text.get(5..).unwrap_or_default().to_vec();
        let seen = self.seen.lock().unwrap();
        assert!(seen.iter().all(|(_, body)| body == "request"));
        Ended {
            code,
            text: String::from_utf8(text).unwrap(),
            attempts: seen.len(),
            after,
        }
    }

    /// What each attempt said in a header.
    fn said(&self, name: &str) -> Vec<Option<String>> {
        let seen = self.seen.lock().unwrap();
        let said = seen.iter().map(|(headers, _)| headers.get(name));
        said.map(|value| Some(value?.to_str().unwrap().to_owned()))
            .collect()
    }
}

fn unary() -> GrpcPolicy {
    GrpcPolicy::new().unary("/a.B/C")
}

fn streaming() -> GrpcPolicy {
    GrpcPolicy::new().streaming("/a.B/")
}

#[tokio::test(start_paused = true)]
async fn a_fast_error_does_not_win() {
    // The status among the headers, in the trailers after no message, and a connection that breaks.
    for error in [
        failed(1, 14),
        vec![Head(1, None), Trailers(0, 14)],
        vec![Broken(1)],
        vec![Head(1, None), Broken(0)],
    ] {
        for policy in [unary(), streaming()] {
            let case = Case::new([error.clone(), ok(5)]);
            assert_eq!(case.end(policy).await, Ended::new(0, 2, 6), "{error:?}");
        }
    }
    // After a message too, in a unary call.
    let late = vec![Head(1, None), Data(0, message("half")), Trailers(2, 14)];
    let case = Case::new([late, ok(5)]);
    assert_eq!(case.end(unary()).await, Ended::new(0, 2, 8));
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_is_hedged() {
    for policy in [unary(), streaming()] {
        let case = Case::new([ok(500), ok(5)]);
        assert_eq!(case.end(policy).await, Ended::new(0, 2, 25));
        let numbers = [None, Some("1".to_owned())];
        assert_eq!(case.said("grpc-previous-rpc-attempts"), numbers);
    }
    // The head alone is no answer, nor is half a message.
    let stalled = vec![Head(1, None), Data(1, message("half")[..7].to_vec()), Never];
    for policy in [unary(), streaming()] {
        let case = Case::new([stalled.clone(), ok(5)]);
        assert_eq!(case.end(policy).await, Ended::new(0, 2, 25));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_answered_with_its_first_message() {
    let stream = vec![
        Head(1, None),
        Data(1, message("ans")[..3].to_vec()),
        Data(1, message("ans")[3..].to_vec()),
        Data(500, b"wer".to_vec()),
        Trailers(500, 0),
    ];
    let case = Case::new([stream]);
    assert_eq!(case.end(streaming()).await, Ended::new(0, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_fatal_status_ends_the_call() {
    for code in [2, 3, 5, 13] {
        let case = Case::new([failed(1, code)]);
        assert_eq!(case.end(unary()).await, Ended::new(code, 1, 1));
    }
    let aborted = unary().non_fatal([Code::Aborted]);
    let case = Case::new([failed(1, 10), ok(1)]);
    assert_eq!(case.end(aborted.clone()).await, Ended::new(0, 2, 2));
    let case = Case::new([failed(1, 14)]);
    assert_eq!(case.end(aborted).await, Ended::new(14, 1, 1));
    // If all fail, the call has the status of the first.
    let case = Case::new([failed(1, 14), failed(1, 8), failed(1, 14)]);
    assert_eq!(case.end(unary()).await, Ended::new(14, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn pushback_is_kept_to() {
    let case = Case::new([failed(1, 14), ok(1)]).pushback("300");
    assert_eq!(case.end(unary()).await, Ended::new(0, 2, 302));
    for never in ["-1", "soon", "0.5"] {
        let case = Case::new([failed(1, 14)]).pushback(never);
        assert_eq!(case.end(unary()).await, Ended::new(14, 1, 1), "{never}");
    }
    // Attempts that run go on.
    let case = Case::new([ok(50), failed(1, 14)]).pushback("-1");
    assert_eq!(case.end(unary()).await, Ended::new(0, 2, 50));
}

#[tokio::test(start_paused = true)]
async fn the_timeout_is_the_deadline_of_all_attempts() {
    let case = Case::new([vec![Never], vec![Never], vec![Never]]).header("grpc-timeout", "50m");
    assert_eq!(case.end(unary()).await, Ended::new(4, 3, 50));
    let left = ["50000000n", "30000000n", "10000000n"].map(|left| Some(left.to_owned()));
    assert_eq!(case.said("grpc-timeout"), left);
    // One that cannot be read is passed on.
    let case = Case::new([ok(1)]).header("grpc-timeout", "soon");
    assert_eq!(case.end(unary()).await, Ended::new(0, 1, 1));
    assert_eq!(case.said("grpc-timeout"), [Some("soon".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn other_methods_are_not_hedged_and_get_no_limit() {
    let case = Case::new([ok(500)]).path("/a.B/D");
    assert_eq!(case.end(unary()).await, Ended::new(0, 1, 500));
    let case = Case::new([ok(500)]).path("/a.B/D");
    let case = case.header("grpc-timeout", "100m");
    assert_eq!(case.end(unary()).await, Ended::new(0, 1, 500));
    assert_eq!(case.said("grpc-timeout"), [Some("100m".to_owned())]);
    let case = Case::new([ok(500), ok(5)]).path("/a.B/D");
    assert_eq!(case.end(streaming()).await, Ended::new(0, 2, 25));
}

/// A request that is a stream which never ends.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_another_method_is_sent_as_it_comes() {
    let server = service_fn(|_: Request<ReplayBody<Endless>>| async {
        Script::new(ok(1), None).respond().await
    });
    let hedger = Hedger::builder().build().unwrap();
    let layer = GrpcLayer::new(hedger, unary(), |body: ReplayBody<Endless>| body);
    let service = ServiceBuilder::new().layer(layer).service(server);
    let request = Request::post("/a.B/Chat").body(Endless).unwrap();
    assert!(service.oneshot(request).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_long_request_is_sent_once() {
    let hedger = Hedger::builder().strategy(Fixed::new(ms(20)));
    let hedger = hedger.budget(Budget::unlimited()).build().unwrap();
    let layer = GrpcLayer::new(hedger, unary(), |body: ReplayBody<Full<Bytes>>| body).limit(6);
    let case = Case::new([ok(500)]);
    let start = Instant::now();
    let body = Full::new(Bytes::from_static(b"request"));
    let response = case.through(layer, body).await.unwrap();
    assert_eq!(case.ended(response, start).await, Ended::new(0, 1, 500));
}

#[tokio::test(start_paused = true)]
async fn the_outcome_is_in_the_response() {
    let case = Case::new([ok(500), ok(5)]);
    let response = case
        .response(unary(), Full::new(Bytes::new()))
        .await
        .unwrap();
    let outcome = response.extensions().get::<Outcome>().unwrap();
    assert!(outcome.hedge_won);
}

const CONFIG: &str = r#"{
    "methodConfig": [
        {
            "name": [{"service": "a.B", "method": "C"}],
            "timeout": "0.200s",
            "hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.050s", "nonFatalStatusCodes": ["ABORTED"]}
        },
        {
            "name": [{"service": "a.B"}],
            "hedgingPolicy": {"maxAttempts": 5, "hedgingDelay": "0.010s", "nonFatalStatusCodes": [14]}
        }
    ]
}"#;

#[tokio::test(start_paused = true)]
async fn a_service_config_is_kept_to() {
    let call = async |case: Case| {
        let budget = SharedBudget::new(Budget::unlimited());
        let layer = GrpcLayer::from_service_config(CONFIG, budget, |body| body).unwrap();
        let start = Instant::now();
        let body = Full::new(Bytes::from_static(b"request"));
        let response = case.through(layer, body).await.unwrap();
        case.ended(response, start).await
    };
    let slow = || vec![Never];
    assert_eq!(call(Case::new([slow(), ok(5)])).await, Ended::new(0, 2, 55));
    assert_eq!(
        call(Case::new([failed(1, 10), ok(5)])).await,
        Ended::new(0, 2, 6)
    );
    assert_eq!(call(Case::new([failed(1, 14)])).await, Ended::new(14, 1, 1));
    // The method's timeout, and the call's if that is shorter.
    let never = Case::new([slow(), slow(), slow()]);
    assert_eq!(call(never).await, Ended::new(4, 3, 200));
    let never = Case::new([slow(), slow()]).header("grpc-timeout", "70m");
    assert_eq!(call(never).await, Ended::new(4, 2, 70));
    // The other rule, with as many attempts as there is room for.
    let other = Case::new([slow(), slow(), slow(), ok(5)]).path("/a.B/D");
    assert_eq!(call(other).await, Ended::new(0, 4, 35));
    let other = Case::new([failed(1, 14), ok(5)]).path("/a.B/D");
    assert_eq!(call(other).await, Ended::new(0, 2, 6));
    let none = Case::new([ok(500)]).path("/a.E/D");
    assert_eq!(call(none).await, Ended::new(0, 1, 500));
}

#[tokio::test(start_paused = true)]
async fn calls_are_hedged_over_replicas() {
    let replicas = [Vec::new(), ok(5)].map(|script| {
        let server = service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| {
            let script = if script.is_empty() {
                vec![Never]
            } else {
                script.clone()
            };
            Script::new(script, None).respond()
        });
        GrpcAttempts::new(server, |body: ReplayBody<Full<Bytes>>| body)
    });
    let stack = standard(replicas).policy(unary());
    let stack = stack.hedger(|builder| builder.strategy(Fixed::new(ms(20))));
    let service = GrpcCalls::new(stack.build().unwrap(), unary());
    for _ in 0..9 {
        let request = Request::post("/a.B/C").header("grpc-timeout", "1S");
        let request = request
            .body(Full::new(Bytes::from_static(b"request")))
            .unwrap();
        let start = Instant::now();
        let response = service.clone().oneshot(request).await.unwrap();
        assert!(start.elapsed() <= ms(25), "{:?}", start.elapsed());
        assert!(!response.headers().contains_key("grpc-status"));
    }
    // All replicas hang.
    let server =
        service_fn(|_: Request<ReplayBody<Full<Bytes>>>| Script::new(vec![Never], None).respond());
    let attempts = GrpcAttempts::new(server, |body: ReplayBody<Full<Bytes>>| body);
    let stack = standard([attempts.clone(), attempts]).policy(unary());
    let service = GrpcCalls::new(stack.build().unwrap(), unary());
    let request = Request::post("/a.B/C").header("grpc-timeout", "100m");
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
}

/// One of three replicas fails at once, with a status that ends its call or without one.
#[tokio::test(start_paused = true)]
async fn a_replica_that_fails_fast_attracts_nothing() {
    let config = r#"{"methodConfig": [{"name": [{}], "hedgingPolicy": {
        "maxAttempts": 2, "hedgingDelay": "0.05s", "nonFatalStatusCodes": ["ABORTED"]
    }}]}"#;
    let config = GrpcPolicy::from_service_config(config).unwrap();
    let cases = [
        (unary(), failed(1, 2)),
        (unary(), failed(1, 12)),
        (unary(), failed(1, 13)),
        (unary(), failed(1, 15)),
        (config.clone(), failed(1, 8)),
        (config.clone(), failed(1, 14)),
        (config.clone(), vec![Head(1, None)]),
        (config, vec![Broken(1)]),
    ];
    for (policy, failure) in cases {
        let calls = Arc::new(AtomicUsize::new(0));
        let replicas = [failure.clone(), ok(15), ok(15)].map(|script| {
            let (calls, fails) = (calls.clone(), script.len() == 1);
            let server = service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| {
                calls.fetch_add(usize::from(fails), Ordering::Relaxed);
                Script::new(script.clone(), None).respond()
            });
            GrpcAttempts::new(server, |body: ReplayBody<Full<Bytes>>| body)
        });
        let stack = standard(replicas).policy(policy.clone()).build().unwrap();
        let mut client = GrpcCalls::new(stack, policy);
        let mut good = 0;
        for _ in 0..5000 {
            let request = Request::post("/a.B/C").body(Full::new(Bytes::new()));
            let response = client.ready().await.unwrap().call(request.unwrap());
            let Ok(response) = response.await else {
                continue;
            };
            let body = response.into_body().collect().await.unwrap();
            let status = body
                .trailers()
                .and_then(|trailers| trailers.get("grpc-status"));
            good += usize::from(status.is_some_and(|status| status == "0"));
        }
        let calls = calls.load(Ordering::Relaxed);
        assert!(good >= 4990 && calls <= 110, "{failure:?}: {good} {calls}");
    }
}

/// A request that sends its parts after so many milliseconds each, and then ends if it `ends`.
fn parts(parts: &[(u64, Vec<u8>)], ends: bool) -> Parts {
    let parts: VecDeque<_> = parts.to_vec().into();
    let stream = futures_lite::stream::unfold(parts, move |mut parts| async move {
        let Some((after, data)) = parts.pop_front() else {
            return if ends { None } else { pending().await };
        };
        sleep(ms(after)).await;
        Some((Ok(Frame::data(Bytes::from(data))), parts))
    });
    StreamBody::new(Box::pin(stream))
}

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;
type Parts = StreamBody<Frames>;

/// Sends a request through a layer that hedges after 20 ms, to a server that answers after 5 ms. Returns its status, how long the
/// call took, and what `grpc-timeout` each attempt was sent with.
async fn upload(
    policy: GrpcPolicy,
    timeout: Option<&str>,
    body: Parts,
) -> (Option<String>, Duration, Vec<Option<String>>) {
    upload_with(policy, timeout, RequestOptions::new(), body).await
}

async fn upload_with(
    policy: GrpcPolicy,
    timeout: Option<&str>,
    options: RequestOptions<'static>,
    body: Parts,
) -> (Option<String>, Duration, Vec<Option<String>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let server = service_fn(move |request: Request<ReplayBody<Parts>>| {
        let timeout = request.headers().get("grpc-timeout");
        let timeout = timeout.map(|timeout| timeout.to_str().unwrap().to_owned());
        log.lock().unwrap().push(timeout);
        Script::new(failed(5, 0), None).respond()
    });
    let hedger = Hedger::builder().strategy(Fixed::new(ms(20)));
    let hedger = hedger.budget(Budget::unlimited()).build().unwrap();
    let layer = GrpcLayer::new(hedger, policy, |body: ReplayBody<Parts>| body);
    let service = ServiceBuilder::new().layer(layer).service(server);
    let mut request = Request::post("/a.B/Upload").extension(options);
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    let start = Instant::now();
    let response = service.oneshot(request.body(body).unwrap());
    let response = tokio::time::timeout(Duration::from_secs(3600), response);
    let response = response.await.expect("the call waits for ever").unwrap();
    let status = response.headers().get("grpc-status");
    let status = status.map(|status| status.to_str().unwrap().to_owned());
    let seen = seen.lock().unwrap().clone();
    (status, start.elapsed(), seen)
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_begins_before_its_request_is_read() {
    let (status, took, seen) = upload(
        GrpcPolicy::new().unary("/a.B/Upload"),
        Some("100m"),
        parts(&[(80, message("late"))], true),
    )
    .await;
    assert_eq!((status.as_deref(), took), (Some("0"), ms(85)));
    assert_eq!(seen, [Some("20000000n".to_owned())]);
    // Also if it never ends, or stops within a message.
    for body in [
        parts(&[(1, message("one"))], false),
        parts(&[(1, vec![0, 0])], false),
    ] {
        let policy = GrpcPolicy::new().unary("/a.B/Upload");
        let (status, took, seen) = upload(policy, Some("100m"), body).await;
        assert_eq!((status.as_deref(), took), (Some("4"), ms(100)));
        assert_eq!(seen, []);
    }
}

/// Sends a call into a queue above replicas that are never found. Returns its status, and how long it took.
async fn queued(policy: GrpcPolicy, request: Builder) -> (Option<String>, Duration) {
    fn nothing<S>(_: S) -> impl Stream<Item = Result<Change<u8, S>, BoxError>> {
        futures_lite::stream::pending()
    }
    let server =
        service_fn(|_: Request<ReplayBody<Full<Bytes>>>| Script::new(ok(1), None).respond());
    let attempts = GrpcAttempts::new(server, |body: ReplayBody<Full<Bytes>>| body);
    let hedger = Hedger::builder().build().unwrap();
    let replicas = HedgeDiscover::new(nothing(attempts), hedger, policy.clone());
    let calls = GrpcCalls::new(Buffer::new(replicas, 8), policy);
    let request = request.body(Full::new(Bytes::from_static(b"request")));
    let start = Instant::now();
    let response = timeout(Duration::from_secs(60), calls.oneshot(request.unwrap())).await;
    let response = response.expect("the call waits for ever").unwrap();
    let status = response.headers().get("grpc-status");
    let status = status.map(|status| status.to_str().unwrap().to_owned());
    (status, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_in_a_queue_ends_at_its_deadline() {
    let request = Request::post("/a.B/C").header("grpc-timeout", "100m");
    let (status, took) = queued(unary(), request).await;
    assert_eq!((status.as_deref(), took), (Some("4"), ms(100)));
}

#[tokio::test(start_paused = true)]
async fn the_hedger_ends_a_call_that_has_reached_it() {
    let hedger = Hedger::builder().strategy(Fixed::new(ms(20)));
    let hedger = hedger.budget(Budget::unlimited()).build().unwrap();
    let layer = GrpcLayer::new(hedger.clone(), unary(), |body: ReplayBody<Full<Bytes>>| {
        body
    });
    let scripts = [vec![Never], vec![Never], vec![Never]];
    let case = Case::new(scripts).header("grpc-timeout", "50m");
    let response = case.through(layer, Full::new(Bytes::new())).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    let metrics = hedger.metrics();
    assert_eq!((metrics.timed_out, metrics.cancelled), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_the_options_count_from_the_start_of_the_call() {
    let timeout = || RequestOptions::new().timeout(ms(100));
    let deadline = || RequestOptions::new().deadline(Instant::now() + ms(100));
    let policy = || GrpcPolicy::new().unary("/a.B/Upload");
    for options in [timeout, deadline] {
        // An attempt is sent with what is left.
        let late = parts(&[(80, message("late"))], true);
        let (status, took, seen) = upload_with(policy(), None, options(), late).await;
        assert_eq!((status.as_deref(), took), (Some("0"), ms(85)));
        assert_eq!(seen, [Some("20000000n".to_owned())]);
        // The limit is watched while the request is read, and the shorter one of two applies.
        for header in [None, Some("200m")] {
            let endless = parts(&[(1, message("one"))], false);
            let (status, took, seen) = upload_with(policy(), header, options(), endless).await;
            assert_eq!((status.as_deref(), took), (Some("4"), ms(100)));
            assert_eq!(seen, []);
        }
        let endless = parts(&[(1, message("one"))], false);
        let (status, took, _) = upload_with(policy(), Some("50m"), options(), endless).await;
        assert_eq!((status.as_deref(), took), (Some("4"), ms(50)));
        // A call that is not hedged has its limits, and so has one that waits in a queue.
        let streams = GrpcPolicy::new();
        let (status, took, seen) = upload_with(streams, None, options(), parts(&[], false)).await;
        assert_eq!((status.as_deref(), took), (Some("0"), ms(5)));
        assert_eq!(seen, [Some("100000u".to_owned())]);
        let request = Request::post("/a.B/Chat").extension(options());
        let (status, took) = queued(unary(), request).await;
        assert_eq!((status.as_deref(), took), (Some("4"), ms(100)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_a_stream_is_passed_on() {
    let whole = GrpcPolicy::new().unary("/a.B/");
    let streaming = GrpcPolicy::new().streaming("/a.B/Upload");
    for policy in [whole, streaming] {
        // It waits for the response before it sends its second message, or its first.
        let body = parts(&[(7, message("one"))], false);
        let (status, took, _) = upload(policy.clone(), None, body).await;
        assert_eq!((status.as_deref(), took), (Some("0"), ms(7 + 10 + 5)));
        let (status, took, _) = upload(policy.clone(), None, parts(&[], false)).await;
        assert_eq!((status.as_deref(), took), (Some("0"), ms(10 + 5)));
        // A second message begins.
        let body = parts(&[(7, message("one")), (7, vec![0])], false);
        let (status, took, seen) = upload(policy.clone(), Some("1S"), body).await;
        assert_eq!((status.as_deref(), took), (Some("0"), ms(14 + 5)));
        assert_eq!(seen, [Some("986000u".to_owned())]);
        // A message that comes in pieces is read, however long it takes.
        let [begin, end] = [message("one")[..6].to_vec(), message("one")[6..].to_vec()];
        let body = parts(&[(7, begin), (500, end)], true);
        let (status, took, _) = upload(policy, None, body).await;
        assert_eq!((status.as_deref(), took), (Some("0"), ms(507 + 5)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_timeout_of_a_call_that_is_not_hedged_is_kept() {
    let options = RequestOptions::new().timeout(Duration::from_secs(10));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let server = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
        log.lock()
            .unwrap()
            .push(request.headers()["grpc-timeout"].clone());
        Script::new(ok(1), None).respond()
    });
    let hedger = Hedger::builder().build().unwrap();
    let layer = GrpcLayer::new(hedger, unary(), |body: ReplayBody<Full<Bytes>>| body);
    let service = ServiceBuilder::new().layer(layer).service(server);
    for timeout in ["100m", "20S"] {
        let request = Request::post("/a.B/Write").header("grpc-timeout", timeout);
        let request = request
            .extension(options.clone())
            .body(Full::new(Bytes::new()));
        service.clone().oneshot(request.unwrap()).await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), ["100m", "10000000u"]);
}

#[tokio::test(start_paused = true)]
async fn trailers_that_are_held_are_not_behind_an_exact_size() {
    let server =
        service_fn(|_: Request<ReplayBody<Full<Bytes>>>| Script::new(ok(1), None).respond());
    let attempts = GrpcAttempts::new(server, |body: ReplayBody<Full<Bytes>>| body);
    let hedger = Hedger::builder().build().unwrap();
    let service = HedgeLayer::new(hedger, unary()).layer(attempts);
    let request = Request::post("/a.B/C").body(ReplayBody::new(Bytes::new()));
    let response = service.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.body().size_hint().upper(), None);
}

#[tokio::test(start_paused = true)]
async fn each_method_has_its_own_key() {
    let hedger = Hedger::builder().build().unwrap();
    let layer = GrpcLayer::new(hedger.clone(), streaming(), |body: ReplayBody<_>| body);
    for path in ["/a.B/C", "/a.B/C", "/a.B/D", "/c.D/E"] {
        let case = Case::new([ok(5)]).path(path);
        case.through(layer.clone(), Full::new(Bytes::new()))
            .await
            .unwrap();
    }
    let counts = hedger
        .keys()
        .map(|(key, name)| (name, hedger.of(key).metrics().total_requests));
    // The last path may not be hedged, and has no key.
    assert_eq!(counts.collect::<Vec<_>>(), [("/a.B/C", 2), ("/a.B/D", 1)]);
}

#[tokio::test(start_paused = true)]
async fn one_client_over_replicas_sends_many_calls() {
    let replicas = [0, 1].map(|_| {
        let server =
            service_fn(|_: Request<ReplayBody<Full<Bytes>>>| Script::new(ok(5), None).respond());
        GrpcAttempts::new(server, |body: ReplayBody<Full<Bytes>>| body)
    });
    let stack = standard(replicas).policy(unary()).in_flight(1);
    let mut calls = GrpcCalls::new(stack.build().unwrap(), unary());
    for _ in 0..4 {
        let request = Request::post("/a.B/C").body(Full::new(Bytes::new()));
        let call = async { calls.ready().await?.call(request.unwrap()).await };
        let response = timeout(Duration::from_secs(1), call).await;
        assert!(response.expect("a place is held").is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn the_most_specific_name_of_a_service_config_counts() {
    let config = r#"{
        "methodConfig": [
            {"name": [{"service": "a.B", "method": "Charge"}], "timeout": "5s"},
            {
                "name": [{"service": "a.B"}],
                "hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.010s"}
            },
            {"name": [{"service": "a.D"}], "retryPolicy": {"maxAttempts": 2}},
            {"name": [{}], "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0.030s"}}
        ]
    }"#;
    for (path, attempts, after) in [
        ("/a.B/Charge", 1, 500),
        ("/a.B/Get", 2, 15),
        ("/a.D/Get", 1, 500),
        ("/a.E/Get", 2, 35),
    ] {
        let case = Case::new([ok(500), ok(5)]).path(path);
        let budget = SharedBudget::new(Budget::unlimited());
        let layer = GrpcLayer::from_service_config(config, budget, |body| body).unwrap();
        assert_eq!(layer.hedgers().len(), 2);
        let start = Instant::now();
        let body = Full::new(Bytes::from_static(b"request"));
        let response = case.through(layer, body).await.unwrap();
        let ended = case.ended(response, start).await;
        assert_eq!(ended, Ended::new(0, attempts, after), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_response_to_an_unhedged_call_is_not_held() {
    let stream = || vec![Head(1, None), Data(500, message("answer")), Trailers(0, 0)];
    let request = || Full::new(Bytes::from_static(b"request"));
    let after = async |path, limit, options: Option<RequestOptions<'static>>| {
        let hedger = Hedger::builder().strategy(Fixed::new(ms(2000)));
        let hedger = hedger.build().unwrap();
        let layer = GrpcLayer::new(hedger, unary(), |body: ReplayBody<Full<Bytes>>| body);
        let server = service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| {
            Script::new(stream(), None).respond()
        });
        let service = ServiceBuilder::new()
            .layer(layer.limit(limit))
            .service(server);
        let mut request = Request::post(path).body(request()).unwrap();
        if let Some(options) = options {
            request.extensions_mut().insert(options);
        }
        let start = Instant::now();
        let response = service.oneshot(request).await.unwrap();
        let after = start.elapsed();
        assert!(response.into_body().collect().await.is_ok());
        after
    };
    // The head of a call that may be hedged is held back until the call has answered.
    assert_eq!(after("/a.B/C", 100, None).await, ms(501));
    assert_eq!(after("/a.B/Chat", 100, None).await, ms(1));
    assert_eq!(after("/a.B/C", 6, None).await, ms(1), "a long request");
    let unhedged = Some(RequestOptions::new().unhedged());
    assert_eq!(after("/a.B/C", 100, unhedged).await, ms(1));
}

/// A body with the beginning of a message in a buffer of two chunks, which must not be polled after its end.
struct Chained {
    bytes: usize,
    polls: u8,
}

impl Body for Chained {
    type Data = Chain<Bytes, Bytes>;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        self.polls += 1;
        match self.polls {
            1 => {
                let mut bytes = Bytes::from(message("answer")).slice(..self.bytes);
                let first = bytes.split_to(3);
                Poll::Ready(Some(Ok(Frame::data(first.chain(bytes)))))
            }
            _ if self.bytes < 11 => Poll::Pending,
            2 => Poll::Ready(None),
            _ => panic!("polled after its end"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn buffers_of_several_chunks_are_read_whole() {
    let call = async |policy, bytes| {
        let hedger = Hedger::builder().strategy(Fixed::new(ms(2000)));
        let hedger = hedger.build().unwrap();
        let layer = GrpcLayer::new(hedger, policy, |body: ReplayBody<Full<Bytes>>| body);
        let server = service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| async move {
            Ok::<_, BoxError>(Response::new(Chained { bytes, polls: 0 }))
        });
        let service = ServiceBuilder::new().layer(layer).service(server);
        let request = Request::post("/a.B/C").body(Full::new(Bytes::new()));
        let response = timeout(ms(100), service.oneshot(request.unwrap())).await;
        response.map(Result::unwrap)
    };
    // Half a message is no answer.
    assert!(call(streaming(), 7).await.is_err());
    for (policy, is_unary) in [(unary(), true), (streaming(), false)] {
        let response = call(policy, 11).await.unwrap();
        let outcome = response.extensions().get::<Outcome>().unwrap();
        // The stream has answered with its message; the unary call has no status.
        assert_eq!(outcome.accepted, !is_unary);
        let mut body = response.into_body();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap().remaining(), 11);
        assert!(body.frame().await.is_none());
        assert!(body.frame().await.is_none());
    }
}
