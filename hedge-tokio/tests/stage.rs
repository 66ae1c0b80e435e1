//! The stage that hedges, alone and in pipelines, in paused time.

use core::error::Error;
use core::time::Duration;

use hedge_tokio::stage::{
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
    // One beside the first for the delay, and the one that was named.
    let names = names(&stage);
    assert_eq!(names, ["anthropic", "openai", "openai~726b041a"]);
    let options = stage.registry().get("anthropic").unwrap().options();
    assert_eq!(options, hedger.options());
}

fn names(stage: &HedgingStage) -> Vec<String> {
    let hedgers = stage.registry().list().into_iter();
    hedgers.map(|(name, _)| name.to_string()).collect()
}

const LEARNING: &str = r#"
    id = "latency"
    backend.id = "openai"
    reliability.hedging = { strategy = "percentile" }
"#;

fn overrides(toml: &str) -> Overrides {
    toml::from_str(toml).unwrap()
}

/// The delay before the hedge of one run with `options`, which is answered after `millis`.
async fn delay(stage: &HedgingStage, options: &str, millis: u64) -> Option<u128> {
    let run = stage
        .run_with(&mut context(LEARNING), &overrides(options), |_| {
            after(millis, "blue")
        })
        .await;
    run.unwrap().hedge_delay.map(|delay| delay.as_millis())
}

#[tokio::test(start_paused = true)]
async fn options_of_one_run_leave_what_others_have_learned() {
    let stage = HedgingStage::new();
    for _ in 0..20 {
        delay(&stage, "", 40).await;
    }
    for options in [
        "strategy = 'fixed'",
        "strategy = 'off'",
        "strategy = 'exponential_backoff'",
        "percentile = 50",
        "window_size = 10",
        "min_samples = 50",
        "timeout_ms = 60_000",
        "min_delay = 70",
        "observe_only = true",
    ] {
        delay(&stage, options, 30).await;
        let hedger = stage.registry().get("openai").unwrap();
        let samples = hedger.with_strategy(|strategy: &mut Percentile| strategy.stats().samples);
        assert!(samples >= Some(20), "{options}: {samples:?}");
        assert_eq!(delay(&stage, "", 40).await, Some(40), "{options}");
        let options = hedger.options();
        assert_eq!(
            (options.min_delay, options.observe_only),
            (Duration::ZERO, false)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn runs_with_the_same_options_learn_together() {
    let stage = HedgingStage::new();
    for _ in 0..20 {
        delay(&stage, "", 40).await;
        delay(&stage, "percentile = 50", 60).await;
        // What a request can have alone, or has anyway, makes no difference.
        delay(
            &stage,
            "percentile = 50\nmax_hedges = 1\nmin_samples = 10",
            60,
        )
        .await;
    }
    assert_eq!(delay(&stage, "", 40).await, Some(40));
    assert_eq!(delay(&stage, "percentile = 50", 60).await, Some(60));
    assert_eq!(stage.registry().len(), 2);
    let (_, beside) = stage.registry().list().pop().unwrap();
    let samples = beside.with_strategy(|strategy: &mut Percentile| strategy.stats().samples);
    assert_eq!(samples, Some(41));
}

#[tokio::test(start_paused = true)]
async fn two_entries_of_one_pipeline_both_learn() {
    let stage = HedgingStage::new().with_request(|_: &Context, _| after(40, "blue"));
    let registry = stage.registry().clone();
    let pipeline = Pipeline::new().stage(stage);
    let entries = r#"
        pipeline = [
            { name = "hedging" },
            { name = "hedging", options = { strategy = "fixed" } },
        ]
    "#;
    for _ in 0..20 {
        let mut context = context(&format!("{entries}{LEARNING}"));
        pipeline.run(&mut context).await.unwrap();
        let metric = context.metric("hedging").unwrap();
        is(metric, "strategy", "fixed");
        is(metric, "strategy_name", "openai");
    }
    let hedger = registry.get("openai").unwrap();
    let samples = hedger.with_strategy(|strategy: &mut Percentile| strategy.stats().samples);
    assert_eq!(samples, Some(20));
}

#[tokio::test(start_paused = true)]
async fn no_hedging_for_one_run_needs_no_hedger_of_its_own() {
    let (stage, mut context) = (HedgingStage::new(), context(FIXED));
    for options in ["strategy = 'off'", "enabled = false"] {
        let outcome = stage
            .run_with(&mut context, &overrides(options), |_| after(500, "blue"))
            .await
            .unwrap();
        assert_eq!(outcome.suppressed, Some(Suppressed::Off), "{options}");
        assert_eq!(outcome.attempts, 1);
    }
    assert_eq!(names(&stage), ["openai"]);
    let outcome = stage.run(&mut context, |_| after(500, "blue")).await;
    assert_eq!(outcome.unwrap().attempts, 3);
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_one_run_leaves_that_of_others_alone() {
    let (stage, mut context) = (HedgingStage::new(), context(FIXED));
    let slow = |_| after(150, "blue");
    stage.run(&mut context, slow).await.unwrap();
    let hedger = stage.registry().get("openai").unwrap();
    let tokens = || hedger.budget().edit(|budget| budget.tokens());
    let before = tokens();
    assert!(before > 5.0, "{before}");
    for options in ["budget_percent = 0", "budget_burst = 1", "budget_burst = 0"] {
        stage
            .run_with(&mut context, &overrides(options), slow)
            .await
            .unwrap();
        assert_eq!(tokens(), before, "{options}");
    }
    let outcome = stage.run(&mut context, slow).await.unwrap();
    assert!(outcome.hedged);
}

#[tokio::test(start_paused = true)]
async fn a_run_may_have_a_cost_and_a_prefix_of_its_own() {
    let (stage, mut context) = (HedgingStage::new(), context(FIXED));
    let mut costs = Vec::new();
    for options in [
        "",
        "cost_per_attempt = 0.5",
        "telemetry_prefix = 'mine'",
        "cost_per_attempt = 0.25",
        "cost_per_attempt = 0.5",
        "",
    ] {
        let outcome = stage
            .run_with(&mut context, &overrides(options), |_| after(40, "blue"))
            .await
            .unwrap_or_else(|error| panic!("{options}: {error}"));
        costs.push(outcome.cost);
    }
    assert_eq!(costs, [1.0, 0.5, 1.0, 0.25, 0.5, 1.0]);
    assert_eq!(stage.registry().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_option_that_cannot_change_is_told_where_it_was_given() {
    let stage = HedgingStage::new();
    let mut free = context(FIXED);
    stage.run(&mut free, |_| after(40, "blue")).await.unwrap();

    // Another experiment has the same backend, and says otherwise.
    let mut dear = context(&FIXED.replace(
        "delay_ms = 100",
        "delay_ms = 100, options = { cost_per_attempt = 2 }",
    ));
    let error = stage
        .run(&mut dear, |_| after(40, "blue"))
        .await
        .unwrap_err();
    let text = "`reliability.hedging.options.cost_per_attempt` is 2, but must be what it was";
    assert!(error.to_string().starts_with(text), "{error}");
}

#[tokio::test(start_paused = true)]
async fn names_of_any_length_have_room_for_a_hedger_beside_them() {
    let stage = HedgingStage::new();
    for id in ["é".repeat(16), format!("{}a", "é".repeat(15))] {
        let mut context = context(&FIXED.replace("openai", &id));
        let later = overrides("delay_ms = 200");
        let outcome = stage
            .run_with(&mut context, &later, |_| after(40, "blue"))
            .await
            .unwrap();
        assert_eq!(outcome.strategy_name.as_str(), id);
    }
    let names = names(&stage);
    assert_eq!(names.len(), 2, "{names:?}");
    let cut = format!("{}~", "é".repeat(11));
    assert!(names.iter().all(|name| name.starts_with(&cut)), "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_full_refuses_what_needs_another_hedger() {
    let stage = HedgingStage::new().with_registry(Registry::with_capacity(1));
    delay(&stage, "", 40).await;
    let error = stage
        .run_with(
            &mut context(LEARNING),
            &overrides("percentile = 50"),
            |_| async { unreachable!("nothing is sent") as Result<(), String> },
        )
        .await
        .unwrap_err();
    let StageError::Other(error) = error else {
        panic!("{error:?}");
    };
    assert!(matches!(
        error.downcast_ref(),
        Some(RegistryError::Full { capacity: 1, .. })
    ));
    for options in [
        "",
        "timeout_ms = 100",
        "priority = 'high'",
        "strategy = 'off'",
    ] {
        delay(&stage, options, 40).await;
    }
}

#[tokio::test(start_paused = true)]
async fn fewer_hedges_than_the_budget_is_meant_for_are_no_mistake() {
    let experiment = r#"
        id = "latency"
        backend.id = "openai"
        pipeline = [{ name = "hedging", options = { max_hedges = 1 } }]
        reliability.hedging = { strategy = "fixed", delay_ms = 100, max_hedges = 2, budget_percent = 150 }
    "#;
    let stage = HedgingStage::new().with_request(|_: &Context, _| after(5000, "blue"));
    let mut context = context(experiment);
    Pipeline::new()
        .stage(stage)
        .run(&mut context)
        .await
        .unwrap();
    is(context.metric("hedging").unwrap(), "attempts", 2);

    // What is out of range is one, and so is a budget that is too large for the hedger.
    for (options, text) in [
        ("max_hedges = 0", "`options.max_hedges` is 0, but must be"),
        ("timeout_ms = 0", "`options.timeout_ms` is 0, but must be"),
        ("max_hedges = 4", "`options.max_hedges` is 4, but must be"),
        (
            "budget_percent = 250",
            "`options.budget_percent` is 250, but must be",
        ),
    ] {
        let error = HedgingStage::new()
            .run_with(&mut context, &overrides(options), |_| async {
                unreachable!("nothing is sent") as Result<(), String>
            })
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
    }
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
        "`options.percentile` is NaN, but must be 50 to 99.9"
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
