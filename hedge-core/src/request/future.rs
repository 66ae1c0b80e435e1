//! The future of a request.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::attempt::Attempt;
use crate::outcome::{Error, Hedged, Outcome};
use crate::race::{Controller, Earliest, Finish, Race, ResultController, Slots};
use crate::record::RequestEnd;
use crate::telemetry::trace::Trace;
use crate::time::Timer;

pin_project! {
    /// The future of a request. Nothing happens before it is first polled.
    ///
    /// With `enable_cancellation` off, losers stay in this future after it has returned its result.
    /// Drop it to drop them, or drive them with [`drain`](Self::drain).
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Request<T, P, M, V, E, S>
    where
        T: Timer,
        P: Controller,
    {
        #[pin]
        race: Race<T, P, M, Earliest<V, E>, S>,
        trace: Trace,
    }
}

impl<T: Timer, P: Controller, M, V, E, S> Request<T, P, M, V, E, S> {
    pub(crate) const fn new(race: Race<T, P, M, Earliest<V, E>, S>, trace: Trace) -> Self {
        Self { race, trace }
    }
}

impl<T, P, M, F, V, E, S> Future for Request<T, P, M, V, E, S>
where
    T: Timer,
    P: ResultController<V, E, Output = Outcome>,
    M: FnMut(Attempt) -> F,
    F: Future<Output = Result<V, E>>,
    S: Slots<F>,
{
    type Output = Result<Hedged<V>, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (_span, ending) = this.trace.enter();
        this.race.poll_then(cx, |finish| {
            ending.record(&finish);
            answer(finish)
        })
    }
}

/// Converts the end of a race into the result for the caller.
fn answer<V, E, R, P>(finish: Finish<V, E, R, P>) -> Poll<Result<Hedged<V>, Error<E>>>
where
    P: Controller<Output = Outcome>,
{
    let outcome = finish.output;
    let attempts = outcome.attempts;
    Poll::Ready(match (finish.end, finish.result) {
        (RequestEnd::TimedOut, result) => Err(Error::Timeout {
            elapsed: outcome.total_latency,
            attempts,
            error: result.and_then(Result::err),
        }),
        (RequestEnd::NoReplica(reason), _) => Err(Error::NoReplica(reason)),
        (_, Some(Ok(value))) => Ok(Hedged { value, outcome }),
        (_, Some(Err(error))) => Err(Error::Failed { error, attempts }),
        (_, None) => return Poll::Pending,
    })
}

impl<T, P, M, V, E, S> Request<T, P, M, V, E, S>
where
    T: Timer,
    P: ResultController<V, E, Output = Outcome>,
{
    /// Returns the number of running attempts.
    pub fn live<F>(&self) -> usize
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        S: Slots<F>,
    {
        self.race.live()
    }

    /// Runs the kept losers to completion, once the result has been returned. Their results are
    /// dropped.
    pub async fn drain<F>(mut self: Pin<&mut Self>)
    where
        M: FnMut(Attempt) -> F,
        F: Future<Output = Result<V, E>>,
        S: Slots<F>,
    {
        core::future::poll_fn(|cx| {
            if self.race.is_complete() {
                let this = self.as_mut().project();
                let _span = this.trace.enter();
                // The race stays pending from now on.
                let _ = this.race.poll(cx);
            }
            let over = self.live() == 0 || !self.race.is_complete();
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl<T, P, M, V, E, S> fmt::Debug for Request<T, P, M, V, E, S>
where
    T: Timer,
    P: Controller,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("settled", &self.race.is_complete())
            .finish_non_exhaustive()
    }
}
