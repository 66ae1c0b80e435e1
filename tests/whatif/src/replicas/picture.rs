//! One incident over time, as a picture.

use std::path::Path;

use plotters::prelude::*;

use super::figures::Log;
use super::scenario::Scenario;

const SIZE: (u32, u32) = (960, 640);

/// Draws each replica's share of the traffic above the P99, second by second.
pub(crate) fn draw(file: &Path, scenario: Scenario, log: &Log) -> Result<(), String> {
    let bins: Vec<_> = log
        .timeline()
        .filter(|(_, shares, _)| shares.iter().any(|share| *share > 0.0))
        .collect();
    let end = bins.last().map_or(1.0, |(at, ..)| at / 1e3);
    let highest = bins
        .iter()
        .map(|(.., p99)| *p99)
        .filter(|p99| p99.is_finite());
    let highest = highest.fold(1.0, f64::max);
    let replicas = bins.first().map_or(0, |(_, shares, _)| shares.len());

    let mut svg = String::new();
    let drawn = || -> Result<(), Box<dyn core::error::Error + '_>> {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (upper, lower) = root.split_vertically(SIZE.1 / 2);
        let mut chart = ChartBuilder::on(&upper)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..end, 0.0..100.0)?;
        chart
            .configure_mesh()
            .x_desc(format!("{scenario}: seconds"))
            .y_desc("share of the primaries, %")
            .draw()?;
        for replica in 0..replicas {
            let share = |shares: &Vec<f64>| 100.0 * shares.get(replica).copied().unwrap_or(0.0);
            let points = bins.iter().map(|(at, shares, _)| (at / 1e3, share(shares)));
            chart.draw_series(LineSeries::new(
                points,
                Palette99::pick(replica).stroke_width(2),
            ))?;
        }
        let mut chart = ChartBuilder::on(&lower)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..end, 0.0..highest)?;
        chart
            .configure_mesh()
            .x_desc("seconds")
            .y_desc("P99, ms")
            .draw()?;
        let points = bins.iter().map(|(at, _, p99)| (at / 1e3, *p99));
        let points = points.filter(|(_, p99)| p99.is_finite());
        chart.draw_series(LineSeries::new(points, BLACK.stroke_width(2)))?;
        root.present()?;
        drop(chart);
        Ok(())
    };
    let drawn = { drawn }();
    drawn.map_err(|error| error.to_string())?;
    std::fs::write(file, svg).map_err(|error| format!("{}: {error}", file.display()))
}
