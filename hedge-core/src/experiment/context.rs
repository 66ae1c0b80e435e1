//! The state of one run of a pipeline.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use super::{Experiment, Value};

/// One run of an experiment: its description, its artifacts and metrics, and the stages that are
/// complete.
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
    /// Creates the context of a new run.
    pub fn new(experiment: Experiment) -> Self {
        Self {
            experiment,
            run_id: String::new(),
            artifacts: BTreeMap::new(),
            metrics: BTreeMap::new(),
            completed: Vec::new(),
        }
    }

    /// Sets the name of the run.
    #[must_use]
    pub fn with_run_id(mut self, run_id: &str) -> Self {
        self.run_id = run_id.to_owned();
        self
    }

    /// Returns the experiment.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// Returns the `id` of the experiment.
    pub fn experiment_id(&self) -> &str {
        &self.experiment.id
    }

    /// Returns the name of the run; empty if it has none.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Returns the artifact with this name, if there is one and it is a `T`.
    pub fn artifact<T: Any>(&self, name: &str) -> Option<&T> {
        self.artifacts.get(name)?.downcast_ref()
    }

    /// Removes and returns the artifact with this name, if there is one and it is a `T`.
    pub fn take_artifact<T: Any>(&mut self, name: &str) -> Option<T> {
        // Check the type first: an artifact of another type stays.
        self.artifact::<T>(name)?;
        let artifact = self.artifacts.remove(name)?.downcast().ok()?;
        Some(*artifact)
    }

    /// Stores an artifact, and replaces an earlier one with the same name.
    pub fn insert_artifact<T: Any + Send + Sync>(&mut self, name: &str, artifact: T) {
        self.artifacts.insert(name.to_owned(), Box::new(artifact));
    }

    /// Returns the metric with this name.
    pub fn metric(&self, name: &str) -> Option<&Value> {
        self.metrics.get(name)
    }

    /// Returns all metrics, which can be serialised as a whole.
    pub fn metrics(&self) -> &BTreeMap<String, Value> {
        &self.metrics
    }

    /// Stores a metric, and replaces an earlier one with the same name.
    pub fn insert_metric(&mut self, name: &str, metric: impl Into<Value>) {
        self.metrics.insert(name.to_owned(), metric.into());
    }

    /// Returns the names of the completed stages in order.
    pub fn completed(&self) -> &[String] {
        &self.completed
    }

    /// Returns whether the stage with this name is complete.
    pub fn is_complete(&self, stage: &str) -> bool {
        self.completed.iter().any(|name| name == stage)
    }

    /// Marks a stage as complete. A [`Pipeline`](super::Pipeline) does this for its stages.
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
            // Artifacts may have any type, so only their names can be shown.
            .field("artifacts", &artifacts.keys())
            .field("metrics", metrics)
            .field("completed", completed)
            .finish()
    }
}
