//! Bodies that are hedged on their first byte, over real connections on loopback.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::routing::get;
use futures_lite::stream;
use hedge_tokio::tower::{FirstDataService, HedgeLayer, HedgeService, HttpPolicy, Policy};
use hedge_tokio::{Attempt, Budget, Fixed, Hedger, Outcome};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tower::{ServiceBuilder, ServiceExt};

const BODIES: usize = 1000;
const CHUNK: usize = 16 * 1024;
const CHUNKS: usize = 32;
/// The body of this request pauses, for longer than the hedger allows a request.
const PAUSES: usize = 1;
const TIMEOUT: Duration = Duration::from_secs(6);

/// A server. The head of each response comes at once; the bodies of primaries of even requests never do.
struct Server {
    /// Bodies that never come, and those of them that were given up, because the client was gone.
    stalled: AtomicU64,
    gone: AtomicU64,
    /// Chunks of endless bodies.
    chunks: AtomicU64,
}

struct Gone(Arc<Server>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Ordering::Relaxed);
    }
}

const ATTEMPT: HeaderName = HeaderName::from_static("x-attempt");

/// [`HttpPolicy`], which marks attempts.
#[derive(Clone)]
struct Marked(HttpPolicy);

impl<B: Clone, C, E> Policy<Request<B>, Response<C>, E> for Marked {
    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        Policy::<_, Response<C>, E>::copy(&self.0, request)
    }

    fn prepare(&self, request: &mut Request<B>, attempt: Attempt) {
        let index = HeaderValue::from(attempt.index());
        request.headers_mut().insert(ATTEMPT, index);
    }

    fn answered(&self, response: &mut Response<C>, outcome: &Outcome) {
        Policy::<Request<B>, _, E>::answered(&self.0, response, outcome);
    }
}

/// Chunk `n` of what an attempt is sent. It is another one than any chunk nearby, of this attempt or of others.
fn chunk(body: usize, attempt: u8, n: usize) -> Bytes {
    static BYTES: LazyLock<Bytes> =
        LazyLock::new(|| (0..CHUNK + 251).map(|byte| (byte % 251) as u8).collect());
    let start = (body * 7919 + usize::from(attempt) * 104_729 + n * CHUNK) % 251;
    BYTES.slice(start..start + CHUNK)
}

async fn body(
    State(server): State<Arc<Server>>,
    Path(body): Path<usize>,
    headers: HeaderMap,
) -> Body {
    let attempt = u8::from(headers[ATTEMPT] != "0");
    let gone = (body.is_multiple_of(2) && attempt == 0).then(|| {
        server.stalled.fetch_add(1, Ordering::Relaxed);
        Gone(server)
    });
    let chunks = stream::unfold((0, gone), move |(n, gone)| async move {
        if gone.is_some() {
            core::future::pending::<()>().await;
        }
        if body == PAUSES && n == CHUNKS / 2 {
            sleep(TIMEOUT + Duration::from_secs(1)).await;
        }
        let chunk = Ok::<_, Infallible>(chunk(body, attempt, n));
        (n < CHUNKS).then_some((chunk, (n + 1, gone)))
    });
    Body::from_stream(chunks)
}

/// A body without end.
async fn endless(State(server): State<Arc<Server>>) -> Body {
    let chunk = Bytes::from(vec![b'x'; CHUNK]);
    Body::from_stream(stream::repeat_with(move || {
        server.chunks.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(chunk.clone())
    }))
}

async fn serve() -> (SocketAddr, Arc<Server>) {
    let server = Arc::new(Server {
        stalled: AtomicU64::new(0),
        gone: AtomicU64::new(0),
        chunks: AtomicU64::new(0),
    });
    let app = Router::new()
        .route("/body/{body}", get(body))
        .route("/endless", get(endless))
        .with_state(server.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    (address, server)
}

type Service = HedgeService<FirstDataService<Client<HttpConnector, Empty<Bytes>>>, Marked>;

fn client() -> Service {
    let hedger = Hedger::builder()
        .strategy(Fixed::new(Duration::from_millis(20)))
        .budget(Budget::unlimited())
        .timeout(TIMEOUT)
        .build()
        .unwrap();
    ServiceBuilder::new()
        .layer(HedgeLayer::new(hedger, Marked(HttpPolicy::new())))
        .layer(HttpPolicy::first_byte())
        .service(Client::builder(TokioExecutor::new()).build_http())
}

fn request(address: SocketAddr, path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("http://{address}{path}"));
    request.body(Empty::new()).unwrap()
}

/// Asks for a body. Returns whether its hedge won.
async fn check(client: Service, address: SocketAddr, body: usize) -> bool {
    let request = request(address, &format!("/body/{body}"));
    let response = client.oneshot(request).await.unwrap();
    let outcome: Outcome = *response.extensions().get().unwrap();
    assert!(outcome.head_latency.is_some());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let is_whole = bytes.len() == CHUNK * CHUNKS
        && (0..CHUNKS).all(|n| bytes[n * CHUNK..][..CHUNK] == chunk(body, outcome.winner, n));
    assert!(
        is_whole,
        "body {body} is not as attempt {} sent it",
        outcome.winner
    );
    outcome.hedge_won
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_whole_and_losers_are_gone() {
    let (address, server) = serve().await;
    let client = client();
    // The one that pauses is read beside the others.
    let pauses = tokio::spawn(check(client.clone(), address, PAUSES));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let client = client.clone();
        workers.spawn(async move {
            let mut won = 0;
            for body in (worker..BODIES).step_by(8).filter(|body| *body != PAUSES) {
                let hedge_won = check(client.clone(), address, body).await;
                assert!(
                    hedge_won || !body.is_multiple_of(2),
                    "body {body} has no primary"
                );
                won += usize::from(hedge_won);
            }
            won
        });
    }
    let won: usize = workers.join_all().await.into_iter().sum();
    assert!(won >= BODIES / 2, "{won}");
    pauses.await.unwrap();
    // The server saw the connection of each loser close.
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    assert!(count(&server.stalled) > 0);
    let gone = async {
        while count(&server.gone) < count(&server.stalled) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), gone)
        .await
        .expect("losers stayed");
}

#[tokio::test]
async fn a_slow_reader_holds_the_server_back() {
    let (address, server) = serve().await;
    let response = client()
        .oneshot(request(address, "/endless"))
        .await
        .unwrap();
    let mut body = response.into_body();
    for _ in 0..3 {
        let read = body.frame().await.unwrap().unwrap();
        assert!(read.data_ref().is_some());
        // The server fills the buffers of the connection, and then waits.
        sleep(Duration::from_millis(100)).await;
    }
    let bytes = server.chunks.load(Ordering::Relaxed) * CHUNK as u64;
    assert!(
        bytes < 64 << 20,
        "{bytes} bytes were sent to a reader that has read hardly any"
    );
}
