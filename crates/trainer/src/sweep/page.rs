//! The page of a sweep.

use super::command::number;
use super::runner::folder;
use super::{Planned, TABLE};
use experiments::sweep::{Method, Metric, Parameter, ParameterRange, Results, Trial, shown};
use report::plot::XAxis;
use report::{Curves, SweepPage, SweepParameter, SweepTrial};
use std::path::Path;
use toml::Value;

/// The page of the results so far.
pub(super) fn of(out: &Path, planned: Planned, trials: &[Trial], results: &Results) -> SweepPage {
    let sweep = planned.sweep;
    let (metric, parameters) = (sweep.metric, &sweep.parameters);
    let axes: Vec<SweepParameter> = parameters.iter().map(axis).collect();
    let trial = |result: &experiments::sweep::TrialResult| {
        let trial = &trials[result.trial];
        let run = folder(out, result.trial);
        let metrics = files::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
        let value = result.value(metric);
        let last = result.last();
        let place = |((_, value), axis): (&(String, Value), &SweepParameter)| position(value, axis);
        SweepTrial {
            name: result.trial.to_string(),
            link: format!("trials/{:04}/", result.trial),
            values: trial.values.iter().map(|(_, value)| shown(value)).collect(),
            positions: trial.values.iter().zip(&axes).map(place).collect(),
            value,
            shown: value.map_or("–".to_string(), |value| metric.show(value)),
            epochs: last.map_or(0, |last| last.epochs),
            state: last.map_or(String::new(), |last| last.end.name().to_string()),
            curves: Curves::parse(&metrics),
        }
    };
    let how = match sweep.method {
        Method::Grid => "a grid".to_string(),
        Method::Random { .. } => "random values".to_string(),
        Method::Halving { eta, .. } => {
            format!("successive halving: one trial in {eta} goes on for {eta} times the epochs")
        }
    };
    let best = results.best(metric);
    SweepPage {
        title: out.file_name().unwrap_or_default().to_string_lossy().to_string(),
        summary: format!(
            "{} of {} trials, {how}. {TABLE} has the numbers.",
            results.trials.len(),
            trials.len()
        ),
        metric: metric.name().to_string(),
        percent: metric != Metric::Loss,
        trials: results.ranked(metric).into_iter().map(trial).collect(),
        parameters: axes,
        command: best.map(|best| planned.command(&trials[best.trial])),
    }
}

fn axis(parameter: &Parameter) -> SweepParameter {
    let (x_axis, choices) = match &parameter.range {
        ParameterRange::LogUniform { .. } => (XAxis::Logarithmic, Vec::new()),
        ParameterRange::Values(values) if values.iter().all(|value| number(value).is_some()) => {
            (XAxis::Linear, Vec::new())
        }
        ParameterRange::Values(values) => (XAxis::Linear, values.iter().map(shown).collect()),
        ParameterRange::Uniform { .. } | ParameterRange::Int { .. } => (XAxis::Linear, Vec::new()),
    };
    SweepParameter { key: parameter.key.clone(), x_axis, choices }
}

fn position(value: &Value, axis: &SweepParameter) -> f64 {
    let place = || axis.choices.iter().position(|choice| *choice == shown(value));
    let of_choice = (!axis.choices.is_empty()).then(|| place().unwrap_or(0) as f64);
    of_choice.or(number(value)).unwrap_or(0.0)
}
