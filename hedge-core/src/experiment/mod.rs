//! Experiments in a file, and pipelines that run them.
//!
//! An [`Experiment`] describes in a file which backend is called, how its requests are hedged, and
//! which stages are run. A [`Pipeline`] contains the stages. A [`Context`] is passed from one stage
//! to the next, and collects what they produce (*artifacts*) and what they measure (*metrics*). A
//! custom stage is a struct with two methods:
//!
//! ```
//! use hedge_core::experiment::{Context, Description, Experiment, Pipeline, Stage, StageDef, StageError};
//!
//! struct Shout;
//!
//! impl Stage for Shout {
//!     fn describe(&self) -> Description {
//!         Description::new("shout", "Says it louder").optional("marks", "integer", 1)
//!     }
//!
//!     async fn run(&self, context: &mut Context, stage: &StageDef) -> Result<(), StageError> {
//!         let marks = stage.options.get("marks").and_then(|marks| marks.as_i64()).unwrap_or(1);
//!         let word = context.artifact::<String>("word").ok_or("there is no word")?;
//!         let word = word.to_uppercase() + &"!".repeat(marks as usize);
//!         context.insert_metric("letters", word.len() as i64);
//!         context.insert_artifact("word", word);
//!         Ok(())
//!     }
//! }
//!
//! let experiment: Experiment = toml::from_str(r#"
//!     id = "loudness"
//!     backend.id = "megaphone"
//!     pipeline = [{ name = "shout", options = { marks = 3 } }]
//! "#)?;
//! let mut context = Context::new(experiment);
//! context.insert_artifact("word", String::from("hedge"));
//! # hedge_core::manual::ManualTimer::<1>::new().drive(async {
//! Pipeline::new().stage(Shout).run(&mut context).await?;
//! # Ok::<(), hedge_core::experiment::PipelineError>(())
//! # })?;
//! assert_eq!(context.artifact::<String>("word").unwrap(), "HEDGE!!!");
//! assert!(context.is_complete("shout"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The hedging stage is `experiment::HedgingStage` (feature `std`). The runtime crates export it in
//! their module `experiment`.

use alloc::boxed::Box;
use core::future::Future;
use core::pin::Pin;

mod context;
mod definition;
mod description;
mod error;
mod hedging;
mod metric;
mod pipeline;
#[cfg(feature = "std")]
mod runner;
#[cfg(feature = "schemars")]
mod schema;

#[doc(no_inline)]
pub use crate::boxed::BoxError;
pub use crate::config::value::{ReadError, Value};
pub use context::Context;
pub use definition::{BackendRef, Experiment, Reliability, StageDef};
pub use description::Description;
pub use error::{PipelineError, StageError};
#[cfg(feature = "std")]
pub(crate) use hedging::Run;
pub use hedging::{Hedging, HedgingOptions};
pub use pipeline::Pipeline;
#[cfg(feature = "std")]
pub use runner::HedgingStage;

/// One step of a [`Pipeline`]; see the [module](self).
pub trait Stage {
    /// Returns a description for tools and for the authors of experiments.
    fn describe(&self) -> Description;

    /// Runs the stage. It reads its inputs from `context` and stores its results there. `stage` is
    /// its entry in the experiment's pipeline, with its options.
    ///
    /// # Errors
    ///
    /// Returns an error if the stage failed; the pipeline then stops.
    fn run(
        &self,
        context: &mut Context,
        stage: &StageDef,
    ) -> impl Future<Output = Result<(), StageError>> + Send;
}

/// A boxed future.
pub(crate) type BoxFuture<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;
