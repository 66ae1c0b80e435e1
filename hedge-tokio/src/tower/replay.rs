//! Request bodies that can be sent more than once.

use core::fmt;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use hedge_core::BoxError;
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::RequestOptions;
use super::size_hint::size_hint;

/// A layer that reads request bodies into memory, so that requests whose body is a stream can be hedged.
///
/// It belongs above the [`HedgeLayer`](super::HedgeLayer), which then receives a [`ReplayBody`]. A body that is longer
/// than the limit is sent as a stream, and its request is not hedged. A request is sent when its whole body has been
/// read, so exclude clients that write the body while they read the response with [`only`](Self::only).
///
/// While a body is still arriving, the ready service is released, so that a slow upload takes no place below a concurrency
/// limit. The request is sent once the service is ready again.
///
/// ```
/// use hedge_tokio::Hedger;
/// use hedge_tokio::tower::{HedgeLayer, HttpPolicy, ReplayLayer};
/// use http_body_util::{Full, StreamBody};
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::ServiceBuilder;
///
/// let hedger = Hedger::builder().build()?;
/// let service = ServiceBuilder::new()
///     .layer(ReplayLayer::new(64 * 1024))
///     .layer(HedgeLayer::new(hedger, HttpPolicy::new()))
///     .service(Client::builder(TokioExecutor::new()).build_http());
/// # use tower::Service;
/// # let mut service = service;
/// # if false { let _ = service.call(http::Request::new(Full::<&'static [u8]>::default())); }
/// # Ok::<(), hedge_tokio::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ReplayLayer {
    limit: usize,
    reads: fn(&Parts) -> bool,
}

impl ReplayLayer {
    /// Creates a layer that reads bodies of up to `limit` bytes into memory.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            reads: |_| true,
        }
    }

    /// Reads only the bodies of requests for which `reads` returns true. All others are sent as they arrive. A request
    /// whose [`RequestOptions`] turn off hedging is never read.
    ///
    /// ```
    /// use hedge_tokio::tower::{ReplayLayer, may_hedge};
    ///
    /// let layer = ReplayLayer::new(64 * 1024).only(|parts| may_hedge(&parts.method, &parts.headers));
    /// ```
    pub const fn only(mut self, reads: fn(&Parts) -> bool) -> Self {
        self.reads = reads;
        self
    }

    fn reads(&self, parts: &Parts) -> bool {
        let options = parts.extensions.get::<RequestOptions<'static>>();
        options.is_none_or(|options| options.limits.hedge) && (self.reads)(parts)
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = ReplayService<S>;

    fn layer(&self, inner: S) -> ReplayService<S> {
        ReplayService {
            inner,
            layer: *self,
        }
    }
}

/// The service of a [`ReplayLayer`].
#[derive(Clone, Debug)]
pub struct ReplayService<S> {
    inner: S,
    layer: ReplayLayer,
}

impl<S, B> Service<Request<B>> for ReplayService<S>
where
    S: Service<Request<ReplayBody<B>>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ReplayFuture<S, S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let spare = self.inner.clone();
        let service = mem::replace(&mut self.inner, spare);
        ReplayFuture::new(&self.layer, service, request)
    }
}

pin_project! {
    /// The response future of a [`ReplayService`].
    pub struct ReplayFuture<S, F, B> {
        #[pin]
        state: State<S, F, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B> {
        // The service is ready until the body has to be waited for.
        Reading {
            reading: Reading<B>,
            next: Option<(S, Parts)>,
            is_ready: bool,
        },
        Waiting {
            next: Option<(S, Request<ReplayBody<B>>)>,
        },
        Calling {
            #[pin]
            response: F,
        },
    }
}

impl<S, F, B: Body + Unpin> ReplayFuture<S, F, B> {
    /// Sends `request` through `service`, which is ready, once its body has been read.
    pub(crate) fn new(layer: &ReplayLayer, service: S, request: Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let limit = layer.reads(&parts).then_some(layer.limit);
        Self {
            state: State::Reading {
                reading: Reading::new(body, limit),
                next: Some((service, parts)),
                is_ready: true,
            },
        }
    }

    /// Returns what the request waits for.
    #[cfg(feature = "grpc")]
    pub(crate) fn stage(&self) -> Stage<'_> {
        match &self.state {
            State::Reading { reading, .. } => Stage::Reading(reading.data()),
            State::Waiting { .. } => Stage::Waiting,
            State::Calling { .. } => Stage::Sent,
        }
    }

    /// Sends the request as it is: what follows of its body is sent as it comes, and the request is not hedged.
    #[cfg(feature = "grpc")]
    pub(crate) fn stop_reading(self: Pin<&mut Self>) {
        if let StateProj::Reading { reading, .. } = self.project().state.project() {
            reading.limit = None;
        }
    }
}

/// What a request waits for.
#[cfg(feature = "grpc")]
pub(crate) enum Stage<'r> {
    /// Its body, of which this was read.
    Reading(&'r [u8]),
    /// A service that is ready.
    Waiting,
    /// Its response.
    Sent,
}

impl<S, B> Future for ReplayFuture<S, S::Future, B>
where
    S: Service<Request<ReplayBody<B>>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Calling { response } => return response.poll(cx).map_err(Into::into),
                StateProj::Waiting { next } => {
                    let Some((service, _)) = next else {
                        return Poll::Pending;
                    };
                    ready!(service.poll_ready(cx)).map_err(Into::into)?;
                    let Some((mut service, request)) = next.take() else {
                        return Poll::Pending;
                    };
                    let response = service.call(request);
                    state.set(State::Calling { response });
                }
                StateProj::Reading {
                    reading,
                    next,
                    is_ready,
                } => {
                    let Poll::Ready(body) = reading.poll(cx) else {
                        // A clone holds no place that others may wait for.
                        if let Some((service, _)) = next
                            && mem::take(is_ready)
                        {
                            *service = service.clone();
                        }
                        return Poll::Pending;
                    };
                    let body = body.map_err(Into::into)?;
                    let is_ready = *is_ready;
                    let Some((mut service, mut parts)) = next.take() else {
                        return Poll::Pending;
                    };
                    if !body.is_whole() {
                        let options = parts.extensions.remove::<RequestOptions<'static>>();
                        parts
                            .extensions
                            .insert(options.unwrap_or_default().unhedged());
                    }
                    let request = Request::from_parts(parts, body);
                    state.set(if is_ready {
                        State::Calling {
                            response: service.call(request),
                        }
                    } else {
                        State::Waiting {
                            next: Some((service, request)),
                        }
                    });
                }
            }
        }
    }
}

impl<S, F, B> fmt::Debug for ReplayFuture<S, F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayFuture").finish_non_exhaustive()
    }
}

/// Reads a body until it ends or is longer than the limit.
struct Reading<B> {
    /// The body; `None` once it has ended, or was passed to the [`ReplayBody`].
    body: Option<B>,
    /// The limit in bytes; `None` if the body is not read.
    limit: Option<usize>,
    first: Bytes,
    /// The frames after the first one are appended to a copy of it.
    data: BytesMut,
    trailers: Option<HeaderMap>,
}

impl<B: Body + Unpin> Reading<B> {
    fn new(body: B, limit: Option<usize>) -> Self {
        Self {
            body: Some(body),
            limit,
            first: Bytes::new(),
            data: BytesMut::new(),
            trailers: None,
        }
    }

    #[cfg(feature = "grpc")]
    fn data(&self) -> &[u8] {
        if self.data.is_empty() {
            &self.first
        } else {
            &self.data
        }
    }

    fn len(&self) -> usize {
        self.first.len() + self.data.len()
    }

    fn add(&mut self, mut data: B::Data) {
        let data = data.copy_to_bytes(data.remaining());
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.data.is_empty() {
            self.data.extend_from_slice(&mem::take(&mut self.first));
        }
        self.data.extend_from_slice(&data);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<ReplayBody<B>, B::Error>> {
        while let Some(body) = &mut self.body {
            if body.is_end_stream() {
                self.body = None;
                break;
            }
            let least = body.size_hint().lower();
            let Some(limit) = self.limit.map(|limit| limit as u64) else {
                break;
            };
            if (self.len() as u64).saturating_add(least) > limit {
                break;
            }
            let Some(body) = &mut self.body else { break };
            match ready!(Pin::new(body).poll_frame(cx)).transpose()? {
                None => self.body = None,
                Some(frame) => match frame.into_data() {
                    Ok(data) => self.add(data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
        let data = if self.data.is_empty() {
            mem::take(&mut self.first)
        } else {
            mem::take(&mut self.data).freeze()
        };
        let rest = self.body.take();
        Poll::Ready(Ok(ReplayBody {
            data,
            trailers: self.trailers.take(),
            rest: rest.map(|rest| Arc::new(Mutex::new(Some(rest)))),
            taken: None,
        }))
    }
}

/// A request body in memory. A clone sends the same bytes again.
///
/// If the body was longer than the limit of its [`ReplayLayer`], the remainder follows as a stream and can be sent only
/// once. The request is then marked as one that must not be hedged, and a second clone returns an error.
pub struct ReplayBody<B> {
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// The remainder that was not read into memory, for the first clone that reaches it; `None` if there is none.
    rest: Option<Arc<Mutex<Option<B>>>>,
    /// The remainder, if this clone has taken it.
    taken: Option<B>,
}

impl<B> ReplayBody<B> {
    /// Creates a body from bytes.
    pub const fn new(data: Bytes) -> Self {
        Self {
            data,
            trailers: None,
            rest: None,
            taken: None,
        }
    }

    /// Returns whether the whole body is in memory, so that it can be sent more than once.
    pub const fn is_whole(&self) -> bool {
        self.rest.is_none()
    }
}

impl<B> Clone for ReplayBody<B> {
    fn clone(&self) -> Self {
        Self {
            data: self.data.clone(),
            trailers: self.trailers.clone(),
            rest: self.rest.clone(),
            taken: None,
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody")
            .field("bytes", &self.data.len())
            .field("is_whole", &self.is_whole())
            .finish_non_exhaustive()
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if !this.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut this.data)))));
        }
        if let Some(trailers) = this.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if let Some(rest) = this.rest.take() {
            let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
            this.taken = rest.take();
            if this.taken.is_none() {
                let error = "the body is longer than the limit, and has been sent already";
                return Poll::Ready(Some(Err(error.into())));
            }
        }
        let Some(body) = &mut this.taken else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(Into::into)?;
            Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
        }))
    }

    fn is_end_stream(&self) -> bool {
        let is_read = self.data.is_empty() && self.trailers.is_none() && self.rest.is_none();
        is_read && self.taken.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let len = self.data.len() as u64;
        let rest = match (&self.rest, &self.taken) {
            (Some(rest), _) => {
                let rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
                rest.as_ref().map_or_else(SizeHint::new, Body::size_hint)
            }
            (None, Some(taken)) => taken.size_hint(),
            (None, None) => SizeHint::with_exact(0),
        };
        size_hint(len, &rest, self.trailers.is_some())
    }
}
