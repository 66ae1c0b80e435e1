//! An S3 server that nobody here wrote, behind a relay that delays answers by a heavy tail and freezes bodies.

use core::convert::Infallible;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use hedge_tokio::object_store::HedgedStore;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, RetryConfig};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, sleep_until};
use tower::ServiceExt;

use crate::Failure;
use crate::process::Folder;
use crate::report::Report;

/// The program of the documentation. Here it is only compiled.
#[allow(dead_code)]
mod documented {
    include!("../../../../hedge-tokio/src/object_store/s3.rs");
}

const BUCKET: &str = "measurements";
const OBJECT_LEN: u64 = 4 << 20;
/// Reads of which nothing is counted, so that the hedger has learned.
const WARM_UP: u64 = 400;
const READS: u64 = 2000;
const READ_LEN: u64 = 16 << 10;
const EVERY: Duration = Duration::from_millis(5);
/// How much of the plain P99 the hedged one may be, and how many requests more there may be.
const MOST: f64 = 0.5;
const MOST_EXTRA: f64 = 0.065;
/// When a frozen body is asked for anew.
const STALL: Duration = Duration::from_millis(500);
/// How much of a body comes before it is frozen.
const BEFORE_FREEZE: usize = 256 << 10;

pub(crate) async fn run(folder: &Folder, report: &mut Report) -> Result<(), Failure> {
    report.say("s3: starting s3s-fs behind a relay");
    fs::create_dir(folder.path().join(BUCKET))?;
    let relay = Relay::start(folder).await?;
    let path = Path::from("object");
    let object = bytes(1);
    let plain = relay.client()?;
    plain.put(&path, object.clone().into()).await?;

    let unhedged = reads(READS, &plain, &path, &object).await?;
    let store = HedgedStore::builder(relay.client()?)
        .hedges_through(relay.client()?)
        .stall(Some(STALL))
        .build()?;
    reads(WARM_UP, &store, &path, &object).await?;
    let before = relay.reads();
    let hedged = reads(READS, &store, &path, &object).await?;
    let extra = (relay.reads() - before) as f64 / READS as f64 - 1.0;

    let [plain_p99, hedged_p99] = [p99(&unhedged), p99(&hedged)];
    report.say(format_args!(
        "s3: P99 of {READS} ranged reads {plain_p99:.0} ms plainly, {hedged_p99:.0} ms hedged, {:.1} % more requests\n{}",
        extra * 100.0,
        store.stats()
    ));
    report.check(
        hedged_p99 <= MOST * plain_p99,
        format_args!(
            "s3: hedged P99 {:.2} of the plain one, at most {MOST}",
            hedged_p99 / plain_p99
        ),
    );
    report.check(
        extra <= MOST_EXTRA,
        format_args!(
            "s3: {:.3} more requests as the server counted, at most {MOST_EXTRA}",
            extra
        ),
    );
    report.check(true, "s3: every byte of every read is right");

    relay.freeze.store(true, Ordering::Relaxed);
    let body = store.get(&path).await?.bytes().await;
    report.check(
        body.as_ref().is_ok_and(|body| *body == object) && store.stats().resumed == 1,
        "s3: a body that freezes halfway is resumed, and right",
    );

    relay.freeze.store(true, Ordering::Relaxed);
    let reading = store.get(&path).await?;
    plain.put(&path, bytes(2).into()).await?;
    let mixed = reading.bytes().await;
    report.check(
        matches!(mixed, Err(Error::Precondition { .. })),
        "s3: a frozen body whose object is replaced is an error, and no mix",
    );
    report.check(
        matches!(
            store.get(&"missing".into()).await,
            Err(Error::NotFound { .. })
        ),
        "s3: a missing object is reported as such",
    );
    Ok(())
}

/// The contents of an object, all different.
fn bytes(seed: u64) -> Bytes {
    (0..OBJECT_LEN / 8)
        .flat_map(|word| mix(word ^ seed << 32).to_le_bytes())
        .collect()
}

/// Reads ranges of the object, one every so long, checks them, and returns what each took.
async fn reads(
    number: u64,
    store: &impl ObjectStore,
    path: &Path,
    object: &Bytes,
) -> Result<Vec<Duration>, Failure> {
    let start = Instant::now();
    let each = (0..number).map(|read| async move {
        let due = start + EVERY * read as u32;
        sleep_until(due).await;
        let from = mix(read) % (OBJECT_LEN - READ_LEN);
        let found = store.get_range(path, from..from + READ_LEN).await?;
        if found != object[from as usize..][..READ_LEN as usize] {
            return Err(Failure::from("a read gave other bytes"));
        }
        Ok(due.elapsed())
    });
    join_all(each).await.into_iter().collect()
}

fn p99(latencies: &[Duration]) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() * 99 / 100].as_secs_f64() * 1e3
}

/// A number that looks random.
fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ number >> 31
}

/// What stands before the server.
struct Relay {
    address: SocketAddr,
    /// How many reads were sent.
    reads: AtomicU64,
    /// Whether the body of the next read freezes.
    freeze: AtomicBool,
    server: S3Service,
}

impl Relay {
    async fn start(folder: &Folder) -> Result<Arc<Self>, Failure> {
        let files = FileSystem::new(folder.path()).map_err(|error| format!("{error:?}"))?;
        let mut server = S3ServiceBuilder::new(files);
        server.set_auth(SimpleAuth::from_single("key", "secret"));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let relay = Arc::new(Self {
            address: listener.local_addr()?,
            reads: AtomicU64::new(0),
            freeze: AtomicBool::new(false),
            server: server.build(),
        });
        let accepting = Arc::clone(&relay);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let relay = Arc::clone(&accepting);
                let service = service_fn(move |request| Arc::clone(&relay).answer(request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // It ends when its client closes it.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Ok(relay)
    }

    fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// A client with separate connections.
    fn client(&self) -> Result<AmazonS3, Failure> {
        let retry = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let client = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.address))
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_region("us-east-1")
            .with_access_key_id("key")
            .with_secret_access_key("secret")
            .with_retry(retry);
        Ok(client.build()?)
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Failure>>, Infallible> {
        let reads = request.method() == Method::GET;
        let mut freezes = false;
        if reads {
            let number = self.reads.fetch_add(1, Ordering::Relaxed);
            freezes = self.freeze.swap(false, Ordering::Relaxed);
            let drawn = mix(number + 1);
            // One in 33 has a heavy tail.
            let millis = if drawn % 33 == 0 {
                150 + drawn / 33 % 350
            } else {
                3 + drawn / 33 % 6
            };
            sleep(Duration::from_millis(millis)).await;
        }
        let answer = self.server.clone().oneshot(request).await;
        Ok(answer.map_or_else(
            |_| {
                let mut failed = Response::new(empty());
                *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                failed
            },
            |answer| {
                answer.map(|body| {
                    let body = body.map_err(|error| Failure::from(error.to_string()));
                    let left = if freezes { BEFORE_FREEZE } else { usize::MAX };
                    UnsyncBoxBody::new(Freezing {
                        body: UnsyncBoxBody::new(body),
                        left,
                    })
                })
            },
        ))
    }
}

fn empty() -> UnsyncBoxBody<Bytes, Failure> {
    UnsyncBoxBody::new(http_body_util::Empty::new().map_err(|never| match never {}))
}

/// A body that stops after so many bytes, and never ends.
struct Freezing {
    body: UnsyncBoxBody<Bytes, Failure>,
    left: usize,
}

impl Body for Freezing {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.left == 0 {
            return Poll::Pending;
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let len = frame.data_ref().map_or(0, Bytes::len);
            self.left = self.left.saturating_sub(len);
        }
        frame
    }
}
