//! The measures as a picture: how near a rule comes to the best, over what it spends.

use core::error::Error;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Results;
use super::measure::{MEAN, Measure, TARGETS};
use super::rules::Rule;
use crate::chart::picture::{
    BACKGROUND, GRID, LEGEND, MUTED, SIZE, STRATEGIES, TEXT, bold, dark, font, rounded, ticks,
};

/// As SVG that follows the reader's choice of light or dark.
pub(super) fn svg(results: &Results) -> Result<String, String> {
    let mut svg = String::new();
    draw(results, &mut svg).map_err(|error| error.to_string())?;
    // The first `>` ends the opening tag of the picture, as there is no XML declaration.
    Ok(svg.replacen('>', &format!(">\n{}", dark()), 1))
}

/// How large a point is, of a trace and of the mean.
const POINT: i32 = 7;
const MEAN_POINT: i32 = 16;

fn draw(results: &Results, svg: &mut String) -> Result<(), Box<dyn Error>> {
    let canvas = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    canvas.fill(&BACKGROUND.0)?;
    let title = format!("P{} ÷ best, over extra load", TARGETS[0]);
    let subtitle = format!(
        "a point for each rule and trace, in order; rings: the mean of {}; best at {} % extra",
        results.counted.len(),
        results.budget
    );
    canvas.draw_text(&title, &bold(44).color(&TEXT.0), (60, 44))?;
    canvas.draw_text(&subtitle, &font(28).color(&MUTED.0), (60, 104))?;

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
    let (plot, _) = canvas
        .margin(160, 20, 20, 20)
        .split_horizontally(LEGEND - 60);
    let mut chart = ChartBuilder::on(&plot)
        .margin_right(20)
        .x_label_area_size(90)
        .y_label_area_size(140)
        .build_cartesian_2d(
            0.0..right,
            (low..high).log_scale().with_key_points(ticks(low, high)),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.0.stroke_width(2))
        .light_line_style(TRANSPARENT)
        .axis_style(GRID.0.stroke_width(2))
        .label_style(font(24).color(&MUTED.0))
        .axis_desc_style(font(26).color(&TEXT.0))
        .x_desc("extra load, % of the requests")
        .y_desc("P99 ÷ best (log scale)")
        .x_label_formatter(&|percent| format!("{percent}"))
        .y_label_formatter(&|ratio| format!("{}", rounded(*ratio)))
        .draw()?;
    for (row, (rule, ink)) in (0..).zip(Rule::ALL.iter().zip(&STRATEGIES)) {
        for measure in measures.iter().filter(|m| m.rule == rule.name()) {
            let at = (100.0 * measure.extra, measure.ratio.clamp(low, high));
            let point = if measure.trace == MEAN {
                Circle::new(at, MEAN_POINT, ink.0.stroke_width(5))
            } else {
                Circle::new(at, POINT, ink.0.filled())
            };
            chart.draw_series([point])?;
        }
        let y = 190 + row * 46;
        canvas.draw(&Circle::new((LEGEND + 30, y), POINT, ink.0.filled()))?;
        let beside = font(28)
            .color(&TEXT.0)
            .pos(Pos::new(HPos::Left, VPos::Center));
        canvas.draw_text(rule.name(), &beside, (LEGEND + 76, y))?;
    }
    canvas.present()?;
    Ok(())
}
