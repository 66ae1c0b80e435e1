//! The measures as a picture: how near a rule comes to the best, over what it spends.

use core::error::Error;

use plotters::prelude::*;

use super::Results;
use super::measure::{MEAN, Measure, TARGETS};
use super::rules::Rule;
use crate::picture::{Area, STRATEGIES, axes, logarithmic, name, page, rounded};

/// As SVG.
pub(super) fn svg(results: &Results) -> Result<String, String> {
    let title = format!("P{} ÷ best, over extra load", TARGETS[0]);
    let subtitle = format!(
        "a point for each rule and trace, in order; rings: the mean of {}; best at {} % extra",
        results.counted.len(),
        results.budget
    );
    page(&title, &subtitle, |canvas, plot| {
        draw(results, canvas, plot)
    })
}

/// How large a point is, of a trace and of the mean.
const POINT: i32 = 7;
const MEAN_POINT: i32 = 16;

fn draw(results: &Results, canvas: &Area<'_>, plot: &Area<'_>) -> Result<(), Box<dyn Error>> {
    let measures: Vec<&Measure> = results
        .measures
        .iter()
        .filter(|measure| measure.target == TARGETS[0])
        .collect();
    let range = |of: fn(&Measure) -> f64| {
        let values = || measures.iter().map(|measure| of(measure));
        let low = values().fold(f64::MAX, f64::min);
        (low, values().fold(f64::MIN, f64::max))
    };
    let (low, high) = range(|measure| measure.ratio.clamp(0.01, 1e6));
    let (low, high) = (low.min(0.95) * 0.97, high.max(1.2) * 1.05);
    let right = 100.0 * range(|measure| measure.extra).1.max(0.01) * 1.1;
    let mut chart = axes(
        plot,
        (0.0..right, "extra load, % of the requests"),
        (logarithmic(low, high), "P99 ÷ best (log scale)"),
        |ratio| rounded(ratio).to_string(),
    )?;
    for (row, (rule, ink)) in Rule::ALL.iter().zip(&STRATEGIES).enumerate() {
        for measure in measures.iter().filter(|m| m.rule == rule.name()) {
            let at = (100.0 * measure.extra, measure.ratio.clamp(low, high));
            let point = if measure.trace == MEAN {
                Circle::new(at, MEAN_POINT, ink.0.stroke_width(5))
            } else {
                Circle::new(at, POINT, ink.0.filled())
            };
            chart.draw_series([point])?;
        }
        let (x, y) = name(canvas, row, rule.name())?;
        canvas.draw(&Circle::new((x + 30, y), POINT, ink.0.filled()))?;
    }
    Ok(())
}
