//! Hedgers for a `static`.

use embassy_sync::blocking_mutex::raw::{CriticalSectionRawMutex, RawMutex};
use hedge_core::adapter::{HedgerState, Policy};
use hedge_core::metrics::NoMetrics;
use hedge_core::telemetry::NoSink;
use hedge_core::{Budget, Options};

use crate::{EmbassyTimer, Shared};

/// Hedges the requests to one backend, from any task, executor or interrupt.
///
/// `S` is the strategy, and `M` the metrics. There are none by default, since
/// [`Metrics`](hedge_core::Metrics) take 4.5 KiB. `K` is the sink for events. `MAX` is the number
/// of attempts for which a request has room, including the primary. `R` is the mutex around the
/// shared state. Within one executor, in a `StaticCell` or on a task's stack,
/// [`NoopRawMutex`](embassy_sync::blocking_mutex::raw::NoopRawMutex) costs nothing.
pub type Hedger<S, M = NoMetrics, K = NoSink, const MAX: usize = 2, R = CriticalSectionRawMutex> =
    hedge_core::Hedger<EmbassyTimer, Shared<R, HedgerState<S, M>>, Shared<R, Budget>, K, MAX>;

/// Creates a hedger with default options: one hedge, and a timeout of 30 s. Can be used in a
/// `static`.
///
/// Invalid values are clamped; [`Hedger::validate`](hedge_core::Hedger::validate) returns an error
/// for them.
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

/// Creates a hedger from all its parts. Can be used in a `static`.
///
/// Invalid values are clamped; [`Hedger::validate`](hedge_core::Hedger::validate) returns an error
/// for them.
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
/// /// A hedger with room for three attempts, and with metrics.
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
