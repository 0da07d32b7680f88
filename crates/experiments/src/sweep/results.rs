//! What the trials of a sweep came to.

use super::{Metric, Sweep, Trial, shown};
use evaluate::Score;
use files::CsvRow;
use files::numbers::{duration, percent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::cmp::Ordering;

/// Results of trials, in the order in which they began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The trials.
    pub trials: Vec<TrialResult>,
}

/// The results of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialResult {
    /// Its number.
    pub trial: usize,
    /// One for each rung that it was in; one if there are no rungs.
    pub rungs: Vec<RungResult>,
}

/// How a trial ended in one rung.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RungResult {
    /// Epochs done.
    pub epochs: u32,
    /// Steps done.
    pub steps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// How it ended.
    pub end: TrialEnd,
    /// Why it diverged or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The validation of its weights; `None` if it diverged or failed.
    pub score: Option<Score>,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialEnd {
    /// After its epochs.
    #[default]
    Finished,
    /// Early, as its validations stopped improving.
    StoppedEarly,
    /// A value was not finite. It does not go on.
    Diverged,
    /// Its settings cannot be trained, or need more memory than there is. It does not go on.
    Failed,
}

impl TrialEnd {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            TrialEnd::Finished => "",
            TrialEnd::StoppedEarly => "stopped early",
            TrialEnd::Diverged => "diverged",
            TrialEnd::Failed => "failed",
        }
    }
}

impl RungResult {
    /// The same, as one that diverged if a value of its validation is not finite: such a value
    /// cannot be compared, and JSON has no form for it.
    pub(super) fn checked(self) -> RungResult {
        let Some(Score { loss, top1_error, top5_error, .. }) = self.score else { return self };
        if [loss, top1_error, top5_error.unwrap_or(0.0)].iter().all(|value| value.is_finite()) {
            return self;
        }
        let reason = Some(format!("the loss of the last validation is {loss}"));
        RungResult { end: TrialEnd::Diverged, reason, score: None, ..self }
    }
}

impl TrialResult {
    /// The last rung.
    pub fn last(&self) -> Option<&RungResult> {
        self.rungs.last()
    }

    /// The value of the metric in the last rung, if it has one.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        metric.of(self.last()?.score.as_ref()?).filter(|value| value.is_finite())
    }
}

impl Results {
    /// The result of a trial in a rung.
    pub fn of(&self, trial: usize, rung: usize) -> Option<&RungResult> {
        self.trials.iter().find(|result| result.trial == trial)?.rungs.get(rung)
    }

    /// Adds the result of a trial's next rung.
    pub fn add(&mut self, trial: usize, result: RungResult) {
        match self.trials.iter_mut().find(|found| found.trial == trial) {
            Some(found) => found.rungs.push(result),
            None => self.trials.push(TrialResult { trial, rungs: vec![result] }),
        }
    }

    /// The trials, best first: those of later rungs before those of earlier ones, then by the
    /// metric, then by their numbers; those without a value last.
    pub fn ranked(&self, metric: Metric) -> Vec<&TrialResult> {
        let mut ranked: Vec<&TrialResult> = self.trials.iter().collect();
        ranked.sort_by(|a, b| {
            let values = match (a.value(metric), b.value(metric)) {
                (Some(x), Some(y)) => b.rungs.len().cmp(&a.rungs.len()).then(x.total_cmp(&y)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            };
            values.then(a.trial.cmp(&b.trial))
        });
        ranked
    }

    /// How many trials ended so.
    pub fn count(&self, end: TrialEnd) -> usize {
        let ended = |result: &&TrialResult| result.last().is_some_and(|last| last.end == end);
        self.trials.iter().filter(ended).count()
    }

    /// The best trial, if one has a value.
    pub fn best(&self, metric: Metric) -> Option<&TrialResult> {
        let best = self.ranked(metric).into_iter().next()?;
        best.value(metric).map(|_| best)
    }

    /// The numbers of the trials that may enter a rung: those that have finished the one before,
    /// best first.
    pub(super) fn ready_for(&self, rung: usize, metric: Metric) -> Vec<usize> {
        let mut results: Vec<(f64, usize)> = self
            .trials
            .iter()
            .filter_map(|result| {
                let before = result.rungs.get(rung.checked_sub(1)?)?;
                let value = metric.of(before.score.as_ref()?)?;
                value.is_finite().then_some((value, result.trial))
            })
            .collect();
        results.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        results.into_iter().map(|(_, trial)| trial).collect()
    }

    /// A table of the trials, best first.
    pub fn to_table(&self, sweep: &Sweep, trials: &[Trial]) -> String {
        let table = Table::new(sweep, trials);
        let rows = self.ranked(sweep.metric).into_iter().map(|result| table.row(result, ""));
        std::iter::once(table.header()).chain(rows).map(|row| row + "\n").collect()
    }

    /// A line for each rung of each trial, for spreadsheets.
    pub fn to_csv(&self, sweep: &Sweep, trials: &[Trial]) -> String {
        let keys = sweep.parameters.iter().map(|parameter| &parameter.key);
        let results = ["epochs", "steps", "seconds", "end", "loss", "top1_error", "top5_error"];
        let mut text = CsvRow::new().text("trial").texts(keys).texts(results).line();
        for result in &self.trials {
            let values = trials[result.trial].values.iter().map(|(_, value)| shown(value));
            let named = CsvRow::new().number(result.trial).texts(values);
            for RungResult { epochs, steps, seconds, end, score, .. } in &result.rungs {
                let end = if end.name().is_empty() { "finished" } else { end.name() };
                let row = named.clone().number(epochs).number(steps).number(seconds).text(end);
                let row = match score {
                    Some(score) => {
                        let row = row.numbers([score.loss, score.top1_error]);
                        row.optional(score.top5_error)
                    }
                    None => row.texts([""; 3]),
                };
                text += &row.line();
            }
        }
        text
    }

    /// All of it; [`from_json`](Self::from_json) reads it back.
    pub fn to_json(&self, sweep: &Sweep, trials: &[Trial]) -> Value {
        let trial = |result: &TrialResult| {
            let mut entry = json!(result);
            let values = trials[result.trial].values.iter();
            let values = values.map(|(key, value)| (key.clone(), json!(value)));
            entry["values"] = Value::Object(values.collect());
            entry["value"] = json!(result.value(sweep.metric));
            entry
        };
        json!({
            "metric": sweep.metric.name(),
            "best": self.best(sweep.metric).map(|best| best.trial),
            "trials": self.trials.iter().map(trial).collect::<Vec<_>>(),
        })
    }

    /// # Errors
    /// If it is another kind of file.
    pub fn from_json(text: &str) -> serde_json::Result<Results> {
        serde_json::from_str(text)
    }
}

/// A table whose columns are wide enough for all trials from the first row on.
pub(super) struct Table<'a> {
    trials: &'a [Trial],
    names: Vec<String>,
    widths: Vec<usize>,
}

impl<'a> Table<'a> {
    pub(super) fn new(sweep: &Sweep, trials: &'a [Trial]) -> Table<'a> {
        let key = |parameter: &super::Parameter| {
            parameter.key.strip_prefix("recipe.").unwrap_or(&parameter.key).to_string()
        };
        let keys = sweep.parameters.iter().map(key);
        let results = ["epochs", "top-1 error", "top-5 error", "loss", "time"].map(String::from);
        let names: Vec<String> =
            std::iter::once("trial".to_string()).chain(keys).chain(results).collect();
        let mut widths: Vec<usize> = names.iter().map(|name| name.chars().count()).collect();
        for trial in trials {
            for (width, (_, value)) in widths[1..].iter_mut().zip(&trial.values) {
                *width = (*width).max(shown(value).chars().count());
            }
        }
        let results = names.len() - results_of(&RungResult::default()).len();
        for (width, least) in widths[results..].iter_mut().zip([6, 11, 11, 7, 11]) {
            *width = (*width).max(least);
        }
        Table { trials, names, widths }
    }

    pub(super) fn header(&self) -> String {
        self.line(&self.names, "")
    }

    /// A trial's row, with a remark.
    pub(super) fn row(&self, result: &TrialResult, remark: &str) -> String {
        let last = result.last().cloned().unwrap_or_default();
        let values = self.trials[result.trial].values.iter().map(|(_, value)| shown(value));
        let number = std::iter::once(result.trial.to_string());
        let cells: Vec<String> = number.chain(values).chain(results_of(&last)).collect();
        let remarks = [last.end.name(), remark].into_iter().filter(|text| !text.is_empty());
        self.line(&cells, &remarks.collect::<Vec<_>>().join(", "))
    }

    fn line(&self, cells: &[String], remark: &str) -> String {
        let cells = cells.iter().zip(&self.widths).map(|(cell, &width)| format!("{cell:>width$}"));
        let line = cells.chain([remark.to_string()]).collect::<Vec<_>>().join("  ");
        line.trim_end().to_string()
    }
}

fn results_of(rung: &RungResult) -> [String; 5] {
    let number = |show: fn(&Score) -> Option<String>| {
        rung.score.as_ref().and_then(show).unwrap_or_else(|| "-".to_string())
    };
    [
        rung.epochs.to_string(),
        number(|score| Some(percent(score.top1_error))),
        number(|score| score.top5_error.map(percent)),
        number(|score| Some(format!("{:.4}", score.loss))),
        duration(rung.seconds),
    ]
}
