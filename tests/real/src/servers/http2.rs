//! nginx with HTTP/2 behind a relay that freezes a connection: a hedge over the connection that its primary waits for
//! gains nothing, and one through a client with a separate connection does.

use core::convert::Infallible;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use hedge_tokio::tower::{HedgeService, HttpPolicy};
use hedge_tokio::{Budget, Fixed, Hedger};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::{Service, ServiceExt};

use super::nginx::launch;
use crate::Failure;
use crate::load::{Reads, read, value_of};
use crate::process::{Folder, free_port};
use crate::report::Report;

/// How long the connection is frozen.
const FROZEN: Duration = Duration::from_secs(5);
/// Requests in that time, one every so long.
const REQUESTS: u64 = 500;
const EVERY: Duration = Duration::from_millis(4);
/// About the P95 of what is healthy here.
const DELAY: Duration = Duration::from_millis(40);
/// How much of the healthy P99 the hedged one may be.
const MOST: f64 = 1.3;

pub(crate) async fn run(folder: &Folder, report: &mut Report) -> Result<(), Failure> {
    report.say("http2: starting nginx, a relay in front of it and an upstream behind it");
    let upstream = serve().await?;
    let port = free_port()?;
    let server = format!(
        "server {{ listen 127.0.0.1:{port} http2; keepalive_requests 1000000; location / {{ proxy_pass http://{upstream}; }} }}"
    );
    let nginx = launch(folder, &server)?;
    let nginx_address = SocketAddr::from(([127, 0, 0, 1], port));
    let plain = client();
    nginx
        .ready(async || get(&plain, nginx_address, 1).await)
        .await?;

    let healthy = Relay::start(nginx_address).await?;
    get(&plain, healthy.address, 1).await?;
    let healthy = read(REQUESTS, EVERY, |key| get(&plain, healthy.address, key)).await;

    let relay = Relay::start(nginx_address).await?;
    let unhedged = frozen(&relay, &client(), None).await?;

    let relay = Relay::start(nginx_address).await?;
    let only = client();
    let hedged = HedgeService::new(only.clone(), hedger()?, HttpPolicy::new());
    let through_itself = frozen(&relay, &hedged, None).await?;

    let relay = Relay::start(nginx_address).await?;
    let sibling = client();
    let hedged = HedgeService::new(client(), hedger()?, HttpPolicy::new());
    let hedged = hedged.hedges_through(sibling.clone());
    let through_sibling = frozen(&relay, &hedged, Some(&sibling)).await?;

    let p99 = |reads: &Reads| reads.percentile(99.0).as_secs_f64() * 1e3;
    let all = [
        ("healthy", &healthy),
        ("frozen, unhedged", &unhedged),
        ("frozen, through the same client", &through_itself),
        ("frozen, through a sibling", &through_sibling),
    ];
    for (name, reads) in all {
        report.say(format_args!(
            "http2, {name:<32} P50 {:7.1} ms  P99 {:7.1} ms",
            reads.percentile(50.0).as_secs_f64() * 1e3,
            p99(reads)
        ));
    }
    report.own_replies("http2", &all.map(|(_, reads)| reads));
    let gain = p99(&through_itself) / p99(&unhedged);
    report.check(
        gain >= 0.95,
        format_args!("http2: through the same client the P99 is {gain:.2} of the unhedged one"),
    );
    let ratio = p99(&through_sibling) / p99(&healthy);
    report.check(
        ratio <= MOST,
        format_args!(
            "http2: through a sibling the P99 is {ratio:.2} of the healthy one, at most {MOST}"
        ),
    );
    Ok(())
}

type Http2 = Client<HttpConnector, Empty<Bytes>>;

/// A client, which has one connection.
fn client() -> Http2 {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.http2_only(true).build_http()
}

fn hedger() -> Result<Hedger, Failure> {
    // The second mends a slow answer to the first, as there are among the healthy ones too.
    let builder = Hedger::builder().strategy(Fixed::new(DELAY)).max_hedges(2);
    Ok(builder.budget(Budget::unlimited()).build()?)
}

async fn get<S>(service: &S, address: SocketAddr, key: u64) -> Result<String, Failure>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<Incoming>> + Clone,
    S::Error: Into<Failure>,
{
    let request = Request::get(format!("http://{address}/?key={key}")).body(Empty::new())?;
    let response = service.clone().oneshot(request).await.map_err(Into::into)?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

/// Reads through `service` while its first connection is frozen.
async fn frozen<S>(relay: &Relay, service: &S, sibling: Option<&Http2>) -> Result<Reads, Failure>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<Incoming>> + Clone,
    S::Error: Into<Failure>,
{
    // The first connection is that of primaries.
    get(service, relay.address, 1).await?;
    if let Some(sibling) = sibling {
        get(sibling, relay.address, 1).await?;
    }
    relay.frozen.send_replace(true);
    let thaw = async {
        tokio::time::sleep(FROZEN).await;
        relay.frozen.send_replace(false);
    };
    let reads = read(REQUESTS, EVERY, |key| get(service, relay.address, key));
    Ok(tokio::join!(reads, thaw).0)
}

/// Forwards connections, of which it can freeze the first.
struct Relay {
    address: SocketAddr,
    frozen: watch::Sender<bool>,
}

impl Relay {
    async fn start(to: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let frozen = watch::Sender::new(false);
        // Never true.
        let flows = watch::Sender::new(false);
        let first = frozen.clone();
        tokio::spawn(async move {
            let accepted = AtomicUsize::new(0);
            while let Ok((client, _)) = listener.accept().await {
                let is_first = accepted.fetch_add(1, Ordering::Relaxed) == 0;
                let frozen = if is_first { &first } else { &flows };
                tokio::spawn(forward(
                    client,
                    to,
                    [frozen.subscribe(), frozen.subscribe()],
                ));
            }
        });
        Ok(Self { address, frozen })
    }
}

async fn forward(client: TcpStream, to: SocketAddr, frozen: [watch::Receiver<bool>; 2]) {
    let Ok(server) = TcpStream::connect(to).await else {
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let [up, down] = frozen;
    tokio::join!(
        copy(from_client, to_server, up),
        copy(from_server, to_client, down)
    );
}

/// Copies until either end is closed.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut frozen: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Answers at a free address as long as the program runs.
async fn serve() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let requests = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let requests = requests.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let number = requests.fetch_add(1, Ordering::Relaxed);
                async move {
                    tokio::time::sleep(latency(number)).await;
                    let query = request.uri().query().unwrap_or_default();
                    let key = query.strip_prefix("key=").and_then(|key| key.parse().ok());
                    let value = key.map(value_of).unwrap_or_default();
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(value))))
                }
            });
            // A client that leaves is an error here.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

/// 10 ms and an exponential 8 ms; of 3 % of the requests, 100 to 300 ms. Evenly spread over the requests, so that a few
/// hundred have the percentiles of many.
fn latency(number: u64) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let share = (number as f64 * GOLDEN).fract();
    let millis = if share < 0.97 {
        10.0 - 8.0 * (1.0 - share / 0.97).ln()
    } else {
        100.0 + 200.0 * (share - 0.97) / 0.03
    };
    Duration::from_secs_f64(millis / 1e3)
}
