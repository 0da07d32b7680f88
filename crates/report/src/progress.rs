//! Curves of loss and error, of one run or several.

use crate::plot::{Line, Plot, Stroke, to_svg_file};
use crate::run::Run;

/// What a plot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Of training and validation.
    Loss,
    /// Top-1 of training and validation, top-5 of validation.
    Error,
}

/// A plot of several runs' progress, each in its own colour, falls of the learning rate marked.
pub fn plot_of(runs: &[Run], measure: Measure) -> Plot {
    let mut lines = Vec::new();
    for (color, run) in runs.iter().enumerate() {
        let train = run.curves.train.iter();
        let points = train.map(|at| match measure {
            Measure::Loss => (at.step, at.loss),
            Measure::Error => (at.step, at.top1_error),
        });
        lines.push(Line {
            points: points.collect(),
            color,
            stroke: Stroke::Faint,
            ..Line::default()
        });
    }
    for (color, run) in runs.iter().enumerate() {
        let validation = || run.curves.validation.iter();
        if measure == Measure::Error {
            let points = validation().map(|at| (at.step, at.top5_error)).collect();
            lines.push(Line { points, color, stroke: Stroke::Dashed, ..Line::default() });
        }
        let points = validation().map(|at| match measure {
            Measure::Loss => (at.step, at.loss),
            Measure::Error => (at.step, at.top1_error),
        });
        lines.push(Line {
            points: points.collect(),
            color,
            stroke: Stroke::Plain,
            ..Line::default()
        });
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
    }
}

/// Where a run's curve begins and ends, for those who do not see it.
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

/// A plot as an SVG file of its own, dark ink on whatever lies beneath.
pub fn curves_svg(runs: &[Run], measure: Measure) -> String {
    to_svg_file(&plot_of(runs, measure))
}
