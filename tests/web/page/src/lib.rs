//! What the page asks of Rust: a client that fetches, hedged.

mod fetch;

use core::cell::Cell;
use core::time::Duration;

use hedge_async_std::{Budget, Error, Hedger, Percentile};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// Fetches from replicas, hedged.
#[wasm_bindgen]
pub struct Client {
    hedger: Hedger,
    replicas: Vec<String>,
    aborted: Cell<u32>,
}

/// How a request went.
#[wasm_bindgen]
pub struct Answer {
    /// Milliseconds.
    #[wasm_bindgen(readonly)]
    pub latency: f64,
    #[wasm_bindgen(readonly)]
    pub hedged: bool,
    #[wasm_bindgen(readonly)]
    pub hedge_won: bool,
}

#[wasm_bindgen]
impl Client {
    /// A client for `replicas`, addresses that answer alike. It hedges what is slower than `percentile`
    /// (50 to 99.9) of the requests, up to `budget` percent of them and bursts of ten.
    #[wasm_bindgen(constructor)]
    pub fn new(replicas: Vec<String>, percentile: f64, budget: f64) -> Result<Self, String> {
        if replicas.is_empty() {
            return Err("replicas is empty: expected at least one address".to_owned());
        }
        let hedger = Hedger::builder()
            .strategy(Percentile::new(percentile))
            .budget(Budget::percent(budget))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            hedger,
            replicas,
            aborted: Cell::new(0),
        })
    }

    /// Makes a request, and aborts the one that loses.
    pub async fn get(&self) -> Result<Answer, JsValue> {
        let replica = |attempt: usize| &self.replicas[attempt % self.replicas.len()];
        let hedged = self
            .hedger
            .request(|attempt| fetch::text(replica(attempt.index()), &self.aborted))
            .await
            .map_err(|error| match error {
                Error::Failed { error, .. } => error,
                error => format!("no answer: {error:?}").into(),
            })?;
        Ok(Answer {
            latency: millis(hedged.outcome.total_latency),
            hedged: hedged.outcome.hedged,
            hedge_won: hedged.outcome.hedge_won,
        })
    }

    /// Hedges at another percentile from now on; what was learned is lost.
    pub fn set_percentile(&self, percentile: f64) -> Result<(), String> {
        let set = self.hedger.set_strategy(Percentile::new(percentile));
        set.map_err(|error| error.to_string())
    }

    /// Allows another share of hedges from now on, in percent.
    pub fn set_budget(&self, budget: f64) -> Result<(), String> {
        let set = self.hedger.set_budget(Budget::percent(budget));
        set.map_err(|error| error.to_string())
    }

    /// After how many milliseconds the next request is hedged.
    pub fn delay(&self) -> Option<f64> {
        let stats = self.hedger.with_strategy(|p: &mut Percentile| p.stats());
        stats.and_then(|stats| stats.delay).map(millis)
    }

    /// How many fetches were aborted.
    #[wasm_bindgen(getter)]
    pub fn aborted(&self) -> u32 {
        self.aborted.get()
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
