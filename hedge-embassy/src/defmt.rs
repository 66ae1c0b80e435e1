//! Logging of events and outcomes with defmt.

use core::time::Duration;

use ::defmt::{Format, Formatter, debug, info, warn, write};
use hedge_core::telemetry::EventKind;
use hedge_core::{Attempt, Cause, Error, Event, Name, Outcome, Sink};

/// Logs every event with defmt: hedges as `info`, failures as `warn`, and the rest as `debug`.
///
/// As with every crate, `DEFMT_LOG` selects at build time which levels are in the firmware:
/// `DEFMT_LOG=hedge_embassy=info`.
///
/// ```
/// use hedge_embassy::metrics::NoMetrics;
/// use hedge_embassy::{Budget, DefmtSink, Hedger, Options, WindowedPercentile, hedger_with};
///
/// static HEDGER: Hedger<WindowedPercentile<64>, NoMetrics, DefmtSink> = hedger_with(
///     WindowedPercentile::with_window(95.0),
///     Budget::percent(10.0),
///     Options::DEFAULT,
///     NoMetrics,
///     DefmtSink,
/// );
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct DefmtSink;

impl Sink for DefmtSink {
    fn emit(&self, event: &Event) {
        match event.kind {
            EventKind::HedgeFired { .. } | EventKind::HedgeWon { .. } => info!("{}", Logged(event)),
            EventKind::RequestException { .. } | EventKind::CascadeException { .. } => {
                warn!("{}", Logged(event));
            }
            _ => debug!("{}", Logged(event)),
        }
    }
}

/// Wraps a type of hedge so that defmt can format it.
///
/// ```
/// use hedge_embassy::{Hedged, Logged};
///
/// fn tell(hedged: Hedged<u16>) {
///     defmt::info!("{} after {}", hedged.value, Logged(&hedged.outcome));
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a, T>(pub &'a T);

impl Format for Logged<'_, Event> {
    fn format(&self, f: Formatter<'_>) {
        let Event {
            request,
            strategy_name,
            kind,
            ..
        } = self.0;
        write!(
            f,
            "{}request {=u64}: {}",
            Prefix(strategy_name),
            *request,
            Logged(kind)
        );
    }
}

impl Format for Logged<'_, EventKind> {
    fn format(&self, f: Formatter<'_>) {
        let name = self.0.name();
        match self.0 {
            EventKind::HedgeFired { attempt, delay } => {
                write!(f, "{=str}, {}", name, Logged(attempt));
                if let Some(delay) = delay {
                    write!(f, ", planned after {}", Micros(*delay));
                }
            }
            EventKind::HedgeSuppressed { reason, .. } => {
                write!(f, "{=str}, {=str}", name, reason.as_str())
            }
            EventKind::HedgeWon {
                attempt, latency, ..
            } => {
                write!(
                    f,
                    "{=str}, attempt {=u8} after {}",
                    name,
                    *attempt,
                    Micros(*latency)
                );
            }
            EventKind::RequestCancelled {
                attempt, elapsed, ..
            }
            | EventKind::AttemptTimeout {
                attempt, elapsed, ..
            }
            | EventKind::AttemptFailed {
                attempt, elapsed, ..
            } => {
                write!(
                    f,
                    "{=str}, attempt {=u8} after {}",
                    name,
                    *attempt,
                    Micros(*elapsed)
                );
            }
            EventKind::RequestStop { outcome, .. } => {
                write!(f, "{=str}, {}", name, Logged(outcome))
            }
            EventKind::RequestException {
                duration,
                timed_out,
                attempts,
                ..
            } => write!(
                f,
                "{=str} after {}, timed out: {=bool}, attempts: {=u8}",
                name,
                Micros(*duration),
                *timed_out,
                *attempts
            ),
            EventKind::RequestDropped {
                duration, attempts, ..
            } => {
                write!(
                    f,
                    "{=str} after {}, attempts: {=u8}",
                    name,
                    Micros(*duration),
                    *attempts
                );
            }
            EventKind::TierStart { tier, .. } => {
                write!(f, "{=str}, tier {=u8}", name, *tier);
            }
            EventKind::TierCompleted {
                tier,
                latency,
                accepted,
                ..
            } => write!(
                f,
                "{=str}, tier {=u8} after {}, accepted: {=bool}",
                name,
                *tier,
                Micros(*latency),
                *accepted
            ),
            EventKind::TierTimeout { tier, elapsed, .. }
            | EventKind::TierCancelled { tier, elapsed, .. } => {
                write!(
                    f,
                    "{=str}, tier {=u8} after {}",
                    name,
                    *tier,
                    Micros(*elapsed)
                );
            }
            EventKind::CascadeStop {
                duration,
                tier,
                accepted,
                total_cost,
                ..
            } => write!(
                f,
                "{=str}, answered by tier {=u8} after {}, accepted: {=bool}, cost: {=f64}",
                name,
                *tier,
                Micros(*duration),
                *accepted,
                *total_cost
            ),
            EventKind::CascadeException {
                duration,
                timed_out,
            } => write!(
                f,
                "{=str} after {}, timed out: {=bool}",
                name,
                Micros(*duration),
                *timed_out
            ),
            EventKind::CascadeDropped { duration } => {
                write!(f, "{=str} after {}", name, Micros(*duration));
            }
            _ => write!(f, "{=str}", name),
        }
    }
}

impl Format for Logged<'_, Outcome> {
    fn format(&self, f: Formatter<'_>) {
        let outcome = self.0;
        write!(
            f,
            "answered by attempt {=u8} of {=u8} after {}",
            outcome.winner,
            outcome.attempts,
            Micros(outcome.total_latency)
        );
        if let Some(reason) = outcome.suppressed {
            write!(f, ", not hedged: {=str}", reason.as_str());
        }
    }
}

impl Format for Logged<'_, Attempt> {
    fn format(&self, f: Formatter<'_>) {
        let cause = match self.0.cause() {
            Cause::Retry => " (retry)",
            _ => "",
        };
        let (index, elapsed) = (self.0.index() as u8, self.0.elapsed());
        write!(
            f,
            "attempt {=u8}{=str} at {}",
            index,
            cause,
            Micros(elapsed)
        );
    }
}

impl<E: Format> Format for Logged<'_, Error<E>> {
    fn format(&self, f: Formatter<'_>) {
        match self.0 {
            Error::Failed { error, attempts } => {
                write!(f, "{=u8} attempts failed: {}", *attempts, error)
            }
            Error::Timeout {
                elapsed,
                attempts,
                error,
            } => {
                let elapsed = Micros(*elapsed);
                write!(
                    f,
                    "no answer from {=u8} attempts after {}",
                    *attempts, elapsed
                );
                if let Some(error) = error {
                    write!(f, ": {}", error);
                }
            }
            _ => write!(f, "no answer from {=u8} attempts", self.0.attempts()),
        }
    }
}

/// Writes the hedger's name, if it has one.
struct Prefix<'a>(&'a Name);

impl Format for Prefix<'_> {
    fn format(&self, f: Formatter<'_>) {
        if !self.0.is_empty() {
            write!(f, "{=str} ", self.0.as_str());
        }
    }
}

/// Writes a duration like embassy's durations: only the number is transmitted, and the unit is
/// added by the decoder.
struct Micros(Duration);

impl Format for Micros {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "{=u64} us",
            u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
        );
    }
}
