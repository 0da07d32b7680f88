//! Line plots as SVG.
//!
//! Colours are CSS classes `s1` to `s8` for runs, and variables for everything else, so that a plot
//! follows the page's light or dark scheme.

use crate::markup::{escape, standalone};
use std::fmt::Write;

/// A plot: lines over a common axis, of steps or of another quantity.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// Title, for accessibility.
    pub title: String,
    /// Description of one or two sentences, for accessibility.
    pub description: String,
    /// Label of the x axis; empty: `step`.
    pub x_label: String,
    /// What positions on the x axis are.
    pub x_axis: XAxis,
    /// Label of the y axis.
    pub y_label: String,
    /// Whether y is a share, shown as a percentage.
    pub percent: bool,
    /// The lines, the most important last.
    pub lines: Vec<Series>,
    /// Vertical marks with their labels.
    pub marks: Vec<(f64, String)>,
}

/// The x axis of a plot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XAxis {
    /// From 0, as steps are.
    #[default]
    FromZero,
    /// From the lowest value.
    Linear,
    /// Powers of ten, from the lowest value; all values are positive.
    Logarithmic,
}

/// A line of a plot.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Steps and values.
    pub points: Vec<(f64, f64)>,
    /// Index of its colour, from 0.
    pub color: usize,
    /// Its stroke.
    pub stroke: Stroke,
    /// Its name in the legend; empty for none.
    pub label: String,
}

/// The stroke of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stroke {
    /// Thin and faint, for noisy measurements.
    Faint,
    /// Thin, for their smoothed means.
    Thin,
    /// With dots.
    #[default]
    Plain,
    /// Dashed.
    Dashed,
    /// Dots only.
    Dots,
}

/// More points than this are averaged in groups.
const MAX_POINTS: usize = 240;
const MAX_MARKS: usize = 8;
/// Number of different colours: the classes of colors.css.
const COLORS: usize = 8;
/// Names per column of the legend.
const COLUMN: usize = 4;

impl Plot {
    /// The plot as SVG of `width` x `height` units; `id` must be unique on the page.
    pub fn to_svg(&self, id: &str, width: f64, height: f64) -> String {
        let frame = Frame::new(self, width, height);
        let mut svg = format!(
            "<svg class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-labelledby=\"{id}-t {id}-d\" xmlns=\"http://www.w3.org/2000/svg\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
            escape(&self.title),
            escape(&self.description),
        );
        frame.axes(self, &mut svg);
        frame.marks(self, &mut svg);
        self.lines.iter().for_each(|line| frame.line(line, &mut svg));
        frame.legend(self, &mut svg);
        svg + "</svg>"
    }
}

/// The plot as a standalone SVG file.
pub fn to_svg_file(plot: &Plot) -> String {
    let svg = plot.to_svg("curves", 720.0, 300.0);
    standalone(&svg, "</desc>", include_str!("plot.css"))
}

/// Maps steps and values to positions.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    axis: XAxis,
    x_start: f64,
    x_end: f64,
    y_end: f64,
    x_step: f64,
    y_step: f64,
}

impl Frame {
    fn new(plot: &Plot, width: f64, height: f64) -> Frame {
        let points = || plot.lines.iter().flat_map(|line| &line.points);
        let greatest = |value: fn(&(f64, f64)) -> f64| points().map(value).fold(0.0, f64::max);
        let ticks_across = if width < 500.0 { 4.0 } else { 8.0 };
        let (x_start, x_end) = match plot.x_axis {
            XAxis::FromZero => (0.0, greatest(|p| p.0).max(1.0)),
            axis => {
                let along = || points().map(|p| along(axis, p.0));
                let low = along().fold(f64::INFINITY, f64::min);
                let high = along().fold(f64::NEG_INFINITY, f64::max);
                if low < high { (low, high) } else { (low - 0.5, low + 0.5) }
            }
        };
        let highest = greatest(|p| p.1);
        let y_step = tick(if highest > 0.0 { highest } else { 1.0 }, 5.0);
        let y_end = (highest / y_step).ceil().max(1.0) * y_step;
        Frame {
            left: 46.0,
            right: width - 10.0,
            top: 26.0,
            bottom: height - 34.0,
            x_step: match plot.x_axis {
                XAxis::Linear => tick(x_end - x_start, ticks_across),
                _ => tick(x_end - x_start, ticks_across).max(1.0),
            },
            axis: plot.x_axis,
            x_start,
            x_end,
            y_end,
            y_step,
        }
    }

    fn x(&self, step: f64) -> f64 {
        let along = along(self.axis, step) - self.x_start;
        self.left + (self.right - self.left) * along / (self.x_end - self.x_start)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * value / self.y_end
    }

    fn axes(&self, plot: &Plot, svg: &mut String) {
        let Frame { left, right, bottom, .. } = *self;
        for value in ticks(self.y_end, self.y_step) {
            let y = self.y(value);
            let text =
                if plot.percent { format!("{} %", short(100.0 * value)) } else { short(value) };
            let class = if value == 0.0 { "axis" } else { "grid" };
            let _ = write!(
                svg,
                "<line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                left - 6.0,
                y + 4.0,
            );
        }
        for step in self.x_ticks() {
            let x = self.x(step);
            let anchor = if x > right - 14.0 { "end" } else { "middle" }; // inside the picture
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                bottom + 16.0,
                match self.axis {
                    XAxis::Logarithmic => format!("{step:.0e}"),
                    _ => count(step),
                },
            );
        }
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text class=\"label\" x=\"{:.1}\" y=\"14\">{}</text>",
            right,
            bottom + 31.0,
            escape(if plot.x_label.is_empty() { "step" } else { &plot.x_label }),
            left - 40.0,
            escape(&plot.y_label),
        );
    }

    fn x_ticks(&self) -> Vec<f64> {
        let first = (self.x_start / self.x_step - 1e-6).ceil() * self.x_step;
        let places = ticks((self.x_end - first).max(0.0), self.x_step).map(|place| first + place);
        let value = |place: f64| match self.axis {
            XAxis::Logarithmic => 10f64.powf(place),
            XAxis::Linear | XAxis::FromZero => place,
        };
        places.map(value).collect()
    }

    /// The legend at the upper right, where falling curves leave space.
    fn legend(&self, plot: &Plot, svg: &mut String) {
        let named: Vec<&Series> = plot.lines.iter().filter(|line| !line.label.is_empty()).collect();
        if named.is_empty() {
            return;
        }
        let columns = named.len().div_ceil(COLUMN);
        let mut right = self.right;
        for column in named.chunks(named.len().div_ceil(columns)).rev() {
            for (number, line) in column.iter().enumerate() {
                let _ = write!(
                    svg,
                    "<text class=\"{}\" style=\"fill:var(--c)\" x=\"{right:.1}\" y=\"{:.1}\" \
                     text-anchor=\"end\">{}</text>",
                    color_class(line.color),
                    self.top + 10.0 + 15.0 * number as f64,
                    escape(&line.label),
                );
            }
            // Letters of 12 pixels are seldom wider than 7.
            let longest = column.iter().map(|line| line.label.chars().count()).max().unwrap_or(0);
            right -= 7.0 * longest as f64 + 16.0;
        }
    }

    fn marks(&self, plot: &Plot, svg: &mut String) {
        let (top, bottom) = (self.top, self.bottom);
        for (number, (step, text)) in plot.marks.iter().take(MAX_MARKS).enumerate() {
            let x = self.x(*step);
            // Beside the line, where there is more room; neighbours one below the other.
            let (at, anchor) = if x > (self.left + self.right) / 2.0 {
                (x - 4.0, "end")
            } else {
                (x + 4.0, "start")
            };
            let y = top + 10.0 + 13.0 * (number % 3) as f64;
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}\
                 </text>",
                escape(text),
            );
        }
    }

    fn line(&self, line: &Series, svg: &mut String) {
        let points = match line.stroke {
            Stroke::Dots => line.points.clone(),
            _ => thinned(&line.points),
        };
        let place =
            |&(step, value): &(f64, f64)| format!("{:.1},{:.1}", self.x(step), self.y(value));
        let places: Vec<String> = points.iter().map(place).collect();
        let color = color_class(line.color);
        let class = match line.stroke {
            Stroke::Faint => "faint",
            Stroke::Thin => "thin",
            Stroke::Plain => "plain",
            Stroke::Dashed => "dashed",
            Stroke::Dots => "dots",
        };
        if places.len() > 1 && line.stroke != Stroke::Dots {
            let _ = write!(
                svg,
                "<polyline class=\"line {color} {class}\" points=\"{}\"/>",
                places.join(" ")
            );
        }
        let is_measured = matches!(line.stroke, Stroke::Plain | Stroke::Dashed);
        let has_dots = is_measured && places.len() <= 60;
        if has_dots || line.stroke == Stroke::Dots {
            for (step, value) in &points {
                let (x, y) = (self.x(*step), self.y(*value));
                let _ = write!(
                    svg,
                    "<circle class=\"dot {color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"/>"
                );
            }
        }
    }
}

/// A position along an axis.
fn along(axis: XAxis, value: f64) -> f64 {
    match axis {
        XAxis::Logarithmic => value.log10(),
        XAxis::Linear | XAxis::FromZero => value,
    }
}

/// The class of colors.css for the line or run of this number, from 0 on.
pub(crate) fn color_class(number: usize) -> String {
    format!("s{}", number % COLORS + 1)
}

/// Means of groups of neighbours, where there are too many points to see.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(MAX_POINTS).max(1);
    let groups = points.chunks(group).map(|group| {
        let n = group.len() as f64;
        let sum = group.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        (sum.0 / n, sum.1 / n)
    });
    groups.collect()
}

/// One, two or five times a power of ten, at most `count` of which make `end`.
fn tick(end: f64, count: f64) -> f64 {
    let least = end / count;
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|&t| t >= least).unwrap_or(power)
}

fn ticks(end: f64, step: f64) -> impl Iterator<Item = f64> {
    (0..=(end / step + 1e-6) as usize).map(move |n| n as f64 * step)
}

/// A number without the zeros that say nothing.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// 12000 as `12k`.
fn count(step: f64) -> String {
    if step >= 1e6 {
        format!("{}M", short(step / 1e6))
    } else if step >= 1e4 {
        format!("{}k", short(step / 1e3))
    } else {
        short(step)
    }
}

#[cfg(test)]
mod tests;
