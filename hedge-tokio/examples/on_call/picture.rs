//! A panel as a picture.

use plotters::prelude::*;

use crate::cli::Failure;
use crate::panels::Curve;

const SIZE: (u32, u32) = (800, 300);
const FONT: &str = "Helvetica, Arial, sans-serif";
const COLOURS: [RGBColor; 5] = [
    RGBColor(9, 105, 218),
    RGBColor(207, 72, 40),
    RGBColor(26, 127, 55),
    RGBColor(130, 80, 223),
    RGBColor(154, 103, 0),
];

/// Draws curves over minutes as SVG, with the time of the incident shaded.
pub(crate) fn draw(
    title: &str,
    unit: &str,
    curves: &[Curve],
    [begin, end, length]: [u64; 3],
) -> Result<String, Failure> {
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        canvas.fill(&WHITE)?;
        let values = curves.iter().flat_map(|curve| &curve.points);
        let most = values
            .map(|(_, value)| *value)
            .filter(|value| value.is_finite())
            .fold(0.0, f64::max);
        let top = if most > 0.0 { 1.15 * most } else { 1.0 };
        let mut chart = ChartBuilder::on(&canvas)
            .caption(format!("{title}, {unit}"), (FONT, 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..length as f64, 0.0..top)?;
        chart.draw_series([Rectangle::new(
            [(begin as f64, 0.0), (end as f64, top)],
            RGBColor(255, 235, 233).filled(),
        )])?;
        chart
            .configure_mesh()
            .x_desc("minutes")
            .light_line_style(WHITE.mix(0.0))
            .label_style((FONT, 13))
            .draw()?;
        for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
            let points = curve
                .points
                .iter()
                .filter(|(_, value)| value.is_finite())
                .copied();
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(curve.name.clone())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .label_font((FONT, 13))
            .draw()?;
        canvas.present()?;
    }
    Ok(svg)
}
