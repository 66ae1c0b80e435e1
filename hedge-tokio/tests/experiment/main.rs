//! The stage that hedges, alone and in pipelines, in paused time.

mod pipelines;
mod runs;

use core::error::Error;
use core::time::Duration;

use hedge_tokio::experiment::{
    Context, Description, Experiment, HedgingStage, Pipeline, Stage, StageDef, StageError, Value,
};
use hedge_tokio::{Overrides, Percentile, Registry, RegistryError, StrategyKind, Suppressed};
use tokio::time::{Instant, sleep};

const FIXED: &str = r#"
    id = "latency"
    backend.id = "openai"
    reliability.hedging = { strategy = "fixed", delay_ms = 100 }
"#;

fn context(experiment: &str) -> Context {
    Context::new(toml::from_str(experiment).unwrap()).with_run_id("run-1")
}

/// Answers after `millis`.
async fn after(millis: u64, answer: &'static str) -> Result<&'static str, std::io::Error> {
    sleep(Duration::from_millis(millis)).await;
    Ok(answer)
}

fn is(metric: &Value, name: &str, expected: impl Into<Value>) {
    assert_eq!(
        metric.get(name),
        Some(&expected.into()),
        "{name} of {metric:?}"
    );
}

#[test]
fn it_describes_itself_as_the_golden_file_says() {
    let schema = HedgingStage::new().describe();
    let json = serde_json::to_string_pretty(&schema).unwrap();
    assert_eq!(
        json,
        include_str!("../golden/hedging_stage.json").trim_end()
    );
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_an_artifact_and_what_was_done_for_it_a_metric() {
    let (stage, mut context) = (HedgingStage::new(), context(FIXED));
    let outcome = stage
        .run(&mut context, |attempt| {
            after(if attempt.is_hedge() { 30 } else { 900 }, "blue")
        })
        .await
        .unwrap();
    assert_eq!(
        (outcome.hedge_won, outcome.total_latency.as_millis()),
        (true, 130)
    );

    assert_eq!(context.artifact("hedging_result"), Some(&"blue"));
    let metric = context.metric("hedging").unwrap();
    is(metric, "hedged", true);
    is(metric, "hedge_won", true);
    is(metric, "total_latency", 130.0);
    is(metric, "primary_latency", None::<f64>);
    is(metric, "backup_latency", 30.0);
    is(metric, "hedge_delay", 100.0);
    is(metric, "cost", 2.0);
    is(metric, "strategy", "fixed");
    is(metric, "strategy_name", "openai");
    assert_eq!(
        (context.completed(), context.is_complete("hedging")),
        (&["hedging".to_owned()][..], true)
    );
    assert_eq!(
        (context.experiment_id(), context.run_id()),
        ("latency", "run-1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_needs_no_hedge_says_so() {
    let (stage, mut context) = (HedgingStage::new(), context(FIXED));
    stage
        .run(&mut context, |_| after(40, "blue"))
        .await
        .unwrap();
    let metric = context.metric("hedging").unwrap();
    is(metric, "hedged", false);
    is(metric, "total_latency", 40.0);
    is(metric, "primary_latency", 40.0);
    is(metric, "backup_latency", None::<f64>);
    is(metric, "cost", 1.0);
    is(metric, "suppressed", "not_due");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_is_not_needed_after_all_says_so() {
    let (stage, mut context) = (HedgingStage::new(), context(FIXED));
    let slow =
        |attempt: hedge_tokio::Attempt| after(if attempt.is_hedge() { 900 } else { 150 }, "blue");
    stage.run(&mut context, slow).await.unwrap();
    let metric = context.metric("hedging").unwrap();
    is(metric, "hedged", true);
    is(metric, "hedge_won", false);
    is(metric, "primary_latency", 150.0);
    is(metric, "winner", 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_or_wrong_is_an_error_before_anything_is_sent() {
    let stage = HedgingStage::new();
    let never = |_| async { unreachable!("nothing is sent") as Result<(), String> };

    let mut bare = context("id = \"latency\"\nbackend.id = \"openai\"");
    let error = stage.run(&mut bare, never).await.unwrap_err();
    assert!(matches!(error, StageError::MissingConfig));
    assert!(
        error
            .to_string()
            .starts_with("`reliability.hedging` is missing")
    );

    // One that was not read from a file, and so not checked.
    let mut wrong = context(FIXED);
    let mut experiment = wrong.experiment().clone();
    experiment.reliability.hedging.as_mut().unwrap().strategy = StrategyKind::Custom;
    wrong = Context::new(experiment.clone());
    let error = stage.run(&mut wrong, never).await.unwrap_err();
    assert!(matches!(error, StageError::InvalidStrategy(_)), "{error}");
    let text = "`reliability.hedging.strategy` is \"custom\", but must be off, on_failure, fixed";
    assert!(error.to_string().starts_with(text), "{error}");

    let hedging = experiment.reliability.hedging.as_mut().unwrap();
    (hedging.strategy, hedging.delay_ms) = (StrategyKind::Fixed, None);
    let error = stage
        .run(&mut Context::new(experiment), never)
        .await
        .unwrap_err();
    assert!(matches!(error, StageError::InvalidConfig(_)), "{error}");

    let wrong = Overrides {
        percentile: Some(f64::NAN),
        ..Overrides::default()
    };
    let mut right = context(FIXED);
    let error = stage.run_with(&mut right, &wrong, never).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`options.percentile` is NaN, but must be 50 to 99.9"
    );

    let mut piped = context(&format!("{FIXED}\npipeline = [{{ name = \"hedging\" }}]"));
    let error = Pipeline::new()
        .stage(stage)
        .run(&mut piped)
        .await
        .unwrap_err();
    assert!(matches!(error.error(), StageError::MissingRequest));
    assert!(error.source().is_none());
    assert_eq!((error.index(), error.stage()), (0, "hedging"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_leaves_the_context_as_it_was() {
    let (stage, mut context) = (HedgingStage::new(), context(FIXED));
    let error = stage
        .run(&mut context, |_| async {
            Err::<(), _>(std::io::Error::other("refused"))
        })
        .await
        .unwrap_err();
    assert!(matches!(error, StageError::RequestFailed(_)));
    assert_eq!(error.source().unwrap().to_string(), "refused");
    assert!(context.metric("hedging").is_none() && context.completed().is_empty());
}
