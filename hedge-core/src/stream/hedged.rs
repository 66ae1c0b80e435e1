//! The stream that won.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use futures_core::Stream;

use super::{First, StreamReport, Watched};
use crate::time::Timer;

/// The stream of the attempt that won: its first item, followed by the rest of the stream, unchanged.
///
/// Dropping it drops the stream.
#[must_use = "streams do nothing unless polled"]
pub struct HedgedStream<S, I, T> {
    head: Head<I>,
    stream: S,
    timer: T,
}

/// The state of the first item.
enum Head<I> {
    /// The first item was returned.
    Passed,
    Item(I),
    /// The stream has ended without an item, and must not be polled again.
    Ended,
}

// Items are never pinned, and the stream is only moved if it is `Unpin`.
impl<S: Unpin, I, T> Unpin for HedgedStream<S, I, T> {}

impl<S, I, T> HedgedStream<S, I, T> {
    pub(crate) fn new(first: First<I, S>, timer: T) -> Self {
        Self {
            head: first.item.map_or(Head::Ended, Head::Item),
            stream: first.stream,
            timer,
        }
    }

    /// Returns the stream, from which the first item has been taken.
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the stream by mutable reference. An item that is read directly from it is not returned by this stream.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S, I, T: Timer + Clone> HedgedStream<S, I, T> {
    /// Ends the stream with [`StreamError::Stalled`](super::StreamError::Stalled) if no item comes for longer than
    /// `limit`. The limit begins when the reader starts to wait, so the reader's own time does not count.
    ///
    /// ```
    /// # use core::pin::pin;
    /// # use core::time::Duration;
    /// # use futures_lite::{StreamExt, stream};
    /// # use hedge_core::Hedger;
    /// # use hedge_core::manual::ManualTimer;
    /// # let clock = ManualTimer::<8>::new();
    /// # let hedger = Hedger::builder(&clock).build_local()?;
    /// # clock.drive(async {
    /// let hedged = hedger.stream(|_| async { Ok(stream::iter([Ok::<_, ()>("one")]).chain(stream::pending())) });
    /// let mut items = pin!(hedged.await.unwrap().value.stall(Duration::from_secs(10)));
    /// assert_eq!(items.next().await, Some(Ok("one")));
    /// let error = items.next().await.unwrap().unwrap_err();
    /// assert_eq!(error.to_string(), "no item for 10s, after 1 item");
    /// assert_eq!(items.next().await, None);
    /// # });
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    pub fn stall(self, limit: Duration) -> Watched<S, I, T> {
        let timer = self.timer.clone();
        Watched::new(Some(self), timer, limit, None)
    }

    /// Calls `report` once, when the stream has ended, failed or stalled, or when it is dropped. Each item then costs a
    /// reading of the clock.
    ///
    /// ```
    /// # use core::pin::pin;
    /// # use core::time::Duration;
    /// # use futures_lite::{StreamExt, stream};
    /// # use hedge_core::Hedger;
    /// # use hedge_core::manual::ManualTimer;
    /// use hedge_core::stream::{StreamEnd, StreamReport};
    ///
    /// # let clock = ManualTimer::<8>::new();
    /// # let hedger = Hedger::builder(&clock).build_local()?;
    /// # clock.drive(async {
    /// let hedged = hedger.stream(|_| async { Ok(stream::iter(["one", "two"].map(Ok::<_, ()>))) });
    /// let items = hedged.await.unwrap().value.report(|report: StreamReport| {
    ///     assert_eq!((report.end, report.items), (StreamEnd::Ended, 2));
    /// });
    /// assert_eq!(pin!(items).count().await, 2);
    /// # });
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    pub fn report<F: FnOnce(StreamReport)>(self, report: F) -> Watched<S, I, T, F> {
        let timer = self.timer.clone();
        Watched::new(Some(self), timer, Duration::MAX, Some(report))
    }
}

impl<S, I, T, E> Stream for HedgedStream<S, I, T>
where
    S: Stream<Item = Result<I, E>> + Unpin,
{
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.get_mut();
        match this.head {
            Head::Passed => Pin::new(&mut this.stream).poll_next(cx),
            Head::Ended => Poll::Ready(None),
            Head::Item(_) => match core::mem::replace(&mut this.head, Head::Passed) {
                Head::Item(item) => Poll::Ready(Some(Ok(item))),
                Head::Passed | Head::Ended => Poll::Ready(None),
            },
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = match self.head {
            Head::Ended => return (0, Some(0)),
            Head::Passed => return self.stream.size_hint(),
            Head::Item(_) => self.stream.size_hint(),
        };
        let most = most.and_then(|most| most.checked_add(1));
        (least.saturating_add(1), most)
    }
}

impl<S, I, T> fmt::Debug for HedgedStream<S, I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.head {
            Head::Passed => "passed",
            Head::Item(_) => "next",
            Head::Ended => "none",
        };
        f.debug_struct("HedgedStream")
            .field("first_item", &state)
            .finish_non_exhaustive()
    }
}
