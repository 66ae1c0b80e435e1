//! A sink that keeps the last events.

use core::cell::RefCell;
use core::fmt;

use heapless::Deque;

use super::{Event, Sink};
use crate::lock::Lock;

/// Keeps the last `N` events without an allocator.
///
/// Use it in tests, or on a microcontroller that transmits events when it is idle.
///
/// ```
/// use hedge_core::manual::ManualTimer;
/// use hedge_core::telemetry::RingSink;
/// use hedge_core::Hedger;
///
/// let (clock, ring) = (ManualTimer::<8>::new(), RingSink::<16>::local());
/// let hedger = Hedger::builder(&clock).sink(&ring).build_local()?;
/// let _ = clock.drive(hedger.request(|_| async { Ok::<_, ()>(7) }));
///
/// let names: Vec<_> = std::iter::from_fn(|| ring.pop()).map(|event| event.kind.name()).collect();
/// assert_eq!(names, ["request.start", "request.stop"]);
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
///
/// `L` is the lock around the events: for threads, [`new`](Self::new) takes a `Mutex`. `N` must be
/// 1 or more.
pub struct RingSink<const N: usize, L = RefCell<Ring<N>>> {
    ring: L,
}

/// The contents of a [`RingSink`].
#[derive(Clone, Debug)]
pub struct Ring<const N: usize> {
    events: Deque<Event, N>,
    lost: u64,
}

impl<const N: usize> Ring<N> {
    /// Creates an empty ring.
    pub const fn new() -> Self {
        Self {
            events: Deque::new(),
            lost: 0,
        }
    }

    fn push(&mut self, event: Event) {
        if self.events.is_full() && self.events.pop_front().is_some() {
            self.lost = self.lost.saturating_add(1);
        }
        // There is room now, unless `N` is 0.
        let _ = self.events.push_back(event);
    }
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> RingSink<N> {
    /// Creates a sink for one thread.
    pub const fn local() -> Self {
        Self::new(RefCell::new(Ring::new()))
    }
}

impl<const N: usize, L> RingSink<N, L> {
    /// Creates a sink that uses the lock `ring`.
    pub const fn new(ring: L) -> Self {
        Self { ring }
    }
}

impl<const N: usize, L: Lock<Data = Ring<N>>> RingSink<N, L> {
    /// Removes and returns the oldest event.
    pub fn pop(&self) -> Option<Event> {
        self.ring.with(|ring| ring.events.pop_front())
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.ring.with(|ring| ring.events.len())
    }

    /// Returns whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many events were overwritten before they were popped.
    pub fn lost(&self) -> u64 {
        self.ring.with(|ring| ring.lost)
    }
}

impl<const N: usize, L: Lock<Data = Ring<N>>> Sink for RingSink<N, L> {
    fn emit(&self, event: &Event) {
        self.ring.with(|ring| ring.push(*event));
    }
}

impl<const N: usize, L: Lock<Data = Ring<N>>> Sink for &RingSink<N, L> {
    fn emit(&self, event: &Event) {
        (**self).emit(event);
    }
}

impl<const N: usize, L: Lock<Data = Ring<N>>> fmt::Debug for RingSink<N, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingSink")
            .field("len", &self.len())
            .field("lost", &self.lost())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use crate::telemetry::EventKind;
    use crate::time::Instant;

    fn event(request: u64) -> Event {
        Event {
            request,
            at: Instant::ZERO,
            strategy_name: Name::EMPTY,
            key: Name::EMPTY,
            kind: EventKind::RequestStart,
        }
    }

    #[test]
    fn the_last_events_are_kept_and_the_lost_counted() {
        let ring = RingSink::<3>::local();
        (0..5).for_each(|request| ring.emit(&event(request)));
        assert_eq!((ring.len(), ring.lost()), (3, 2));
        let kept = core::iter::from_fn(|| ring.pop()).map(|event| event.request);
        assert!(kept.eq([2, 3, 4]));
        assert!(ring.is_empty());
    }

    #[test]
    fn two_sinks_are_one() {
        let (a, b) = (RingSink::<3>::local(), RingSink::<3>::local());
        let both = (&a, &b);
        assert!(both.enabled());
        both.emit(&event(1));
        assert_eq!((a.len(), b.len()), (1, 1));
        assert!(!(crate::telemetry::NoSink, crate::telemetry::NoSink).enabled());
        assert!((crate::telemetry::NoSink, crate::telemetry::NoSink).is_noop());
        assert!(
            !(&a, crate::telemetry::NoSink).is_noop() && !(crate::telemetry::NoSink, &b).is_noop()
        );
    }

    #[cfg(feature = "std")]
    #[test]
    fn threads_may_share_one() {
        use std::sync::{Arc, Mutex};
        use std::thread;

        let ring = Arc::new(RingSink::<100, _>::new(Mutex::new(Ring::new())));
        let threads = [0, 1, 2].map(|n| {
            let ring = ring.clone();
            thread::spawn(move || (0..20).for_each(|k| ring.emit(&event(100 * n + k))))
        });
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(ring.len(), 60);
    }
}
