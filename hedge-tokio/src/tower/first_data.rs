//! Responses that are answers once their first data has come.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Buf;
use hedge_core::{BoxError, Outcome};
use http::{Extensions, Method, Request, Response, StatusCode, response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::HttpPolicy;
use super::size_hint::size_hint;

/// The maximum number of bytes without data that are held back. A response that sends more has answered.
const MAX_HELD: usize = 64 * 1024;

/// The maximum number of chunks that are examined in the buffer of one frame.
const MAX_CHUNKS: usize = 16;

/// The beginning of a line with data in an event stream.
const DATA: &[u8] = b"data:";

fn is_line_break(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Holds responses back until the first data of their bodies has come, so that a hedge layer above hedges by the time
/// to the first data, and learns it. Created by [`HttpPolicy::first_byte`], [`HttpPolicy::first_event`] and
/// [`HttpPolicy::first_data`].
///
/// The head and the body of the response are unchanged. The layer reads only as much of the body as it needs. The
/// caller reads the rest, which is not subject to the hedger's timeout or to other attempts.
///
/// The head alone is the answer to `HEAD` and `CONNECT`, with the status 204 or a status other than 2xx, such as 101,
/// 304 or 503, and if the body is empty. If a body fails before its first data, the attempt has failed. At most 64 KiB
/// without data are held back.
#[derive(Clone, Copy)]
pub struct FirstDataLayer<F = fn(&[u8]) -> bool> {
    is_data: F,
    /// Whether the first bytes of a line decide if it is data.
    by_line: bool,
}

/// Layers that hold responses back.
impl HttpPolicy {
    /// Returns a layer that holds responses back until the first byte of their bodies has come. It belongs below the
    /// hedge layer:
    ///
    /// ```
    /// use hedge_tokio::Hedger;
    /// use hedge_tokio::tower::{HedgeLayer, HttpPolicy};
    /// use http_body_util::Empty;
    /// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    /// use tower::ServiceBuilder;
    ///
    /// let client = Client::builder(TokioExecutor::new()).build_http::<Empty<&'static [u8]>>();
    /// let service = ServiceBuilder::new()
    ///     .layer(HedgeLayer::new(Hedger::builder().build()?, HttpPolicy::new()))
    ///     .layer(HttpPolicy::first_byte())
    ///     .service(client);
    /// # Ok::<(), hedge_tokio::ConfigError>(())
    /// ```
    ///
    /// The [`Outcome`] in the response's extensions contains the time to the head
    /// ([`head_latency`](Outcome::head_latency)) and to the first byte ([`total_latency`](Outcome::total_latency)).
    pub const fn first_byte() -> FirstDataLayer {
        Self::first_data(|bytes| !bytes.is_empty())
    }

    /// Returns a layer like [`first_byte`](Self::first_byte) that holds responses back until a `data:` line of their
    /// server-sent events has begun. Comments, which keep connections alive, do not count.
    pub const fn first_event() -> FirstDataLayer {
        FirstDataLayer {
            is_data: |bytes| {
                bytes
                    .split(is_line_break)
                    .any(|line| line.starts_with(DATA))
            },
            by_line: true,
        }
    }

    /// Returns a layer like [`first_byte`](Self::first_byte) that holds responses back until `is_data` returns true. It
    /// is called with all bytes of the body that have come so far.
    ///
    /// ```
    /// use hedge_tokio::tower::HttpPolicy;
    ///
    /// // The first event of a language model often says who speaks, and has no token yet.
    /// let first_token = HttpPolicy::first_data(|bytes: &[u8]| {
    ///     String::from_utf8_lossy(bytes).split(r#""content":""#).skip(1).any(|text| !text.starts_with('"'))
    /// });
    /// ```
    pub const fn first_data<F: Fn(&[u8]) -> bool>(is_data: F) -> FirstDataLayer<F> {
        FirstDataLayer {
            is_data,
            by_line: false,
        }
    }
}

impl<S, F: Clone> Layer<S> for FirstDataLayer<F> {
    type Service = FirstDataService<S, F>;

    fn layer(&self, inner: S) -> FirstDataService<S, F> {
        FirstDataService {
            inner,
            is_data: self.is_data.clone(),
            by_line: self.by_line,
        }
    }
}

impl<F> fmt::Debug for FirstDataLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstDataLayer").finish_non_exhaustive()
    }
}

/// The service of a [`FirstDataLayer`].
#[derive(Clone)]
pub struct FirstDataService<S, F = fn(&[u8]) -> bool> {
    inner: S,
    is_data: F,
    by_line: bool,
}

impl<S, F, B, C> Service<Request<B>> for FirstDataService<S, F>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Error: Into<BoxError>,
    C: Body + Unpin,
    C::Error: Into<BoxError>,
    F: Fn(&[u8]) -> bool + Clone,
{
    type Response = Response<FirstDataBody<C>>;
    type Error = BoxError;
    type Future = FirstDataFuture<S::Future, C, F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        FirstDataFuture {
            head_only: matches!(*request.method(), Method::HEAD | Method::CONNECT),
            head: self.inner.call(request),
            is_data: self.is_data.clone(),
            by_line: self.by_line,
            held: None,
        }
    }
}

impl<S: fmt::Debug, F> fmt::Debug for FirstDataService<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstDataService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The response future of a [`FirstDataService`].
    pub struct FirstDataFuture<H, C: Body, F> {
        #[pin]
        head: H,
        is_data: F,
        by_line: bool,
        head_only: bool,
        // The response, once its head has come.
        held: Option<Held<C>>,
    }
}

struct Held<C: Body> {
    parts: response::Parts,
    body: FirstDataBody<C>,
    since: Instant,
    /// The bytes that have come so far, if they are more than one frame; without lines that are not data, if `by_line`.
    seen: Vec<u8>,
    /// The number of bytes that have come so far.
    bytes: usize,
    by_line: bool,
}

impl<C: Body + Unpin> Held<C> {
    /// Returns whether the head is the answer.
    fn is_answer(&self) -> bool {
        let status = self.parts.status;
        !status.is_success()
            || status == StatusCode::NO_CONTENT
            || self.body.is_end_stream()
            || self.body.size_hint().exact() == Some(0)
    }

    /// Reads frames until one has data, or the body has ended.
    fn poll_data(
        &mut self,
        is_data: impl Fn(&[u8]) -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), C::Error>> {
        while let Some(frame) = ready!(self.body.poll_inner(cx)) {
            let frame = frame?;
            let is_found = match frame.data_ref() {
                Some(data) => self.is_found(data, &is_data),
                // Trailers end the body.
                None => true,
            };
            self.body.hold(frame);
            if is_found {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn is_found(&mut self, data: &C::Data, is_data: impl Fn(&[u8]) -> bool) -> bool {
        self.bytes = self.bytes.saturating_add(data.remaining());
        let is_first = self.seen.is_empty() && data.chunk().len() == data.remaining();
        if is_first && is_data(data.chunk()) {
            return true;
        }
        let end = self.seen.len().saturating_add(data.remaining());
        let mut chunks = [IoSlice::new(&[]); MAX_CHUNKS];
        let count = data.chunks_vectored(&mut chunks);
        for chunk in chunks.iter().take(count) {
            self.seen.extend_from_slice(chunk);
        }
        // Bytes that a buffer does not show may be data.
        let is_hidden = self.seen.len() < end;
        if is_hidden || self.bytes > MAX_HELD || !is_first && is_data(&self.seen) {
            return true;
        }
        if self.by_line {
            // Keep only the unfinished line, so that no byte is examined twice.
            let line = self.seen.iter().rposition(is_line_break);
            self.seen.drain(..line.map_or(0, |end| end + 1));
            self.seen.truncate(DATA.len());
        }
        false
    }

    fn into_response(mut self, is_held: bool) -> Response<FirstDataBody<C>> {
        if is_held {
            let lead = HeadLead(self.since.elapsed());
            self.parts.extensions.insert(lead);
        }
        Response::from_parts(self.parts, self.body)
    }
}

impl<H, C, E, F> Future for FirstDataFuture<H, C, F>
where
    H: Future<Output = Result<Response<C>, E>>,
    E: Into<BoxError>,
    C: Body + Unpin,
    C::Error: Into<BoxError>,
    F: Fn(&[u8]) -> bool,
{
    type Output = Result<Response<FirstDataBody<C>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let held = match this.held {
            Some(held) => held,
            None => {
                let (parts, body) = ready!(this.head.poll(cx)).map_err(Into::into)?.into_parts();
                let held = this.held.insert(Held {
                    parts,
                    body: FirstDataBody::new(body),
                    since: Instant::now(),
                    seen: Vec::new(),
                    bytes: 0,
                    by_line: *this.by_line,
                });
                if *this.head_only || held.is_answer() {
                    return match this.held.take() {
                        Some(held) => Poll::Ready(Ok(held.into_response(false))),
                        None => Poll::Pending,
                    };
                }
                held
            }
        };
        ready!(held.poll_data(&*this.is_data, cx)).map_err(Into::into)?;
        match this.held.take() {
            Some(held) => Poll::Ready(Ok(held.into_response(true))),
            None => Poll::Pending,
        }
    }
}

impl<H, C: Body, F> fmt::Debug for FirstDataFuture<H, C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstDataFuture")
            .field("has_head", &self.held.is_some())
            .finish_non_exhaustive()
    }
}

/// The time from the head of a response to its first data.
#[derive(Clone, Copy)]
struct HeadLead(Duration);

/// Returns when the head of a response came, from the start of its request.
pub(super) fn head_latency(extensions: &Extensions, outcome: &Outcome) -> Option<Duration> {
    let HeadLead(lead) = extensions.get()?;
    Some(outcome.total_latency.saturating_sub(*lead))
}

/// The result of polling a body for a frame.
type PolledFrame<C> = Poll<Option<Result<Frame<<C as Body>::Data>, <C as Body>::Error>>>;

/// The body of a response that was held back until its first data came: the part that was read, and the rest.
pub struct FirstDataBody<C: Body> {
    /// The first frame. Most bodies have data in it, so nothing else must be buffered.
    first: Option<Frame<C::Data>>,
    more: VecDeque<Frame<C::Data>>,
    body: C,
    /// Whether the body has ended, so that it must not be polled any more.
    is_over: bool,
}

// Frames are never pinned.
impl<C: Body + Unpin> Unpin for FirstDataBody<C> {}

impl<C: Body + Unpin> FirstDataBody<C> {
    const fn new(body: C) -> Self {
        Self {
            first: None,
            more: VecDeque::new(),
            body,
            is_over: false,
        }
    }

    fn hold(&mut self, frame: Frame<C::Data>) {
        if self.first.is_none() && self.more.is_empty() {
            self.first = Some(frame);
        } else {
            self.more.push_back(frame);
        }
    }

    /// Polls the rest of the body.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> PolledFrame<C> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.is_over = frame.is_none();
        Poll::Ready(frame)
    }

    fn has_held(&self) -> bool {
        self.first.is_some() || !self.more.is_empty()
    }
}

impl<C: Body + Unpin> Body for FirstDataBody<C> {
    type Data = C::Data;
    type Error = C::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<C::Data>, C::Error>>> {
        let this = &mut *self;
        match this.first.take().or_else(|| this.more.pop_front()) {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => this.poll_inner(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.has_held() && (self.is_over || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let frames = || self.first.iter().chain(&self.more);
        let data = frames().filter_map(|frame| frame.data_ref());
        let held = data.map(|data| data.remaining() as u64).sum();
        let rest = if self.is_over {
            SizeHint::with_exact(0)
        } else {
            self.body.size_hint()
        };
        size_hint(held, &rest, frames().any(|frame| frame.is_trailers()))
    }
}

impl<C: Body> fmt::Debug for FirstDataBody<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstDataBody").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;

    use super::*;

    #[test]
    fn lines_without_data_are_looked_at_once() {
        let FirstDataLayer { is_data, by_line } = HttpPolicy::first_event();
        let mut held = Held {
            parts: Response::new(()).into_parts().0,
            body: FirstDataBody::new(Empty::<Bytes>::new()),
            since: Instant::now(),
            seen: Vec::new(),
            bytes: 0,
            by_line,
        };
        let mut is_found = |text: &'static str| {
            let is_found = held.is_found(&Bytes::from(text), is_data);
            assert!(is_found || held.seen.len() <= DATA.len(), "{text:?}");
            is_found
        };
        for _ in 0..100 {
            assert!(!is_found(": ping\r\n"));
            assert!(!is_found("event: first"));
            assert!(!is_found("data: in the middle of a line"));
            assert!(!is_found("\n: "));
            assert!(!is_found("da"));
            assert!(!is_found("ta:"));
            assert!(!is_found("\rda"));
            assert!(!is_found("te:\n"));
        }
        assert!(!is_found("da"));
        assert!(is_found("ta:"));
    }
}
