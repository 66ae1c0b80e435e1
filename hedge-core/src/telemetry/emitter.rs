//! Emission of the events of one request.

use core::mem;

use super::{Event, Sink};
use crate::name::Name;
use crate::panics::catch_nested_panic;
use crate::telemetry::trace;

/// Passes the events of one request to the sink and to `tracing`.
///
/// A sink that panics receives no more events of that request. The request is dropped while the
/// panic unwinds, which produces events too, and a second panic would abort the program.
#[derive(Debug)]
pub(crate) struct Emitter {
    state: Audience,
    place: trace::Place,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Audience {
    /// Not determined yet.
    Unknown,
    Heard,
    /// Events go to `tracing` only.
    Traced,
    /// Events go nowhere. This is also the state during an emission, so that it remains if the
    /// emission panics.
    Silent,
}

impl Emitter {
    pub(crate) const fn new() -> Self {
        Self {
            state: Audience::Unknown,
            place: trace::Place::new(),
        }
    }

    /// Returns whether events have to be built at all. Determined once for the whole request.
    #[inline]
    pub(crate) fn is_heard(&mut self, sink: &impl Sink) -> bool {
        if sink.is_noop() && !trace::CAN_LISTEN {
            return false;
        }
        if self.state == Audience::Unknown {
            // This state remains if `enabled` panics.
            self.state = Audience::Silent;
            self.state = if sink.enabled() {
                Audience::Heard
            } else if trace::is_listening() {
                Audience::Traced
            } else {
                Audience::Silent
            };
        }
        self.state != Audience::Silent
    }

    /// Emits `event`. Call it only if [`is_heard`](Self::is_heard) returns true.
    #[inline]
    pub(crate) fn emit(&mut self, sink: &impl Sink, prefix: &Name, event: &Event) {
        let state = mem::replace(&mut self.state, Audience::Silent);
        self.place.event(prefix, event);
        if state != Audience::Traced {
            catch_nested_panic(|| sink.emit(event));
        }
        self.state = state;
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use core::cell::{Cell, RefCell};
    use core::panic::AssertUnwindSafe;
    use core::time::Duration;
    use std::boxed::Box;
    use std::panic::{catch_unwind, resume_unwind};
    use std::vec::Vec;

    use crate::hedger::Hedger;
    use crate::manual::ManualTimer;
    use crate::strategy::Fixed;
    use crate::telemetry::{Event, Sink};
    use crate::time::Timer;

    /// A sink that can be enabled and disabled.
    #[derive(Default)]
    struct SwitchableSink {
        asked: Cell<u32>,
        listens: Cell<bool>,
        heard: RefCell<Vec<&'static str>>,
    }

    impl Sink for &SwitchableSink {
        fn emit(&self, event: &Event) {
            self.heard.borrow_mut().push(event.kind.name());
        }

        fn enabled(&self) -> bool {
            self.asked.set(self.asked.get() + 1);
            self.listens.get()
        }
    }

    #[test]
    fn a_request_is_heard_from_its_start_to_its_end_or_not_at_all() {
        let clock = ManualTimer::<8>::new();
        let sink = SwitchableSink::default();
        let hedger = Hedger::builder(&clock)
            .strategy(Fixed::new(Duration::from_millis(5)))
            .sink(&sink)
            .build_local()
            .unwrap();
        for listens in [true, false] {
            sink.asked.set(0);
            sink.listens.set(listens);
            let request = hedger.request(|_| async {
                sink.listens.set(!listens);
                (&clock)
                    .sleep_until(clock.now() + Duration::from_millis(9))
                    .await;
                Ok::<_, ()>(())
            });
            clock.drive(request).unwrap();
            let all = [
                "request.start",
                "hedge.fired",
                "request.cancelled",
                "request.stop",
            ];
            let heard = sink.heard.take();
            assert_eq!(heard, if listens { &all[..] } else { &[] });
            assert_eq!(sink.asked.get(), 1);
        }
    }

    /// A sink that panics whenever it is called.
    struct PanickingSink;

    impl Sink for PanickingSink {
        fn emit(&self, _: &Event) {}

        fn enabled(&self) -> bool {
            resume_unwind(Box::new("the sink's"))
        }
    }

    #[test]
    fn a_sink_that_panics_when_asked_is_not_asked_again() {
        let clock = ManualTimer::<8>::new();
        let hedger = Hedger::builder(&clock)
            .sink(PanickingSink)
            .build_local()
            .unwrap();
        let request = hedger.request(|_| async { Ok::<_, ()>(()) });
        // Dropping the request during the unwinding would call `enabled` again, for its last event.
        let unwound = catch_unwind(AssertUnwindSafe(|| clock.drive(request)));
        assert!(unwound.is_err());
        assert_eq!(hedger.metrics().cancelled, 1);
    }
}
