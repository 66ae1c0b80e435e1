//! What a case runs in.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use hedge_core::metrics::Recorder;
use hedge_core::strategy::{Fixed, Strategy};
use hedge_core::telemetry::NoSink;
use hedge_core::{Budget, Builder, Event, Hedger, Instant, Metrics, Options, Sink, Timer};

use crate::Home;
use crate::audit::Audit;

/// A clock, a unit of time, and how requests share state.
pub struct World<T, H> {
    timer: T,
    tick: Duration,
    exact: bool,
    journal: fn(&Event),
    home: PhantomData<fn() -> H>,
}

/// A hedger at home in `H`, whose events are audited.
pub(crate) type Built<T, H, S, M = Metrics, K = NoSink, const MAX: usize = 4> =
    Hedger<T, <H as Home>::SharedState<S, M>, <H as Home>::Budget, (K, Audit<H>), MAX>;

impl<T: Timer + Clone, H: Home> World<T, H> {
    /// A world whose clock moves only when all have to wait: cases assert exact times.
    pub const fn exact(timer: T) -> Self {
        Self::new(timer, true)
    }

    /// A world whose clock nobody waits for: cases assert what holds however slow the machine is.
    pub const fn real(timer: T) -> Self {
        Self::new(timer, false)
    }

    const fn new(timer: T, exact: bool) -> Self {
        Self {
            timer,
            tick: Duration::from_millis(20),
            exact,
            journal: |_| (),
            home: PhantomData,
        }
    }

    /// A world whose events are handed to `journal` as well.
    #[must_use]
    pub fn with_journal(self, journal: fn(&Event)) -> Self {
        Self { journal, ..self }
    }

    /// Sets the unit of time. Default: 20 ms. At least 10 ms, the least delay of
    /// [`WorkloadAware`](hedge_core::WorkloadAware).
    #[must_use]
    pub fn with_tick(self, tick: Duration) -> Self {
        Self { tick, ..self }
    }

    /// Replaces the clock.
    pub(crate) fn with_timer<U>(&self, timer: U) -> World<U, H> {
        World {
            timer,
            tick: self.tick,
            exact: self.exact,
            journal: self.journal,
            home: PhantomData,
        }
    }

    pub(crate) const fn timer(&self) -> &T {
        &self.timer
    }

    pub(crate) const fn is_exact(&self) -> bool {
        self.exact
    }

    pub(crate) fn now(&self) -> Instant {
        self.timer.now()
    }

    pub(crate) const fn ticks(&self, ticks: u32) -> Duration {
        self.tick.saturating_mul(ticks)
    }

    pub(crate) fn sleep(&self, ticks: u32) -> T::Sleep {
        self.timer.sleep_until(self.now() + self.ticks(ticks))
    }

    /// `ticks` have passed: exactly, if the clock is exact.
    #[track_caller]
    pub(crate) fn assert_took(&self, actual: Duration, ticks: u32) {
        let expected = self.ticks(ticks);
        if self.exact {
            assert_eq!(actual, expected);
        } else {
            assert!(actual >= expected, "{actual:?} is less than {expected:?}");
        }
    }

    /// Hedges every `ticks`, without a bound on load or time, one hedge a request.
    pub(crate) fn fixed(&self, ticks: u32) -> Builder<T, Fixed, Metrics, NoSink, 4> {
        self.with_strategy(Fixed::new(self.ticks(ticks)))
    }

    /// Hedges by a custom strategy, without a bound on load or time, one hedge a request.
    pub(crate) fn with_strategy<S>(&self, strategy: S) -> Builder<T, S, Metrics, NoSink, 4> {
        let mut options = Options::DEFAULT;
        options.timeout = None;
        Hedger::builder(self.timer.clone())
            .strategy(strategy)
            .attempts::<4>()
            .budget(Budget::unlimited())
            .options(options)
    }

    #[track_caller]
    pub(crate) fn build<S: Strategy, M: Recorder, K: Sink, const MAX: usize>(
        &self,
        builder: Builder<T, S, M, K, MAX>,
    ) -> Built<T, H, S, M, K, MAX> {
        match self.audited(builder).build_with(H::ledger, H::budget) {
            Ok(hedger) => hedger,
            Err(error) => panic!("{error}"),
        }
    }

    /// Audits the events of the hedger that `builder` builds.
    pub(crate) fn audited<S, M: Recorder, K: Sink, const MAX: usize>(
        &self,
        builder: Builder<T, S, M, K, MAX>,
    ) -> Builder<T, S, M, (K, Audit<H>), MAX> {
        // Not where nobody listens at all: such requests may go untimed.
        builder.map_sink(|sink| {
            let audited = M::ON || sink.enabled();
            (sink, Audit::new(audited, self.journal))
        })
    }
}

impl<T, H> fmt::Debug for World<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("tick", &self.tick)
            .field("exact", &self.exact)
            .finish_non_exhaustive()
    }
}
