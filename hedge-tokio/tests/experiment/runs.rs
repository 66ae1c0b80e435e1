//! Options of one run, and what runs learn together.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_run_may_have_options_of_its_own() {
    let (stage, mut context) = (HedgingStage::new(), context(FIXED));
    let slow = |_| after(5000, "blue");
    let overrides = |edit: fn(&mut Overrides)| {
        let mut overrides = Overrides::default();
        edit(&mut overrides);
        overrides
    };

    let short = overrides(|o| o.timeout_ms = Some(Some(250.0)));
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

/// The delay is read from a histogram, whose buckets are 6 % wide.
#[track_caller]
fn assert_near(delay: Option<u128>, expected: u128) {
    let near = delay.is_some_and(|delay| delay.abs_diff(expected) * 16 <= expected);
    assert!(near, "{delay:?} instead of {expected}");
}

#[tokio::test(start_paused = true)]
async fn options_of_one_run_leave_what_others_have_learned() {
    let stage = HedgingStage::new();
    for _ in 0..70 {
        delay(&stage, "", 40).await;
    }
    for options in [
        "strategy = 'fixed'",
        "strategy = 'off'",
        "strategy = 'exponential_backoff'",
        "percentile = 50",
        "window_size = 200",
        "min_samples = 50",
        "timeout_ms = 60_000",
        "min_delay = 70",
        "observe_only = true",
    ] {
        delay(&stage, options, 30).await;
        let hedger = stage.registry().get("openai").unwrap();
        let samples = hedger.with_strategy(|strategy: &mut Percentile| strategy.stats().samples);
        assert!(samples >= Some(70), "{options}: {samples:?}");
        assert_near(delay(&stage, "", 40).await, 40);
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
    for _ in 0..70 {
        delay(&stage, "", 40).await;
        delay(&stage, "percentile = 50", 60).await;
        // What a request can have alone, or has anyway, makes no difference.
        delay(
            &stage,
            "percentile = 50\nmax_hedges = 1\nwindow_size = 4000",
            60,
        )
        .await;
    }
    assert_near(delay(&stage, "", 40).await, 40);
    assert_near(delay(&stage, "percentile = 50", 60).await, 60);
    assert_eq!(stage.registry().len(), 2);
    let (_, beside) = stage.registry().list().pop().unwrap();
    let samples = beside.with_strategy(|strategy: &mut Percentile| strategy.stats().samples);
    assert_eq!(samples, Some(141));
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
async fn an_error_names_the_place_of_an_option_that_cannot_change() {
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
