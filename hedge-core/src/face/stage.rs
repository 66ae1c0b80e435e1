//! The stage of a pipeline that hedges.

use core::any::Any;
use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::format;
use std::string::String;

use super::{Hedger, Registry, RegistryError, Runtime};
use crate::stage::{
    BoxError, BoxFuture, Context, Description, Hedging, ReadError, Stage, StageDef, StageError,
    Value, check, overridden,
};
use crate::{Attempt, HedgeConfig, Hedged, Hints, Outcome, Overrides, StrategyKind};

/// The stage that hedges: it makes a request as the experiment's `reliability.hedging` says, and keeps the
/// answer as artifact `hedging_result` and what was done for it as metric `hedging`.
///
/// Hedgers are kept over runs in a [`Registry`], one for each `strategy_name`, and where there is none for
/// each backend's `id`: what is learned in one run serves the next.
pub struct HedgingStage<R> {
    name: String,
    registry: Registry<R>,
    request: Option<Box<BoxedRequest>>,
}

type BoxedRequest =
    dyn Fn(&Context, Attempt) -> BoxFuture<'static, Result<Artifact, BoxError>> + Send + Sync;

/// Puts an answer into a context, of whatever type it is.
type Artifact = Box<dyn FnOnce(&mut Context, &str) + Send>;

impl<R> HedgingStage<R> {
    /// A stage called `hedging`, with a registry of its own.
    pub fn new() -> Self {
        Self {
            name: "hedging".to_owned(),
            registry: Registry::new(),
            request: None,
        }
    }

    /// Calls it something else, and so its artifact `…_result` and its metric: for pipelines that hedge more
    /// than one request.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Uses hedgers that others use too.
    #[must_use]
    pub fn with_registry(mut self, registry: Registry<R>) -> Self {
        self.registry = registry;
        self
    }

    /// Gives it the request that it makes in a [`Pipeline`](crate::stage::Pipeline). `request` is called once
    /// per attempt, and takes from the context what it needs.
    #[must_use]
    pub fn with_request<V, E, F, Fut>(mut self, request: F) -> Self
    where
        F: Fn(&Context, Attempt) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Any + Send + Sync,
        E: Into<BoxError>,
    {
        self.request = Some(Box::new(move |context, attempt| {
            let attempt = request(context, attempt);
            Box::pin(async move {
                let answer = attempt.await.map_err(Into::into)?;
                let keep: Artifact =
                    Box::new(|context, name| context.insert_artifact(name, answer));
                Ok(keep)
            })
        }));
        self
    }

    /// Its hedgers, with what they have learned and counted.
    pub fn registry(&self) -> &Registry<R> {
        &self.registry
    }

    /// What it is called, needs and takes.
    pub fn describe(&self) -> Description {
        describe(&self.name)
    }

    fn artifact_name(&self) -> String {
        format!("{}_result", self.name)
    }
}

impl<R: Runtime> HedgingStage<R> {
    /// Makes a request as the experiment says: `launch` is called once per attempt, as by
    /// [`Hedger::request`]. Keeps the answer and what was done for it, and marks the stage as done.
    ///
    /// # Errors
    ///
    /// [`StageError::MissingConfig`], [`StageError::InvalidStrategy`] and [`StageError::InvalidConfig`] before
    /// anything is sent; [`StageError::RequestFailed`] when every attempt failed or the time was up. The
    /// context is as it was then.
    pub async fn run<V, E, F, Fut>(
        &self,
        context: &mut Context,
        launch: F,
    ) -> Result<Outcome, StageError>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>>,
        V: Any + Send + Sync,
        E: Into<BoxError>,
    {
        self.run_with(context, &Overrides::default(), launch).await
    }

    /// The same with options of its own, in the place of the experiment's.
    ///
    /// Hints, less time, fewer hedges, and no hedging at all are for this run alone. All others change the
    /// hedger, which runs at the same time and later ones of the same name share.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_with<V, E, F, Fut>(
        &self,
        context: &mut Context,
        overrides: &Overrides,
        launch: F,
    ) -> Result<Outcome, StageError>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>>,
        V: Any + Send + Sync,
        E: Into<BoxError>,
    {
        let hedged = self.request(context, overrides, launch).await?;
        context.insert_artifact(&self.artifact_name(), hedged.value);
        context.insert_metric(&self.name, &hedged.outcome);
        context.complete(&self.name);
        Ok(hedged.outcome)
    }

    async fn request<V, E, F, Fut>(
        &self,
        context: &Context,
        overrides: &Overrides,
        launch: F,
    ) -> Result<Hedged<V>, StageError>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<V, E>>,
        E: Into<BoxError>,
    {
        let run = self.plan(context, overrides)?;
        let hedger = self.hedger(&run, overrides)?;
        let mut call = hedger.call().hints(hints(overrides));
        if !run.config.enabled {
            call = call.unhedged();
        }
        if run.config.max_hedges < run.base.max_hedges {
            call = call.max_hedges(run.config.max_hedges);
        }
        if run.config.timeout_ms < run.base.timeout_ms {
            let seconds = run.config.timeout_ms / 1e3;
            call = call.timeout(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        }
        let hedged = call.request(launch).await;
        hedged.map_err(|error| StageError::RequestFailed(error.map(Into::into)))
    }

    /// The options of this run.
    fn plan(&self, context: &Context, overrides: &Overrides) -> Result<Run, StageError> {
        let experiment = context.experiment();
        let hedging = experiment.reliability.hedging.as_ref();
        let default = Hedging::default();
        let hedging = match (hedging, overrides.strategy) {
            (Some(hedging), _) => hedging,
            (None, Some(_)) => &default,
            (None, None) => return Err(StageError::MissingConfig),
        };
        let name = experiment.backend.id;
        let mut base = hedging.stage_config();
        base.strategy_name = base.strategy_name.or(Some(name));
        let run = Run {
            config: overridden(&base, overrides),
            base,
        };
        if !overrides.is_empty() {
            check(&run.config).map_err(|error| {
                let path = error.option().to_owned();
                StageError::hedging(ReadError::option(path, &error))
            })?;
        }
        Ok(run)
    }

    /// The hedger of this run, which takes on what is not for this run alone.
    fn hedger(&self, run: &Run, overrides: &Overrides) -> Result<Hedger<R>, StageError> {
        let shared = |config: &HedgeConfig| self.registry.hedger(config);
        let hedger = if overrides.is_empty() {
            shared(&run.base)
        } else {
            let (base, config) = (&run.base, &run.config);
            shared(&HedgeConfig {
                prompt_length: base.prompt_length,
                model_complexity: base.model_complexity,
                time_of_day: base.time_of_day,
                priority: base.priority,
                max_hedges: config.max_hedges.max(base.max_hedges),
                timeout_ms: config.timeout_ms.max(base.timeout_ms),
                enabled: config.enabled || base.enabled,
                ..config.clone()
            })
        };
        hedger.map_err(|error| match error {
            RegistryError::Config { error, .. } => {
                let path = format!("reliability.hedging.{}", error.option());
                StageError::hedging(ReadError::option(path, &error))
            }
            full @ RegistryError::Full { .. } => StageError::other(full),
        })
    }
}

/// The options of one run, and what they are without those of its own.
struct Run {
    base: HedgeConfig,
    config: HedgeConfig,
}

fn hints(overrides: &Overrides) -> Hints {
    Hints {
        prompt_length: overrides.prompt_length,
        model_complexity: overrides.model_complexity,
        time_of_day: overrides.time_of_day,
        priority: overrides.priority,
    }
}

/// In a pipeline it makes the request that [`with_request`](HedgingStage::with_request) gave it, with the
/// `options` of its entry in the place of the experiment's.
impl<R: Runtime + Send + Sync> Stage for HedgingStage<R>
where
    R::Sleep: Send,
{
    fn describe(&self) -> Description {
        self.describe()
    }

    async fn run(&self, context: &mut Context, stage: &StageDef) -> Result<(), StageError> {
        let overrides = stage.overrides().map_err(StageError::hedging)?;
        let request = self.request.as_ref().ok_or(StageError::MissingRequest)?;
        let shared = &*context;
        let launch = |attempt| request(shared, attempt);
        let Hedged { value, outcome } = self.request(shared, &overrides, launch).await?;
        value(context, &self.artifact_name());
        context.insert_metric(&self.name, Value::from(&outcome));
        Ok(())
    }
}

fn describe(name: &str) -> Description {
    let strategies: Value = StrategyKind::ALL
        .into_iter()
        .filter(|&kind| kind != StrategyKind::Custom)
        .map(StrategyKind::as_str)
        .collect();
    let one_of_those = Value::from_iter([Value::from("enum"), strategies.clone()]);
    let function = Value::from_iter([Value::from("function"), Value::from(0)]);
    let description = Description::new(name, "Request hedging for tail latency reduction")
        .required("request_fn", function)
        .optional("strategy", one_of_those, Value::Null)
        .optional("delay_ms", "number", 100)
        .optional("percentile", "number", Value::Null)
        .optional("max_hedges", "integer", 2)
        .optional("timeout_ms", "number", 30_000);
    let more = Overrides::NAMES.iter().copied();
    let more = more.filter(|name| !description.types.contains_key(*name));
    let extension = Value::from([
        ("strategies", strategies),
        ("artifacts", Value::from_iter([format!("{name}_result")])),
        ("metrics", Value::from_iter([name])),
        ("more_options", more.collect()),
    ]);
    description.extension("hedging", extension)
}

impl<R> Default for HedgingStage<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> fmt::Debug for HedgingStage<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgingStage")
            .field("name", &self.name)
            .field("hedgers", &self.registry.len())
            .finish_non_exhaustive()
    }
}
