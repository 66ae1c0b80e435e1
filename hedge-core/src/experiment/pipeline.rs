//! Pipelines that run stages in order.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::{BoxFuture, Context, Description, PipelineError, Stage, StageDef, StageError};

/// A set of stages that experiments can use. See the [module](super).
#[derive(Default)]
pub struct Pipeline {
    stages: Vec<Box<dyn AnyStage + Send + Sync>>,
}

impl Pipeline {
    /// Creates a pipeline without stages.
    pub const fn new() -> Self {
        Self { stages: Vec::new() }
    }

    /// Adds a stage under the name in its description. A later stage replaces an earlier one with
    /// the same name.
    #[must_use]
    pub fn stage(mut self, stage: impl Stage + Send + Sync + 'static) -> Self {
        self.stages.push(Box::new(stage));
        self
    }

    /// Returns the descriptions of all stages.
    pub fn describe(&self) -> Vec<Description> {
        self.stages.iter().map(|stage| stage.describe()).collect()
    }

    /// Runs the enabled stages of the experiment in order.
    ///
    /// # Errors
    ///
    /// Returns an error before any stage is run if a stage is unknown, and stops at the first stage
    /// that fails. The results of the earlier stages are then in the context.
    pub async fn run(&self, context: &mut Context) -> Result<(), PipelineError> {
        let defs = context.experiment().pipeline.clone();
        let mut stages = Vec::with_capacity(defs.len());
        for (index, def) in defs.iter().enumerate().filter(|(_, def)| def.enabled) {
            let stage = self.find(def);
            stages.push((
                def,
                stage.map_err(|error| stopped(index, def, error))?,
                index,
            ));
        }
        for (def, stage, index) in stages {
            let run = stage.run(context, def).await;
            run.map_err(|error| stopped(index, def, error))?;
            context.complete(&def.name);
        }
        Ok(())
    }

    fn find(&self, def: &StageDef) -> Result<&dyn AnyStage, StageError> {
        let mut stages = self.stages.iter().rev();
        let named = stages.find(|stage| stage.describe().name == def.name);
        named.map(|stage| &**stage as _).ok_or_else(|| {
            let known = self.describe().into_iter().map(|stage| stage.name);
            StageError::UnknownStage {
                known: known.collect(),
            }
        })
    }
}

fn stopped(index: usize, def: &StageDef, error: StageError) -> PipelineError {
    PipelineError {
        index,
        stage: def.name.clone(),
        error,
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.describe().into_iter().map(|stage| stage.name);
        f.debug_tuple("Pipeline")
            .field(&names.collect::<Vec<_>>())
            .finish()
    }
}

/// A [`Stage`] whose futures are boxed.
trait AnyStage {
    fn describe(&self) -> Description;

    fn run<'r>(
        &'r self,
        context: &'r mut Context,
        stage: &'r StageDef,
    ) -> BoxFuture<'r, Result<(), StageError>>;
}

impl<S: Stage> AnyStage for S {
    fn describe(&self) -> Description {
        Stage::describe(self)
    }

    fn run<'r>(
        &'r self,
        context: &'r mut Context,
        stage: &'r StageDef,
    ) -> BoxFuture<'r, Result<(), StageError>> {
        Box::pin(Stage::run(self, context, stage))
    }
}
