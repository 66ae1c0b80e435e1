//! The stage that hedges, alone and in pipelines, in paused time.

use core::error::Error;
use core::time::Duration;

use hedge_tokio::stage::{
    Context, Description, Experiment, HedgingStage, Pipeline, Stage, StageDef, StageError, Value,
};
use hedge_tokio::{Overrides, StrategyKind, Suppressed};
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
    assert_eq!(json, include_str!("golden/hedging_stage.json").trim_end());
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
async fn a_run_may_have_options_of_its_own() {
    let (stage, mut context) = (HedgingStage::new(), context(FIXED));
    let slow = |_| after(5000, "blue");
    let overrides = |edit: fn(&mut Overrides)| {
        let mut overrides = Overrides::default();
        edit(&mut overrides);
        overrides
    };

    let short = overrides(|o| o.timeout_ms = Some(250.0));
    let start = Instant::now();
    let error = stage
        .run_with(&mut context, &short, slow)
        .await
        .unwrap_err();
    assert_eq!(start.elapsed().as_millis(), 250);
    // The primary, and the two hedges that a stage may send.
    assert_eq!(error.to_string(), "no answer from 3 attempts after 250ms");

    let off = overrides(|o| o.enabled = Some(false));
    let outcome = stage.run_with(&mut context, &off, slow).await.unwrap();
    assert_eq!(outcome.suppressed, Some(Suppressed::Off));

    let one = overrides(|o| o.max_hedges = Some(1));
    let outcome = stage.run_with(&mut context, &one, slow).await.unwrap();
    assert_eq!(outcome.attempts, 2);

    // None of that has changed the hedger.
    let hedger = stage.registry().get("openai").unwrap();
    let options = hedger.options();
    assert_eq!((options.enabled, options.max_hedges), (true, 2));
    assert_eq!(options.timeout, Some(Duration::from_secs(30)));

    let later = overrides(|o| o.delay_ms = Some(200.0));
    let outcome = stage.run_with(&mut context, &later, slow).await.unwrap();
    assert_eq!(outcome.hedge_delay, Some(Duration::from_millis(200)));

    let elsewhere = overrides(|o| o.strategy_name = Some("anthropic".parse().unwrap()));
    stage
        .run_with(&mut context, &elsewhere, slow)
        .await
        .unwrap();
    let names: Vec<_> = stage
        .registry()
        .list()
        .into_iter()
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(names, ["anthropic", "openai"]);
}

#[tokio::test(start_paused = true)]
async fn hints_of_a_run_scale_its_delay_alone() {
    let stage = HedgingStage::new();
    let mut context = context(
        r#"
        id = "latency"
        backend.id = "openai"
        reliability.hedging = { strategy = "workload_aware", options = { base_delay = 100 } }
    "#,
    );
    let long = Overrides {
        prompt_length: Some(5000),
        ..Overrides::default()
    };
    let outcome = stage
        .run_with(&mut context, &long, |_| after(400, "blue"))
        .await
        .unwrap();
    assert_eq!(outcome.hedge_delay, Some(Duration::from_millis(250)));
    let outcome = stage
        .run(&mut context, |_| after(400, "blue"))
        .await
        .unwrap();
    assert_eq!(outcome.hedge_delay, Some(Duration::from_millis(100)));
}

#[tokio::test(start_paused = true)]
async fn a_strategy_that_is_named_for_one_run_needs_no_delay() {
    let (stage, mut context) = (
        HedgingStage::new(),
        context("id = \"latency\"\nbackend.id = \"openai\""),
    );
    let fixed = Overrides {
        strategy: Some(StrategyKind::Fixed),
        ..Overrides::default()
    };
    let outcome = stage
        .run_with(&mut context, &fixed, |_| after(150, "blue"))
        .await
        .unwrap();
    assert_eq!(outcome.hedge_delay, Some(Duration::from_millis(100)));
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
    let text = "`reliability.hedging.strategy` is \"custom\", but must be off, fixed";
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
        "`percentile` is NaN, but must be 50 to 99.9"
    );

    let mut piped = context(&format!("{FIXED}\npipeline = [{{ name = \"hedging\" }}]"));
    let error = Pipeline::new()
        .stage(stage)
        .run(&mut piped)
        .await
        .unwrap_err();
    assert!(matches!(error.error(), StageError::MissingRequest));
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

/// Puts together a prompt from the artifact `draft`, if there is one, and its option `text`.
struct Prompt;

impl Stage for Prompt {
    fn describe(&self) -> Description {
        Description::new("prompt", "Says what is asked").required("text", "string")
    }

    async fn run(&self, context: &mut Context, stage: &StageDef) -> Result<(), StageError> {
        #[derive(serde::Deserialize)]
        struct Options {
            text: String,
        }

        let Options { text } = stage.read_options()?;
        let draft = context.artifact::<String>("draft_result");
        let prompt = draft.map_or(text.clone(), |draft| format!("{text} {draft}"));
        context.insert_artifact("prompt", prompt);
        Ok(())
    }
}

/// Echoes the prompt, the primary after 300 ms and hedges after 20.
fn echo(name: &str) -> HedgingStage {
    HedgingStage::new()
        .named(name)
        .with_request(|context: &Context, attempt| {
            let prompt = context.artifact::<String>("prompt").cloned();
            async move {
                sleep(Duration::from_millis(if attempt.is_hedge() {
                    20
                } else {
                    300
                }))
                .await;
                prompt.ok_or("there is no prompt")
            }
        })
}

const STAGES: &str = r#"
    id = "drafts"
    backend.id = "openai"
    pipeline = [
        { name = "prompt", options = { text = "hello" } },
        { name = "draft" },
        { name = "judge", enabled = false },
        { name = "prompt", options = { text = "shorten" } },
        { name = "hedging", options = { delay_ms = 50, max_hedges = 1 } },
    ]
    reliability.hedging = { strategy = "fixed", delay_ms = 100 }
"#;

#[tokio::test(start_paused = true)]
async fn stages_work_on_what_those_before_them_have_made() {
    let pipeline = Pipeline::new()
        .stage(Prompt)
        .stage(echo("draft"))
        .stage(echo("hedging"));
    let mut context = context(STAGES);
    let start = Instant::now();
    pipeline.run(&mut context).await.unwrap();
    assert_eq!(start.elapsed().as_millis(), (100 + 20) + (50 + 20));
    assert_eq!(
        context.take_artifact::<String>("hedging_result").unwrap(),
        "shorten hello"
    );
    assert_eq!(context.artifact::<String>("draft_result").unwrap(), "hello");
    is(context.metric("draft").unwrap(), "hedge_delay", 100.0);
    is(context.metric("hedging").unwrap(), "hedge_delay", 50.0);
    assert_eq!(
        context.completed(),
        ["prompt", "draft", "prompt", "hedging"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_stops_where_a_stage_fails() {
    let pipeline = Pipeline::new()
        .stage(Prompt)
        .stage(echo("draft"))
        .stage(echo("hedging"));
    let mut experiment: Experiment = toml::from_str(STAGES).unwrap();
    experiment.pipeline[3].options.clear();
    let mut context = Context::new(experiment);
    let error = pipeline.run(&mut context).await.unwrap_err();
    assert_eq!(error.index(), 3);
    let text = "`pipeline[3]`, prompt: `options.text` is missing, but has to be given";
    assert_eq!(error.to_string(), text);
    assert_eq!(context.completed(), ["prompt", "draft"]);
}

#[tokio::test(start_paused = true)]
async fn a_stage_of_yours_may_have_a_strategy_of_its_own() {
    struct Judge;

    impl Stage for Judge {
        fn describe(&self) -> Description {
            Description::new("judge", "Says how good an answer is").required("strategy", "string")
        }

        async fn run(&self, _: &mut Context, stage: &StageDef) -> Result<(), StageError> {
            #[derive(serde::Deserialize)]
            #[allow(dead_code)]
            struct Options {
                strategy: String,
            }

            stage.read_options::<Options>()?;
            Ok(())
        }
    }

    let stage = "pipeline = [{ name = \"judge\", options = { strategy = 1 } }]";
    let mut context = context(&format!("{FIXED}\n{stage}"));
    let error = Pipeline::new()
        .stage(Judge)
        .run(&mut context)
        .await
        .unwrap_err();
    let text = "`pipeline[0]`, judge: `options.strategy` is 1, but must be";
    assert!(error.to_string().starts_with(text), "{error}");
    assert!(
        matches!(error.error(), StageError::InvalidConfig(_)),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_lacks_a_stage_runs_none() {
    let pipeline = Pipeline::new().stage(Prompt).stage(echo("draft"));
    let mut context = context(STAGES);
    let error = pipeline.run(&mut context).await.unwrap_err();
    let text = "`pipeline[4]`, hedging: the pipeline has no such stage, but only: prompt, draft";
    assert_eq!(error.to_string(), text);
    assert!(context.completed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_learned_in_one_run_serves_the_next() {
    let (stage, experiment) = (
        HedgingStage::new(),
        "id = \"latency\"\nbackend.id = \"openai\"\n[reliability.hedging]",
    );
    let mut delay = None;
    for _ in 0..20 {
        let outcome = stage
            .run(&mut context(experiment), |_| after(40, "blue"))
            .await
            .unwrap();
        delay = outcome.hedge_delay;
    }
    assert_eq!(delay, Some(Duration::from_millis(40)));
}
