//! How the chart looks.

use core::error::Error;

use plotters::prelude::*;

use crate::picture::{Area, MUTED, STRATEGIES, TEXT, axes, logarithmic, name, page, rounded};

pub(super) struct Picture {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) percentile: f64,
    /// Where the extra load ends, in percent.
    pub(super) right: f64,
    pub(super) curves: Vec<Curve>,
}

pub(super) struct Curve {
    pub(super) name: String,
    pub(super) looks: Looks,
    /// Extra load in percent and latency in milliseconds; of a line all across, one.
    pub(super) points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Looks {
    /// A line all across.
    Unhedged,
    Optimum,
    /// The n-th colour.
    Strategy(usize),
}

impl Picture {
    /// As SVG.
    pub(super) fn svg(&self) -> Result<String, String> {
        page(&self.title, &self.subtitle, |canvas, plot| {
            self.draw(canvas, plot)
        })
    }

    fn draw(&self, canvas: &Area<'_>, plot: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let (low, high) = self.range();
        let latency = format!("P{}, ms (log scale)", self.percentile);
        let mut chart = axes(
            plot,
            (0.0..self.right, "extra load, % of the requests"),
            (logarithmic(low, high), &latency),
            |ms| rounded(ms).to_string(),
        )?;
        for (row, curve) in self.curves.iter().enumerate() {
            let points = curve.points.iter().map(|(x, y)| (*x, y.max(low)));
            let mut points: Vec<_> = points.collect();
            let style = curve.looks.style();
            match curve.looks {
                Looks::Unhedged => {
                    points.extend(points.first().map(|(_, y)| (self.right, *y)));
                    chart.draw_series([PathElement::new(points, style)])?;
                }
                Looks::Optimum => {
                    chart.draw_series(DashedLineSeries::new(points, 16, 10, style))?;
                }
                Looks::Strategy(_) => {
                    let dots = points.clone();
                    chart.draw_series([PathElement::new(points, style)])?;
                    let dot = |at| Circle::new(at, 7, style.filled());
                    chart.draw_series(dots.into_iter().map(dot))?;
                }
            }
            let (x, y) = name(canvas, row, &curve.name)?;
            if curve.looks == Looks::Optimum {
                for dash in [0, 26, 52] {
                    let dash = [(x + dash, y), (x + (dash + 16).min(60), y)];
                    canvas.draw(&PathElement::new(dash, style))?;
                }
            } else {
                canvas.draw(&PathElement::new([(x, y), (x + 60, y)], style))?;
            }
            if matches!(curve.looks, Looks::Strategy(_)) {
                canvas.draw(&Circle::new((x + 30, y), 7, style.filled()))?;
            }
        }
        Ok(())
    }

    /// The latencies to show, with some room. A logarithm needs them above zero.
    fn range(&self) -> (f64, f64) {
        let latencies = || {
            let points = self.curves.iter().flat_map(|curve| &curve.points);
            points.map(|(_, latency)| latency.max(0.001))
        };
        let low = latencies().fold(f64::MAX, f64::min);
        let high = latencies().fold(0.001, f64::max);
        (low.min(high) * 0.85, high * 1.15)
    }
}

impl Looks {
    fn style(self) -> ShapeStyle {
        match self {
            Self::Unhedged => MUTED.0.stroke_width(4),
            Self::Optimum => TEXT.0.stroke_width(4),
            // The later the thinner, so that one is seen below another.
            Self::Strategy(index) => STRATEGIES[index % STRATEGIES.len()]
                .0
                .stroke_width(9_u32.saturating_sub(index as u32).max(4)),
        }
    }
}
