//! How one request tells of itself.

use core::mem;

use super::{Event, Sink};
use crate::name::Name;
use crate::panics::catch_nested_panic;
use crate::telemetry::trace;

/// Hands the events of one request to all who listen.
///
/// A sink that panics hears no more of that request. It is dropped while the panic unwinds, of which there
/// are events as well, and a second panic then would end the program.
#[derive(Debug)]
pub(crate) struct Emitter {
    state: Audience,
    place: trace::Place,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Audience {
    /// Whether anybody listens has not been asked.
    Unknown,
    Heard,
    /// By all but the sink.
    Traced,
    /// Nobody listens. So it is while somebody is told, and stays for good if that panicked.
    Silent,
}

impl Emitter {
    pub(crate) const fn new() -> Self {
        Self {
            state: Audience::Unknown,
            place: trace::Place::new(),
        }
    }

    /// Whether anybody listens; if not, no event need be made. That is asked once, for the whole request.
    #[inline]
    pub(crate) fn is_heard(&mut self, sink: &impl Sink) -> bool {
        if sink.is_nobody() && !trace::CAN_LISTEN {
            return false;
        }
        if self.state == Audience::Unknown {
            // As it stays if the question panics.
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

    /// Tells of `event`, of which somebody [wants to hear](Self::is_heard).
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

    /// Listens now and then.
    #[derive(Default)]
    struct Fickle {
        asked: Cell<u32>,
        listens: Cell<bool>,
        heard: RefCell<Vec<&'static str>>,
    }

    impl Sink for &Fickle {
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
        let sink = Fickle::default();
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

    /// Fails at every question.
    struct Fails;

    impl Sink for Fails {
        fn emit(&self, _: &Event) {}

        fn enabled(&self) -> bool {
            resume_unwind(Box::new("the sink's"))
        }
    }

    #[test]
    fn a_sink_that_panics_when_asked_is_not_asked_again() {
        let clock = ManualTimer::<8>::new();
        let hedger = Hedger::builder(&clock).sink(Fails).build_local().unwrap();
        let request = hedger.request(|_| async { Ok::<_, ()>(()) });
        // Dropped by that, it would ask for the sake of its last event.
        let unwound = catch_unwind(AssertUnwindSafe(|| clock.drive(request)));
        assert!(unwound.is_err());
        assert_eq!(hedger.metrics().cancelled, 1);
    }
}
