//! How many instructions a request takes: what other load cannot change.
//!
//! The program runs itself under callgrind, twice for each case, with fewer requests and with more; the
//! difference is the requests'.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{self, Command, Stdio};

use crate::cases;
use crate::options::{Counted, Instructions};
use crate::runtime::Flavour;
use crate::script::{Kind, Slot};

/// Cases that matter.
const CASES: [&str; 14] = [
    "bare",
    "hand/fixed",
    "hand/learning",
    "hedge/off",
    "hedge/fixed",
    "hedge/fixed, no metrics",
    "hedge/percentile",
    "hedge/percentile, alone",
    "hedge/percentile, holdback 0",
    "hedge/percentile, no control group",
    "hedge/adaptive",
    "hedge/exponential_backoff",
    "hedge/optimal",
    "fure",
];

/// One case, counted.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) kind: Kind,
    pub(crate) instructions: f64,
}

pub(crate) fn measure(options: &Instructions) -> Result<Vec<Row>, String> {
    let kinds = if options.kind.is_empty() {
        vec![Kind::Ready, Kind::Pending]
    } else {
        options.kind.clone()
    };
    let wanted = CASES.into_iter().filter(|case| {
        options.case.is_empty() || options.case.iter().any(|part| case.contains(part.as_str()))
    });
    let wanted: Vec<_> = wanted.collect();
    let bar = hedge_terminal::progress((kinds.len() * wanted.len()) as u64);
    let mut rows = Vec::new();
    for &kind in &kinds {
        for case in &wanted {
            bar.set_message(format!("{case}, {}", kind.name()));
            // Of requests that wait for hedges, as many as wait together.
            let (few, many) = if kind.hedges() {
                (100, 600)
            } else {
                (500, 5500)
            };
            let some = count(case, kind, few)?;
            let more = count(case, kind, many)?;
            bar.inc(1);
            let (Some(some), Some(more)) = (some, more) else {
                continue;
            };
            rows.push(Row {
                case: (*case).to_owned(),
                kind,
                instructions: (more as f64 - some as f64) / f64::from(many - few),
            });
        }
    }
    bar.finish_and_clear();
    Ok(rows)
}

/// The instructions of a run; absent if there is no such case.
fn count(case: &str, kind: Kind, requests: u32) -> Result<Option<u64>, String> {
    let counts = env::temp_dir().join(format!("hedge-bench-{}.callgrind", process::id()));
    let this = env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(this)
        .args(["counted", "--case", case, "--kind", kind.name()])
        .args(["--requests", &requests.to_string()]);
    let output = valgrind.stdin(Stdio::null()).output();
    let output = output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => "valgrind is not installed: `apt-get install valgrind`".to_owned(),
        _ => format!("valgrind: {error}"),
    })?;
    let told = String::from_utf8_lossy(&output.stderr);
    let total = if output.status.success() {
        total(&counts)
    } else if told.contains(UNKNOWN) {
        Ok(None)
    } else {
        Err(format!("valgrind: {}, {}", output.status, told.trim()))
    };
    // Not there if valgrind failed.
    let _ = fs::remove_file(&counts);
    total
}

const UNKNOWN: &str = "there is no such case";

/// The sum that callgrind writes at the end of its file.
fn total(counts: &Path) -> Result<Option<u64>, String> {
    let name = counts.display();
    let text = fs::read_to_string(counts).map_err(|error| format!("{name}: {error}"))?;
    let total = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.map(Some).ok_or_else(|| format!("{name}: no totals"))
}

/// What runs under callgrind.
pub(crate) fn run(options: &Counted) -> Result<(), String> {
    let slots = options.requests.max(1) as usize;
    let slots: &'static [Slot] = (0..slots)
        .map(|_| Slot::default())
        .collect::<Vec<_>>()
        .leak();
    let runtime = Flavour::CurrentThread.start()?;
    let guard = runtime.enter();
    let cases = cases::all(options.kind);
    drop(guard);
    let case = cases.iter().find(|case| case.name == options.case);
    let case = case.ok_or_else(|| format!("{}: {UNKNOWN}", options.case))?;
    case.round(&runtime, options.kind, slots, options.requests)
        .map(drop)
}
