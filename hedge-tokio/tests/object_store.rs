//! Hedged reads from object stores, on paused time.

use core::ops::Range;
use core::pin::pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Waker};
use core::time::Duration;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_lite::StreamExt;
use hedge_tokio::object_store::{HedgedStore, SizeClass};
use hedge_tokio::{HedgeConfig, Outcome};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use tokio::time::{Instant, sleep};

const HOUR: Duration = Duration::from_secs(3600);
const CHUNK: usize = 10;

/// How a store answers one `get_opts`.
#[derive(Clone, Copy, Debug, Default)]
struct Script {
    head: Duration,
    /// How long the body waits before the byte of this offset within it.
    stall: Option<(usize, Duration)>,
    /// Fails before the byte of this offset within the body.
    breaks: Option<usize>,
    /// Fails instead of answering.
    fails: bool,
    /// Answers with this status.
    status: Option<u16>,
    without_e_tag: bool,
    /// The body does not end after its last byte.
    ends_late: bool,
}

/// An object store in memory, whose reads take as long as `script` says.
#[derive(Clone)]
struct Scripted {
    inner: Arc<InMemory>,
    script: Arc<dyn Fn(usize) -> Script + Send + Sync>,
    seen: Arc<Mutex<Vec<GetOptions>>>,
    writes: Arc<AtomicUsize>,
}

impl Scripted {
    fn new(
        inner: &Arc<InMemory>,
        script: impl Fn(usize) -> Script + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner: Arc::clone(inner),
            script: Arc::new(script),
            seen: Arc::default(),
            writes: Arc::default(),
        }
    }

    fn reads(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

fn broken() -> Error {
    Error::Generic {
        store: "Scripted",
        source: "the connection was reset".into(),
    }
}

#[async_trait]
impl ObjectStore for Scripted {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(options.clone());
            seen.len() - 1
        };
        let script = (self.script)(number);
        sleep(script.head).await;
        if script.fails {
            return Err(broken());
        }
        if let Some(status) = script.status {
            return Err(Error::Generic {
                store: "Scripted",
                source: Box::new(Status(status)),
            });
        }
        let mut result = self.inner.get_opts(location, options).await?;
        if script.without_e_tag {
            result.meta.e_tag = None;
        }
        #[allow(irrefutable_let_patterns)]
        let GetResultPayload::Stream(mut whole) = result.payload else {
            panic!("a store in memory gives streams")
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = whole.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
        let chunks: Vec<_> = bytes.chunks(CHUNK).map(Bytes::copy_from_slice).collect();
        let body = futures_lite::stream::unfold(
            (chunks.into_iter(), 0),
            move |(mut chunks, at)| async move {
                let Some(chunk) = chunks.next() else {
                    if script.ends_late {
                        sleep(HOUR).await;
                    }
                    return None;
                };
                let end = at + chunk.len();
                if let Some((_, stall)) = script
                    .stall
                    .filter(|(offset, _)| (at..end).contains(offset))
                {
                    sleep(stall).await;
                }
                let broke = script
                    .breaks
                    .is_some_and(|offset| (at..end).contains(&offset));
                Some((if broke { Err(broken()) } else { Ok(chunk) }, (chunks, end)))
            },
        );
        result.payload = GetResultPayload::Stream(Box::pin(body));
        Ok(result)
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_secs(60)).await;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// 100 different bytes at `/object`.
async fn memory() -> (Arc<InMemory>, Vec<u8>) {
    let (inner, bytes) = (Arc::new(InMemory::new()), (0..100).collect::<Vec<u8>>());
    inner.put(&path(), bytes.clone().into()).await.unwrap();
    (inner, bytes)
}

fn path() -> Path {
    "object".into()
}

/// A hedge after 100 ms, with as much budget as there is.
fn config() -> HedgeConfig {
    HedgeConfig {
        strategy: hedge_core::StrategyKind::Fixed,
        delay_ms: Some(100.0),
        budget_percent: 100.0,
        timeout_ms: None,
        ..HedgeConfig::default()
    }
}

fn hedged(primary: &Scripted, sibling: &Scripted) -> HedgedStore {
    HedgedStore::builder(primary.clone())
        .hedges_through(sibling.clone())
        .config(config())
        .stall(Some(Duration::from_secs(2)))
        .build()
        .unwrap()
}

fn stuck() -> Script {
    Script {
        head: HOUR,
        ..Script::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_goes_through_the_sibling_and_the_outcome_says_so() {
    let (inner, bytes) = memory().await;
    let primary = Scripted::new(&inner, |_| stuck());
    let sibling = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &sibling);
    let start = Instant::now();
    let result = store.get(&path()).await.unwrap();
    let outcome = *result.extensions.get::<Outcome>().unwrap();
    assert_eq!(result.bytes().await.unwrap(), bytes);
    assert_eq!(start.elapsed(), Duration::from_millis(100));
    assert!(outcome.hedge_won);
    assert_eq!((primary.reads(), sibling.reads()), (1, 1));
    assert_eq!(store.stats().extra_attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_bytes_win_and_not_the_head() {
    let (inner, bytes) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        stall: Some((0, HOUR)),
        ..Script::default()
    });
    let sibling = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &sibling);
    let start = Instant::now();
    assert_eq!(
        store.get(&path()).await.unwrap().bytes().await.unwrap(),
        bytes
    );
    assert_eq!(start.elapsed(), Duration::from_millis(100));
    assert_eq!(sibling.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_is_answered_without_a_body() {
    let (inner, _) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        stall: Some((0, HOUR)),
        ..Script::default()
    });
    let store = hedged(&primary, &primary);
    let start = Instant::now();
    assert_eq!(store.head(&path()).await.unwrap().size, 100);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(
        store.stats().classes[SizeClass::Head as usize]
            .1
            .total_requests,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_object_is_an_answer() {
    let (inner, _) = memory().await;
    inner.put(&"empty".into(), PutPayload::new()).await.unwrap();
    let primary = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &primary);
    assert!(
        store
            .get(&"empty".into())
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(primary.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_goes_on_at_its_offset_in_another_attempt() {
    let (inner, bytes) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        stall: Some((35, HOUR)),
        ..Script::default()
    });
    let sibling = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &sibling);
    let start = Instant::now();
    assert_eq!(
        store.get_range(&path(), 10..90).await.unwrap(),
        bytes[10..90]
    );
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    let seen = sibling.seen.lock().unwrap();
    // The bytes 10 to 39 came from the primary: offset 35 is in its fourth chunk.
    assert_eq!(seen[0].range, Some((40..90).into()));
    assert!(seen[0].if_match.is_some());
    assert_eq!(store.stats().resumed, 1);
    assert_eq!(store.stats().extra_attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_body_that_goes_on_is_not_replaced() {
    let (inner, bytes) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        stall: Some((50, Duration::from_millis(2500))),
        ..Script::default()
    });
    let sibling = Scripted::new(&inner, |_| stuck());
    let store = hedged(&primary, &sibling);
    let start = Instant::now();
    assert_eq!(
        store.get(&path()).await.unwrap().bytes().await.unwrap(),
        bytes
    );
    assert_eq!(start.elapsed(), Duration::from_millis(2500));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_goes_on_in_another_attempt() {
    let (inner, bytes) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        breaks: Some(70),
        ..Script::default()
    });
    let sibling = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &sibling);
    assert_eq!(
        store.get(&path()).await.unwrap().bytes().await.unwrap(),
        bytes
    );
    assert_eq!(store.stats().resumed, 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_was_replaced_is_an_error_and_never_a_mix() {
    let (inner, _) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        stall: Some((50, HOUR)),
        ..Script::default()
    });
    let sibling = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &sibling);
    let body = store.get(&path()).await.unwrap();
    inner.put(&path(), vec![7; 100].into()).await.unwrap();
    assert!(matches!(
        body.bytes().await,
        Err(Error::Precondition { .. })
    ));
    assert_eq!(store.stats().replaced, 1);
}

/// Ignores preconditions, as some servers do.
#[tokio::test(start_paused = true)]
async fn a_store_that_ignores_the_precondition_does_not_mix_either() {
    let (inner, _) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        stall: Some((50, HOUR)),
        ..Script::default()
    });
    // Other bytes under the same name, and without an ETag that could be compared.
    let (other, _) = memory().await;
    other.put(&path(), vec![7; 100].into()).await.unwrap();
    let sibling = Lax(Scripted::new(&other, |_| Script::default()));
    let store = HedgedStore::builder(primary)
        .hedges_through(sibling)
        .config(config())
        .build()
        .unwrap();
    assert!(matches!(
        store.get(&path()).await.unwrap().bytes().await,
        Err(Error::Precondition { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn without_an_e_tag_a_stall_is_an_error() {
    let (inner, _) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        stall: Some((50, HOUR)),
        without_e_tag: true,
        ..Script::default()
    });
    let store = hedged(&primary, &primary);
    let error = store.get(&path()).await.unwrap().bytes().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Generic HedgedStore error: the body stalled for 2s at byte 50, and could not be resumed"
    );
    assert_eq!((primary.reads(), store.stats().stalled), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_is_not_resumed_beyond_the_budget() {
    let (inner, bytes) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        stall: Some((50, Duration::from_secs(5))),
        ..Script::default()
    });
    let sibling = Scripted::new(&inner, |_| Script::default());
    let store = HedgedStore::builder(primary)
        .hedges_through(sibling.clone())
        .config(HedgeConfig {
            budget_percent: 0.0,
            ..config()
        })
        .build()
        .unwrap();
    let start = Instant::now();
    assert_eq!(
        store.get(&path()).await.unwrap().bytes().await.unwrap(),
        bytes
    );
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(sibling.reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_body_does_not_wait_for_the_budget_for_ever() {
    let (inner, _) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        stall: Some((50, HOUR)),
        ..Script::default()
    });
    let store = HedgedStore::builder(primary)
        .config(HedgeConfig {
            budget_percent: 0.0,
            ..config()
        })
        .stall(Some(Duration::from_secs(2)))
        .build()
        .unwrap();
    let start = Instant::now();
    let error = store.get(&path()).await.unwrap().bytes().await.unwrap_err();
    assert!(error.to_string().contains("stalled"), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(6));
    assert_eq!(store.stats().stalled, 1);
}

#[derive(Debug)]
struct Status(u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status) = self;
        write!(
            f,
            "Error performing GET http://s3/x in 1ms - Server returned non-2xx status code: {status} Why: body"
        )
    }
}

impl core::error::Error for Status {}

#[tokio::test(start_paused = true)]
async fn an_error_that_stays_is_not_retried() {
    let (inner, _) = memory().await;
    let primary = Scripted::new(&inner, |_| Script::default());
    // The store in memory calls this error `Generic`.
    let store = hedged(&primary, &primary);
    let error = store.get_range(&path(), 200..210).await.unwrap_err();
    assert!(matches!(error, Error::Generic { .. }), "{error}");
    assert_eq!(primary.reads(), 1);
    for (status, reads) in [
        (400, 1),
        (405, 1),
        (416, 1),
        (408, 2),
        (429, 2),
        (500, 2),
        (503, 2),
    ] {
        let primary = Scripted::new(&inner, move |_| Script {
            status: Some(status),
            ..Script::default()
        });
        hedged(&primary, &primary).get(&path()).await.unwrap_err();
        assert_eq!(primary.reads(), reads, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn stores_with_names_are_told_apart() {
    let named = |name: &str| {
        let config = HedgeConfig {
            strategy_name: Some(name.parse().unwrap()),
            ..config()
        };
        HedgedStore::builder(InMemory::new()).config(config).build()
    };
    let store = named("images").unwrap();
    let name = store.hedger(SizeClass::Small).status().strategy_name;
    assert_eq!(name.as_str(), "images-small");
    let error = named("a-name-of-twenty-eight-bytes").unwrap_err();
    assert!(
        error.to_string().starts_with("`strategy_name` is \"a-name"),
        "{error}"
    );
    let store = HedgedStore::new(InMemory::new());
    assert_eq!(
        store
            .hedger(SizeClass::Head)
            .status()
            .strategy_name
            .as_str(),
        "head"
    );
}

#[tokio::test(start_paused = true)]
async fn places_in_flight_are_given_back() {
    let (inner, _) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        stall: Some((50, HOUR)),
        ..Script::default()
    });
    let sibling = Scripted::new(&inner, |_| Script {
        stall: Some((30, HOUR)),
        ..Script::default()
    });
    let store = hedged(&primary, &sibling);
    let mut body = store.get(&path()).await.unwrap().into_stream();
    for _ in 0..6 {
        body.next().await.unwrap().unwrap();
    }
    assert_eq!(store.hedger(SizeClass::Whole).in_flight(), 1);
    drop(body);
    assert_eq!(store.hedger(SizeClass::Whole).in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_ends_the_read_and_a_broken_connection_does_not() {
    let (inner, bytes) = memory().await;
    let primary = Scripted::new(&inner, |number| Script {
        fails: number == 1,
        ..Script::default()
    });
    let sibling = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &sibling);
    assert!(matches!(
        store.get(&"missing".into()).await,
        Err(Error::NotFound { .. })
    ));
    assert_eq!(sibling.reads(), 0);
    assert_eq!(
        store.get(&path()).await.unwrap().bytes().await.unwrap(),
        bytes
    );
    assert_eq!(sibling.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn writes_are_never_hedged() {
    let (inner, _) = memory().await;
    let primary = Scripted::new(&inner, |_| Script::default());
    let sibling = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &sibling);
    store.put(&"new".into(), "bytes".into()).await.unwrap();
    assert_eq!(primary.writes.load(Ordering::Relaxed), 1);
    assert_eq!(sibling.writes.load(Ordering::Relaxed), 0);
    store.delete(&"new".into()).await.unwrap();
    assert_eq!(store.stats().reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn ranges_are_hedged_and_of_one_object() {
    let (inner, bytes) = memory().await;
    let primary = Scripted::new(&inner, |_| stuck());
    let sibling = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &sibling);
    let ranges = store.get_ranges(&path(), &[0..10, 60..75]).await.unwrap();
    assert_eq!(ranges, [&bytes[0..10], &bytes[60..75]]);

    // Two reads, since the ranges lie far apart. The object is replaced between them.
    let (inner, _) = memory().await;
    inner.put(&path(), vec![1; 3 << 20].into()).await.unwrap();
    let replaced = Arc::clone(&inner);
    let primary = Scripted::new(&inner, move |number| {
        if number == 1 {
            // It is ready at once.
            let location = path();
            let put = pin!(replaced.put(&location, vec![2; 3 << 20].into()));
            assert!(put.poll(&mut Context::from_waker(Waker::noop())).is_ready());
        }
        Script::default()
    });
    let store = hedged(&primary, &primary);
    let mixed = store
        .get_ranges(&path(), &[0..10, (2 << 20)..(2 << 20) + 10])
        .await;
    assert!(
        matches!(mixed, Err(Error::Precondition { .. })),
        "{mixed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn ranges_that_the_object_does_not_have_are_errors() {
    let (inner, bytes) = memory().await;
    let primary = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &primary);
    let error = store
        .get_ranges(&path(), &[0..5, 120..130])
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("120..130 begins after the object's 100 bytes"),
        "{error}"
    );
    let empty = [Range { start: 7, end: 7 }];
    let error = store.get_ranges(&path(), &empty).await.unwrap_err();
    assert!(error.to_string().contains("7..7 is empty"), "{error}");
    let cut = store.get_ranges(&path(), &[0..5, 95..130]).await.unwrap();
    assert_eq!(cut, [&bytes[..5], &bytes[95..]]);
}

/// The last byte is there, and the end of the body is not.
#[tokio::test(start_paused = true)]
async fn a_body_is_whole_with_its_last_byte() {
    let (inner, bytes) = memory().await;
    let primary = Scripted::new(&inner, |_| Script {
        ends_late: true,
        ..Script::default()
    });
    let store = hedged(&primary, &primary);
    let start = Instant::now();
    assert_eq!(
        store.get(&path()).await.unwrap().bytes().await.unwrap(),
        bytes
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(primary.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_size_has_a_delay_and_all_share_a_budget() {
    let (inner, _) = memory().await;
    let primary = Scripted::new(&inner, |_| Script::default());
    let store = hedged(&primary, &primary);
    store.head(&path()).await.unwrap();
    store.get_range(&path(), 0..10).await.unwrap();
    store.get(&path()).await.unwrap();
    let stats = store.stats();
    let requests = stats
        .classes
        .each_ref()
        .map(|(_, metrics)| metrics.total_requests);
    assert_eq!(requests, [1, 1, 0, 0, 1]);
    assert!(
        stats
            .to_string()
            .contains("bodies: 0 resumed, 0 stalled, 0 replaced")
    );
}

#[test]
fn a_stall_of_zero_is_refused() {
    let error = HedgedStore::builder(InMemory::new())
        .stall(Some(Duration::ZERO))
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`stall` is 0, but must be greater than 0"
    );
}

/// Leaves out preconditions.
#[derive(Clone, Debug)]
struct Lax(Scripted);

impl fmt::Display for Lax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lax")
    }
}

#[async_trait]
impl ObjectStore for Lax {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0
            .get_opts(
                location,
                GetOptions {
                    if_match: None,
                    ..options
                },
            )
            .await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
