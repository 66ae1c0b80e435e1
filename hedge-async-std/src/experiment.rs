//! Experiments in a file, and pipelines that run them.
//!
//! ```
//! use hedge_async_std::experiment::{Context, Experiment, HedgingStage};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { smol::block_on(async {
//! let experiment: Experiment = toml::from_str(r#"
//!     id = "my-experiment"
//!     backend.id = "openai"
//!     reliability.hedging = { strategy = "percentile", percentile = 95, max_hedges = 1 }
//! "#)?;
//! let hedging = HedgingStage::new();
//!
//! let mut context = Context::new(experiment);
//! hedging.run(&mut context, |attempt| ask(attempt.index())).await?;
//! let answer: Option<&String> = context.artifact("hedging_result");
//! let hedged = context.metric("hedging").and_then(|metric| metric.get("hedged"));
//! println!("{answer:?}, hedged: {hedged:?}");
//! # Ok(())
//! # }) }
//! # async fn ask(_: usize) -> Result<String, std::io::Error> { Ok("blue".into()) }
//! ```
//!
//! As one of several stages:
//!
//! ```
//! use hedge_async_std::experiment::{
//!     Context, Description, Experiment, HedgingStage, Pipeline, Stage, StageDef, StageError,
//! };
//!
//! struct Prompt;
//!
//! impl Stage for Prompt {
//!     fn describe(&self) -> Description {
//!         Description::new("prompt", "Says what is asked").required("question", "string")
//!     }
//!
//!     async fn run(&self, context: &mut Context, stage: &StageDef) -> Result<(), StageError> {
//!         let question = stage.options.get("question").and_then(|question| question.as_str());
//!         let question = question.ok_or("`question` is missing")?;
//!         context.insert_artifact("prompt", format!("In one word: {question}"));
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { smol::block_on(async {
//! let experiment: Experiment = toml::from_str(r#"
//!     id = "my-experiment"
//!     backend.id = "openai"
//!     pipeline = [
//!         { name = "prompt", options = { question = "Which colour is the sky?" } },
//!         { name = "hedging", options = { timeout_ms = 2000 } },
//!     ]
//!     [reliability.hedging]
//! "#)?;
//! let hedging = HedgingStage::new().with_request(|context: &Context, _attempt| {
//!     let prompt = context.artifact::<String>("prompt").cloned();
//!     async move { ask(prompt.ok_or("there is no prompt")?).await }
//! });
//! let mut context = Context::new(experiment);
//! Pipeline::new().stage(Prompt).stage(hedging).run(&mut context).await?;
//! assert_eq!(context.artifact::<String>("hedging_result").unwrap(), "blue");
//! # Ok(())
//! # }) }
//! # async fn ask(_: String) -> Result<String, &'static str> { Ok("blue".into()) }
//! ```

#[doc(no_inline)]
pub use hedge_core::experiment::{
    BackendRef, BoxError, Context, Description, Experiment, Hedging, HedgingOptions, Pipeline,
    PipelineError, ReadError, Reliability, Stage, StageDef, StageError, Value,
};

use crate::AsyncStdTimer;

/// The hedging stage.
///
/// It makes a request with the options in the experiment's `reliability.hedging`. It stores the
/// answer as the artifact `hedging_result`, and the outcome as the metric `hedging`. See the
/// [module](self).
pub type HedgingStage = hedge_core::experiment::HedgingStage<AsyncStdTimer>;
