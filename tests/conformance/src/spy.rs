//! Eyes on what a hedger tells others: its strategy and its sink.

use core::time::Duration;

use heapless::Vec;
use hedge_core::adapter::Lock;
use hedge_core::strategy::{Hints, Plan, Strategy};
use hedge_core::telemetry::EventKind;
use hedge_core::{Event, Instant, Record, Sink};

use crate::Home;

/// A strategy that always plans the same and remembers what it heard.
#[derive(Clone, Debug)]
pub(crate) struct Spy {
    plan: Plan,
    typical: Option<Duration>,
    pub(crate) heard: Vec<Record, 8>,
}

impl Spy {
    pub(crate) const fn new(plan: Plan) -> Self {
        Self {
            plan,
            typical: None,
            heard: Vec::new(),
        }
    }

    pub(crate) const fn typical_latency(mut self, latency: Duration) -> Self {
        self.typical = Some(latency);
        self
    }

    /// What it heard last.
    #[track_caller]
    pub(crate) fn last(&self) -> Record {
        match self.heard.last() {
            Some(report) => *report,
            None => panic!("the strategy heard of no request"),
        }
    }
}

impl Strategy for Spy {
    fn plan(&mut self, _: &Hints, _: Instant) -> Plan {
        self.plan
    }

    fn record(&mut self, report: &Record) {
        assert!(self.heard.push(*report).is_ok(), "too many requests");
    }

    fn typical_latency(&self, _: &Hints) -> Option<Duration> {
        self.typical
    }
}

/// A sink that remembers what it heard.
pub(crate) struct Ear<H: Home>(H::Lock<Vec<Event, 32>>);

impl<H: Home> Ear<H> {
    pub(crate) fn new() -> Self {
        Self(H::lock(Vec::new()))
    }

    pub(crate) fn events(&self) -> Vec<Event, 32> {
        self.0.with(|events| events.clone())
    }

    /// Events of one request, with these names and in this order, and no others since.
    #[track_caller]
    pub(crate) fn assert_heard(&self, names: &[&str]) {
        let events = self.0.with(core::mem::take);
        let heard: Vec<_, 32> = events.iter().map(|event| event.kind.name()).collect();
        assert_eq!(heard, names);
        assert!(
            events
                .windows(2)
                .all(|pair| pair[0].request == pair[1].request),
            "{events:?}"
        );
        assert!(
            events.windows(2).all(|pair| pair[0].at <= pair[1].at),
            "{events:?}"
        );
    }

    /// Forgets what was heard, and gives its only event for which `f` has an answer.
    #[track_caller]
    pub(crate) fn only<R>(&self, f: impl Fn(EventKind) -> Option<R>) -> R {
        let mut found = self.events().into_iter().filter_map(|event| f(event.kind));
        match (found.next(), found.next()) {
            (Some(found), None) => found,
            (None, _) => panic!("no such event"),
            (Some(_), Some(_)) => panic!("more than one such event"),
        }
    }
}

impl<H: Home> Sink for &Ear<H> {
    fn emit(&self, event: &Event) {
        self.0
            .with(|events| assert!(events.push(*event).is_ok(), "too many events"));
    }
}
