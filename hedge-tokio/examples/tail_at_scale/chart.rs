//! The picture: what share of the requests takes longer than so long.
//!
//! Both axes are logarithmic. A density would show the bulk of the requests, which hedging leaves as it
//! is; here each percentile of the tail gets as much room as the one before.

use hdrhistogram::Histogram;
use indicatif::HumanCount;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::replica::ServiceTime;
use crate::report::Report;
use crate::{Failure, Options};

/// Twice the size it is meant to be seen at: the backend rounds coordinates to whole units.
const SIZE: (u32, u32) = (1600, 900);
const FONT: &str = "Helvetica, Arial, sans-serif";
/// The smallest share shown: below it, a curve is a handful of requests.
const FLOOR: f64 = 0.0005;

struct Theme {
    background: RGBColor,
    ink: RGBColor,
    muted: RGBColor,
    grid: RGBColor,
    plain: RGBColor,
    hedged: RGBColor,
}

const LIGHT: Theme = Theme {
    background: RGBColor(255, 255, 255),
    ink: RGBColor(31, 35, 40),
    muted: RGBColor(89, 99, 110),
    grid: RGBColor(216, 222, 228),
    plain: RGBColor(207, 72, 40),
    hedged: RGBColor(9, 105, 218),
};

const DARK: Theme = Theme {
    background: RGBColor(13, 17, 23),
    ink: RGBColor(230, 237, 243),
    muted: RGBColor(145, 152, 161),
    grid: RGBColor(48, 54, 61),
    plain: RGBColor(255, 132, 92),
    hedged: RGBColor(88, 166, 255),
};

/// Draws both distributions, given in microseconds, as SVG.
pub(crate) fn draw(
    plain: &Histogram<u64>,
    hedged: &Histogram<u64>,
    report: &Report,
    options: &Options,
) -> Result<String, Failure> {
    let theme = if options.dark { &DARK } else { &LIGHT };
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        canvas.fill(&theme.background)?;
        let plot = titled(&canvas, theme, report, options)?;

        let low = ms(plain
            .value_at_quantile(0.001)
            .min(hedged.value_at_quantile(0.001)));
        // With room for the last number.
        let high = 1.35
            * ms(plain
                .value_at_quantile(0.9995)
                .max(hedged.value_at_quantile(0.9995)));
        let shares = [1.0]
            .into_iter()
            .chain(report.unhedged.marks().map(|mark| mark.slower));
        let mut chart = ChartBuilder::on(&plot)
            .x_label_area_size(90)
            .y_label_area_size(140)
            .build_cartesian_2d(
                (low..high)
                    .log_scale()
                    .with_key_points(one_two_five(low, high)),
                (FLOOR..1.0).log_scale().with_key_points(shares.collect()),
            )?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(theme.grid.stroke_width(2))
            .axis_style(theme.grid.stroke_width(2))
            .label_style(font(24).color(&theme.muted))
            .axis_desc_style(font(26).color(&theme.ink))
            .x_desc("latency, ms (log scale)")
            .y_desc("requests that take longer (log scale)")
            .x_label_formatter(&|ms| format!("{ms}"))
            .y_label_formatter(&|share| format!("{} %", share * 100.0))
            .draw()?;

        let above = Pos::new(HPos::Left, VPos::Bottom);
        chart.draw_series(report.unhedged.marks().map(|mark| {
            EmptyElement::at((low, mark.slower))
                + Text::new(mark.name, (12, -4), font(26).color(&theme.ink).pos(above))
        }))?;

        let curves = [(plain, theme.plain), (hedged, theme.hedged)]
            .map(|(latencies, color)| (survival(latencies, low, high), color));
        let between = curves[0].0.iter().chain(curves[1].0.iter().rev()).copied();
        chart.draw_series([Polygon::new(
            between.collect::<Vec<_>>(),
            theme.hedged.mix(0.10),
        )])?;
        for (curve, color) in &curves {
            chart.draw_series([PathElement::new(curve.clone(), color.stroke_width(5))])?;
        }

        // Plain is the slower: its numbers go right of and above its curve, the others left of and
        // below theirs.
        let sides = [
            (
                &report.unhedged,
                theme.plain,
                Pos::new(HPos::Left, VPos::Bottom),
                (16, -6),
            ),
            (
                &report.hedged.latencies,
                theme.hedged,
                Pos::new(HPos::Right, VPos::Top),
                (-12, 10),
            ),
        ];
        for (latencies, color, pos, offset) in sides {
            let style = bold(26).color(&color).pos(pos);
            chart.draw_series(latencies.marks().map(|mark| {
                EmptyElement::at((mark.ms, mark.slower))
                    + Circle::new((0, 0), 8, color.filled())
                    + Text::new(format!("{:.0} ms", mark.ms), offset, style.clone())
            }))?;
        }
        canvas.present()?;
    }
    Ok(svg)
}

/// Writes the title and the legend, and gives the room below.
fn titled<'a>(
    canvas: &DrawingArea<SVGBackend<'a>, Shift>,
    theme: &Theme,
    report: &Report,
    options: &Options,
) -> Result<DrawingArea<SVGBackend<'a>, Shift>, Failure> {
    let (before, after) = (report.unhedged.p99_ms, report.hedged.latencies.p99_ms);
    let title = format!(
        "P99 from {before:.0} to {after:.0} ms, for {:.1} % more requests",
        report.hedged.extra_load * 100.0
    );
    let subtitle = format!(
        "{} HTTP requests to two replicas, {} at a time, {:.1} % of them slow",
        HumanCount(options.requests),
        options.concurrency,
        ServiceTime::SLOW_SHARE * 100.0,
    );
    canvas.draw_text(&title, &bold(44).color(&theme.ink), (60, 44))?;
    canvas.draw_text(&subtitle, &font(28).color(&theme.muted), (60, 104))?;

    let hedged = format!("hedged at P{}", options.percentile);
    for (row, name, color) in [(0, "plain", theme.plain), (1, &hedged, theme.hedged)] {
        let y = 60 + row * 44;
        canvas.draw(&PathElement::new(
            [(1240, y), (1300, y)],
            color.stroke_width(5),
        ))?;
        let style = font(28)
            .color(&theme.ink)
            .pos(Pos::new(HPos::Left, VPos::Center));
        canvas.draw_text(name, &style, (1318, y))?;
    }
    Ok(canvas.margin(160, 20, 40, 20))
}

/// The share of the requests that take longer, for 400 latencies from `low` to `high` or until the share
/// is below the floor.
fn survival(micros: &Histogram<u64>, low: f64, high: f64) -> Vec<(f64, f64)> {
    let mut curve = Vec::new();
    for step in 0..=400 {
        let ms = low * (high / low).powf(f64::from(step) / 400.0);
        let share = 1.0 - micros.quantile_below((ms * 1000.0) as u64);
        curve.push((ms, share.max(FLOOR)));
        if share < FLOOR {
            break;
        }
    }
    curve
}

/// The round numbers 1, 2, 5, 10, 20, ... from `low` to `high`.
fn one_two_five(low: f64, high: f64) -> Vec<f64> {
    (-3..6)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)))
        .filter(|tick| (low..=high).contains(tick))
        .collect()
}

fn ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

fn font(size: i32) -> TextStyle<'static> {
    (FONT, size).into_font().into()
}

fn bold(size: i32) -> TextStyle<'static> {
    (FONT, size, FontStyle::Bold).into_font().into()
}
