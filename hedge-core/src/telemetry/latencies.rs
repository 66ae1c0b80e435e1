//! A sink that writes the latencies of primaries.

use core::fmt;
use core::time::Duration;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::{Event, EventKind, Sink};

/// Writes the latency of each primary in milliseconds, one line per request in the order in which they end. The result
/// is a trace that the policy lab `whatif` can replay.
///
/// A useful trace shows what happens without hedging, so record it with [`observe_only`](crate::Options::observe_only)
/// or with [`Off`](crate::Off). A primary that failed, or that was dropped because a hedge won, has no latency; its
/// request becomes a comment, which begins with `#`.
///
/// Every line is written immediately, while the request waits, so use a buffered writer such as
/// [`BufWriter`](std::io::BufWriter). Lines that cannot be written are counted and left out.
///
/// ```
/// use core::time::Duration;
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::telemetry::LatencySink;
/// use hedge_core::{Hedger, Off};
/// use std::sync::Arc;
///
/// let clock = ManualTimer::<8>::new();
/// let sink = Arc::new(LatencySink::new(Vec::new()));
/// let hedger = Hedger::builder(&clock).strategy(Off).sink(sink.clone()).build_local()?;
/// for millis in [12, 340] {
///     let work = clock.drive(hedger.request(|_| async {
///         clock.sleep(Duration::from_millis(millis)).await;
///         Ok::<_, ()>(())
///     }));
///     assert!(work.is_ok());
/// }
/// drop(hedger);
/// let written = Arc::into_inner(sink).unwrap().into_inner();
/// assert_eq!(written, b"# milliseconds\n12\n340\n");
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
pub struct LatencySink<W> {
    output: Mutex<Output<W>>,
}

struct Output<W> {
    writer: W,
    begun: bool,
    lost: u64,
}

impl<W: Write> LatencySink<W> {
    /// Creates a sink that writes to `writer`.
    pub const fn new(writer: W) -> Self {
        Self {
            output: Mutex::new(Output {
                writer,
                begun: false,
                lost: 0,
            }),
        }
    }

    /// Returns how many requests could not be written.
    pub fn lost(&self) -> u64 {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lost
    }

    /// Returns the writer, without flushing it.
    pub fn into_inner(self) -> W {
        self.output
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .writer
    }

    fn line(&self, line: fmt::Arguments<'_>) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let output = &mut *output;
        let unit = if output.begun { "" } else { "# milliseconds\n" };
        output.begun = true;
        if writeln!(output.writer, "{unit}{line}").is_err() {
            output.lost = output.lost.saturating_add(1);
        }
    }
}

impl<W: Write> Sink for LatencySink<W> {
    fn emit(&self, event: &Event) {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        match event.kind {
            EventKind::RequestStop { duration, outcome } => match outcome.primary_latency {
                Some(latency) if !outcome.hedge_won => {
                    self.line(format_args!("{}", millis(latency)))
                }
                _ => self.line(format_args!("# dropped after {}", millis(duration))),
            },
            EventKind::RequestException {
                duration,
                timed_out,
                ..
            } => {
                let how = if timed_out { "timed out" } else { "failed" };
                self.line(format_args!("# {how} after {}", millis(duration)));
            }
            _ => {}
        }
    }
}

impl<W> fmt::Debug for LatencySink<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencySink").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::vec::Vec;

    use super::*;
    use crate::hedger::Hedger;
    use crate::manual::ManualTimer;
    use crate::strategy::Fixed;

    #[test]
    fn what_has_no_latency_is_a_comment() {
        let clock = ManualTimer::<8>::new();
        let sink = Arc::new(LatencySink::new(Vec::new()));
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(Duration::from_millis(20)))
            .timeout(Duration::from_millis(50))
            .sink(sink.clone())
            .build_local()
            .unwrap();
        // The primary answers, the hedge answers, neither answers in time, and both fail.
        for (primary, hedge, result) in [
            (10, 1, Ok(())),
            (90, 5, Ok(())),
            (90, 90, Ok(())),
            (3, 4, Err(())),
        ] {
            let request = hedger.request(|attempt| {
                let millis = if attempt.is_hedge() { hedge } else { primary };
                let clock = &clock;
                async move {
                    clock.sleep(Duration::from_millis(millis)).await;
                    result
                }
            });
            let _ = clock.drive(request);
        }
        drop(hedger);
        let written = Arc::into_inner(sink).unwrap().into_inner();
        let expected =
            "# milliseconds\n10\n# dropped after 25\n# timed out after 50\n# failed after 7\n";
        assert_eq!(core::str::from_utf8(&written), Ok(expected));
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        // The buffer has room for one line and its unit.
        let sink = LatencySink::new(std::io::Cursor::new([0; 19]));
        sink.line(format_args!("12"));
        sink.line(format_args!("34"));
        assert_eq!(sink.lost(), 1);
    }
}
