//! Several stages, one after the other.

use super::*;

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

/// What a stage of yours fails with, as a text or as an error, is what the pipeline tells and leads to.
#[tokio::test(start_paused = true)]
async fn a_stage_of_yours_may_fail_for_reasons_of_its_own() {
    struct Fails(fn() -> StageError);

    impl Stage for Fails {
        fn describe(&self) -> Description {
            Description::new("fails", "Has a custom error")
        }

        async fn run(&self, _: &mut Context, _: &StageDef) -> Result<(), StageError> {
            Err(self.0())
        }
    }

    type Told = (fn() -> StageError, &'static str, Option<&'static str>);
    let told: [Told; 4] = [
        (|| "no draft".into(), "no draft", None),
        (|| String::from("no draft").into(), "no draft", None),
        (
            || {
                StageError::other(RegistryError::Full {
                    name: "a".parse().unwrap(),
                    capacity: 1,
                })
            },
            "no room for hedger `a`: the registry holds 1, and evicts none",
            None,
        ),
        (
            || StageError::MissingRequest,
            "there is no request to hedge: the stage needs one, by `with_request`",
            None,
        ),
    ];
    for (fails, text, source) in told {
        let mut context =
            context("id = \"latency\"\nbackend.id = \"openai\"\npipeline = [{ name = \"fails\" }]");
        let error = Pipeline::new()
            .stage(Fails(fails))
            .run(&mut context)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), format!("`pipeline[0]`, fails: {text}"));
        assert_eq!(error.source().map(ToString::to_string).as_deref(), source);
    }
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
    for _ in 0..70 {
        let outcome = stage
            .run(&mut context(experiment), |_| after(40, "blue"))
            .await
            .unwrap();
        delay = outcome.hedge_delay;
    }
    // The delay is read from a histogram, whose buckets are 6 % wide.
    let near = Duration::from_millis(38)..=Duration::from_millis(42);
    assert!(
        delay.is_some_and(|delay| near.contains(&delay)),
        "{delay:?}"
    );
}
