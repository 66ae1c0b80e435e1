//! What a client has beside its choice of replicas: a hedger as servers have it, at P95 within a budget of 10 %.

use core::time::Duration;

use hedge_core::{Budget, Hedger, Percentile};

use super::chooser::{Chooser, Rule};
use crate::engine::{Lab, RunningOn, Still};

/// Attempts that a request may have.
const ATTEMPTS: usize = 2;
/// A client gives an attempt up after so long.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// One process that sends requests.
pub(crate) struct Client {
    pub(crate) chooser: Chooser,
    pub(crate) hedger: Lab<Percentile, ATTEMPTS>,
}

/// One of its requests.
pub(crate) type Running<'c> = RunningOn<'c, Percentile, &'c Chooser, ATTEMPTS>;

impl Client {
    pub(crate) fn new(rule: Rule, replicas: usize, seed: u64) -> Result<Self, String> {
        let hedger = Hedger::builder(Still)
            .strategy(Percentile::new(95.0))
            .budget(Budget::percent(10.0))
            .attempt_timeout(TIMEOUT)
            .without_metrics()
            .seed(!seed)
            .attempts::<ATTEMPTS>()
            .build_local()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            chooser: Chooser::new(rule, replicas, seed),
            hedger,
        })
    }
}
