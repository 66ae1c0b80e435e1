//! What the page asks of Rust: a client that fetches, hedged.

mod fetch;

use core::cell::Cell;
use core::time::Duration;

use hedge_async_std::replicas::SharedReplicas;
use hedge_async_std::{Budget, Error, Hedger, Percentile};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// Fetches from replicas, hedged.
#[wasm_bindgen]
pub struct Client {
    hedger: Hedger,
    replicas: Vec<String>,
    set: SharedReplicas<MOST_REPLICAS>,
    /// How many fetches each replica was sent.
    sent: Vec<Cell<u32>>,
    aborted: Cell<u32>,
}

const MOST_REPLICAS: usize = 8;

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
        if !(1..=MOST_REPLICAS).contains(&replicas.len()) {
            let count = replicas.len();
            return Err(format!(
                "replicas has {count} addresses: expected 1 to {MOST_REPLICAS}"
            ));
        }
        let hedger = Hedger::builder()
            .strategy(Percentile::new(percentile))
            .budget(Budget::percent(budget))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            hedger,
            set: SharedReplicas::of(replicas.len()),
            sent: vec![Cell::new(0); replicas.len()],
            replicas,
            aborted: Cell::new(0),
        })
    }

    /// Makes a request to the replica that is likely to answer first, and aborts the one that loses.
    pub async fn get(&self) -> Result<Answer, JsValue> {
        let hedged = self
            .hedger
            .request_on(&self.set, |attempt| {
                let replica = attempt.replica().index();
                let sent = &self.sent[replica];
                sent.set(sent.get() + 1);
                fetch::text(&self.replicas[replica], &self.aborted)
            })
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

    /// How many fetches each replica was sent.
    #[wasm_bindgen(getter)]
    pub fn sent(&self) -> Vec<u32> {
        self.sent.iter().map(Cell::get).collect()
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
