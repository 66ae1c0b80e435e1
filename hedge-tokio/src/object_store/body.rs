//! A body that continues with another attempt if it stalls.

use core::future::Future;
use core::ops::Range;
use core::pin::Pin;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::error;
use std::fmt;
use std::sync::Arc;

use ::object_store::path::Path;
use ::object_store::{Error, GetOptions, GetRange, GetResult, GetResultPayload, Result};
use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use tokio::time::{Instant, Sleep};

use super::store::Shared;

/// How many times the rest of one body is requested before it ends with an error.
const MAX_RESUMES: u32 = 3;

/// How many times the stall limit may pass without a byte before a body ends for which the budget refuses another attempt.
const MAX_REFUSALS: u32 = 3;

/// The first bytes of a body, and the rest.
pub(super) struct Opened {
    /// The answer, without its body if the body is a stream.
    pub(super) result: GetResult,
    /// The index of the attempt that it came from.
    pub(super) attempt: usize,
}

/// Waits for the first bytes of the body, and puts them in front of the rest.
pub(super) async fn open(mut result: GetResult, head: bool) -> Result<GetResult> {
    if head {
        return Ok(result);
    }
    result.payload = match result.payload {
        GetResultPayload::Stream(mut rest) => {
            let mut first = None;
            while let Some(bytes) = next(&mut rest).await.transpose()? {
                if !bytes.is_empty() {
                    first = Some(bytes);
                    break;
                }
            }
            GetResultPayload::Stream(Box::pin(Prefixed {
                first,
                started: false,
                rest,
            }))
        }
        // The payload can be a file if another crate enables the feature `fs`.
        #[allow(unreachable_patterns)]
        payload => payload,
    };
    Ok(result)
}

async fn next(stream: &mut BoxStream<'static, Result<Bytes>>) -> Option<Result<Bytes>> {
    core::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

struct Prefixed {
    /// The first bytes; `None` if the body has none, so that `rest` has ended and must not be polled again.
    first: Option<Bytes>,
    started: bool,
    rest: BoxStream<'static, Result<Bytes>>,
}

impl Stream for Prefixed {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.started {
            self.started = true;
            return Poll::Ready(self.first.take().map(Ok));
        }
        self.rest.as_mut().poll_next(cx)
    }
}

/// A body whose rest is requested again if it stalls or fails.
pub(super) struct Body {
    shared: Arc<Shared>,
    location: Path,
    options: GetOptions,
    /// The strong ETag of the first answer.
    e_tag: Option<String>,
    /// The range of bytes that have not come yet.
    rest: Range<u64>,
    /// The body that is being read; `None` once it has failed.
    current: Option<BoxStream<'static, Result<Bytes>>>,
    /// The permit of `current`, if that is an extra attempt.
    permit: Option<Permit>,
    resuming: Option<Resuming>,
    /// The timer of the stall, which starts when the body is first pending.
    stalled_at: Option<Pin<Box<Sleep>>>,
    /// The index of the store for the next attempt.
    next_store: usize,
    resumes: u32,
    /// How often the budget has refused another attempt since the last byte.
    refusals: u32,
    done: bool,
}

struct Resuming {
    answer: Pin<Box<dyn Future<Output = Result<GetResult>> + Send>>,
    permit: Permit,
}

impl Body {
    pub(super) fn wrap(
        shared: Arc<Shared>,
        location: Path,
        options: GetOptions,
        opened: Opened,
    ) -> GetResult {
        let Opened {
            mut result,
            attempt,
        } = opened;
        let rest = result.range.clone();
        let e_tag = result
            .meta
            .e_tag
            .clone()
            .filter(|tag| !tag.starts_with("W/"));
        result.payload = match result.payload {
            GetResultPayload::Stream(stream) if !options.head => {
                GetResultPayload::Stream(Box::pin(Self {
                    shared,
                    location,
                    options,
                    e_tag,
                    rest,
                    current: Some(stream),
                    permit: None,
                    resuming: None,
                    stalled_at: None,
                    next_store: attempt.saturating_add(1),
                    resumes: 0,
                    refusals: 0,
                    done: false,
                }))
            }
            payload => payload,
        };
        result
    }

    /// Requests the rest of the body with another attempt.
    ///
    /// Returns `None` if there is no strong ETag, if the body was resumed too often, or if the budget refuses.
    fn resume(&mut self) -> Option<Resuming> {
        let e_tag = self.e_tag.clone()?;
        if self.resumes >= MAX_RESUMES {
            return None;
        }
        let permit = Permit::withdraw(&self.shared)?;
        self.resumes = self.resumes.saturating_add(1);
        self.shared.resumed.fetch_add(1, Ordering::Relaxed);
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.rest.clone())),
            if_match: Some(e_tag.clone()),
            ..self.options.clone()
        };
        let store = Arc::clone(self.shared.store(self.next_store));
        self.next_store = self.next_store.saturating_add(1);
        let (location, rest) = (self.location.clone(), self.rest.clone());
        let answer = async move {
            let result = store.get_opts(&location, options).await?;
            // Check what the store returned: a store that ignores the precondition or the range would mix objects.
            if result.meta.e_tag.as_ref() != Some(&e_tag) || result.range != rest {
                return Err(Error::Precondition {
                    path: location.to_string(),
                    source: Box::new(Replaced),
                });
            }
            open(result, false).await
        };
        Some(Resuming {
            answer: Box::pin(answer),
            permit,
        })
    }

    fn end(&mut self, error: Error) -> Poll<Option<Result<Bytes>>> {
        self.finish();
        Poll::Ready(Some(Err(error)))
    }

    fn finish(&mut self) {
        self.done = true;
        self.current = None;
        self.permit = None;
        self.resuming = None;
    }

    /// Returns the error of a stall at the present position.
    fn stalled(&self) -> Error {
        failed(Stalled {
            stall: self.shared.stall.unwrap_or_default(),
            at: self.rest.start,
        })
    }

    /// Continues with another attempt, or ends the body. `error` is the error of `current`; `None` if it has only
    /// stalled and may still continue.
    fn resume_or_end(&mut self, error: Option<Error>) -> Option<Poll<Option<Result<Bytes>>>> {
        self.resuming = self.resume();
        if self.resuming.is_some() {
            return None;
        }
        match error {
            Some(error) => Some(self.end(error)),
            None if self.may_wait() => {
                // The budget has refused. The current body may still continue, and the budget is asked again after the
                // next stall.
                self.stalled_at = None;
                None
            }
            None => {
                self.shared.stalled.fetch_add(1, Ordering::Relaxed);
                let error = self.stalled();
                Some(self.end(error))
            }
        }
    }

    /// Notes that the budget has refused another attempt. Returns whether the body may wait for another stall.
    fn may_wait(&mut self) -> bool {
        self.refusals = self.refusals.saturating_add(1);
        self.e_tag.is_some() && self.resumes < MAX_RESUMES && self.refusals < MAX_REFUSALS
    }

    fn poll_current(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        match &mut self.current {
            Some(current) => current.as_mut().poll_next(cx),
            None => Poll::Pending,
        }
    }

    fn poll_resuming(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(resuming) = &mut self.resuming else {
            return Poll::Pending;
        };
        let result = ready!(resuming.answer.as_mut().poll(cx));
        let permit = self.resuming.take().map(|resuming| resuming.permit);
        // Another payload is possible if another crate turned on the feature `fs`.
        #[allow(irrefutable_let_patterns)]
        if let GetResultPayload::Stream(stream) = result?.payload {
            self.current = Some(stream);
            self.permit = permit;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(stall) = self.shared.stall else {
            return Poll::Pending;
        };
        let sleep = self.stalled_at.get_or_insert_with(|| {
            let now = Instant::now();
            let at = now
                .checked_add(stall)
                .unwrap_or_else(|| now + Duration::from_secs(86_400 * 365));
            Box::pin(tokio::time::sleep_until(at))
        });
        sleep.as_mut().poll(cx)
    }
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.done {
                return Poll::Ready(None);
            }
            if this.rest.start >= this.rest.end {
                // All bytes have arrived. Do not wait for the end of the body, but poll once, so that the connection is
                // reused if the body has ended.
                let _ = this.poll_current(cx);
                this.finish();
                continue;
            }
            // Use bytes of the first attempt, even while another attempt is asked for the rest.
            match this.poll_current(cx) {
                Poll::Ready(Some(Ok(bytes))) => {
                    this.rest.start = this.rest.start.saturating_add(bytes.len() as u64);
                    this.stalled_at = None;
                    this.resuming = None;
                    this.refusals = 0;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Poll::Ready(ended) => {
                    this.current = None;
                    this.permit = None;
                    this.stalled_at = None;
                    if this.resuming.is_none() {
                        let error = match ended {
                            Some(Err(error)) => error,
                            _ => failed(Truncated {
                                at: this.rest.start,
                                end: this.rest.end,
                            }),
                        };
                        if let Some(end) = this.resume_or_end(Some(error)) {
                            return end;
                        }
                    }
                }
                Poll::Pending => {}
            }
            match this.poll_resuming(cx) {
                Poll::Ready(Ok(())) => {
                    this.stalled_at = None;
                    continue;
                }
                Poll::Ready(Err(error)) => {
                    if matches!(error, Error::Precondition { .. } | Error::NotFound { .. }) {
                        this.shared.replaced.fetch_add(1, Ordering::Relaxed);
                        return this.end(error);
                    }
                    if this.current.is_none() {
                        if let Some(end) = this.resume_or_end(Some(error)) {
                            return end;
                        }
                        continue;
                    }
                    // The stalled body may still continue.
                    this.stalled_at = None;
                }
                Poll::Pending => {}
            }
            ready!(this.poll_stalled(cx));
            this.stalled_at = None;
            if this.resuming.is_some() {
                // The resuming attempt has stalled, too.
                this.resuming = None;
            }
            let ended = this.current.is_none();
            let error = ended.then(|| this.stalled());
            if let Some(end) = this.resume_or_end(error) {
                if ended {
                    this.shared.stalled.fetch_add(1, Ordering::Relaxed);
                }
                return end;
            }
        }
    }
}

/// The permit of an extra attempt: its place in flight is given back when this is dropped.
struct Permit(Arc<Shared>);

impl Permit {
    fn withdraw(shared: &Arc<Shared>) -> Option<Self> {
        shared
            .budget
            .try_withdraw()
            .ok()
            .map(|()| Self(Arc::clone(shared)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.budget.give_back(1);
    }
}

/// Converts an error of this wrapper to that of the trait.
pub(super) fn failed(source: impl error::Error + Send + Sync + 'static) -> Error {
    Error::Generic {
        store: "HedgedStore",
        source: Box::new(source),
    }
}

#[derive(Debug)]
struct Stalled {
    stall: Duration,
    at: u64,
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stall, at } = self;
        write!(
            f,
            "the body stalled for {stall:?} at byte {at}, and could not be resumed"
        )
    }
}

impl error::Error for Stalled {}

#[derive(Debug)]
struct Truncated {
    at: u64,
    end: u64,
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the body ended at byte {}, before byte {}",
            self.at, self.end
        )
    }
}

impl error::Error for Truncated {}

#[derive(Debug)]
struct Replaced;

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object was replaced while it was read")
    }
}

impl error::Error for Replaced {}
