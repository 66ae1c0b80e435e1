//! Latency against extra load: what each strategy makes of what it may spend.

use std::path::Path;

use plotters::prelude::*;

use crate::lab::{self, Candidate, Terms};
use crate::optimum::Known;
use crate::workload::Source;

/// Budgets to try, in percent.
const BUDGETS: [f64; 10] = [0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0];

/// Draws the target percentile against the extra load, a curve for each candidate as its aim varies (its
/// percentile, delay or budget), and the optimum.
pub(crate) fn draw(
    file: &Path,
    candidates: &[Candidate],
    source: &Source,
    terms: &Terms,
    known: Option<&Known>,
) -> Result<(), String> {
    let mut curves = Vec::new();
    if let Some(known) = known {
        let points = BUDGETS.map(|budget| (budget, known.best(terms.target, budget / 100.0)));
        curves.push(("optimum".to_owned(), points.to_vec()));
    }
    for candidate in candidates {
        let mut points = Vec::new();
        for budget in BUDGETS {
            let candidate = aimed(candidate, budget);
            let terms = Terms {
                budget: budget * 2.0,
                requests: terms.requests.min(50_000),
                ..*terms
            };
            let row = lab::run(&candidate, source, &terms, None, |_| {})?;
            points.push((row.extra_load * 100.0, row.percentile(terms.target)));
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        curves.push((candidate.config.strategy.to_string(), points));
    }
    plot(file, &curves, source, terms).map_err(|error| format!("{}: {error}", file.display()))
}

/// The candidate with its aim set for this budget, where it has one.
fn aimed(candidate: &Candidate, budget: f64) -> Candidate {
    let mut candidate = candidate.clone();
    candidate.config.percentile = (100.0 - budget).clamp(50.0, 99.9);
    candidate.config.optimal_budget_percent = budget;
    candidate
}

type Curves = [(String, Vec<(f64, f64)>)];

fn plot(
    file: &Path,
    curves: &Curves,
    source: &Source,
    terms: &Terms,
) -> Result<(), Box<dyn core::error::Error>> {
    let points = || curves.iter().flat_map(|(_, points)| points).copied();
    let right = points().map(|(x, _)| x).fold(1.0, f64::max) * 1.02;
    let (low, high) = points().fold((f64::MAX, 0.0_f64), |(low, high), (_, y)| {
        (low.min(y), high.max(y))
    });
    let root = SVGBackend::new(file, (900, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("{}: P{} against extra load", source.name(), terms.target);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..right, (low * 0.9..high * 1.1).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("extra load, % of the requests")
        .y_desc("ms")
        .light_line_style(WHITE)
        .draw()?;
    for (index, (name, points)) in curves.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .border_style(BLACK.mix(0.2))
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    Ok(())
}
