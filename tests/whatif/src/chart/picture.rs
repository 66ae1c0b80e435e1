//! How the chart looks.

use core::error::Error;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Twice the size it is meant to be seen at: the backend rounds coordinates to whole units.
pub(crate) const SIZE: (u32, u32) = (1600, 900);
pub(crate) const FONT: &str = "Helvetica, Arial, sans-serif";
/// The legend's column.
pub(crate) const LEGEND: i32 = 1190;
const LEGEND_CHARACTERS: usize = 22;

/// A colour on a light page, and what replaces it on a dark one.
pub(crate) struct Ink(pub(crate) RGBColor, RGBColor);

pub(crate) const BACKGROUND: Ink = Ink(RGBColor(255, 255, 255), RGBColor(13, 17, 23));
pub(crate) const TEXT: Ink = Ink(RGBColor(31, 35, 40), RGBColor(230, 237, 243));
pub(crate) const MUTED: Ink = Ink(RGBColor(89, 99, 110), RGBColor(145, 152, 161));
pub(crate) const GRID: Ink = Ink(RGBColor(216, 222, 228), RGBColor(48, 54, 61));
pub(crate) const STRATEGIES: [Ink; 6] = [
    Ink(RGBColor(9, 105, 218), RGBColor(88, 166, 255)),
    Ink(RGBColor(207, 72, 40), RGBColor(255, 132, 92)),
    Ink(RGBColor(26, 127, 55), RGBColor(86, 211, 100)),
    Ink(RGBColor(130, 80, 223), RGBColor(188, 140, 255)),
    Ink(RGBColor(191, 135, 0), RGBColor(227, 179, 65)),
    Ink(RGBColor(191, 57, 137), RGBColor(247, 120, 186)),
];

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
    /// As SVG that follows the reader's choice of light or dark.
    pub(super) fn svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|error| error.to_string())?;
        // The first `>` ends the opening tag of the picture, as there is no XML declaration.
        Ok(svg.replacen('>', &format!(">\n{}", dark()), 1))
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn Error>> {
        let canvas = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        canvas.fill(&BACKGROUND.0)?;
        canvas.draw_text(&self.title, &bold(44).color(&TEXT.0), (60, 44))?;
        canvas.draw_text(&self.subtitle, &font(28).color(&MUTED.0), (60, 104))?;

        let (low, high) = self.range();
        let (plot, _) = canvas
            .margin(160, 20, 20, 20)
            .split_horizontally(LEGEND - 60);
        let mut chart = ChartBuilder::on(&plot)
            .margin_right(20)
            .x_label_area_size(90)
            .y_label_area_size(140)
            .build_cartesian_2d(
                0.0..self.right,
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
            .y_desc(format!("P{}, ms (log scale)", self.percentile))
            .x_label_formatter(&|percent| format!("{percent}"))
            .y_label_formatter(&|ms| format!("{}", rounded(*ms)))
            .draw()?;
        for (row, curve) in (0..).zip(&self.curves) {
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
            let y = 190 + row * 46;
            let ends = [(LEGEND, y), (LEGEND + 60, y)];
            if curve.looks == Looks::Optimum {
                for x in [0, 26, 52] {
                    let dash = [(LEGEND + x, y), (LEGEND + (x + 16).min(60), y)];
                    canvas.draw(&PathElement::new(dash, style))?;
                }
            } else {
                canvas.draw(&PathElement::new(ends, style))?;
            }
            if matches!(curve.looks, Looks::Strategy(_)) {
                canvas.draw(&Circle::new((LEGEND + 30, y), 7, style.filled()))?;
            }
            let beside = font(28)
                .color(&TEXT.0)
                .pos(Pos::new(HPos::Left, VPos::Center));
            canvas.draw_text(&shortened(&curve.name), &beside, (LEGEND + 76, y))?;
        }
        canvas.present()?;
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

/// A style sheet that replaces every colour where the reader prefers dark pages.
pub(crate) fn dark() -> String {
    let inks = [&BACKGROUND, &TEXT, &MUTED, &GRID];
    let rules: String = inks
        .into_iter()
        .chain(&STRATEGIES)
        .map(|Ink(light, dark)| {
            let (light, dark) = (hex(light), hex(dark));
            format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}\n")
        })
        .collect();
    format!("<style>@media (prefers-color-scheme: dark) {{\n{rules}}}</style>\n")
}

/// As the backend writes it.
fn hex(RGBColor(red, green, blue): &RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// Some numbers from `low` to `high`, the rounder the wider that is.
pub(crate) fn ticks(low: f64, high: f64) -> Vec<f64> {
    const ROUND: [f64; 3] = [1.0, 2.0, 5.0];
    const FINE: [f64; 9] = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let multiples = |digits: &[f64]| -> Vec<f64> {
        (-4..8)
            .flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)))
            .filter(|tick| (low..=high).contains(tick))
            .collect()
    };
    if let Some(ticks) = [multiples(&ROUND), multiples(&FINE)]
        .into_iter()
        .find(|ticks| ticks.len() > 2)
    {
        return ticks;
    }
    (0..=4)
        .map(|step| rounded(low * (high / low).powf(f64::from(step) / 4.0)))
        .filter(|tick| (low..=high).contains(tick))
        .collect()
}

/// To three digits.
pub(crate) fn rounded(number: f64) -> f64 {
    let unit = 10f64.powf(number.log10().floor() - 2.0);
    // Dividing by the inverse of a small unit leaves no trace of binary fractions.
    if unit < 1.0 {
        let inverse = (1.0 / unit).round();
        (number * inverse).round() / inverse
    } else {
        (number / unit).round() * unit
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LEGEND_CHARACTERS {
        return name.to_owned();
    }
    let start: String = name.chars().take(LEGEND_CHARACTERS - 1).collect();
    start + "…"
}

pub(crate) fn font(size: i32) -> TextStyle<'static> {
    (FONT, size).into_font().into()
}

pub(crate) fn bold(size: i32) -> TextStyle<'static> {
    (FONT, size, FontStyle::Bold).into_font().into()
}
