//! Config files, right and wrong.
//!
//! `configs/errors.txt` has the error of every wrong file.

use core::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use hedge_core::experiment::{BackendRef, Experiment, Hedging, StageDef, Value};
use hedge_core::{HedgeConfig, Name};

mod any;
#[cfg(feature = "schemars")]
mod schema;

/// What a file is to be read as.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Config,
    Experiment,
}

const KINDS: [(Kind, &str); 2] = [(Kind::Config, "config"), (Kind::Experiment, "experiment")];

/// The files of a kind, in the order of their names, and their text.
fn files(verdict: &str, kind: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let folder = folder.join(verdict).join(kind);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Reads text as a program would, up to what a hedger is built from.
fn read(text: &str, kind: Kind, toml: bool) -> Result<(), String> {
    fn parse<T: serde::de::DeserializeOwned>(text: &str, toml: bool) -> Result<T, String> {
        if toml {
            // Without the lines around it.
            toml::from_str(text).map_err(|error| error.message().to_owned())
        } else {
            serde_json::from_str(text).map_err(|error| error.to_string())
        }
    }

    match kind {
        Kind::Config => {
            let config: HedgeConfig = parse(text, toml)?;
            config.validate().map_err(|error| error.to_string())?;
        }
        Kind::Experiment => {
            let experiment: Experiment = parse(text, toml)?;
            let hedging = experiment.reliability.hedging.as_ref();
            let config = hedging.map_or_else(HedgeConfig::default, Hedging::config);
            assert!(config.validate().is_ok(), "{experiment:?}");
        }
    }
    Ok(())
}

fn is_toml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "toml")
}

/// The name of a file, after that of its folder.
fn short(path: &Path, kind: &str) -> String {
    format!("{kind}/{}", path.file_name().unwrap().to_str().unwrap())
}

#[test]
fn what_is_wrong_is_refused_with_where_and_what_would_be_right() {
    let mut errors = String::new();
    let mut count = 0;
    for (kind, folder) in KINDS {
        for (path, text) in files("wrong", folder) {
            let name = short(&path, folder);
            let error = read(&text, kind, is_toml(&path)).expect_err(&name);
            let is_broken = name.contains("truncated") || name.contains("trailing");
            let is_parsed =
                !is_broken && !name.contains("not_a_table") && !name.contains("too_large");
            assert!(
                !is_parsed || error.contains('`') || error.contains("duplicate key"),
                "{name}: {error}"
            );
            writeln!(errors, "{name}\n    {}", error.replace('\n', "\n    ")).unwrap();
            count += 1;
        }
    }
    assert!(count >= 60, "{count}");
    let expected = include_str!("../configs/errors.txt");
    assert!(
        errors == expected,
        "configs/errors.txt should be:\n{errors}"
    );
}

#[test]
fn what_is_right_is_read() {
    let mut count = 0;
    for (kind, folder) in KINDS {
        for (path, text) in files("right", folder) {
            let name = short(&path, folder);
            assert_eq!(read(&text, kind, is_toml(&path)), Ok(()), "{name}");
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn what_is_written_is_read() {
    for (path, text) in files("right", "experiment") {
        let experiment: Experiment = if is_toml(&path) {
            toml::from_str(&text).unwrap()
        } else {
            serde_json::from_str(&text).unwrap()
        };
        let json = serde_json::to_string(&experiment).unwrap();
        assert_eq!(
            serde_json::from_str::<Experiment>(&json).unwrap(),
            experiment
        );
        let toml = toml::to_string(&experiment).unwrap();
        assert_eq!(toml::from_str::<Experiment>(&toml).unwrap(), experiment);
    }
}

#[test]
fn options_that_do_not_exist_are_kept_and_reported() {
    let (_, text) = files("right", "experiment").remove(2);
    let experiment: Experiment = toml::from_str(&text).unwrap();
    assert_eq!(
        experiment.warnings(),
        [
            "`reliability.hedging.options.colour` is no option, and is ignored",
            "`reliability.hedging.options.nested` is no option, and is ignored",
        ]
    );
    let hedging = experiment.reliability.hedging.unwrap();
    assert!(hedging.unknown_options().eq(["colour", "nested"]));
    let config = HedgeConfig::from(&hedging);
    assert_eq!(
        (config.learning_rate, config.delay_candidates.len()),
        (0.2, 2)
    );
}

/// One that no file has been read for, and so nobody checked.
#[test]
fn an_experiment_made_in_code_is_checked_as_one_that_is_read() {
    let experiment = |id, backend| Experiment::new(id, BackendRef::new(Name::truncated(backend)));
    let told = |experiment: &Experiment| experiment.validate().map_err(|error| error.to_string());
    let mut right = experiment("latency", "openai");
    right.pipeline.push(StageDef::new("hedging"));
    assert_eq!(told(&right), Ok(()));
    let wrong = |text: &str| Err(text.to_owned());
    assert_eq!(
        told(&experiment("", "openai")),
        wrong("`id` is \"\", but must be 1 byte or more")
    );
    assert_eq!(
        told(&experiment("latency", "")),
        wrong("`backend.id` is \"\", but must be 1 to 32 bytes")
    );
    right.pipeline.push(StageDef::new(""));
    assert_eq!(
        told(&right),
        wrong("`pipeline[1].name` is \"\", but must be that of a stage")
    );
    let options = &mut right.pipeline[1].options;
    options.insert("retries".into(), Value::from(3));
    options.insert(
        "models".into(),
        Value::List(vec!["large".into(), Value::Null]),
    );
    options.insert("strict".into(), true.into());
    let option = |name: &str| &right.pipeline[1].options[name];
    assert_eq!(
        (option("retries").as_i64(), option("retries").as_f64()),
        (Some(3), Some(3.0))
    );
    assert_eq!(
        (option("retries").as_str(), option("retries").at(0)),
        (None, None)
    );
    assert_eq!(
        option("models").at(0).and_then(Value::as_str),
        Some("large")
    );
    assert!(option("models").at(1).is_some_and(Value::is_null));
    assert_eq!(
        (option("models").at(2), option("models").as_bool()),
        (None, None)
    );
    assert_eq!(option("strict").as_bool(), Some(true));
}
