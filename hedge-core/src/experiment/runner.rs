//! The stage of a pipeline that hedges.

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

/// The stage that hedges: it makes a request as the experiment's `reliability.hedging` says, and keeps the
/// answer as artifact `hedging_result` and what was done for it as metric `hedging`.
///
/// Hedgers are kept over runs in a [`Registry`], one for each `strategy_name`, and where there is none for
/// each backend's `id`: what is learned in one run serves the next. Runs with options of their own leave
/// them as they are: see [`run_with`](Self::run_with).
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

    /// Gives it the request that it makes in a [`Pipeline`](crate::experiment::Pipeline). `request` is called once
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
    /// Hints, less time, fewer hedges, and no hedging at all (`enabled = false` or `strategy = "off"`) are
    /// for this request alone: it goes through the same hedger as those of other runs.
    ///
    /// Every other option that differs from the experiment's, such as another strategy or budget, needs
    /// another hedger. It is kept in the registry beside the first, under the name of that with `~` and 8
    /// digits that stand for the options, such as `openai~726b041a` (of a longer name, only what leaves room
    /// for them). Runs with the same options share it and learn together. What the first one has
    /// learned, its options and its budget stay as they are; each has a budget of its own. Outcomes
    /// and events have the name without the digits.
    ///
    /// `strategy_name` says which hedger is the first one.
    ///
    /// Each set of options that needs another hedger takes up room in the [`Registry`], until it is
    /// [removed](Registry::remove). Such options should come from a config, not from requests.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), for an option of `overrides` with its path in a [`StageDef`]:
    /// `options.percentile`. [`StageError::Other`] with a [`RegistryError::Full`] when another hedger is needed
    /// and there is no room for it.
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

    /// The hedger of this run, and what is left of its options for the request to have alone.
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
            // What is wrong without them is no fault of theirs.
            let wrong = hedging.validate().map_err(in_place).err();
            StageError::hedging(wrong.unwrap_or(error))
        })?;
        let name = run.config.strategy_name.unwrap_or(name);
        let key = key(name, &run.apart);
        let hedger = self.registry.hedger_at(key, name, &run.config);
        Ok((hedger.map_err(refused)?, run.alone))
    }
}

/// `call` with `alone`, which are options that a request can have alone.
fn with<R: Runtime>(mut call: Call<'_, R>, alone: Overrides) -> Call<'_, R> {
    call = call.hints(Hints {
        prompt_length: alone.prompt_length,
        model_complexity: alone.model_complexity,
        time_of_day: alone.time_of_day,
        priority: alone.priority,
    });
    // They are there to say no: `off` and `false`.
    if alone.strategy.is_some() || alone.enabled.is_some() {
        call = call.unhedged();
    }
    if let Some(hedges) = alone.max_hedges {
        call = call.max_hedges(hedges);
    }
    if let Some(millis) = alone.timeout_ms {
        let timeout = Duration::try_from_secs_f64(millis / 1e3);
        call = call.timeout(timeout.unwrap_or(Duration::MAX));
    }
    call
}

/// The registry's key of the hedger called `name`, or of the one beside it for runs with options `apart`.
fn key(name: Name, apart: &Overrides) -> Name {
    if apart.is_empty() {
        return name;
    }
    let mut digits = Fnv::default();
    // With the whole name: of a long one there is only room for the first part. Writing cannot fail.
    let _ = write!(digits, "{name};").and_then(|()| apart.spell(&mut digits));
    let room = Name::CAPACITY - "~01234567".len();
    let mut first = name.as_str();
    while first.len() > room {
        let mut chars = first.chars();
        chars.next_back();
        first = chars.as_str();
    }
    Name::truncated(&format!("{first}~{:08x}", digits.0))
}

/// A number that stands for a text: FNV-1a, the same on every machine and after every restart, as the keys of what
/// is exported have to be.
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

/// Why the registry has no hedger for a run.
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

/// An error of the experiment's options.
fn in_place(error: ReadError) -> ReadError {
    error.inside("hedging").inside("reliability")
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
