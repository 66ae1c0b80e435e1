//! Makes the mistakes of `mutants.toml`, one after the other, and sees to it that each is noticed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use hedge_faults::invariants::Invariant;
use hedge_terminal::println;
use serde::Deserialize;

/// Makes mistakes in a copy of hedge, and sees to it that each is noticed.
#[derive(Debug, Parser)]
struct Options {
    /// Only those whose names contain one of these.
    #[arg(value_name = "TEXT")]
    only: Vec<String>,
    /// Only list them.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutants {
    mutant: Vec<Mutant>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    file: PathBuf,
    find: String,
    replace: String,
    breaks: Option<String>,
    test: Option<String>,
}

/// How many schedules may pass until one breaks the invariant.
const SCHEDULES: &str = "300000";

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every mutant was noticed.
fn run(options: &Options) -> Result<bool, String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package
        .ancestors()
        .nth(2)
        .ok_or("the package has no workspace")?;
    let list = read(&package.join("mutants.toml"))?;
    let Mutants { mutant: mutants } =
        toml::from_str(&list).map_err(|error| format!("mutants.toml: {error}"))?;
    let chosen = |mutant: &&Mutant| {
        options.only.is_empty() || options.only.iter().any(|text| mutant.name.contains(text))
    };
    let chosen: Vec<_> = mutants.iter().filter(chosen).collect();
    // A mutant that cannot be made is found out before the first is built.
    for mutant in &chosen {
        mutant.source(root)?;
    }
    if options.list {
        for mutant in chosen {
            println!("{}: {}", mutant.name, mutant.killer()?);
        }
        return Ok(true);
    }
    if options.only.is_empty() {
        check_every_invariant(&mutants)?;
    }
    let copy = root.join("target").join("mutants");
    let mut survivors = 0;
    for mutant in &chosen {
        let started = Instant::now();
        copy_tree(root, &copy).map_err(|error| format!("{}: {error}", copy.display()))?;
        let noticed = mutant.is_noticed(root, &copy)?;
        survivors += usize::from(!noticed);
        let verdict = if noticed { "noticed" } else { "SURVIVED" };
        let (name, seconds) = (&mutant.name, started.elapsed().as_secs());
        println!("{verdict:8} {name}: {} ({seconds} s)", mutant.killer()?);
    }
    println!("{} mutants, {survivors} survivors", chosen.len());
    Ok(survivors == 0)
}

/// There is a mutant for each.
fn check_every_invariant(mutants: &[Mutant]) -> Result<(), String> {
    for invariant in Invariant::ALL {
        let breaks = |mutant: &Mutant| mutant.breaks.as_deref() == Some(invariant.name());
        if !mutants.iter().any(breaks) {
            return Err(format!("no mutant breaks {invariant}"));
        }
    }
    Ok(())
}

impl Mutant {
    /// What is to notice it.
    fn killer(&self) -> Result<String, String> {
        match (&self.breaks, &self.test) {
            (Some(breaks), None) => match Invariant::named(breaks) {
                Some(invariant) => Ok(invariant.name().into()),
                None => Err(format!("{}: no invariant `{breaks}`", self.name)),
            },
            (None, Some(test)) => Ok(format!("cargo test {test}")),
            _ => Err(format!("{}: either `breaks` or `test`", self.name)),
        }
    }

    /// The source with the mistake.
    fn source(&self, root: &Path) -> Result<String, String> {
        self.killer()?;
        let source = read(&root.join(&self.file))?;
        let find = self.find.trim_start_matches('\n');
        match source.matches(find).count() {
            1 => Ok(source.replacen(find, self.replace.trim_start_matches('\n'), 1)),
            n => Err(format!(
                "{}: {} has {n} places for it instead of one",
                self.name,
                self.file.display()
            )),
        }
    }

    fn is_noticed(&self, root: &Path, copy: &Path) -> Result<bool, String> {
        let file = copy.join(&self.file);
        let source = self.source(root)?;
        fs::write(&file, source).map_err(|error| format!("{}: {error}", file.display()))?;
        let cargo = |arguments: &[&str]| {
            Command::new("cargo")
                .args(arguments)
                .current_dir(copy)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .map(|status| status.success())
                .map_err(|error| format!("cargo: {error}"))
        };
        let run = ["-p", "hedge-faults", "--bin", "hedge-faults", "--locked"];
        match (&self.breaks, &self.test) {
            (Some(breaks), _) => {
                // What does not compile would be noticed by anything.
                if !cargo(&[&["build"], &run[..]].concat())? {
                    return Err(format!("{}: it does not compile", self.name));
                }
                let play = ["--schedules", SCHEDULES, "--breaks", breaks];
                cargo(&[&["run"], &run[..], &["--"], &play[..]].concat())
            }
            (None, test) => {
                let test = test.as_deref().unwrap_or_default();
                let arguments: Vec<_> = test.split_whitespace().collect();
                let (package, filter) = arguments.split_at(arguments.len().min(4));
                if !cargo(&[&["test", "--no-run", "--locked"], package].concat())? {
                    return Err(format!("{}: it does not compile", self.name));
                }
                Ok(!cargo(&[&["test", "--locked"], package, filter].concat())?)
            }
        }
    }
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// Brings `to` up to date with the workspace at `from`. What is the same is left alone, so that little has to be
/// built anew.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        if hidden || name == "target" {
            continue;
        }
        // Links are followed.
        let (target, kind) = (to.join(&name), fs::metadata(entry.path())?);
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            let source = fs::read(entry.path())?;
            if fs::read(&target).ok().as_ref() != Some(&source) {
                fs::write(&target, source)?;
            }
        }
    }
    Ok(())
}
