use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use ::object_store::path::Path;
use ::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result, coalesce_ranges,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use hedge_core::Verdict;

use super::body::{self, Body, Opened, failed};
use super::{HedgedStoreStats, SizeClass};
use crate::{Builder, ConfigError, HedgeConfig, Hedger, SharedBudget};

/// An [`ObjectStore`] whose reads are hedged.
///
/// See the [module](super) for what is hedged and how. A clone shares everything with the original.
///
/// ```
/// use hedge_tokio::object_store::HedgedStore;
/// use object_store::memory::InMemory;
/// use object_store::{ObjectStore, ObjectStoreExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = HedgedStore::new(InMemory::new());
/// store.put(&"greeting".into(), "hello, world".into()).await?;
/// let bytes = store.get_range(&"greeting".into(), 0..5).await?;
/// assert_eq!(bytes, "hello");
/// assert_eq!(store.stats().reads(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HedgedStore {
    shared: Arc<Shared>,
}

/// The state that all reads of a store share.
pub(super) struct Shared {
    stores: Vec<Arc<dyn ObjectStore>>,
    /// The hedgers, one for each of [`SizeClass::ALL`].
    hedgers: [Hedger; SizeClass::ALL.len()],
    pub(super) budget: SharedBudget,
    pub(super) stall: Option<Duration>,
    pub(super) resumed: AtomicU64,
    pub(super) stalled: AtomicU64,
    pub(super) replaced: AtomicU64,
}

impl Shared {
    /// Returns the store for the attempt with this index.
    pub(super) fn store(&self, attempt: usize) -> &Arc<dyn ObjectStore> {
        // There is at least one store.
        &self.stores[attempt % self.stores.len()]
    }
}

impl HedgedStore {
    /// Wraps `store` with the defaults: a hedge at P95 of each size of reads, and a budget of 10 %.
    ///
    /// Hedges go through the same store. [`builder`](Self::builder) can give them another one.
    ///
    /// # Panics
    ///
    /// Never: the defaults are valid.
    #[allow(clippy::expect_used)]
    pub fn new(store: impl ObjectStore) -> Self {
        Self::builder(store)
            .build()
            .expect("the defaults are valid")
    }

    /// Returns a builder of a store that wraps `store`.
    pub fn builder(store: impl ObjectStore) -> HedgedStoreBuilder {
        HedgedStoreBuilder {
            stores: vec![Arc::new(store)],
            config: HedgeConfig {
                timeout_ms: None,
                ..HedgeConfig::default()
            },
            budget: None,
            stall: Some(Duration::from_secs(5)),
            customize: Box::new(|_, builder| builder),
        }
    }

    /// Returns the statistics of the reads, by size.
    pub fn stats(&self) -> HedgedStoreStats {
        let shared = &*self.shared;
        HedgedStoreStats {
            classes: SizeClass::ALL.map(|class| (class, self.hedger(class).metrics())),
            resumed: shared.resumed.load(Ordering::Relaxed),
            stalled: shared.stalled.load(Ordering::Relaxed),
            replaced: shared.replaced.load(Ordering::Relaxed),
        }
    }

    /// Returns the hedger of the reads of this size, for example to change its options.
    pub fn hedger(&self, class: SizeClass) -> &Hedger {
        &self.shared.hedgers[class as usize]
    }

    fn first(&self) -> &Arc<dyn ObjectStore> {
        self.shared.store(0)
    }
}

/// Classifies a result: whether another attempt could give a better answer.
fn verdict<V>(result: &Result<V>) -> Verdict {
    match result {
        Ok(_) => Verdict::Accept,
        Err(Error::Generic { source, .. }) if !is_final(&**source) => Verdict::Retry,
        // Another attempt would get the same answer.
        Err(_) => Verdict::Fatal,
    }
}

/// Returns whether an error, or one of its sources, is about the request: every attempt would get the same.
///
/// `object_store` keeps the types of these errors to itself, or has them only with features of its clients, so this reads
/// their texts.
fn is_final(error: &(dyn core::error::Error + 'static)) -> bool {
    let errors = core::iter::successors(Some(error), |error| error.source());
    errors.map(ToString::to_string).any(|text| {
        let is_range =
            text.starts_with("Wanted range starting at ") || text.starts_with("Range started at ");
        is_range
            || status(&text)
                .is_some_and(|status| matches!(status, 400..=499) && !matches!(status, 408 | 429))
    })
}

/// Returns the status in the text of an error of a client.
fn status(text: &str) -> Option<u16> {
    let (_, status) = text.split_once("Server returned non-2xx status code: ")?;
    status.get(..3)?.parse().ok()
}

impl fmt::Display for HedgedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HedgedStore({})", self.first())
    }
}

impl fmt::Debug for HedgedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { stores, stall, .. } = &*self.shared;
        f.debug_struct("HedgedStore")
            .field("stores", stores)
            .field("stall", stall)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectStore for HedgedStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let hedger = self.hedger(SizeClass::of(&options));
        let opened = hedger
            .call()
            .classify(verdict::<Opened>)
            .request(|attempt| {
                let (store, options) = (self.shared.store(attempt.index()), options.clone());
                async move {
                    let head = options.head;
                    let result = store.get_opts(location, options).await?;
                    Ok(Opened {
                        result: body::open(result, head).await?,
                        attempt: attempt.index(),
                    })
                }
            })
            .await;
        let hedged = opened.map_err(|error| match error {
            hedge_core::Error::Failed { error, .. } => error,
            other => failed(other),
        })?;
        let mut opened = hedged.value;
        // Attach the outcome, so that callers can see how the read was hedged.
        opened.result.extensions.insert(hedged.outcome);
        Ok(Body::wrap(
            Arc::clone(&self.shared),
            location.clone(),
            options,
            opened,
        ))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // Check the ranges here, since joined reads are split by them.
        if let Some(range) = ranges.iter().find(|range| range.start >= range.end) {
            return Err(failed(NoSuchRange {
                range: range.clone(),
                len: None,
            }));
        }
        // All ranges must be of the same version of the object.
        let e_tag = Mutex::new(None);
        let (e_tag, this) = (&e_tag, self);
        let read = move |joined: Range<u64>| async move {
            let options = GetOptions {
                range: Some(joined.clone().into()),
                ..GetOptions::default()
            };
            let result = this.get_opts(location, options).await?;
            let found = result.meta.e_tag.clone();
            let expected = e_tag
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| found.clone())
                .clone();
            if found != expected {
                this.shared.replaced.fetch_add(1, Ordering::Relaxed);
                return Err(Error::Precondition {
                    path: location.to_string(),
                    source: "the object was replaced between the reads of its ranges".into(),
                });
            }
            let end = result.range.end;
            let beyond = ranges
                .iter()
                .find(|wanted| joined.contains(&wanted.start) && wanted.start >= end);
            if let Some(wanted) = beyond {
                return Err(failed(NoSuchRange {
                    range: wanted.clone(),
                    len: Some(end),
                }));
            }
            result.bytes().await
        };
        coalesce_ranges(ranges, read, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.first().put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.first().put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.first().delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.first().list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.first().list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.first().list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.first().copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.first().rename_opts(from, to, options).await
    }
}

/// A builder for a [`HedgedStore`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct HedgedStoreBuilder {
    stores: Vec<Arc<dyn ObjectStore>>,
    config: HedgeConfig,
    budget: Option<SharedBudget>,
    stall: Option<Duration>,
    customize: Box<dyn Fn(SizeClass, Builder) -> Builder>,
}

impl HedgedStoreBuilder {
    /// Sends hedges, and bodies that are resumed, through `sibling`: a client of the same bucket that shares no
    /// connection with the first one.
    ///
    /// With several siblings, the attempts of a read use them in turn.
    pub fn hedges_through(mut self, sibling: impl ObjectStore) -> Self {
        self.stores.push(Arc::new(sibling));
        self
    }

    /// Sets the options of all hedgers. Default: [`HedgeConfig::default`] without a timeout.
    ///
    /// Each hedger has the name of its [`SizeClass`], after the `strategy_name` of the config if there is one, as in
    /// `images-small`. It may be at most 26 bytes long.
    ///
    /// A timeout of the config covers the time to the first bytes of the body.
    pub fn config(mut self, config: HedgeConfig) -> Self {
        self.config = config;
        self
    }

    /// Shares a budget with other hedgers. Default: a separate budget for this store, with the options of the config.
    pub fn shared_budget(mut self, budget: SharedBudget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Changes the hedger of each class of reads beyond what a config can say, for example with a sink or a custom
    /// strategy.
    pub fn customize(
        mut self,
        customize: impl Fn(SizeClass, Builder) -> Builder + 'static,
    ) -> Self {
        self.customize = Box::new(customize);
        self
    }

    /// Sets after how long without bytes the rest of a body is requested with another attempt; `None` for never.
    /// Default: 5 s.
    ///
    /// Only the time during which the caller waits for the body counts.
    pub fn stall(mut self, stall: Option<Duration>) -> Self {
        self.stall = stall;
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    ///
    /// Returns the first invalid option, its value and its range.
    pub fn build(self) -> Result<HedgedStore, ConfigError> {
        let Self {
            stores,
            config,
            budget,
            stall,
            customize,
        } = self;
        if stall == Some(Duration::ZERO) {
            return Err(ConfigError::number("stall", 0.0, "greater than 0"));
        }
        let own = Builder::<4>::from_config(&config)?.build()?;
        let budget = budget.unwrap_or_else(|| own.budget().clone());
        let hedger = |class: SizeClass| {
            let class_name = class.as_str();
            let name = match config.strategy_name {
                Some(name) => format!("{name}-{class_name}"),
                None => class_name.to_owned(),
            };
            let builder = Builder::from_config(&config)?.strategy_name(&name);
            customize(class, builder)
                .shared_budget(budget.clone())
                .build()
        };
        let [head, small, medium, large, whole] = SizeClass::ALL.map(hedger);
        Ok(HedgedStore {
            shared: Arc::new(Shared {
                stores,
                hedgers: [head?, small?, medium?, large?, whole?],
                budget,
                stall,
                resumed: AtomicU64::new(0),
                stalled: AtomicU64::new(0),
                replaced: AtomicU64::new(0),
            }),
        })
    }
}

impl fmt::Debug for HedgedStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stores,
            config,
            stall,
            ..
        } = self;
        f.debug_struct("HedgedStoreBuilder")
            .field("stores", stores)
            .field("config", config)
            .field("stall", stall)
            .finish_non_exhaustive()
    }
}

/// A range that an object does not have.
#[derive(Debug)]
struct NoSuchRange {
    range: Range<u64>,
    /// The length of the object, if it is too short; `None` if the range is empty.
    len: Option<u64>,
}

impl fmt::Display for NoSuchRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.range;
        match self.len {
            Some(len) => write!(
                f,
                "the range {start}..{end} begins after the object's {len} bytes"
            ),
            None => write!(f, "the range {start}..{end} is empty"),
        }
    }
}

impl core::error::Error for NoSuchRange {}
