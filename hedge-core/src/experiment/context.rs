//! What goes from stage to stage.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use super::{Experiment, Value};

/// One run of an experiment: what it is, what its stages have made and measured, and which are done.
///
/// ```
/// use hedge_core::experiment::{BackendRef, Context, Experiment};
///
/// let experiment = Experiment::new("latency", BackendRef::new("openai".parse()?));
/// let mut context = Context::new(experiment).with_run_id("run-1");
/// context.insert_artifact("prompt", String::from("Why is the sky blue?"));
/// assert_eq!(context.artifact::<String>("prompt").map(String::len), Some(20));
/// assert_eq!((context.experiment_id(), context.run_id()), ("latency", "run-1"));
/// # Ok::<(), hedge_core::ConfigError>(())
/// ```
pub struct Context {
    experiment: Experiment,
    run_id: String,
    artifacts: BTreeMap<String, Box<dyn Any + Send + Sync>>,
    metrics: BTreeMap<String, Value>,
    completed: Vec<String>,
}

impl Context {
    /// The start of a run.
    pub fn new(experiment: Experiment) -> Self {
        Self {
            experiment,
            run_id: String::new(),
            artifacts: BTreeMap::new(),
            metrics: BTreeMap::new(),
            completed: Vec::new(),
        }
    }

    /// Gives the run a name.
    #[must_use]
    pub fn with_run_id(mut self, run_id: &str) -> Self {
        self.run_id = run_id.to_owned();
        self
    }

    /// What is run.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// The `id` of what is run.
    pub fn experiment_id(&self) -> &str {
        &self.experiment.id
    }

    /// The name of the run; empty if it was given none.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// What a stage has made, if there is one of this name and it is a `T`.
    pub fn artifact<T: Any>(&self, name: &str) -> Option<&T> {
        self.artifacts.get(name)?.downcast_ref()
    }

    /// Takes out what a stage has made, if there is one of this name and it is a `T`.
    pub fn take_artifact<T: Any>(&mut self, name: &str) -> Option<T> {
        // Asked first: what is of another type stays.
        self.artifact::<T>(name)?;
        let artifact = self.artifacts.remove(name)?.downcast().ok()?;
        Some(*artifact)
    }

    /// Keeps what a stage has made, in place of what had that name.
    pub fn insert_artifact<T: Any + Send + Sync>(&mut self, name: &str, artifact: T) {
        self.artifacts.insert(name.to_owned(), Box::new(artifact));
    }

    /// What a stage has measured.
    pub fn metric(&self, name: &str) -> Option<&Value> {
        self.metrics.get(name)
    }

    /// All that was measured. It can be serialised, as a whole.
    pub fn metrics(&self) -> &BTreeMap<String, Value> {
        &self.metrics
    }

    /// Keeps what a stage has measured, in place of what had that name.
    pub fn insert_metric(&mut self, name: &str, metric: impl Into<Value>) {
        self.metrics.insert(name.to_owned(), metric.into());
    }

    /// The names of the stages that are done, in order.
    pub fn completed(&self) -> &[String] {
        &self.completed
    }

    /// Whether the stage of this name is done.
    pub fn is_complete(&self, stage: &str) -> bool {
        self.completed.iter().any(|name| name == stage)
    }

    /// Marks a stage as done. A [`Pipeline`](super::Pipeline) does that.
    pub fn complete(&mut self, stage: &str) {
        self.completed.push(stage.to_owned());
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            experiment,
            run_id,
            artifacts,
            metrics,
            completed,
        } = self;
        f.debug_struct("Context")
            .field("experiment", experiment)
            .field("run_id", run_id)
            // Of those only the names can be told.
            .field("artifacts", &artifacts.keys())
            .field("metrics", metrics)
            .field("completed", completed)
            .finish()
    }
}
