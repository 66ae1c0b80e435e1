//! Boxed strategies and sinks, which keep the type parameters out of the server's hedger.

use core::any::Any;
use core::fmt;
use core::time::Duration;
use std::boxed::Box;

use crate::error::ConfigError;
use crate::outcome::StrategyKind;
use crate::record::Record;
use crate::strategy::{
    AnyStrategy, Hints, Plan, ReadColumns, RestoreError, Strategy, WriteColumns, forward,
};
use crate::telemetry::{Event, Sink};
use crate::time::Instant;

/// A strategy of any type. A request that does not hedge makes no call through the box.
pub struct BoxedStrategy(Box<dyn Erased>);

trait Erased: Strategy + Send {
    fn as_any(&mut self) -> &mut dyn Any;

    fn boxed_fresh(&self) -> Option<BoxedStrategy>;
}

impl<S: Strategy + Send + 'static> Erased for S {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn boxed_fresh(&self) -> Option<BoxedStrategy> {
        self.fresh().map(BoxedStrategy::new)
    }
}

impl BoxedStrategy {
    /// Boxes `strategy`. The variant of an [`AnyStrategy`] is boxed without the enum, so that
    /// [`downcast`](Self::downcast) finds it by its own type.
    pub(crate) fn new<S: Strategy + Send + 'static>(strategy: S) -> Self {
        Self(Box::new(strategy))
    }

    /// Boxes the variant of `strategy` that is in use.
    pub(crate) fn from_any(strategy: AnyStrategy) -> Self {
        match strategy {
            AnyStrategy::Off(strategy) => Self::new(strategy),
            AnyStrategy::OnFailure(strategy) => Self::new(strategy),
            AnyStrategy::Fixed(strategy) => Self::new(strategy),
            AnyStrategy::Percentile(strategy) => Self::new(strategy),
            AnyStrategy::Adaptive(strategy) => Self::new(strategy),
            AnyStrategy::Optimal(strategy) => Self::new(strategy),
            AnyStrategy::ExponentialBackoff(strategy) => Self::new(strategy),
            AnyStrategy::WorkloadAware(strategy) => Self::new(strategy),
        }
    }

    /// Returns the strategy if it is an `S`.
    pub(crate) fn downcast<S: 'static>(&mut self) -> Option<&mut S> {
        (*self.0).as_any().downcast_mut()
    }
}

impl fmt::Debug for BoxedStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxedStrategy").field(&self.kind()).finish()
    }
}

impl Strategy for BoxedStrategy {
    forward!(self => self.0, self.0);

    fn fresh(&self) -> Option<Self> {
        (*self.0).boxed_fresh()
    }
}

/// A sink of any type, or `None`.
#[derive(Default)]
pub struct BoxedSink(Option<Box<dyn Sink + Send + Sync>>);

impl BoxedSink {
    pub(crate) fn new(sink: impl Sink + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(sink)))
    }
}

impl fmt::Debug for BoxedSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "BoxedSink"
        } else {
            "NoSink"
        })
    }
}

impl Sink for BoxedSink {
    fn emit(&self, event: &Event) {
        if let Some(sink) = &self.0 {
            sink.emit(event);
        }
    }

    fn enabled(&self) -> bool {
        self.0.as_ref().is_some_and(|sink| sink.enabled())
    }
}
