//! The models: what they cost, how good they have to be, and how long they take.

use core::ops::Range;
use core::time::Duration;

use hedge_tokio::cascade::Tier;

/// A language model, as a tier of the cascade.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// How long it may be out before the next model is asked too, in milliseconds.
    pub(crate) delay_ms: f64,
    /// The price of one answer, in dollars.
    pub(crate) cost: f64,
    /// How good an answer has to be, from 0 to 1.
    pub(crate) quality_threshold: Option<f64>,
    /// How long an answer takes, in milliseconds.
    pub(crate) latency_ms: Range<f64>,
    /// How long it takes in the slow mode, and the share of the answers that do.
    pub(crate) slow_ms: Option<(Range<f64>, f64)>,
}

/// The models in the order in which they are asked.
pub(crate) const MODELS: [Model; 3] = [
    Model {
        name: "gpt4",
        delay_ms: 500.0,
        cost: 0.03,
        quality_threshold: Some(0.95),
        latency_ms: 300.0..1000.0,
        slow_ms: Some((4500.0..5500.0, 0.03)),
    },
    Model {
        name: "gpt35",
        delay_ms: 300.0,
        cost: 0.002,
        quality_threshold: Some(0.85),
        latency_ms: 100.0..400.0,
        slow_ms: None,
    },
    Model {
        name: "gemini",
        delay_ms: 0.0,
        cost: 0.0001,
        quality_threshold: None,
        latency_ms: 50.0..150.0,
        slow_ms: None,
    },
];

impl Model {
    /// Its tier, with times scaled.
    pub(crate) fn tier(&self, scale: f64) -> Tier {
        let tier = Tier::new(self.name)
            .delay(Duration::from_secs_f64(self.delay_ms / 1000.0 * scale))
            .cost(self.cost);
        match self.quality_threshold {
            Some(quality) => tier.quality_threshold(quality),
            None => tier,
        }
    }
}
