//! The span that an attempt runs in. Without the feature `tracing` these types are empty.

#[cfg(not(feature = "tracing"))]
pub use off::{AttemptSpan, InSpan};
#[cfg(feature = "tracing")]
pub use on::{AttemptSpan, InSpan};

#[cfg(feature = "tracing")]
mod on {
    use core::future::Future;
    use core::pin::Pin;
    use core::task::{Context, Poll};

    use pin_project_lite::pin_project;
    use tracing::field::Empty;
    use tracing::instrument::Instrumented;
    use tracing::{Instrument, Span, info_span};

    use crate::attempt::Attempt;
    use crate::replica_id::ReplicaId;

    /// The span of an attempt, or none.
    #[derive(Debug)]
    pub struct AttemptSpan(Span);

    impl AttemptSpan {
        /// The span of attempts that have no separate span.
        pub const NONE: Self = Self(Span::none());

        /// Creates the span of `attempt` within the current one, which is the request's and is linked to it.
        pub(crate) fn new(attempt: &Attempt, replica: Option<ReplicaId>) -> Self {
            let span = info_span!(
                target: "hedge::attempt",
                "hedge.attempt",
                attempt = attempt.index(),
                cause = attempt.cause().as_str(),
                replica = replica.map(|replica| replica.index()),
                returned = Empty,
            );
            if !span.is_none() {
                // OpenTelemetry has this as a link from the request to the attempt.
                Span::current().follows_from(&span);
            }
            Self(span)
        }

        /// Creates the attempt's future within the span, in which it is also polled and dropped.
        pub(crate) fn launch<F>(self, launch: impl FnOnce() -> F) -> InSpan<F> {
            let future = self.0.in_scope(launch);
            InSpan {
                future: future.instrument(self.0),
            }
        }
    }

    pin_project! {
        /// The future of an attempt, in its span.
        #[derive(Debug)]
        pub struct InSpan<F> {
            #[pin]
            future: Instrumented<F>,
        }
    }

    impl<F: Future> Future for InSpan<F> {
        type Output = F::Output;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            let mut future = self.project().future;
            let poll = future.as_mut().poll(cx);
            if poll.is_ready() {
                future.span().record("returned", true);
            }
            poll
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod off {
    use core::future::Future;
    use core::pin::Pin;
    use core::task::{Context, Poll};

    use pin_project_lite::pin_project;

    use crate::attempt::Attempt;
    use crate::replica_id::ReplicaId;

    /// The span of an attempt, or none.
    #[derive(Debug)]
    pub struct AttemptSpan(());

    impl AttemptSpan {
        /// The span of attempts that have no separate span.
        pub const NONE: Self = Self(());

        #[cfg_attr(feature = "std", inline(always))]
        pub(crate) const fn new(_: &Attempt, _: Option<ReplicaId>) -> Self {
            Self(())
        }

        #[cfg_attr(feature = "std", inline(always))]
        pub(crate) fn launch<F>(self, launch: impl FnOnce() -> F) -> InSpan<F> {
            InSpan { future: launch() }
        }
    }

    pin_project! {
        /// The future of an attempt, in its span.
        #[derive(Debug)]
        pub struct InSpan<F> {
            #[pin]
            future: F,
        }
    }

    impl<F: Future> Future for InSpan<F> {
        type Output = F::Output;

        #[cfg_attr(feature = "std", inline(always))]
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            self.project().future.poll(cx)
        }
    }
}
