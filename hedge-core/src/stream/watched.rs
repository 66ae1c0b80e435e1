//! A stream whose items are timed.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::HedgedStream;
use crate::panics::catch_nested_panic;
use crate::time;
use crate::time::{Instant, Timer};

pin_project! {
    /// A [`HedgedStream`] with a limit between items, or with a report at its end: see
    /// [`stall`](HedgedStream::stall) and [`report`](HedgedStream::report).
    ///
    /// It holds a timer of the runtime, so you may have to pin it before you read it: `let mut items = pin!(items);`.
    #[must_use = "streams do nothing unless polled"]
    pub struct Watched<S, I, T: Timer, F = fn(StreamReport)>
    where
        F: FnOnce(StreamReport),
    {
        // The stream; `None` once it has ended.
        stream: Option<HedgedStream<S, I, T>>,
        timer: T,
        // The limit in nanoseconds; the largest number means no limit.
        limit: u64,
        #[pin]
        alarm: Option<T::Sleep>,
        // Whether the alarm is set for the item that the reader waits for.
        waits: bool,
        counters: Counters<F>,
    }

    impl<S, I, T: Timer, F: FnOnce(StreamReport)> PinnedDrop for Watched<S, I, T, F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            *this.stream = None;
            this.counters.close(StreamEnd::Dropped, this.timer);
        }
    }
}

/// The counters for the report.
struct Counters<F> {
    report: Option<F>,
    items: u64,
    begun: Instant,
    last: Instant,
    longest_gap: u64,
    failed: bool,
}

impl<F: FnOnce(StreamReport)> Counters<F> {
    /// Counts an item or an error.
    #[inline]
    fn item<T: Timer>(&mut self, is_ok: bool, timer: &T) {
        self.items += u64::from(is_ok);
        self.failed = !is_ok;
        if self.report.is_some() {
            self.gap(timer.now());
        }
    }

    fn gap(&mut self, now: Instant) {
        let gap = now.nanos_since(self.last);
        self.longest_gap = self.longest_gap.max(gap);
        self.last = now;
    }

    /// Reports the end of the stream, once.
    fn close<T: Timer>(&mut self, end: StreamEnd, timer: &T) {
        let Some(report) = self.report.take() else {
            return;
        };
        self.gap(timer.now());
        let report_of_stream = StreamReport {
            end: match end {
                StreamEnd::Ended | StreamEnd::Dropped if self.failed => StreamEnd::Failed,
                end => end,
            },
            items: self.items,
            duration: self.last.since(self.begun),
            longest_gap: Duration::from_nanos(self.longest_gap),
        };
        catch_nested_panic(|| report(report_of_stream));
    }
}

impl<S, I, T: Timer, F: FnOnce(StreamReport)> Watched<S, I, T, F> {
    pub(super) fn new(
        stream: Option<HedgedStream<S, I, T>>,
        timer: T,
        limit: Duration,
        report: Option<F>,
    ) -> Self {
        let now = match report {
            Some(_) => timer.now(),
            None => Instant::ZERO,
        };
        Self {
            stream,
            timer,
            limit: time::nanos(limit),
            alarm: None,
            waits: false,
            counters: Counters {
                report,
                items: 0,
                begun: now,
                last: now,
                longest_gap: 0,
                failed: false,
            },
        }
    }

    /// Limits the time between items: see [`HedgedStream::stall`].
    pub fn stall(mut self, limit: Duration) -> Self {
        self.limit = time::nanos(limit);
        self
    }
}

impl<S, I, T: Timer + Clone> Watched<S, I, T> {
    /// Calls `report` when the stream ends: see [`HedgedStream::report`].
    pub fn report<F: FnOnce(StreamReport)>(mut self, report: F) -> Watched<S, I, T, F> {
        let limit = Duration::from_nanos(self.limit);
        Watched::new(self.stream.take(), self.timer.clone(), limit, Some(report))
    }
}

impl<S, I, T, F, E> Stream for Watched<S, I, T, F>
where
    S: Stream<Item = Result<I, E>> + Unpin,
    T: Timer,
    F: FnOnce(StreamReport),
{
    type Item = Result<I, StreamError<E>>;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        let Some(stream) = this.stream else {
            return Poll::Ready(None);
        };
        let (end, last) = match Pin::new(stream).poll_next(cx) {
            Poll::Ready(Some(item)) => {
                *this.waits = false;
                this.counters.item(item.is_ok(), this.timer);
                return Poll::Ready(Some(item.map_err(StreamError::Failed)));
            }
            Poll::Ready(None) => (StreamEnd::Ended, None),
            Poll::Pending if *this.limit == u64::MAX => return Poll::Pending,
            Poll::Pending => {
                if !*this.waits {
                    let wake = this.timer.now().later(*this.limit);
                    match this.alarm.as_mut().as_pin_mut() {
                        Some(alarm) => this.timer.rearm(alarm, wake),
                        None => this.alarm.set(Some(this.timer.sleep_until(wake))),
                    }
                    *this.waits = true;
                }
                let Some(alarm) = this.alarm.as_mut().as_pin_mut() else {
                    return Poll::Pending;
                };
                ready!(alarm.poll(cx));
                let error = StreamError::Stalled {
                    limit: Duration::from_nanos(*this.limit),
                    items: this.counters.items,
                };
                (StreamEnd::Stalled, Some(Err(error)))
            }
        };
        // Drop the stream before its end is reported.
        *this.stream = None;
        this.alarm.set(None);
        this.counters.close(end, this.timer);
        Poll::Ready(last)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.stream {
            // A stall may end the stream at any item, or add an error.
            Some(stream) if self.limit == u64::MAX => stream.size_hint(),
            Some(_) => (0, None),
            None => (0, Some(0)),
        }
    }
}

impl<S, I, T: Timer, F: FnOnce(StreamReport)> fmt::Debug for Watched<S, I, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("items", &self.counters.items)
            .field("ended", &self.stream.is_none())
            .finish_non_exhaustive()
    }
}

/// A summary of a stream, from its first item to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StreamReport {
    /// How the stream ended.
    pub end: StreamEnd,
    /// The number of items that were read, without errors.
    pub items: u64,
    /// The time from the end of the request, when the first item had come, to the end of the stream.
    pub duration: Duration,
    /// The longest time from one item to the next, or to the end. This includes the time that the reader took.
    pub longest_gap: Duration,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The stream returned all its items.
    Ended,
    /// The last item that was read from the stream is an error.
    Failed,
    /// No item came for longer than the limit.
    Stalled,
    /// The reader dropped the stream before its end.
    Dropped,
}

impl StreamEnd {
    /// Returns the end in snake case, as in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::Dropped => "dropped",
        }
    }
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of a [`Watched`] stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StreamError<E> {
    /// The stream returned this error.
    Failed(E),
    /// No item came for longer than the limit, and the stream was dropped.
    Stalled {
        /// The limit that [`HedgedStream::stall`] was given.
        limit: Duration,
        /// The number of items before the stall.
        items: u64,
    },
}

#[cfg(feature = "alloc")]
impl<E: Into<crate::boxed::BoxError>> StreamError<E> {
    /// Converts the error into a boxed error, for any type that streams fail with. The error of a stream that failed
    /// is returned as it is.
    ///
    /// Use it as [`Error::boxed`](crate::Error::boxed).
    ///
    /// ```
    /// use hedge_core::BoxError;
    /// use hedge_core::stream::StreamError;
    ///
    /// let error: StreamError<BoxError> = StreamError::Failed("no number".parse::<u32>().unwrap_err().into());
    /// assert!(error.boxed().is::<std::num::ParseIntError>());
    /// ```
    pub fn boxed(self) -> crate::boxed::BoxError {
        match self {
            Self::Failed(error) => error.into(),
            Self::Stalled { limit, items } => {
                StreamError::<core::convert::Infallible>::Stalled { limit, items }.into()
            }
        }
    }
}

impl<E> fmt::Display for StreamError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("the stream failed"),
            Self::Stalled { limit, items } => {
                let s = if *items == 1 { "" } else { "s" };
                write!(f, "no item for {limit:?}, after {items} item{s}")
            }
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for StreamError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Stalled { .. } => None,
        }
    }
}
