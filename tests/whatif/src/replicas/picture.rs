//! One incident over time, as a picture.

use core::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::chooser::Rule;
use super::figures::Log;
use super::targets::Cell;
use crate::picture::{Area, MUTED, STRATEGIES, axes, logarithmic, name, page, rounded};

/// Draws each replica's share of the traffic above the P99, second by second. The first of `logs`, by rule, is of the
/// traffic; the others are what it is compared with.
pub(super) fn draw(file: &Path, cell: &Cell, logs: &[(Rule, Log)]) -> Result<(), String> {
    let title = format!(
        "{}: where requests go, and how long they take",
        cell.scenario
    );
    let subtitle = format!(
        "{} replicas, load {}, {} clients, all hedged at P95 within 10 %",
        cell.replicas, cell.load, cell.clients
    );
    let svg = page(&title, &subtitle, |canvas, plot| fill(canvas, plot, logs))?;
    std::fs::write(file, svg).map_err(|error| format!("{}: {error}", file.display()))
}

fn fill(canvas: &Area<'_>, plot: &Area<'_>, logs: &[(Rule, Log)]) -> Result<(), Box<dyn Error>> {
    let Some((rule, log)) = logs.first() else {
        return Ok(());
    };
    let (upper, lower) = plot.split_vertically(50.percent_height());
    let seconds = || log.timeline().map(|second| second.at / 1e3);
    let end = seconds().fold(1.0, f64::max);

    let shares = format!("{rule}: share, %");
    let mut chart = axes(
        &upper,
        (0.0..end, "seconds"),
        (0.0..100.0, &shares),
        |share| share.to_string(),
    )?;
    let replicas = log
        .timeline()
        .next()
        .map_or(0, |second| second.shares.len());
    for (replica, ink) in (0..replicas).zip(STRATEGIES.iter().cycle()) {
        let points = log.timeline().filter_map(|second| {
            let share = second.shares.get(replica)?;
            share
                .is_finite()
                .then_some((second.at / 1e3, 100.0 * share))
        });
        chart.draw_series(LineSeries::new(points, ink.0.stroke_width(4)))?;
        let (x, y) = name(canvas, replica, &format!("replica {}", replica + 1))?;
        let line = [(x, y), (x + 60, y)];
        canvas.draw(&PathElement::new(line, ink.0.stroke_width(4)))?;
    }

    let p99s = || {
        let all = logs.iter().flat_map(|(_, log)| log.timeline());
        all.map(|second| second.p99).filter(|p99| p99.is_finite())
    };
    let (low, high) = (p99s().fold(f64::MAX, f64::min), p99s().fold(1.0, f64::max));
    let (low, high) = (low.clamp(0.1, high) * 0.85, high * 1.15);
    let mut chart = axes(
        &lower,
        (0.0..end, "seconds"),
        (logarithmic(low, high), "P99, ms (log scale)"),
        |ms| rounded(ms).to_string(),
    )?;
    // Ours last, so that it lies over the others.
    for (index, (rule, log)) in logs.iter().enumerate().rev() {
        let ink = if index == 0 {
            STRATEGIES[0].0.stroke_width(6)
        } else {
            STRATEGIES
                .get(replicas + index - 1)
                .unwrap_or(&MUTED)
                .0
                .stroke_width(3)
        };
        let points = log.timeline().map(|second| (second.at / 1e3, second.p99));
        let points = points.filter(|(_, p99)| p99.is_finite());
        chart.draw_series(LineSeries::new(points, ink))?;
        let (x, y) = name(canvas, LOWER_ROW + index, &format!("P99, {rule}"))?;
        canvas.draw(&PathElement::new([(x, y), (x + 60, y)], ink))?;
    }
    Ok(())
}

/// The row of the legend beside the lower axes.
const LOWER_ROW: usize = 9;
