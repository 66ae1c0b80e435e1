//! An experiment from a file, run through a pipeline of three stages: one says what to ask, one asks and
//! hedges, one judges the answer. With `--schema` it prints what the stage that hedges takes.
//!
//! ```text
//! cargo run -p hedge-tokio --example pipeline --features serde
//! ```

#[macro_use]
#[path = "../common/print.rs"]
mod print;

use core::error::Error;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::path::PathBuf;

use clap::Parser;
use hedge_tokio::experiment::{
    Context, Description, Experiment, HedgingStage, Pipeline, Stage, StageDef, StageError,
};

#[derive(Parser)]
#[command(about = "Runs an experiment from a file through a pipeline")]
struct Options {
    /// The experiment, in TOML; one that comes with this example if there is none
    file: Option<PathBuf>,
    /// How often to run it
    #[arg(long, default_value_t = 150)]
    runs: u32,
    /// Print the schema of the stage that hedges, and run nothing
    #[arg(long)]
    schema: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let hedging = HedgingStage::new().with_request(|context: &Context, _attempt| {
        let prompt = context.artifact::<String>("prompt").cloned();
        async move { ask(&prompt.ok_or("there is no prompt")?).await }
    });
    if options.schema {
        println!("{}", serde_json::to_string_pretty(&hedging.describe())?);
        return Ok(());
    }
    let text = match options.file {
        Some(file) => std::fs::read_to_string(file)?,
        None => include_str!("experiment.toml").to_owned(),
    };
    let experiment: Experiment = toml::from_str(&text)?;
    for warning in experiment.warnings() {
        eprintln!("{warning}");
    }

    // The stage keeps its hedgers over all runs.
    let hedgers = hedging.registry().clone();
    let pipeline = Pipeline::new().stage(Prompt).stage(hedging).stage(Judge);
    for run in 1..=options.runs {
        let mut context = Context::new(experiment.clone()).with_run_id(&format!("run-{run}"));
        pipeline.run(&mut context).await?;
        if run == options.runs {
            let stages = context.completed().join(", ");
            println!(
                "{} of {}, after {stages}:",
                context.run_id(),
                context.experiment_id()
            );
            println!("{}\n", serde_json::to_string_pretty(context.metrics())?);
        }
    }
    for (name, hedger) in hedgers.list() {
        println!("{name}, all runs:\n{}", hedger.metrics());
    }
    Ok(())
}

/// Says what is asked.
struct Prompt;

impl Stage for Prompt {
    fn describe(&self) -> Description {
        Description::new("prompt", "Says what is asked").required("question", "string")
    }

    async fn run(&self, context: &mut Context, stage: &StageDef) -> Result<(), StageError> {
        #[derive(serde::Deserialize)]
        struct Options {
            question: String,
        }

        let Options { question } = stage.read_options()?;
        context.insert_artifact("prompt", format!("In one word: {question}"));
        Ok(())
    }
}

/// Says how good the answer is.
struct Judge;

impl Stage for Judge {
    fn describe(&self) -> Description {
        Description::new("judge", "Says how good the answer is").optional(
            "threshold",
            "number",
            0.5,
        )
    }

    async fn run(&self, context: &mut Context, stage: &StageDef) -> Result<(), StageError> {
        let threshold = stage
            .options
            .get("threshold")
            .and_then(|threshold| threshold.as_f64());
        let answer = context
            .artifact::<String>("hedging_result")
            .ok_or("there is no answer")?;
        let quality = if answer == "blue" { 1.0 } else { 0.0 };
        if quality < threshold.unwrap_or(0.5) {
            return Err(StageError::other(format!("`{answer}` will not do")));
        }
        context.insert_metric("quality", quality);
        Ok(())
    }
}

/// A provider that takes 5 ms, and 100 ms for one request in twenty.
async fn ask(_prompt: &str) -> Result<String, &'static str> {
    static ASKED: AtomicU32 = AtomicU32::new(0);

    let is_slow = ASKED.fetch_add(1, Ordering::Relaxed) % 20 == 19;
    tokio::time::sleep(Duration::from_millis(if is_slow { 100 } else { 5 })).await;
    Ok("blue".to_owned())
}
