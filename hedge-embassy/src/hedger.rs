//! A hedger for a `static`.

use embassy_sync::blocking_mutex::raw::{CriticalSectionRawMutex, RawMutex};
use hedge_core::adapter::{HedgerState, Policy};
use hedge_core::metrics::NoMetrics;
use hedge_core::telemetry::NoSink;
use hedge_core::{Budget, Options};

use crate::{EmbassyTimer, Shared};

/// Hedges the requests to one backend, for every task, executor and interrupt that can see it.
///
/// `S` is the strategy, and `M` the metrics: [`Metrics`](hedge_core::Metrics) take 4.5 KiB, so there are
/// none unless asked for. `K` hears of events. Requests have room for `MAX` attempts, the primary included.
/// `R` guards what they share; within one executor, in a `StaticCell` or on a task's stack,
/// [`NoopRawMutex`](embassy_sync::blocking_mutex::raw::NoopRawMutex) costs nothing.
pub type Hedger<S, M = NoMetrics, K = NoSink, const MAX: usize = 2, R = CriticalSectionRawMutex> =
    hedge_core::Hedger<EmbassyTimer, Shared<R, HedgerState<S, M>>, Shared<R, Budget>, K, MAX>;

/// A hedger with default options, in a `static` if need be: one hedge, a timeout of 30 s.
///
/// What cannot be right is clamped; [`Hedger::validate`](hedge_core::Hedger::validate) says what that was.
///
/// ```
/// use hedge_embassy::{Budget, Hedger, Percentile, hedger};
///
/// static HEDGER: Hedger<Percentile<64>> =
///     hedger(Percentile::with_window(95.0), Budget::percent(10.0));
///
/// HEDGER.validate()?;
/// # Ok::<(), hedge_embassy::ConfigError>(())
/// ```
pub const fn hedger<S, const MAX: usize, R: RawMutex>(
    strategy: S,
    budget: Budget,
) -> Hedger<S, NoMetrics, NoSink, MAX, R> {
    hedger_with(strategy, budget, Options::DEFAULT, NoMetrics, NoSink)
}

/// A hedger of all its parts, in a `static` if need be.
///
/// What cannot be right is clamped; [`Hedger::validate`](hedge_core::Hedger::validate) says what that was.
///
/// ```
/// use core::time::Duration;
/// use hedge_embassy::telemetry::NoSink;
/// use hedge_embassy::{Budget, Hedger, Metrics, Name, Options, Percentile, hedger_with};
///
/// const OPTIONS: Options = {
///     let mut options = Options::DEFAULT;
///     options.max_hedges = 2;
///     options.timeout = Some(Duration::from_secs(2));
///     options
/// };
///
/// /// Room for three attempts, and metrics.
/// static HEDGER: Hedger<Percentile<200>, Metrics, NoSink, 3> = hedger_with(
///     Percentile::with_window(95.0),
///     Budget::percent(10.0),
///     OPTIONS,
///     Metrics::new(),
///     NoSink,
/// )
/// .named(Name::truncated("sensor-hub"));
///
/// HEDGER.validate()?;
/// assert_eq!(HEDGER.metrics().total_requests, 0);
/// # Ok::<(), hedge_embassy::ConfigError>(())
/// ```
pub const fn hedger_with<S, M, K, const MAX: usize, R: RawMutex>(
    strategy: S,
    budget: Budget,
    options: Options,
    metrics: M,
    sink: K,
) -> Hedger<S, M, K, MAX, R> {
    let state = HedgerState::new(Policy::new(strategy, options), metrics);
    Hedger::from_parts(EmbassyTimer, Shared::new(state), Shared::new(budget), sink)
}
