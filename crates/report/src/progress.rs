//! Curves of loss and error, of one run or several.

use crate::plot::{Plot, Series, Stroke, to_svg_file};
use crate::run::Run;

/// The measurement of a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
        let points: Vec<(f64, f64)> = points.collect();
        let smooth = smoothed(&points);
        lines.push(series(points, color, Stroke::Faint));
        lines.push(series(smooth, color, Stroke::Thin));
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

/// The smoothing's time constant, as a share of all steps.
const SMOOTHING: f64 = 0.02;

/// Means weighted by `exp(-distance / (SMOOTHING x steps))` over the steps so far. A point is the
/// mean since the one before and counts as many times as there are steps between: the result does
/// not depend on how often values are logged.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let last = points.last().map_or(0.0, |point| point.0);
    let constant = (SMOOTHING * last).max(1e-9);
    let (mut sum, mut weight, mut before) = (0.0, 0.0, 0.0);
    let mean = |&(step, value): &(f64, f64)| {
        let steps = (step - before).max(0.0);
        let keep = (-steps / constant).exp();
        sum = sum * keep + (1.0 - keep) * value;
        weight = weight * keep + (1.0 - keep);
        before = step;
        (step, if weight > 0.0 { sum / weight } else { value })
    };
    points.iter().map(mean).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_constants_and_does_not_depend_on_the_interval_of_logging() {
        let every = |step: usize| -> Vec<(f64, f64)> {
            (1..=1000 / step).map(|at| ((at * step) as f64, 3.0)).collect()
        };
        assert!(smoothed(&every(1)).iter().all(|point| (point.1 - 3.0).abs() < 1e-12));
        // A step from 0 to 1 in the middle: the same value long after, for any interval.
        let change = |step: usize| {
            let mut points = every(step);
            points.iter_mut().for_each(|point| point.1 = f64::from(point.0 > 500.0));
            smoothed(&points).into_iter().find(|point| point.0 == 540.0).unwrap().1
        };
        let (fine, coarse) = (change(1), change(10));
        assert!((fine - coarse).abs() < 1e-9 && fine > 0.8 && fine < 0.9, "{fine} {coarse}");
        assert_eq!(smoothed(&[]), []);
    }
}
