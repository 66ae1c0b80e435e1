//! Streams, in which the first item wins.
//!
//! Users of a language model wait for the first token, and downloads wait for the first byte. Both can be late although
//! the head of the response comes immediately. An attempt that opens a stream has therefore answered with its first
//! item: losers are dropped then, and the hedger learns the time to that item.
//!
//! ```
//! use core::time::Duration;
//! use futures_lite::{StreamExt, stream};
//! use hedge_core::manual::ManualTimer;
//! use hedge_core::{Fixed, Hedger};
//!
//! let clock = ManualTimer::<8>::new();
//! let hedger = Hedger::builder(&clock).strategy(Fixed::new(Duration::from_millis(100))).build_local()?;
//! clock.drive(async {
//!     // The head of every response comes at once, but the first token of the primary does not.
//!     let launch = |attempt: hedge_core::Attempt| {
//!         let clock = &clock;
//!         let delay = Duration::from_millis(if attempt.is_hedge() { 20 } else { 900 });
//!         async move {
//!             let tokens = stream::once_future(async move {
//!                 clock.sleep(delay).await;
//!                 Ok::<_, std::io::Error>("hello")
//!             });
//!             Ok(Box::pin(tokens.chain(stream::iter([Ok(", "), Ok("world")]))))
//!         }
//!     };
//!     let hedged = hedger.stream(launch).await?;
//!     assert!(hedged.outcome.hedge_won);
//!     assert_eq!(hedged.outcome.total_latency, Duration::from_millis(120));
//!     let text: String = hedged.value.try_collect().await?;
//!     assert_eq!(text, "hello, world");
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! }).unwrap();
//! # Ok::<(), hedge_core::ConfigError>(())
//! ```
//!
//! * An attempt is a future that opens a stream. A stream that needs no opening is opened by
//!   `async move { Ok(stream) }`.
//! * The stream is moved when its attempt wins, so it must be [`Unpin`]. Box it with `Box::pin` or, without an
//!   allocator, pin it outside of the request and pass `Pin<&mut S>`.
//! * If the first item is an error, the attempt has failed. Later errors are passed on.
//! * A stream that ends without an item is an answer. If that is a failure, as with language models, use the classifier
//!   [`NonEmpty`]. Other classifiers receive a [`First`]: the first item and the stream.
//! * The timeouts of the hedger cover only the time to the first item. [`HedgedStream::stall`] limits the time between
//!   items, and [`HedgedStream::report`] reports on the stream when it ends.
//! * Dropping the stream early cancels it. This does not count as a failure, and does not change what was learned.

use core::convert;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::attempt::{Attempt, Classify};
use crate::hedger::{BudgetHandle, Hedger, SharedState};
use crate::outcome::{Error, Hedged};
use crate::race::{Capacity, Max};
use crate::request::{Call, Placement};
use crate::telemetry::Sink;
use crate::time::Timer;

pub use first::{First, FirstItem, NonEmpty, Opened};
pub use hedged::HedgedStream;
pub use watched::{StreamEnd, StreamError, StreamReport, Watched};

mod first;
mod hedged;
mod watched;

impl<T, L, B, K, const MAX: usize> Hedger<T, L, B, K, MAX>
where
    T: Timer + Clone,
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
{
    /// Makes a request whose attempts open streams. Resolves to the stream whose first item comes first: see
    /// [`stream`](crate::stream).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] if no attempt could open a stream or if each stream began with an error, and
    /// [`Error::Timeout`] if no item came in time.
    // An alias would need as many parameters.
    #[allow(clippy::type_complexity)]
    pub fn stream<M, F, S, I, E>(
        &self,
        launch: M,
    ) -> impl Future<Output = Result<Hedged<HedgedStream<S, I, T>>, Error<E>>>
    + use<'_, T, L, B, K, M, F, S, I, E, MAX>
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<S, E>>,
        S: Stream<Item = Result<I, E>> + Unpin,
        Max<MAX>: Capacity<FirstItem<F>>,
    {
        self.call().stream(launch)
    }
}

impl<'h, T, L, B, K, C, const MAX: usize, G> Call<'h, T, L, B, K, C, MAX, G>
where
    T: Timer + Clone,
    L: SharedState,
    B: BudgetHandle,
    K: Sink,
    G: Placement,
{
    /// Makes the request like [`Hedger::stream`]. The classifier sees the [`First`] item of each stream.
    ///
    /// ```
    /// use core::time::Duration;
    /// use futures_lite::{StreamExt, stream};
    /// use hedge_core::Hedger;
    /// use hedge_core::manual::ManualTimer;
    /// use hedge_core::stream::NonEmpty;
    ///
    /// let clock = ManualTimer::<8>::new();
    /// let hedger = Hedger::builder(&clock).build_local()?;
    /// clock.drive(async {
    ///     // The primary ends without a token, which is no answer of a language model.
    ///     let hedged = hedger.call().classify(NonEmpty).stream(|attempt| async move {
    ///         Ok(stream::iter((0..3 * attempt.index()).map(Ok::<_, ()>)))
    ///     });
    ///     let hedged = hedged.await.unwrap();
    ///     assert_eq!((hedged.outcome.attempts, hedged.value.count().await), (2, 3));
    /// });
    /// # Ok::<(), hedge_core::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Hedger::stream`].
    #[allow(clippy::type_complexity)]
    pub fn stream<M, F, S, I, E>(
        self,
        mut launch: M,
    ) -> impl Future<Output = Result<Hedged<HedgedStream<S, I, T>>, Error<E>>>
    + use<'h, T, L, B, K, C, M, F, S, I, E, MAX, G>
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<S, E>>,
        S: Stream<Item = Result<I, E>> + Unpin,
        C: Classify<First<I, S>, E>,
        Max<MAX>: Capacity<FirstItem<F>>,
    {
        let timer = self.hedger().timer().clone();
        Map {
            future: self.open(move |attempt| FirstItem::new(launch(attempt), convert::identity)),
            f: Some(|result: Result<Hedged<First<I, S>>, Error<E>>| {
                result.map(|hedged| hedged.map(|first| HedgedStream::new(first, timer)))
            }),
        }
    }
}

pin_project! {
    /// A future whose output is converted by a closure.
    ///
    /// An async block would hold the inner future twice.
    pub(crate) struct Map<F, G> {
        #[pin]
        pub(crate) future: F,
        pub(crate) f: Option<G>,
    }
}

impl<F, G, O> Future for Map<F, G>
where
    F: Future,
    G: FnOnce(F::Output) -> O,
{
    type Output = O;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        let this = self.project();
        match (this.future.poll(cx), &this.f) {
            (Poll::Ready(output), Some(_)) => match this.f.take() {
                Some(f) => Poll::Ready(f(output)),
                None => Poll::Pending,
            },
            _ => Poll::Pending,
        }
    }
}
