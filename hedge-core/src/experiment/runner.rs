//! The hedging stage of a pipeline.

use core::any::Any;
use core::fmt::{self, Write};
use core::future::Future;
use core::time::Duration;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::format;
use std::string::String;

use crate::attempt::Attempt;
use crate::config::Overrides;
use crate::experiment::{
    BoxError, BoxFuture, Context, Description, Hedging, ReadError, Run, Stage, StageDef,
    StageError, Value,
};
use crate::name::Name;
use crate::outcome::{Hedged, Outcome, StrategyKind};
use crate::runtime::{Call, Hedger, Registry, RegistryError, Runtime};
use crate::strategy::Hints;

/// The hedging stage.
///
/// It makes a request with the options in the experiment's `reliability.hedging`. It stores the
/// answer as the artifact `hedging_result`, and the outcome as the metric `hedging`.
///
/// Hedgers are kept across runs in a [`Registry`], one for each `strategy_name`, or else for each
/// backend `id`: later runs use what earlier runs have learned. Runs with overrides do not change
/// these hedgers: see [`run_with`](Self::run_with).
pub struct HedgingStage<R> {
    name: String,
    registry: Registry<R>,
    request: Option<Box<BoxedRequest>>,
}

type BoxedRequest =
    dyn Fn(&Context, Attempt) -> BoxFuture<'static, Result<Artifact, BoxError>> + Send + Sync;

/// A function that stores an answer of any type in a context.
type Artifact = Box<dyn FnOnce(&mut Context, &str) + Send>;

impl<R> HedgingStage<R> {
    /// Creates a stage named `hedging` with a new registry.
    pub fn new() -> Self {
        Self {
            name: "hedging".to_owned(),
            registry: Registry::new(),
            request: None,
        }
    }

    /// Sets the name of the stage, its artifact `…_result` and its metric. Use it for pipelines
    /// that hedge more than one request.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Sets the registry, to share hedgers with other code.
    #[must_use]
    pub fn with_registry(mut self, registry: Registry<R>) -> Self {
        self.registry = registry;
        self
    }

    /// Sets the request that the stage makes in a [`Pipeline`](crate::experiment::Pipeline).
    /// `request` is called once per attempt, and reads its inputs from the context.
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

    /// Returns the registry of hedgers, with what they have learned and counted.
    pub fn registry(&self) -> &Registry<R> {
        &self.registry
    }

    /// Returns the description of the stage.
    pub fn describe(&self) -> Description {
        describe(&self.name)
    }

    fn artifact_name(&self) -> String {
        format!("{}_result", self.name)
    }
}

impl<R: Runtime> HedgingStage<R> {
    /// Makes a request with the options of the experiment.
    ///
    /// `launch` is called once per attempt, as by [`Hedger::request`]. Stores the answer and the
    /// outcome in the context, and marks the stage as complete.
    ///
    /// # Errors
    ///
    /// Returns [`StageError::MissingConfig`], [`StageError::InvalidStrategy`] and
    /// [`StageError::InvalidConfig`] before anything is sent, and [`StageError::RequestFailed`] if
    /// every attempt failed or the request ran out of time. The context is unchanged in these
    /// cases.
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

    /// Makes a request with `overrides` of the experiment's options.
    ///
    /// Hints, a shorter timeout, fewer hedges, and no hedging (`enabled = false` or `strategy =
    /// "off"`) apply to this request only: it uses the same hedger as other runs.
    ///
    /// Every other option that differs from the experiment's, such as the strategy or the budget,
    /// needs a separate hedger. It is stored in the registry next to the first one, under the name
    /// of that hedger followed by `~` and 8 hexadecimal digits derived from the options, such as
    /// `openai~726b041a`. A long name is truncated to leave room for them. Runs with the same
    /// options share a hedger and learn together. What the first hedger has learned, its options
    /// and its budget do not change: each hedger has a separate budget. Outcomes and events have
    /// the name without the digits.
    ///
    /// `strategy_name` selects the first hedger.
    ///
    /// Each set of options that needs a separate hedger takes room in the [`Registry`], until it is
    /// [removed](Registry::remove). Such options should come from a config rather than from
    /// requests.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`run`](Self::run). For an option in `overrides`, the path is that in
    /// a [`StageDef`]: `options.percentile`. Returns [`StageError::Other`] with a
    /// [`RegistryError::Full`] if a separate hedger is needed and there is no room for it.
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
        let (hedger, alone) = self.plan(context, overrides)?;
        let hedged = with(hedger.call(), alone).request(launch).await;
        hedged.map_err(|error| StageError::RequestFailed(error.map(Into::into)))
    }

    /// Returns the hedger of this run, and the overrides that apply to its single request.
    fn plan(
        &self,
        context: &Context,
        overrides: &Overrides,
    ) -> Result<(Hedger<R>, Overrides), StageError> {
        let experiment = context.experiment();
        let default = Hedging::default();
        let hedging = match (&experiment.reliability.hedging, overrides.strategy) {
            (Some(hedging), _) => hedging,
            (None, Some(_)) => &default,
            (None, None) => return Err(StageError::MissingConfig),
        };
        let mut base = hedging.stage_config();
        let name = *base.strategy_name.get_or_insert(experiment.backend.id);
        let refused = |error| refused(error, hedging, overrides);
        if overrides.is_empty() {
            let hedger = self.registry.hedger(&base).map_err(refused)?;
            return Ok((hedger, Overrides::default()));
        }
        let run = Run::new(base, overrides).map_err(|error| {
            // If the experiment's own options are invalid, report those instead.
            let wrong = hedging.validate().map_err(in_place).err();
            StageError::hedging(wrong.unwrap_or(error))
        })?;
        let name = run.config.strategy_name.unwrap_or(name);
        let key = key(name, &run.apart);
        let hedger = self.registry.hedger_at(key, name, &run.config);
        Ok((hedger.map_err(refused)?, run.alone))
    }
}

/// Applies the overrides of a single request to `call`.
fn with<R: Runtime>(mut call: Call<'_, R>, alone: Overrides) -> Call<'_, R> {
    call = call.hints(Hints {
        prompt_length: alone.prompt_length,
        model_complexity: alone.model_complexity,
        time_of_day: alone.time_of_day,
        priority: alone.priority,
    });
    // Both overrides are only set to disable hedging.
    if alone.strategy.is_some() || alone.enabled.is_some() {
        call = call.unhedged();
    }
    if let Some(hedges) = alone.max_hedges {
        call = call.max_hedges(hedges);
    }
    if let Some(Some(millis)) = alone.timeout_ms {
        let timeout = Duration::try_from_secs_f64(millis / 1e3);
        call = call.timeout(timeout.unwrap_or(Duration::MAX));
    }
    call
}

/// Returns the registry key of the hedger called `name`, or of the separate hedger for runs with
/// the options `apart`.
fn key(name: Name, apart: &Overrides) -> Name {
    if apart.is_empty() {
        return name;
    }
    let mut digits = Fnv::default();
    // Hash the whole name, since a long one is truncated in the key. Writing cannot fail.
    let _ = write!(digits, "{name};").and_then(|()| apart.write_canonical(&mut digits));
    let room = Name::CAPACITY - "~01234567".len();
    let mut first = name.as_str();
    while first.len() > room {
        let mut chars = first.chars();
        chars.next_back();
        first = chars.as_str();
    }
    Name::truncated(&format!("{first}~{:08x}", digits.0))
}

/// An FNV-1a hash. It is the same on every machine and after every restart, as the keys of exported
/// states must be.
struct Fnv(u32);

impl Default for Fnv {
    fn default() -> Self {
        Self(0x811c_9dc5)
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        Ok(())
    }
}

/// Converts the registry's error for a run.
fn refused(error: RegistryError, hedging: &Hedging, overrides: &Overrides) -> StageError {
    let error = match error {
        RegistryError::Config { error, .. } => error,
        full @ RegistryError::Full { .. } => return StageError::other(full),
    };
    let option = error.option();
    let read = if overrides.names().any(|name| name == option) {
        ReadError::option(format!("options.{option}"), &error)
    } else {
        in_place(ReadError::option(hedging.path_of(option), &error))
    };
    StageError::hedging(read)
}

/// Adds the path of the experiment's hedging options to an error.
fn in_place(error: ReadError) -> ReadError {
    error.inside("hedging").inside("reliability")
}

/// In a pipeline, makes the request that was set by [`with_request`](HedgingStage::with_request),
/// with the `options` of its entry as overrides.
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
