//! Spans and events for `tracing`.
//!
//! With the feature `tracing`, every request has a span, `hedge.request`, with the fields of its
//! [`Outcome`](crate::Outcome), and its events are emitted in that span. Each attempt runs in a separate span below it
//! (`race/span.rs`). Without the feature, these types are empty.

/// Whether events can have a `tracing` subscriber at all.
pub(crate) const CAN_LISTEN: bool = cfg!(feature = "tracing");

#[cfg(feature = "tracing")]
pub(crate) use on::{Place, Trace, in_request_span, is_listening};

#[cfg(all(feature = "std", not(feature = "tracing")))]
pub(crate) use core::convert::identity as in_request_span;
#[cfg(not(feature = "tracing"))]
pub(crate) use off::{Place, Trace, is_listening};

#[cfg(feature = "tracing")]
mod on {
    use core::future::Future;
    use core::time::Duration;

    use tracing::field::Empty;
    use tracing::span::Entered;
    use tracing::{Instrument, Level, Span, debug, enabled, info_span};

    use crate::name::Name;
    use crate::outcome::{Outcome, Suppressed};
    use crate::race::{Controller, Finish};
    use crate::record::RequestEnd;
    use crate::telemetry::{Event, EventKind};

    /// The span of a request, created when the request is first polled.
    #[derive(Debug)]
    pub(crate) struct Trace {
        name: Name,
        key: Name,
        span: Option<Span>,
        ended: bool,
    }

    impl Trace {
        pub(crate) const fn new(name: Name, key: Name) -> Self {
            Self {
                name,
                key,
                span: None,
                ended: false,
            }
        }

        /// Enters the span until the returned guard is dropped.
        pub(crate) fn enter(&mut self) -> (Entered<'_>, Ending<'_>) {
            let (name, key) = (self.name, self.key);
            let span = &*self.span.get_or_insert_with(|| span(name, key));
            let ended = &mut self.ended;
            (span.enter(), Ending { span, ended })
        }
    }

    /// Records how a request ended.
    #[derive(Debug)]
    pub(crate) struct Ending<'t> {
        span: &'t Span,
        ended: &'t mut bool,
    }

    impl Ending<'_> {
        pub(crate) fn record<V, E, R, P>(self, finish: &Finish<V, E, R, P>)
        where
            P: Controller<Output = Outcome>,
        {
            let Self { span, ended } = self;
            *ended = true;
            outcome(span, &finish.output);
            let error = match (finish.end, &finish.result) {
                (RequestEnd::Won(_), _) => return,
                (RequestEnd::TimedOut, _) => "timeout",
                (RequestEnd::NoReplica(_), _) => "no_replica",
                (_, Some(Ok(_))) => "refused",
                _ => "failed",
            };
            span.record("error.type", error);
            span.record("otel.status_code", "ERROR");
        }
    }

    /// Records that the request was dropped, if it did not end before.
    impl Drop for Trace {
        fn drop(&mut self) {
            if let (Some(span), false) = (&self.span, self.ended) {
                span.record("error.type", "dropped");
            }
        }
    }

    /// The parent span of a request's events: the span in which the first of them was emitted, even
    /// if the request is later polled or dropped elsewhere.
    #[derive(Debug)]
    pub(crate) struct Place(Option<Span>);

    impl Place {
        pub(crate) const fn new() -> Self {
            Self(None)
        }

        pub(crate) fn event(&mut self, prefix: &Name, event: &Event) {
            emit_event(self.0.get_or_insert_with(Span::current), prefix, event);
        }
    }

    /// Returns the future, set to run in the request's span when it becomes a task.
    pub(crate) fn in_request_span<F: Future>(
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        future.in_current_span()
    }

    fn span(strategy_name: Name, key: Name) -> Span {
        let span = info_span!(
            target: "hedge",
            "hedge.request",
            strategy_name = strategy_name.as_str(),
            key = Empty,
            strategy = Empty,
            accepted = Empty,
            hedged = Empty,
            hedge_won = Empty,
            winner = Empty,
            attempts = Empty,
            total_latency_ms = Empty,
            primary_latency_ms = Empty,
            backup_latency_ms = Empty,
            hedge_delay_ms = Empty,
            suppressed = Empty,
            cost = Empty,
            replica = Empty,
            "error.type" = Empty,
            "otel.status_code" = Empty,
        );
        if key != Name::EMPTY {
            span.record("key", key.as_str());
        }
        span
    }

    fn outcome(span: &Span, outcome: &Outcome) {
        if span.is_disabled() {
            return;
        }
        span.record("strategy", outcome.strategy.as_str());
        span.record("accepted", outcome.accepted);
        span.record("hedged", outcome.hedged);
        span.record("hedge_won", outcome.hedge_won);
        span.record("winner", outcome.winner);
        span.record("attempts", outcome.attempts);
        span.record("total_latency_ms", millis(outcome.total_latency));
        span.record("primary_latency_ms", outcome.primary_latency.map(millis));
        span.record("backup_latency_ms", outcome.backup_latency.map(millis));
        span.record("hedge_delay_ms", outcome.hedge_delay.map(millis));
        span.record("suppressed", outcome.suppressed.map(Suppressed::as_str));
        span.record("cost", outcome.cost);
        span.record("replica", outcome.replica.map(|replica| replica.index()));
    }

    /// Returns whether a subscriber wants events.
    pub(crate) fn is_listening() -> bool {
        enabled!(target: "hedge", Level::DEBUG)
    }

    /// Emits an event. The start and the end of a request are reported by its span instead.
    fn emit_event(span: &Span, prefix: &Name, event: &Event) {
        let (prefix, name) = (prefix.as_str(), event.kind.name());
        match event.kind {
            EventKind::HedgeFired { attempt, delay } => debug!(
                target: "hedge", parent: span,
                attempt = attempt.index(),
                cause = attempt.cause().as_str(),
                delay_ms = delay.map(millis),
                elapsed_ms = millis(attempt.elapsed()),
                "{prefix}.{name}"
            ),
            EventKind::HedgeSuppressed { reason, .. } => {
                debug!(target: "hedge", parent: span, reason = reason.as_str(), "{prefix}.{name}");
            }
            EventKind::HedgeWon {
                attempt,
                latency,
                replica,
            } => {
                debug!(target: "hedge", parent: span, attempt, latency_ms = millis(latency), replica = replica.map(|replica| replica.index()), "{prefix}.{name}");
            }
            EventKind::RequestCancelled {
                attempt,
                elapsed,
                replica,
            }
            | EventKind::AttemptTimeout {
                attempt,
                elapsed,
                replica,
            }
            | EventKind::AttemptFailed {
                attempt,
                elapsed,
                replica,
            } => {
                debug!(target: "hedge", parent: span, attempt, elapsed_ms = millis(elapsed), replica = replica.map(|replica| replica.index()), "{prefix}.{name}");
            }
            EventKind::RequestDropped {
                duration, attempts, ..
            } => {
                debug!(target: "hedge", parent: span, attempts, duration_ms = millis(duration), "{prefix}.{name}");
            }
            EventKind::RequestStart
            | EventKind::RequestStop { .. }
            | EventKind::RequestException { .. } => {}
            EventKind::ReplicaRefused => {
                debug!(target: "hedge", parent: span, strategy_name = event.strategy_name.as_str(), "{prefix}.{name}");
            }
            EventKind::CascadeStart { tiers } => {
                debug!(target: "hedge", parent: span, cascade = event.strategy_name.as_str(), tiers, "{prefix}.{name}");
            }
            EventKind::TierStart { tier, name: of } => {
                debug!(target: "hedge", parent: span, tier, tier_name = of.as_str(), "{prefix}.{name}");
            }
            EventKind::TierCompleted {
                tier,
                name: of,
                latency,
                quality,
                accepted,
            } => debug!(
                target: "hedge", parent: span,
                tier,
                tier_name = of.as_str(),
                latency_ms = millis(latency),
                quality,
                accepted,
                "{prefix}.{name}"
            ),
            EventKind::TierTimeout {
                tier,
                name: of,
                elapsed,
            }
            | EventKind::TierCancelled {
                tier,
                name: of,
                elapsed,
            } => debug!(
                target: "hedge", parent: span,
                tier,
                tier_name = of.as_str(),
                elapsed_ms = millis(elapsed),
                "{prefix}.{name}"
            ),
            EventKind::CascadeStop {
                duration,
                tier,
                accepted,
                total_cost,
                completed_cost,
            } => debug!(
                target: "hedge", parent: span,
                tier,
                accepted,
                duration_ms = millis(duration),
                total_cost,
                completed_cost,
                "{prefix}.{name}"
            ),
            EventKind::CascadeException {
                duration,
                timed_out,
            } => {
                debug!(target: "hedge", parent: span, timed_out, duration_ms = millis(duration), "{prefix}.{name}");
            }
            EventKind::CascadeDropped { duration } => {
                debug!(target: "hedge", parent: span, duration_ms = millis(duration), "{prefix}.{name}");
            }
        }
    }

    fn millis(duration: Duration) -> f64 {
        crate::time::millis(duration)
    }
}

#[cfg(not(feature = "tracing"))]
mod off {
    use crate::name::Name;
    use crate::outcome::Outcome;
    use crate::race::{Controller, Finish};
    use crate::telemetry::Event;

    #[derive(Debug)]
    pub(crate) struct Trace;

    pub(crate) struct Entered;

    #[derive(Debug)]
    pub(crate) struct Ending;

    impl Trace {
        pub(crate) const fn new(_: Name, _: Name) -> Self {
            Self
        }

        pub(crate) fn enter(&mut self) -> (Entered, Ending) {
            (Entered, Ending)
        }
    }

    impl Ending {
        pub(crate) fn record<V, E, R, P>(self, _: &Finish<V, E, R, P>)
        where
            P: Controller<Output = Outcome>,
        {
        }
    }

    #[derive(Debug)]
    pub(crate) struct Place;

    impl Place {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) fn event(&mut self, _: &Name, _: &Event) {}
    }

    pub(crate) const fn is_listening() -> bool {
        false
    }
}
