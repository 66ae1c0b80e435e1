//! Whatever a config file or an experiment says, it is refused by an error that names an option, or a hedger can be built and used.

#![no_main]

// The lab uses more of it.
#[allow(dead_code)]
#[path = "../whatif/src/engine.rs"]
mod engine;
mod use_it;

use hedge_core::experiment::Experiment;
use hedge_core::{HedgeConfig, Hedger, Instant};
use libfuzzer_sys::fuzz_target;

use crate::engine::Still;
use crate::use_it::{MAX, use_it};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    if let Ok(config) = serde_json::from_str::<HedgeConfig>(text) {
        tried(&config);
        let written = serde_json::to_string(&config).expect("JSON can be written");
        let read = serde_json::from_str(&written).expect("what was written can be read");
        assert_eq!(config, read, "{written}");
    }
    if let Ok(experiment) = serde_json::from_str::<Experiment>(text) {
        believed(&experiment);
        let written = serde_json::to_string(&experiment).expect("JSON can be written");
        let read = serde_json::from_str(&written).expect("what was written can be read");
        assert_eq!(experiment, read, "{written}");
    }
    if let Ok(experiment) = toml::from_str::<Experiment>(text) {
        believed(&experiment);
    }
    if let Ok(config) = toml::from_str::<HedgeConfig>(text) {
        tried(&config);
        if config.validate_for::<WINDOW>().is_ok() {
            let written = toml::to_string(&config).expect("TOML can be written");
            let read = toml::from_str(&written).expect("what was written can be read");
            assert_eq!(config, read, "{written}");
        }
    }
});

const WINDOW: usize = 1000;

/// An experiment is checked when it is read.
fn believed(experiment: &Experiment) {
    assert_eq!(experiment.validate(), Ok(()));
    let _ = experiment.warnings();
    if let Some(hedging) = &experiment.reliability.hedging {
        assert!(hedging.config().validate().is_ok());
        tried(&hedging.config());
    }
}

fn tried(config: &HedgeConfig) {
    let settings = match config.validate_for::<WINDOW>() {
        Ok(settings) => settings,
        Err(error) => {
            assert!(error.to_string().contains(error.option()));
            return;
        }
    };
    let hedger = Hedger::builder(Still)
        .settings(settings)
        .without_metrics()
        .attempts::<MAX>()
        .build_local()
        .expect("a config that is valid can be built");
    use_it(&hedger, Instant::ZERO, 40);
}
