//! A folder of traces.

use std::fs;
use std::path::{Path, PathBuf};

use crate::optimum::Known;
use crate::order::{Draw, Order};
use crate::seeds::Seeds;
use crate::trace::{Format, Line, Reader};
use crate::workload::Source;

/// A trace, and what its requests' hedges were drawn to take.
pub(super) struct Trace {
    pub(super) name: String,
    pub(super) understood: String,
    pub(super) latencies: Vec<f64>,
    /// The latencies in order of size.
    pub(super) sorted: Vec<f64>,
    /// For each seed, a pair for each request.
    pub(super) draws: Vec<Vec<[f64; 2]>>,
    /// All of these: what one delay could do that is known beforehand.
    pub(super) known: Known,
}

impl Trace {
    fn new(name: String, understood: String, lines: Vec<Line>, order: Order, seeds: Seeds) -> Self {
        let latencies: Vec<f64> = lines.iter().filter_map(|[first, _]| *first).collect();
        let mut sorted = latencies.clone();
        sorted.sort_by(f64::total_cmp);
        let requests = lines.len() as u64;
        let source = Source::Trace { lines, order };
        let draws: Vec<Vec<_>> = seeds
            .iter()
            .map(|seed| source.stream(requests, seed).collect())
            .collect();
        let known = Known::joint(draws.iter().flatten().copied());
        Self {
            name,
            understood,
            latencies,
            sorted,
            draws,
            known,
        }
    }

    /// Whether there is enough to learn from.
    pub(super) fn is_long(&self) -> bool {
        self.latencies.len() >= 5000
    }

    /// Whether there is enough to learn from, and something to win.
    pub(super) fn counts(&self, budget: f64) -> bool {
        let unhedged = self.known.percentile(99.0);
        self.is_long() && self.known.best(99.0, budget / 100.0) <= 0.95 * unhedged
    }
}

/// Every file of latencies in `folder`, by name.
///
/// # Errors
///
/// Says what is not a folder, or which file is none of latencies.
pub(super) fn read(
    folder: &Path,
    format: &Format,
    draw: Option<Draw>,
    seeds: Seeds,
) -> Result<Vec<Trace>, String> {
    let shown = folder.display();
    let entries = fs::read_dir(folder).map_err(|error| format!("{shown}: {error}"))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && !is_about_others(path))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("{shown} has no files of latencies"));
    }
    files
        .iter()
        .map(|file| {
            let mut reader = Reader {
                format: format.clone(),
                ..Reader::default()
            };
            reader.read_file(file)?;
            let order = Order::of(&reader.lines, false, draw)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            let understood = reader.understood.join("; ");
            Ok(Trace::new(
                name.into(),
                understood,
                reader.lines,
                order,
                seeds,
            ))
        })
        .collect()
}

/// Whether a file is about the others, as by its name.
fn is_about_others(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    let starts = [".", "readme", "licen", "notice"];
    starts.iter().any(|start| name.starts_with(start)) || name.ends_with(".md")
}
