//! Curves of loss and error, of one run or several.

use crate::plot::{Plot, Series, Stroke, to_svg_file};
use crate::run::Run;

/// The measurement of a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Training and validation loss.
    Loss,
    /// Top-1 error of training and validation, top-5 error of validation.
    Error,
}

/// A plot of several runs' progress, one colour per run, with learning-rate drops marked.
pub fn plot_of(runs: &[Run], measure: Measure) -> Plot {
    let value = |loss, error| if measure == Measure::Loss { loss } else { error };
    let series = |points, color, stroke| Series { points, color, stroke, ..Series::default() };
    let mut lines = Vec::new();
    for (color, run) in runs.iter().enumerate() {
        let points = run.curves.train.iter().map(|at| (at.step, value(at.loss, at.top1_error)));
        lines.push(series(points.collect(), color, Stroke::Faint));
    }
    for (color, run) in runs.iter().enumerate() {
        let validation = run.curves.validation.iter();
        if measure == Measure::Error {
            let points = validation.clone().filter_map(|at| Some((at.step, at.top5_error?)));
            let points: Vec<_> = points.collect();
            if !points.is_empty() {
                lines.push(series(points, color, Stroke::Dashed));
            }
        }
        let points = validation.map(|at| (at.step, value(at.loss, at.top1_error)));
        lines.push(series(points.collect(), color, Stroke::Plain));
    }
    let drops = runs.iter().flat_map(|run| run.curves.drops());
    let marks = drops.map(|drop| (drop.step, format!("rate {}", drop.rate))).collect();
    let (y_label, title) = match measure {
        Measure::Loss => ("loss", "Loss by step"),
        Measure::Error => ("error", "Error by step"),
    };
    Plot {
        title: title.to_string(),
        description: runs.iter().map(|run| describe(run, measure)).collect::<Vec<_>>().join(" "),
        x_label: String::new(),
        y_label: y_label.to_string(),
        percent: measure == Measure::Error,
        lines,
        marks,
        ..Plot::default()
    }
}

/// A text description of a run's curve, for accessibility.
fn describe(run: &Run, measure: Measure) -> String {
    let (Some(first), Some(last)) = (run.curves.validation.first(), run.curves.validation.last())
    else {
        return format!("{}: no validation yet.", run.name);
    };
    match measure {
        Measure::Loss => {
            let (from, to) = (first.loss, last.loss);
            format!(
                "{}: validation loss from {from:.3} to {to:.3} at step {}.",
                run.name, last.step
            )
        }
        Measure::Error => format!(
            "{}: top-1 error from {} to {} at step {}.",
            run.name,
            crate::percent(first.top1_error),
            crate::percent(last.top1_error),
            last.step
        ),
    }
}

/// The plot as a standalone SVG file.
pub fn curves_svg(runs: &[Run], measure: Measure) -> String {
    to_svg_file(&plot_of(runs, measure))
}
