//! Configs with arbitrary values.

use std::string::ToString;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{FLOATS, INTEGERS, LONGEST, MANY, TINY, WRONG};
use crate::config::HedgeConfig;
use crate::hedger::Hedger;
use crate::manual::ManualTimer;
use crate::name::Name;
use crate::outcome::StrategyKind;
use crate::strategy::Warmup;

fn float() -> impl Strategy<Value = f64> {
    const SPECIAL: &[f64] = &[
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        f64::EPSILON,
        TINY,
        -TINY,
        0.0,
        -0.0,
        1e300,
        1.0,
        LONGEST,
    ];
    prop_oneof![
        prop::num::f64::ANY,
        prop::sample::select(SPECIAL),
        0.0..200.0,
        0.0..2e12,
    ]
}

fn integer() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..20.0, 0.0..2000.0, Just(MANY)]
}

prop_compose! {
    fn any_config()(
        // Most fields keep their defaults, so that some configs are valid.
        floats in prop::collection::vec((0..FLOATS.len(), float()), 0..4),
        integers in prop::collection::vec((0..INTEGERS.len(), integer()), 0..3),
        edits in prop::collection::vec(0..WRONG.len() * 8, 0..2),
        candidates in prop::option::weighted(0.2, prop::collection::vec(float(), 0..=16)),
        strategy in prop::sample::select(&StrategyKind::ALL[..]),
        inner in prop::option::of(prop::sample::select(&StrategyKind::ALL[..])),
        warmup in prop::sample::select(&Warmup::ALL[..]),
        guard in any::<Option<bool>>(),
        names in prop::option::weighted(0.2, (".{0,40}", ".{0,40}")),
    ) -> HedgeConfig {
        let base = HedgeConfig::default();
        let mut config = HedgeConfig { strategy, workload_inner: inner, warmup, guard, ..base };
        for (i, number) in floats {
            (FLOATS[i].set)(&mut config, number);
        }
        for (i, number) in integers {
            (INTEGERS[i].set)(&mut config, number);
        }
        for edit in edits.into_iter().filter_map(|i| WRONG.get(i)) {
            if config.delay_candidates.len() == 5 {
                (edit.edit)(&mut config);
            }
        }
        if let Some(candidates) = candidates {
            config.delay_candidates = candidates.into_iter().collect();
        }
        if let Some((name, prefix)) = names {
            config.strategy_name = Some(Name::truncated(&name));
            config.telemetry_prefix = Name::truncated(&prefix);
        }
        config
    }
}

proptest! {
    #[test]
    fn a_config_is_right_or_an_option_is_named(config in any_config()) {
        match config.validate() {
            Ok(settings) => {
                let clock = ManualTimer::<8>::new();
                let hedger = Hedger::builder(&clock).attempts::<8>().settings(settings);
                prop_assert!(hedger.build_local().is_ok());
            }
            Err(error) => {
                let named = std::format!("`{}` is ", error.option());
                let text = error.to_string();
                prop_assert!(text.starts_with(&named), "{}", text);
                let field = std::format!(" {}: ", error.option());
                let printed = std::format!("{config:?}");
                prop_assert!(printed.contains(&field), "{} is no field", error.option());
            }
        }
    }
}

#[test]
fn some_configs_are_right_and_some_are_not() {
    let mut runner = TestRunner::deterministic();
    let right = (0..400).filter(|_| {
        let config = any_config().new_tree(&mut runner).unwrap().current();
        config.validate().is_ok()
    });
    let right = right.count();
    assert!((20..380).contains(&right), "{right} of 400");
}
