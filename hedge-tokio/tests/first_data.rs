//! Responses that are answers once their first data has come.

use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use futures_lite::{StreamExt, stream};
use hedge_tokio::tower::{FirstDataBody, FirstDataLayer, HedgeLayer, HttpPolicy};
use hedge_tokio::{Fixed, Hedger, Outcome};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

type Data = Result<Frame<Bytes>, &'static str>;

/// A body of frames, each after so many milliseconds.
struct Script {
    frames: Pin<Box<dyn stream::Stream<Item = Data> + Send>>,
    size: SizeHint,
    polls: Arc<AtomicUsize>,
}

fn script(frames: Vec<(u64, Data)>) -> Script {
    let data = |frame: &Data| {
        frame
            .as_ref()
            .ok()
            .map(|frame| frame.data_ref().map_or(0, Bytes::len))
    };
    let sizes: Option<Vec<usize>> = frames.iter().map(|(_, frame)| data(frame)).collect();
    // What fails says nothing of its size.
    let size = sizes.map_or(SizeHint::default(), |sizes| {
        SizeHint::with_exact(sizes.iter().sum::<usize>() as u64)
    });
    let frames = stream::iter(frames).then(|(wait, frame)| async move {
        if wait > 0 {
            sleep(Duration::from_millis(wait)).await;
        }
        frame
    });
    let polls = Arc::default();
    Script {
        frames: Box::pin(frames),
        size,
        polls,
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Data>> {
        let polled = self.frames.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let data = frame.data_ref().map_or(0, Bytes::len);
            if let Some(exact) = self.size.exact() {
                self.size = SizeHint::with_exact(exact - data as u64);
            }
            self.polls.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

fn data(text: &'static str) -> Data {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers() -> Data {
    Ok(Frame::trailers(HeaderMap::from_iter([(
        http::header::ETAG,
        "end".parse().unwrap(),
    )])))
}

/// Hedges after 10 ms, unless told otherwise. Each attempt gets the next of `responses`.
async fn send<F>(
    hedger: &Hedger,
    method: Method,
    held: FirstDataLayer<F>,
    responses: Vec<Response<Script>>,
) -> Result<Response<FirstDataBody<Script>>, String>
where
    F: Fn(&[u8]) -> bool + Clone + Send + 'static,
{
    let responses = Arc::new(std::sync::Mutex::new(responses.into_iter()));
    let service = ServiceBuilder::new()
        .layer(HedgeLayer::new(hedger.clone(), HttpPolicy::new()))
        .layer(held)
        .service(service_fn(move |_: Request<()>| {
            let response = responses.lock().unwrap().next();
            async move { response.ok_or("no more responses") }
        }));
    let request = Request::builder().method(method).body(()).unwrap();
    service
        .oneshot(request)
        .await
        .map_err(|error| error.to_string())
}

fn hedger() -> Hedger {
    let fixed = Fixed::new(Duration::from_millis(10));
    Hedger::builder().strategy(fixed).build().unwrap()
}

fn outcome<B>(response: &Response<B>) -> Outcome {
    *response.extensions().get().unwrap()
}

async fn text(response: Response<FirstDataBody<Script>>) -> Result<String, &'static str> {
    let body = response.into_body().collect().await?;
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn a_head_alone_is_no_answer() {
    let late = Response::new(script(vec![(500, data("late"))]));
    let prompt = Response::new(script(vec![
        (5, data("a")),
        (700, data("b")),
        (0, trailers()),
    ]));
    let hedger = Hedger::builder()
        .strategy(Fixed::new(ms(10)))
        .timeout(ms(600))
        .build()
        .unwrap();
    let held = HttpPolicy::first_byte();
    let response = send(&hedger, Method::GET, held, vec![late, prompt])
        .await
        .unwrap();
    let outcome = outcome(&response);
    assert!(outcome.hedge_won);
    assert_eq!(
        (outcome.head_latency, outcome.total_latency),
        (Some(ms(10)), ms(15))
    );
    // The body is whole, past the timeout, and says how long it is.
    assert_eq!(response.body().size_hint().exact(), Some(2));
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["etag"], "end");
    assert_eq!(body.to_bytes(), "ab");
    // What is learned is the time to the first byte.
    assert_eq!(hedger.metrics().max_latency.unwrap().as_millis(), 15);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_read_than_was_needed() {
    let body = script(vec![(0, data("a")), (0, data("b")), (0, data("c"))]);
    let polls = body.polls.clone();
    let held = HttpPolicy::first_byte();
    let response = send(&hedger(), Method::GET, held, vec![Response::new(body)])
        .await
        .unwrap();
    assert_eq!(polls.load(Ordering::Relaxed), 1);
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(polls.load(Ordering::Relaxed), 1);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "bc");
}

#[tokio::test(start_paused = true)]
async fn comments_are_no_events() {
    let idle = vec![
        (0, data(": keep-alive\n\n")),
        (3, data(":\n\n")),
        (900, data("data: x\n\n")),
    ];
    // An event may come in pieces.
    let busy = vec![
        (0, data(": hi\n\n")),
        (1, data("")),
        (1, data("dat")),
        (1, data("a: y\n\n")),
        (400, data("data: z\n\n")),
    ];
    let responses = [idle, busy]
        .map(|frames| Response::new(script(frames)))
        .into();
    let held = HttpPolicy::first_event();
    let response = send(&hedger(), Method::GET, held, responses).await.unwrap();
    assert_eq!(outcome(&response).total_latency, ms(13));
    assert_eq!(response.body().size_hint().exact(), Some(24));
    assert_eq!(
        text(response).await.unwrap(),
        ": hi\n\ndata: y\n\ndata: z\n\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_closure_says_what_data_is() {
    let frames = vec![(1, data("role ")), (2, data("token ")), (400, data("rest"))];
    let held = HttpPolicy::first_data(|bytes| bytes.windows(5).any(|word| word == b"token"));
    let response = send(
        &hedger(),
        Method::GET,
        held,
        vec![Response::new(script(frames))],
    )
    .await;
    let response = response.unwrap();
    assert_eq!(
        (
            outcome(&response).attempts,
            outcome(&response).total_latency
        ),
        (1, ms(3))
    );
    assert_eq!(text(response).await.unwrap(), "role token rest");
}

#[tokio::test(start_paused = true)]
async fn what_has_no_body_is_answered_by_its_head() {
    let slow = || script(vec![(900, data("x"))]);
    for (method, status, body) in [
        (Method::HEAD, 200, slow()),
        (Method::GET, 204, slow()),
        (Method::GET, 304, slow()),
        (Method::GET, 404, slow()),
        (Method::GET, 101, slow()),
        (Method::GET, 200, script(vec![])),
    ] {
        let start = Instant::now();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let held = HttpPolicy::first_byte();
        let response = send(&hedger(), method, held, vec![response]).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(
            (start.elapsed(), outcome(&response).head_latency),
            (ms(0), None)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_response_is_not_waited_for() {
    let mut failed = Response::new(script(vec![(900, data("sorry"))]));
    *failed.status_mut() = StatusCode::BAD_GATEWAY;
    let good = Response::new(script(vec![(1, data("good"))]));
    let held = HttpPolicy::first_byte();
    let response = send(&hedger(), Method::GET, held, vec![failed, good])
        .await
        .unwrap();
    assert_eq!(
        (outcome(&response).total_latency, response.status()),
        (ms(1), StatusCode::OK)
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_at_once_is_a_failure() {
    let broken = || Response::new(script(vec![(1, Err("reset"))]));
    let good = Response::new(script(vec![(1, data("good")), (1, Err("reset later"))]));
    let held = HttpPolicy::first_byte();
    let response = send(&hedger(), Method::GET, held, vec![broken(), good])
        .await
        .unwrap();
    assert_eq!(outcome(&response).retries, 1);
    // What fails later is the caller's to see.
    assert_eq!(text(response).await, Err("reset later"));

    let responses = vec![broken(), broken()];
    let error = send(&hedger(), Method::GET, held, responses)
        .await
        .unwrap_err();
    assert_eq!(error, "reset");
}

#[tokio::test(start_paused = true)]
async fn a_body_without_data_is_not_held_for_ever() {
    let comment = || (1, Ok(Frame::data(Bytes::from(vec![b':'; 40_000]))));
    let frames = vec![comment(), comment(), comment()];
    let held = HttpPolicy::first_event();
    let response = send(
        &hedger(),
        Method::GET,
        held,
        vec![Response::new(script(frames))],
    )
    .await;
    let response = response.unwrap();
    assert_eq!(outcome(&response).total_latency, ms(2));
    assert_eq!(text(response).await.unwrap().len(), 120_000);
}

/// A body whose one frame is a buffer of two chunks.
struct Chained(Option<Chain<Bytes, Bytes>>);

impl Body for Chained {
    type Data = Chain<Bytes, Bytes>;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, &'static str>>> {
        match self.0.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Poll::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_chunk_of_a_buffer_is_looked_at() {
    let answer = async |second: &'static [u8]| {
        let service = service_fn(move |_: Request<()>| async move {
            let data = Bytes::from(&b": ping\n"[..]).chain(Bytes::from(second));
            Ok::<_, &str>(Response::new(Chained(Some(data))))
        });
        let service = HttpPolicy::first_event().layer(service);
        tokio::time::timeout(ms(100), service.oneshot(Request::new(()))).await
    };
    assert!(answer(b": ping\n").await.is_err());
    let response = answer(b"data: 1\n\n").await;
    let response = response.expect("the event is not seen").unwrap();
    let frame = response.into_body().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap().remaining(), 16);
}
