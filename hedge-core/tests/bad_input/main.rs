//! Whatever a constructor or a setter is given, it is refused by an error that names the option, or what is built
//! works: it never panics, overflows, answers NaN or runs on for ever.

mod draws;
mod use_it;

use core::time::Duration;

use hedge_core::cascade::{Cascade, Tier};
use hedge_core::manual::ManualTimer;
use hedge_core::metrics::Histogram;
use hedge_core::strategy::{Learned, RequestEnd, Sample, Strategy as _, Warmup};
use hedge_core::{
    Cause, Fixed, FixedRegistry, HedgeConfig, Hedger, Instant, Name, Options, Percentile, Record,
    StrategyKind, Suppressed,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::draws::*;
use crate::use_it::{is_told, use_it};

pub(crate) type Clock = ManualTimer<16>;

/// What a hedger keeps of options: times up to 584 years, and longer limits as none.
fn kept(options: Options) -> Options {
    const LONGEST: Duration = Duration::from_nanos(u64::MAX);

    let limit = |limit: Option<Duration>| limit.filter(|limit| *limit < LONGEST);
    let mut kept = options;
    kept.timeout = limit(options.timeout);
    kept.attempt_timeout = limit(options.attempt_timeout);
    kept.max_pushback = limit(options.max_pushback);
    kept.max_delay = limit(options.max_delay);
    kept.min_delay = options.min_delay.min(LONGEST);
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn a_hedger(
        strategy in strategy(),
        budget in budget(),
        options in options(),
        (cost, seed, start) in (number(), any::<u64>(), instant()),
        attempts in attempts(),
        call in call(),
    ) {
        let clock = Clock::starting_at(start);
        let built = Hedger::builder(&clock)
            .strategy(strategy.clone())
            .budget(budget.clone())
            .options(options)
            .cost_per_attempt(cost)
            .seed(seed)
            .attempts::<8>()
            .build_local();
        match built {
            Err(error) => is_told(&error)?,
            Ok(hedger) => use_it(&clock, &hedger, &attempts, call)?,
        }
        // One part that is hostile at a time, since all of them are seldom right together.
        let default = || Hedger::builder(&clock).strategy(Any::from(Percentile::new(95.0))).attempts::<8>();
        for hedger in [
            default().strategy(strategy).build_local(),
            default().budget(budget).build_local(),
            default().options(options).build_local(),
            default().cost_per_attempt(cost).build_local(),
        ] {
            match hedger {
                Err(error) => is_told(&error)?,
                Ok(hedger) => use_it(&clock, &hedger, &attempts, call)?,
            }
        }
    }

    #[test]
    fn a_hedger_that_is_changed_while_it_works(
        changes in proptest::collection::vec((strategy(), budget(), options()), 1..6),
        attempts in attempts(),
        call in call(),
    ) {
        let clock = Clock::new();
        let hedger = Hedger::builder(&clock).strategy(Any::from(Fixed::new(Duration::ZERO))).attempts::<8>().build_local();
        let hedger = hedger.map_err(|error| TestCaseError::fail(error.to_string()))?;
        for (strategy, budget, options) in changes {
            let before = hedger.options();
            match hedger.set_options(options) {
                Err(error) => {
                    is_told(&error)?;
                    prop_assert_eq!(hedger.options(), before);
                }
                Ok(()) => prop_assert_eq!(hedger.options(), kept(options)),
            }
            for changed in [hedger.set_strategy(strategy), hedger.set_budget(budget)] {
                if let Err(error) = changed {
                    is_told(&error)?;
                }
            }
            use_it(&clock, &hedger, &attempts, call)?;
            hedger.reset_metrics();
        }
        hedger.reset();
    }

    #[test]
    fn a_config(
        kinds in (select(&StrategyKind::ALL[..]), proptest::option::of(select(&StrategyKind::ALL[..]))),
        texts in (text(), text()),
        numbers in proptest::collection::vec(prop_oneof![3 => Just(None), 1 => number().prop_map(Some)], 23),
        counts in proptest::collection::vec(prop_oneof![3 => Just(None), 1 => small_count().prop_map(Some)], 4),
        candidates in proptest::option::weighted(0.2, proptest::collection::vec(number(), 0..=16)),
        (hedges, warmup, flags, guard, hints) in (prop_oneof![Just(1), any::<u8>()], warmup(), any::<[bool; 3]>(), any::<Option<bool>>(), hints()),
        attempts in attempts(),
        call in call(),
    ) {
        let mut config = HedgeConfig::default();
        config.strategy = kinds.0;
        config.workload_inner = kinds.1;
        config.strategy_name = texts.0.parse().ok();
        config.telemetry_prefix = texts.1.parse().unwrap_or(config.telemetry_prefix);
        let fields: [&mut f64; 15] = [
            &mut config.percentile, &mut config.min_delay, &mut config.learning_rate,
            &mut config.cost_weight, &mut config.optimal_target, &mut config.optimal_budget_percent,
            &mut config.base_delay, &mut config.exponential_base_delay, &mut config.exponential_min_delay,
            &mut config.exponential_max_delay, &mut config.exponential_increase_factor,
            &mut config.exponential_decrease_factor, &mut config.exponential_error_factor, &mut config.budget_percent,
            &mut config.budget_min_per_second,
        ];
        for (field, number) in fields.into_iter().zip(&numbers) {
            *field = number.unwrap_or(*field);
        }
        config.initial_delay = numbers[15];
        config.timeout_ms = numbers[16].or(config.timeout_ms);
        config.attempt_timeout_ms = numbers[21];
        config.max_pushback_ms = numbers[22];
        config.cost_per_attempt = numbers[17].unwrap_or(config.cost_per_attempt);
        config.delay_ms = numbers[18].or(config.delay_ms);
        config.max_delay = numbers[19];
        config.max_age_ms = numbers[20];
        config.window_size = counts[0].unwrap_or(config.window_size);
        config.min_samples = counts[1].or(config.min_samples);
        config.budget_burst = counts[2].unwrap_or(config.budget_burst);
        config.max_in_flight = counts[3];
        if let Some(candidates) = candidates {
            config.delay_candidates = candidates.into_iter().collect();
        }
        config.max_hedges = hedges;
        config.warmup = warmup;
        [config.enabled, config.observe_only, config.enable_cancellation] = flags;
        config.guard = guard;
        config.prompt_length = hints.prompt_length;
        config.priority = hints.priority;

        match config.validate() {
            Err(error) => is_told(&error)?,
            Ok(settings) => {
                let clock = Clock::new();
                let hedger = Hedger::builder(&clock).settings(settings).attempts::<8>().build_local();
                let hedger = hedger.map_err(|error| TestCaseError::fail(error.to_string()))?;
                use_it(&clock, &hedger, &attempts, call)?;
            }
        }
    }

    /// Reports and times that no hedger would give, as a user's own code may.
    #[test]
    fn a_strategy_by_hand(
        mut strategy in strategy(),
        hints in hints(),
        reports in proptest::collection::vec(
            (any::<[u8; 4]>(), [duration(), duration(), duration(), duration()], instant(), number(), any::<bool>()),
            1..60,
        ),
    ) {
        if let Err(error) = strategy.validate() {
            is_told(&error)?;
            return Ok(());
        }
        for ([primary, hedge, end, attempts], [total, first, second, delay], now, cost, due) in reports {
            let sample = |kind: u8, elapsed| match kind % 3 {
                0 => Sample::Finished(elapsed),
                1 => Sample::Failed(elapsed),
                _ => Sample::Dropped(elapsed),
            };
            let end = match end % 5 {
                0 => RequestEnd::Won(attempts),
                1 => RequestEnd::Failed(attempts),
                2 => RequestEnd::TimedOut,
                3 => RequestEnd::Fatal(attempts),
                _ => RequestEnd::Dropped,
            };
            let mut record = Record::new(sample(primary, first));
            if hedge % 4 > 0 {
                let cause = if hedge % 3 > 0 { Cause::Delay } else { Cause::Primary };
                record = record.with_hedge(cause, delay, sample(hedge, second));
            }
            if hedge % 7 > 0 {
                record = record.planned(delay);
            }
            let record = record
                .ended(end, total)
                .with_due(due)
                .with_suppressed((!due).then_some(Suppressed::NotDue))
                .with_attempts(attempts)
                .with_cost(cost)
                .at(now);
            strategy.record(&record);
            let plan = strategy.plan(&hints, now);
            prop_assert!((0.0..=1.0).contains(&plan.chance()), "{}", plan.chance());
            for k in [0, 1, 7, u8::MAX] {
                let _ = plan.offset(k);
            }
            if let Some(wins) = strategy.expected_win_rate() {
                prop_assert!((0.0..=1.0).contains(&wins), "{wins}");
            }
        }
        let learned = Learned::of(&strategy, Instant::MAX);
        prop_assert_eq!(learned.restore(&mut strategy, Instant::ZERO), Ok(()));
    }

    #[test]
    fn a_budget_by_hand(
        mut budget in budget(),
        steps in proptest::collection::vec((0..6_u8, any::<u32>(), instant(), budget()), 1..60),
    ) {
        if let Err(error) = budget.validate(7) {
            is_told(&error)?;
        }
        for (step, n, now, other) in steps {
            let before = budget.clone();
            match step {
                0 => budget.deposit_many(n),
                1 => budget.give_back(n),
                2 => budget.hold(n),
                3 => budget.reconfigure(other),
                _ if budget.withdraw(now).is_ok() => {
                    prop_assert_eq!(budget.in_flight(), before.in_flight().saturating_add(1));
                }
                _ => prop_assert_eq!(budget.in_flight(), before.in_flight()),
            }
            prop_assert!(budget.tokens() >= 0.0);
        }
    }

    #[test]
    fn a_cascade(
        tiers in proptest::collection::vec((text(), duration(), number(), number()), 0..5),
        timeout in proptest::option::of(duration()),
        answers in [(duration(), any::<bool>(), number()), (duration(), any::<bool>(), number())],
        name in text(),
    ) {
        let clock = Clock::new();
        let tiers: Vec<Tier> = tiers
            .iter()
            .map(|(name, delay, cost, quality)| Tier::new(name).delay(*delay).cost(*cost).quality_threshold(*quality))
            .collect();
        let cascade = match Cascade::<_, 2>::from_slice(&clock, &tiers) {
            Ok(cascade) => cascade,
            Err(error) => return is_told(&error),
        };
        let cascade = cascade.quality(|quality: &f64| *quality).timeout(timeout).name(&name);
        let ask = |n: usize| {
            let (latency, ok, quality) = answers[n];
            let sleep = clock.sleep(latency);
            async move {
                sleep.await;
                if ok { Ok(quality) } else { Err(()) }
            }
        };
        let result = clock.try_drive(cascade.request((|| ask(0), || ask(1))));
        let Some(result) = result else {
            return Err(TestCaseError::fail("waits for nothing"));
        };
        if let Ok(answer) = result {
            prop_assert!(!answer.outcome.total_cost.is_nan());
            prop_assert!(answer.outcome.completed_cost <= answer.outcome.total_cost);
        }
    }

    #[test]
    fn names(text in text()) {
        let clock = Clock::new();
        for built in [
            Hedger::builder(&clock).strategy_name(&text).build_local(),
            Hedger::builder(&clock).telemetry_prefix(&text).build_local(),
        ] {
            if let Err(error) = built {
                is_told(&error)?;
            }
        }
        let name = Name::truncated(&text);
        prop_assert!(text.starts_with(name.as_str()));
        prop_assert!(name.as_str().len() <= 32);
        let mut registry = FixedRegistry::<u8, 1>::new();
        prop_assert_eq!(registry.insert(name, 1), Ok(None));
        prop_assert_eq!(registry.get(name.as_str()), Some(&1));
        let parsed = [text.parse::<StrategyKind>().err(), text.parse::<Warmup>().err(), text.parse::<Name>().err()];
        for error in parsed.iter().flatten() {
            is_told(error)?;
        }
    }

    #[test]
    fn a_histogram(values in proptest::collection::vec(duration(), 0..40), q in number()) {
        let mut histogram = Histogram::new();
        values.iter().for_each(|value| histogram.record(*value));
        let twice = histogram.clone();
        histogram.merge(&twice);
        prop_assert_eq!(histogram.count(), 2 * values.len() as u64);
        prop_assert_eq!(histogram.quantile(q).is_some(), !values.is_empty());
        if let (Some(min), Some(mean), Some(max)) = (histogram.min(), histogram.mean(), histogram.max()) {
            prop_assert!(min <= mean && mean <= max);
        }
    }

    #[test]
    fn hints_scale_by_something_finite(hints in hints(), defaults in hints()) {
        let factor = hints.or(defaults).factor();
        prop_assert!(factor.is_finite() && factor > 0.0);
    }

    #[test]
    fn times(instant in instant(), other in instant(), duration in duration()) {
        prop_assert!(instant + duration >= instant);
        prop_assert!(instant.since(other) == Duration::ZERO || other.since(instant) == Duration::ZERO);
    }
}
