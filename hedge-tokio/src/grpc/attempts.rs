//! The attempts of a call, each of which has answered when its first message or its status has come.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Buf;
use hedge_core::BoxError;
use http::response::Parts;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Code;
use super::policy::Hold;
use super::reply::Reply;
use crate::tower::{ReplayBody, size_hint};

/// A service that sends the attempts of calls, below a hedge layer with a [`GrpcPolicy`](super::GrpcPolicy).
///
/// The status of a call is in the headers of the response, or in the trailers after its messages. So an attempt of a
/// streaming call has answered when its first message or its trailers have come, and one of a unary call when its
/// trailers have come. The [`GrpcBody`] of the response contains what was read. The response to a call that may not be
/// hedged is passed on without waiting.
///
/// [`GrpcLayer`](super::GrpcLayer) includes this service. Use it separately to hedge over replicas, as
/// [`GrpcCalls`](super::GrpcCalls) shows.
#[derive(Clone, Debug)]
pub struct GrpcAttempts<S, F> {
    inner: S,
    into_body: F,
    limit: usize,
}

impl<S, F> GrpcAttempts<S, F> {
    /// Creates a service that sends attempts through `inner`, with the request bodies that `into_body` makes, such as
    /// `tonic::body::Body::new`.
    pub const fn new(inner: S, into_body: F) -> Self {
        Self {
            inner,
            into_body,
            limit: super::LIMIT,
        }
    }

    /// Sets how many bytes of a response are read before the attempt has answered. Default: 64 KiB.
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

impl<S, F, B, C, D> Service<Request<ReplayBody<B>>> for GrpcAttempts<S, F>
where
    S: Service<Request<D>, Response = Response<C>>,
    S::Error: Into<BoxError>,
    F: Fn(ReplayBody<B>) -> D,
    C: Body + Unpin,
    C::Error: Into<BoxError>,
{
    type Response = Response<GrpcBody<C>>;
    type Error = BoxError;
    type Future = GrpcAttempt<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<ReplayBody<B>>) -> Self::Future {
        let hold = request.extensions().get::<Hold>().copied();
        GrpcAttempt {
            response: self.inner.call(request.map(&self.into_body)),
            reading: None,
            hold,
            limit: self.limit,
        }
    }
}

pin_project! {
    /// The response future of [`GrpcAttempts`].
    pub struct GrpcAttempt<F, C: Body> {
        #[pin]
        response: F,
        reading: Option<(Parts, Reading<C>)>,
        // What the response waits for; `None` if it is passed on without waiting.
        hold: Option<Hold>,
        limit: usize,
    }
}

impl<F, C, E> Future for GrpcAttempt<F, C>
where
    F: Future<Output = Result<Response<C>, E>>,
    E: Into<BoxError>,
    C: Body + Unpin,
    C::Error: Into<BoxError>,
{
    type Output = Result<Response<GrpcBody<C>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some((_, reading)) = this.reading {
                let is_unary = *this.hold == Some(Hold::Whole);
                let reply = ready!(reading.poll(cx, is_unary, *this.limit))?;
                let Some((mut parts, reading)) = this.reading.take() else {
                    return Poll::Pending;
                };
                parts.extensions.insert(reply);
                return Poll::Ready(Ok(Response::from_parts(parts, reading.into_body())));
            }
            let response = ready!(this.response.as_mut().poll(cx)).map_err(Into::into)?;
            let (mut parts, body) = response.into_parts();
            let reply = Reply::from_headers(parts.status, &parts.headers);
            let reading = Reading::new(body);
            if this.hold.is_none() || reply.is_some() {
                reply.map(|reply| parts.extensions.insert(reply));
                return Poll::Ready(Ok(Response::from_parts(parts, reading.into_body())));
            }
            *this.reading = Some((parts, reading));
        }
    }
}

impl<F, C: Body> fmt::Debug for GrpcAttempt<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcAttempt").finish_non_exhaustive()
    }
}

/// The number of bytes before a message: a flag and its length.
pub(super) const PREFIX: usize = 5;

/// Reads the beginning of a response.
struct Reading<C: Body> {
    /// The body; `None` once it has ended.
    body: Option<C>,
    frames: VecDeque<Frame<C::Data>>,
    bytes: usize,
    prefix: [u8; PREFIX],
    /// The number of bytes of the prefix that are known.
    known: usize,
}

impl<C> Reading<C>
where
    C: Body + Unpin,
    C::Error: Into<BoxError>,
{
    fn new(body: C) -> Self {
        Self {
            body: Some(body),
            frames: VecDeque::new(),
            bytes: 0,
            prefix: [0; PREFIX],
            known: 0,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_unary: bool,
        limit: usize,
    ) -> Poll<Result<Reply, BoxError>> {
        loop {
            if self.bytes > limit || (!is_unary && self.has_message()) {
                return Poll::Ready(Ok(Reply::MESSAGE));
            }
            let frame = ready!(poll_until_end(&mut self.body, cx));
            let Some(frame) = frame.transpose().map_err(Into::into)? else {
                return Poll::Ready(Ok(Reply::missing(Code::Unknown)));
            };
            if let Some(data) = frame.data_ref() {
                self.add(data);
            }
            let reply = frame.trailers_ref().map(Reply::from_trailers);
            self.frames.push_back(frame);
            if let Some(reply) = reply {
                return Poll::Ready(Ok(reply));
            }
        }
    }

    fn add(&mut self, data: &C::Data) {
        // Copy the missing part of the prefix, unless a buffer did not show some of its bytes.
        if self.known == self.bytes {
            let mut chunks = [IoSlice::new(&[]); PREFIX];
            let count = data.chunks_vectored(&mut chunks);
            let bytes = chunks.iter().take(count).flat_map(|chunk| chunk.iter());
            for (place, byte) in self.prefix.iter_mut().skip(self.known).zip(bytes) {
                *place = *byte;
                self.known += 1;
            }
        }
        self.bytes = self.bytes.saturating_add(data.remaining());
    }

    fn has_message(&self) -> bool {
        let [_, length @ ..] = self.prefix;
        // If a buffer does not show the prefix, its bytes count as a message.
        let length = match self.known {
            PREFIX => u32::from_be_bytes(length) as usize,
            _ => 0,
        };
        self.bytes >= PREFIX && self.bytes - PREFIX >= length
    }

    fn into_body(self) -> GrpcBody<C> {
        GrpcBody {
            frames: self.frames,
            rest: self.body,
        }
    }
}

/// The result of polling a body for a frame.
type PolledFrame<C> = Poll<Option<Result<Frame<<C as Body>::Data>, <C as Body>::Error>>>;

/// Polls a body for a frame, and drops it at its end: a body that has ended must not be polled.
fn poll_until_end<C: Body + Unpin>(body: &mut Option<C>, cx: &mut Context<'_>) -> PolledFrame<C> {
    let Some(inner) = body else {
        return Poll::Ready(None);
    };
    let frame = ready!(Pin::new(inner).poll_frame(cx));
    if frame.is_none() {
        *body = None;
    }
    Poll::Ready(frame)
}

/// The body of a response: the part that was read, and the remainder.
pub struct GrpcBody<C: Body> {
    frames: VecDeque<Frame<C::Data>>,
    /// The remainder; `None` once it has ended, or if the response did not come from a server.
    rest: Option<C>,
}

impl<C: Body> GrpcBody<C> {
    pub(super) const fn empty() -> Self {
        Self {
            frames: VecDeque::new(),
            rest: None,
        }
    }
}

impl<C: Body> fmt::Debug for GrpcBody<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcBody")
            .field("frames", &self.frames.len())
            .finish_non_exhaustive()
    }
}

impl<C> Body for GrpcBody<C>
where
    C: Body + Unpin,
    C::Data: Unpin,
{
    type Data = C::Data;
    type Error = C::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<C::Data>, C::Error>>> {
        let this = self.get_mut();
        match (this.frames.pop_front(), &mut this.rest) {
            (Some(frame), _) => Poll::Ready(Some(Ok(frame))),
            (None, rest) => poll_until_end(rest, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let data = self.frames.iter().filter_map(Frame::data_ref);
        let read = data.map(|data| data.remaining() as u64).sum::<u64>();
        let rest = self.rest.as_ref();
        let rest = rest.map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let has_trailers = self.frames.iter().any(Frame::is_trailers);
        size_hint(read, &rest, has_trailers)
    }
}
