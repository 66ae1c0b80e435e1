//! How every picture looks: a title, axes, and a legend beside them, as SVG.

use core::error::Error;
use core::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What is drawn on.
pub(crate) type Area<'s> = DrawingArea<SVGBackend<'s>, Shift>;
type Axes<'a, 's, Y> = ChartContext<'a, SVGBackend<'s>, Cartesian2d<RangedCoordf64, Y>>;

/// Twice the size it is meant to be seen at: the backend rounds coordinates to whole units.
const SIZE: (u32, u32) = (1600, 900);
const FONT: &str = "Helvetica, Arial, sans-serif";
/// The legend's column, and the room that a name has there.
const LEGEND: i32 = 1190;
const LEGEND_CHARACTERS: usize = 22;

/// A colour on a light page, and what replaces it on a dark one.
pub(crate) struct Ink(pub(crate) RGBColor, RGBColor);

const BACKGROUND: Ink = Ink(RGBColor(255, 255, 255), RGBColor(13, 17, 23));
pub(crate) const TEXT: Ink = Ink(RGBColor(31, 35, 40), RGBColor(230, 237, 243));
pub(crate) const MUTED: Ink = Ink(RGBColor(89, 99, 110), RGBColor(145, 152, 161));
const GRID: Ink = Ink(RGBColor(216, 222, 228), RGBColor(48, 54, 61));
pub(crate) const STRATEGIES: [Ink; 6] = [
    Ink(RGBColor(9, 105, 218), RGBColor(88, 166, 255)),
    Ink(RGBColor(207, 72, 40), RGBColor(255, 132, 92)),
    Ink(RGBColor(26, 127, 55), RGBColor(86, 211, 100)),
    Ink(RGBColor(130, 80, 223), RGBColor(188, 140, 255)),
    Ink(RGBColor(191, 135, 0), RGBColor(227, 179, 65)),
    Ink(RGBColor(191, 57, 137), RGBColor(247, 120, 186)),
];

/// A picture with a title, that follows the reader's choice of light or dark. `draw` fills the page below the title, and
/// the legend.
pub(crate) fn page(
    title: &str,
    subtitle: &str,
    draw: impl FnOnce(&Area<'_>, &Area<'_>) -> Result<(), Box<dyn Error>>,
) -> Result<String, String> {
    let mut svg = String::new();
    let fill = || -> Result<(), Box<dyn Error>> {
        let canvas = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        canvas.fill(&BACKGROUND.0)?;
        canvas.draw_text(title, &bold(44).color(&TEXT.0), (60, 44))?;
        canvas.draw_text(subtitle, &font(28).color(&MUTED.0), (60, 104))?;
        let (plot, _) = canvas
            .margin(160, 20, 20, 20)
            .split_horizontally(LEGEND - 60);
        draw(&canvas, &plot)?;
        canvas.present()?;
        Ok(())
    };
    fill().map_err(|error| error.to_string())?;
    // The first `>` ends the opening tag of the picture, as there is no XML declaration.
    Ok(svg.replacen('>', &format!(">\n{}", dark()), 1))
}

/// Axes over an area of the page. `format` writes the numbers beside the vertical one.
pub(crate) fn axes<'a, 's, Y>(
    area: &'a Area<'s>,
    (x, x_name): (Range<f64>, &str),
    (y, y_name): (Y, &str),
    format: fn(f64) -> String,
) -> Result<Axes<'a, 's, Y::CoordDescType>, Box<dyn Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin_right(20)
        .x_label_area_size(90)
        .y_label_area_size(140)
        .build_cartesian_2d(x, y)
        .map_err(|error| error.to_string())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.0.stroke_width(2))
        .light_line_style(TRANSPARENT)
        .axis_style(GRID.0.stroke_width(2))
        .label_style(font(24).color(&MUTED.0))
        .axis_desc_style(font(26).color(&TEXT.0))
        .x_desc(x_name)
        .y_desc(y_name)
        .x_label_formatter(&|x| format!("{x}"))
        .y_label_formatter(&|y| format(*y))
        .draw()
        .map_err(|error| error.to_string())?;
    Ok(chart)
}

/// A logarithmic axis.
pub(crate) fn logarithmic(
    low: f64,
    high: f64,
) -> impl AsRangedCoord<Value = f64, CoordDescType = impl Ranged<ValueType = f64> + ValueFormatter<f64>>
{
    (low..high).log_scale().with_key_points(ticks(low, high))
}

/// Writes a name into a row of the legend, and returns where its sign begins.
pub(crate) fn name(
    canvas: &Area<'_>,
    row: usize,
    name: &str,
) -> Result<(i32, i32), Box<dyn Error>> {
    let y = 190 + row as i32 * 46;
    let beside = font(28)
        .color(&TEXT.0)
        .pos(Pos::new(HPos::Left, VPos::Center));
    canvas
        .draw_text(&shortened(name), &beside, (LEGEND + 76, y))
        .map_err(|error| error.to_string())?;
    Ok((LEGEND, y))
}

/// A style sheet that replaces every colour where the reader prefers dark pages.
fn dark() -> String {
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
fn ticks(low: f64, high: f64) -> Vec<f64> {
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

fn font(size: i32) -> TextStyle<'static> {
    (FONT, size).into_font().into()
}

fn bold(size: i32) -> TextStyle<'static> {
    (FONT, size, FontStyle::Bold).into_font().into()
}
