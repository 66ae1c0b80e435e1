//! Growth, drawn.

use core::error::Error;
use std::fs;
use std::path::Path;

use plotters::prelude::*;

use crate::growth::{Row, SIZES};

const SIZE: (u32, u32) = (1600, 900);
const FONT: &str = "Helvetica, Arial, sans-serif";
const TEXT: RGBColor = RGBColor(31, 35, 40);
const MUTED: RGBColor = RGBColor(89, 99, 110);
const GRID: RGBColor = RGBColor(216, 222, 228);
const LINES: [RGBColor; 4] = [
    RGBColor(9, 105, 218),
    RGBColor(207, 72, 40),
    RGBColor(26, 127, 55),
    RGBColor(130, 80, 223),
];

/// # Errors
///
/// If the file cannot be written.
pub(crate) fn draw(file: &Path, rows: &[Row]) -> Result<(), String> {
    let mut svg = String::new();
    picture(&mut svg, rows).map_err(|error| error.to_string())?;
    fs::write(file, svg).map_err(|error| format!("{}: {error}", file.display()))
}

fn picture(svg: &mut String, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let canvas = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    canvas.fill(&WHITE)?;
    let (first, last) = (SIZES[0] as f64, SIZES[SIZES.len() - 1] as f64);
    let highest = rows
        .iter()
        .flat_map(|row| row.median_ns)
        .fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&canvas)
        .margin(40)
        // The last label is as wide as a million.
        .margin_right(90)
        .caption("A request that is pending once", font(44, TEXT))
        .x_label_area_size(100)
        .y_label_area_size(140)
        .build_cartesian_2d((first..last).log_scale(), 0.0..highest * 1.3)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.stroke_width(2))
        .light_line_style(TRANSPARENT)
        .axis_style(GRID.stroke_width(2))
        .label_style(font(24, MUTED))
        .axis_desc_style(font(26, TEXT))
        .x_desc("how much there is (log scale)")
        .y_desc("ns")
        .x_label_formatter(&|size| format!("{size}"))
        .y_label_formatter(&|ns| format!("{ns}"))
        .draw()?;
    for (row, colour) in rows.iter().zip(LINES.into_iter().cycle()) {
        let points = SIZES.map(|size| size as f64).into_iter().zip(row.median_ns);
        let style = colour.stroke_width(6);
        chart
            .draw_series(LineSeries::new(points.clone(), style))?
            .label(row.what)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 50, y)], style));
        chart.draw_series(points.map(|at| Circle::new(at, 9, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .legend_area_size(70)
        .margin(20)
        .label_font(font(28, TEXT))
        .draw()?;
    canvas.present()?;
    Ok(())
}

fn font(size: i32, colour: RGBColor) -> TextStyle<'static> {
    (FONT, size).into_font().color(&colour)
}
