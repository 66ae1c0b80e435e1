//! The first item of a stream, and the attempt that waits for it.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::attempt::{Classify, Verdict};

/// The answer of an attempt that opens a stream: the first item, and the stream.
///
/// Classifiers of streams receive it:
///
/// ```
/// use hedge_core::Verdict;
/// use hedge_core::stream::First;
///
/// // A classifier that refuses streams whose first item says that the server is overloaded.
/// fn overloaded<S, E>(result: &Result<First<u16, S>, E>) -> Verdict {
///     match result {
///         Ok(First { item: Some(503), .. }) | Err(_) => Verdict::Retry,
///         Ok(_) => Verdict::Accept,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct First<I, S> {
    /// The first item; `None` if the stream ended without one.
    pub item: Option<I>,
    /// The stream, from which the first item has been taken.
    pub stream: S,
}

/// A classifier for streams that retries those that end without an item, besides those that fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct NonEmpty;

impl<I, S, E> Classify<First<I, S>, E> for NonEmpty {
    #[inline]
    fn classify(&self, _: &crate::attempt::Attempt, result: &Result<First<I, S>, E>) -> Verdict {
        match result {
            Ok(First { item: Some(_), .. }) => Verdict::Accept,
            Ok(First { item: None, .. }) | Err(_) => Verdict::Retry,
        }
    }
}

/// The result of opening a stream: `Result<S, E>` for a stream of `Result<I, E>`.
///
/// [`FirstItem`] is generic over this result and not over the stream, and the error of opening is apart from that of the
/// items, since the compiler could otherwise not prove that the future is `Send` for streams that borrow and for errors
/// such as `Box<dyn Error + Send + Sync>`.
pub trait Opened {
    /// The type of the stream.
    type Stream: Unpin;
    /// The type of its items.
    type Item;
    /// The type of the error that opening fails with.
    type Error;
    /// The type of the error that an item is instead.
    type ItemError;

    /// Returns the stream.
    ///
    /// # Errors
    ///
    /// Returns the error if it could not be opened.
    fn opened(self) -> Result<Self::Stream, Self::Error>;

    /// Polls the stream for its next item.
    fn poll_item(
        stream: &mut Self::Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Self::Item, Self::ItemError>>>;
}

impl<S, I, D, E> Opened for Result<S, E>
where
    S: Stream<Item = Result<I, D>> + Unpin,
{
    type Stream = S;
    type Item = I;
    type Error = E;
    type ItemError = D;

    #[inline]
    fn opened(self) -> Self {
        self
    }

    #[inline]
    fn poll_item(stream: &mut S, cx: &mut Context<'_>) -> Poll<Option<Result<I, D>>> {
        Pin::new(stream).poll_next(cx)
    }
}

pin_project! {
    /// The future of an attempt that opens a stream. It waits for the first item and resolves to the item and the
    /// stream.
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct FirstItem<F>
    where
        F: Future,
        F::Output: Opened,
    {
        #[pin]
        state: State<F, <F::Output as Opened>::Stream>,
        // Both are one type, as only the caller of `new` knows: see `Opened`.
        into_error: fn(<F::Output as Opened>::ItemError) -> <F::Output as Opened>::Error,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, S> {
        Opening { #[pin] future: F },
        // `None` once the stream has been handed out.
        Open { stream: Option<S> },
    }
}

impl<F> FirstItem<F>
where
    F: Future,
    F::Output: Opened,
{
    pub(crate) const fn new(
        future: F,
        into_error: fn(<F::Output as Opened>::ItemError) -> <F::Output as Opened>::Error,
    ) -> Self {
        Self {
            state: State::Opening { future },
            into_error,
        }
    }
}

impl<F> Future for FirstItem<F>
where
    F: Future,
    F::Output: Opened,
{
    type Output = Result<
        First<<F::Output as Opened>::Item, <F::Output as Opened>::Stream>,
        <F::Output as Opened>::Error,
    >;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut state = this.state;
        loop {
            match state.as_mut().project() {
                StateProj::Opening { future } => {
                    let stream = Some(ready!(future.poll(cx)).opened()?);
                    state.set(State::Open { stream });
                }
                StateProj::Open { stream: open } => {
                    let Some(stream) = open else {
                        return Poll::Pending;
                    };
                    let item = ready!(F::Output::poll_item(stream, cx)).transpose();
                    let item = item.map_err(this.into_error)?;
                    return match open.take() {
                        Some(stream) => Poll::Ready(Ok(First { item, stream })),
                        None => Poll::Pending,
                    };
                }
            }
        }
    }
}

impl<F> fmt::Debug for FirstItem<F>
where
    F: Future,
    F::Output: Opened,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = matches!(self.state, State::Open { .. });
        f.debug_struct("FirstItem")
            .field("is_open", &is_open)
            .finish_non_exhaustive()
    }
}
