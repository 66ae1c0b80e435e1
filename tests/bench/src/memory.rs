//! What a hedger and its requests take in memory.

use hedge_tokio::{
    Adaptive, ExponentialBackoff, Fixed, Hedger, Optimal, Percentile, Strategy, WorkloadAware,
};

use crate::cases;
use crate::options::Memory;
use crate::runtime::Flavour;
use crate::script::{Attempt, Kind, Slot};

/// How large an attempt is. A request's future has room for two or more.
pub(crate) const ATTEMPT: usize = size_of::<Attempt>();

/// What is held, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) hedgers: Vec<(&'static str, u64)>,
    pub(crate) requests: Vec<Request>,
}

/// A request in flight, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) case: &'static str,
    /// Its future.
    pub(crate) future: usize,
    /// What it has allocated besides.
    pub(crate) allocated: u64,
}

pub(crate) fn measure(options: &Memory) -> Result<Measured, String> {
    let runtime = Flavour::CurrentThread.start()?;
    let guard = runtime.enter();
    let cases = cases::all(Kind::HedgeWins);
    drop(guard);
    let slot: &'static Slot = Box::leak(Box::default());
    let requests = cases
        .iter()
        .filter(|case| options.wants(case.name))
        .map(|case| {
            let (future, allocated) = case.held(&runtime, slot)?;
            Ok(Request {
                case: case.name,
                future,
                allocated,
            })
        });
    Ok(Measured {
        requests: requests.collect::<Result<_, String>>()?,
        hedgers: vec![
            ("hedge/fixed", hedger(Fixed::new(Kind::HedgeWins.delay()))),
            ("hedge/percentile", hedger(Percentile::new(95.0))),
            ("hedge/adaptive", hedger(Adaptive::new())),
            ("hedge/workload_aware", hedger(WorkloadAware::new())),
            (
                "hedge/exponential_backoff",
                hedger(ExponentialBackoff::new()),
            ),
            ("hedge/optimal", hedger(Optimal::new(99.0, 5.0))),
        ],
    })
}

/// All that a hedger allocates, metrics and budget included.
fn hedger(strategy: impl Strategy + Send + 'static) -> u64 {
    let mut kept = None;
    let allocated = allocation_counter::measure(|| {
        kept = Some(Hedger::builder().strategy(strategy).build());
    });
    drop(kept);
    allocated.bytes_current.unsigned_abs()
}
