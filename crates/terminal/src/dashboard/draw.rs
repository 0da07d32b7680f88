//! The drawing of a [`View`].

use super::View;
use crate::progress::table;
use files::escape::on_one_line;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph, Wrap};
use report::percent;

/// Colours that can be told apart on dark and on light backgrounds, also by colour-blind people.
const TRAIN: Color = Color::Indexed(33);
const VALIDATION: Color = Color::Indexed(208);
const TOP5: Color = Color::Indexed(134);

/// Rows of the screen without curves and table: three at the top, one at the bottom.
const FIXED: u16 = 4;

/// Draws a run on the whole frame. `scroll`, the rows of the table that are hidden below its end, is
/// lowered to what the table allows.
pub(super) fn draw(frame: &mut Frame, view: &View, scroll: &mut usize) {
    let area = frame.area();
    let columns = usize::from(area.width);
    let warning = u16::from(view.warning.is_some()) * 2;
    let free = area.height.saturating_sub(FIXED + warning);
    let table = (view.validations.len().min(usize::from(u16::MAX) - 1) as u16 + 1).min(free / 2);
    let rows = [1, 1, 1, free - table, table, warning, 1].map(Constraint::Length);
    let [name, bar, summary, curves, table, warning, keys] = Layout::vertical(rows).areas(area);
    frame.render_widget(heading(view), name);
    frame.render_widget(Line::from(state(view)).alignment(Alignment::Right), name);
    let progress = view.bar(columns).unwrap_or_else(|| "no step yet".to_string());
    frame.render_widget(Line::from(progress), bar);
    frame.render_widget(Line::from(on_one_line(&view.summary()).to_string()), summary);
    let [loss, error] = Layout::horizontal([Constraint::Fill(1); 2]).areas(curves);
    draw_loss(frame, view, loss);
    draw_error(frame, view, error);
    draw_table(frame, view, table, scroll);
    if let Some(text) = &view.warning {
        let text = format!("WARNING: {}", on_one_line(text));
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }).bold(), warning);
    }
    frame.render_widget(Line::from("q: leave   arrows: scroll the table").dim(), keys);
}

fn heading(view: &View) -> Line<'static> {
    Line::from(on_one_line(&view.name).to_string()).bold()
}

/// The state, with a space to its left that separates it from a long name.
fn state(view: &View) -> Span<'static> {
    let color = match (view.has_failed, view.has_ended) {
        (true, _) => Color::Red,
        (false, true) => Color::Reset,
        (false, false) => Color::Green,
    };
    Span::styled(format!(" {}", on_one_line(&view.state)), Style::new().fg(color).bold())
}

/// A curve: its name, colour, points, and whether they are joined.
struct Curve {
    name: &'static str,
    color: Color,
    points: Vec<(f64, f64)>,
    is_joined: bool,
}

fn draw_loss(frame: &mut Frame, view: &View, area: Rect) {
    let train = view.curves.train.iter().map(|point| (point.step, point.loss));
    let validation = view.curves.validation.iter().map(|point| (point.step, point.loss));
    let curves = [
        Curve { name: "train", color: TRAIN, points: train.collect(), is_joined: true },
        Curve {
            name: "validation",
            color: VALIDATION,
            points: validation.collect(),
            is_joined: false,
        },
    ];
    draw_curves(frame, "loss", &curves, area, &|value| format!("{value:.2}"));
}

fn draw_error(frame: &mut Frame, view: &View, area: Rect) {
    let train = view.curves.train.iter().map(|point| (point.step, point.top1_error));
    let validation = view.curves.validation.iter();
    let top1 = validation.clone().map(|point| (point.step, point.top1_error));
    let top5 = validation.filter_map(|point| Some((point.step, point.top5_error?)));
    let mut curves = vec![
        Curve { name: "train", color: TRAIN, points: train.collect(), is_joined: true },
        Curve { name: "validation", color: VALIDATION, points: top1.collect(), is_joined: false },
    ];
    let top5 = Curve { name: "top-5", color: TOP5, points: top5.collect(), is_joined: false };
    curves.extend(Some(top5).filter(|curve| !curve.points.is_empty()));
    let percent = |value| match value {
        value if value < 0.1 => percent(value),
        value => format!("{:.0} %", 100.0 * value),
    };
    draw_curves(frame, "error", &curves, area, &percent);
}

/// Curves in a frame, whose title names them; training as a line, validations as dots.
fn draw_curves(
    frame: &mut Frame,
    title: &str,
    curves: &[Curve],
    area: Rect,
    label: &dyn Fn(f64) -> String,
) {
    let steps = curves.iter().flat_map(|curve| &curve.points).fold(1.0, |max, p| p.0.max(max));
    let dots = 2 * usize::from(area.width); // a character has two columns of dots
    let means: Vec<_> = curves.iter().map(|curve| means(&curve.points, steps, dots)).collect();
    let (bottom, top) = range(means.iter().flatten().map(|point| point.1));
    let datasets = curves.iter().zip(&means).map(|(curve, points)| {
        let set = Dataset::default().data(points).style(Style::new().fg(curve.color));
        if curve.is_joined {
            set.marker(Marker::Braille).graph_type(GraphType::Line)
        } else {
            set.marker(Marker::Dot).graph_type(GraphType::Scatter)
        }
    });
    let mut names = vec![Span::from(format!(" {title}:"))];
    for curve in curves {
        let mark = if curve.is_joined { "─" } else { "•" };
        names.push(Span::styled(format!(" {mark} {}", curve.name), Style::new().fg(curve.color)));
    }
    names.push(Span::from(" "));
    let x_axis =
        Axis::default().bounds([0.0, steps]).labels(["0".into(), format!("step {steps:.0}")]);
    let y_axis = Axis::default().bounds([bottom, top]).labels([label(bottom), label(top)]);
    let chart = Chart::new(datasets.collect())
        .block(Block::bordered().title(Line::from(names)))
        .legend_position(None)
        .x_axis(x_axis)
        .y_axis(y_axis);
    frame.render_widget(chart, area);
}

/// The means of the finite values in each of `count` columns that has some.
fn means(points: &[(f64, f64)], end: f64, count: usize) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0, 0.0); count.max(1)];
    for &(step, value) in points.iter().filter(|point| point.1.is_finite()) {
        let column = (step / end * count as f64) as usize;
        let sum = &mut sums[column.min(count.saturating_sub(1))];
        *sum = (sum.0 + step, sum.1 + value, sum.2 + 1.0);
    }
    let filled = sums.into_iter().filter(|sum| sum.2 > 0.0);
    filled.map(|(step, value, count)| (step / count, value / count)).collect()
}

/// Bounds of an axis that holds all values; of any width if they are all equal.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) =
        values.fold((f64::INFINITY, 0.0f64), |(least, most), v| (least.min(v), most.max(v)));
    match least {
        least if least < most => (least, most),
        least if least.is_finite() => (0.0, most.max(1.0)),
        _ => (0.0, 1.0),
    }
}

/// The table's header and its last rows, or those `scroll` rows before; the best one is bold.
fn draw_table(frame: &mut Frame, view: &View, area: Rect, scroll: &mut usize) {
    if view.validations.is_empty() {
        frame.render_widget(Line::from("no validation yet").dim(), area);
        return;
    }
    let mut lines = table::lines(&view.validations, usize::from(area.width)).into_iter();
    let header = lines.next().map(|text| Line::from(text).add_modifier(Modifier::UNDERLINED));
    let rows = lines.zip(&view.validations).map(|(text, (validation, _))| {
        let line = Line::from(text);
        if validation.is_best { line.bold() } else { line }
    });
    let rows: Vec<Line> = rows.collect();
    let visible = usize::from(area.height).saturating_sub(1);
    *scroll = (*scroll).min(rows.len().saturating_sub(visible));
    let first = rows.len().saturating_sub(visible + *scroll);
    let shown = rows.into_iter().skip(first).take(visible);
    frame.render_widget(Paragraph::new(header.into_iter().chain(shown).collect::<Vec<_>>()), area);
}
