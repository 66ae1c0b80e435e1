//! Experiments in a file, and pipelines that run them.
//!
//! An [`Experiment`] says in a file what is asked, how it is hedged, and which stages it goes through. A
//! [`Pipeline`] has the stages; a [`Context`] goes from one to the next, and collects what they make
//! (*artifacts*) and what they measure (*metrics*). A stage of your own is a struct and two methods:
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
//! The stage that hedges is `experiment::HedgingStage` (feature `std`), which the runtime crates have under their
//! `stage`.

use alloc::boxed::Box;
use core::future::Future;
use core::pin::Pin;

mod context;
mod description;
mod error;
mod experiment;
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
pub use description::Description;
pub use error::{PipelineError, StageError};
pub use experiment::{BackendRef, Experiment, Reliability, StageDef};
#[cfg(feature = "std")]
pub(crate) use hedging::Run;
pub use hedging::{Hedging, HedgingOptions};
pub use pipeline::Pipeline;
#[cfg(feature = "std")]
pub use runner::HedgingStage;

/// One step of a [`Pipeline`]; see the [module](self).
pub trait Stage {
    /// What it is called, needs and takes, for tools and for whoever writes an experiment.
    fn describe(&self) -> Description;

    /// Does its work: reads from `context` what it needs, and puts there what it makes. `stage` is its
    /// entry in the experiment's pipeline, with its options.
    ///
    /// # Errors
    ///
    /// If it has not; the pipeline stops there.
    fn run(
        &self,
        context: &mut Context,
        stage: &StageDef,
    ) -> impl Future<Output = Result<(), StageError>> + Send;
}

/// A future of some type.
pub(crate) type BoxFuture<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;
