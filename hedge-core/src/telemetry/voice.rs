//! How one request tells of itself.

use super::{Event, Sink};
use crate::contain::contain;
use crate::{Name, trace};

/// Hands the events of one request to all who listen.
///
/// A sink that panics hears no more of that request. It is dropped while the panic unwinds, of which there
/// are events as well, and a second panic then would end the program.
#[derive(Debug)]
pub(crate) struct Voice {
    /// Set while somebody is told, and so for good if that panicked.
    silent: bool,
    place: trace::Place,
}

impl Voice {
    pub(crate) const fn new() -> Self {
        Self {
            silent: false,
            place: trace::Place::new(),
        }
    }

    /// Whether anybody listens; if not, no event need be made.
    pub(crate) fn is_heard(sink: &impl Sink) -> bool {
        sink.enabled() || trace::is_listening()
    }

    /// Tells of `event`, of which somebody wants to hear.
    pub(crate) fn tell(&mut self, sink: &impl Sink, prefix: &Name, event: &Event) {
        if self.silent {
            return;
        }
        self.silent = true;
        self.place.event(prefix, event);
        // Else the sink is the one who wants to.
        if !trace::CAN_LISTEN || sink.enabled() {
            contain(|| sink.emit(event));
        }
        self.silent = false;
    }
}
