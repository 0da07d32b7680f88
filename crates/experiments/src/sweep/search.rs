//! Runs the trials of a sweep.

use super::results::Table;
use super::{Method, Results, RungResult, Sweep, Trial, rungs};
use evaluate::Observer;

/// Trains trials and keeps their results.
pub trait TrialRunner {
    /// The error type.
    type Error;

    /// Starts a trial in its folder, or goes on with it, until it has done `epochs` epochs; without
    /// a number, all of its own. `None` if a stop was requested before the end.
    ///
    /// # Errors
    /// If no trial can be trained. That this one diverges or fails is a result.
    fn train(
        &mut self,
        trial: &Trial,
        epochs: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Result<Option<RungResult>, Self::Error>;

    /// Saves the results so far.
    ///
    /// # Errors
    /// If they cannot be written.
    fn save(&mut self, results: &Results) -> Result<(), Self::Error>;
}

/// Runs the trials that `results` does not have yet, and adds theirs. `epochs` is the number of
/// epochs of the last rung of successive halving. Returns false if a stop was requested before the
/// end.
///
/// # Errors
/// Those of the runner.
pub fn search<R: TrialRunner>(
    sweep: &Sweep,
    trials: &[Trial],
    epochs: u32,
    results: &mut Results,
    runner: &mut R,
    observer: &mut dyn Observer,
) -> Result<bool, R::Error> {
    let plan = match sweep.method {
        Method::Grid | Method::Random { .. } => vec![(trials.len(), None)],
        Method::Halving { trials, eta, min_epochs } => {
            let rungs = rungs(trials, eta, min_epochs, epochs).into_iter();
            rungs.map(|rung| (rung.trials, Some(rung.epochs))).collect()
        }
    };
    let table = Table::new(sweep, trials);
    let mut header = Some(table.header());
    for (rung, (count, epochs)) in plan.into_iter().enumerate() {
        let mut numbers: Vec<usize> = match rung {
            0 => (0..count).collect(),
            _ => results.ready_for(rung, sweep.metric),
        };
        numbers.truncate(count);
        let of = numbers.len();
        for (done, number) in numbers.into_iter().enumerate() {
            let trial = &trials[number];
            if results.of(number, rung).is_some() {
                continue;
            }
            let until = epochs.map_or(String::new(), |epochs| format!(", up to epoch {epochs}"));
            let (nth, values) = (done + 1, trial.summary());
            observer.note(&format!("trial {number} ({nth} of {of}{until}): {values}"));
            let Some(result) = runner.train(trial, epochs, observer)? else { return Ok(false) };
            let result = result.checked();
            if let Some(reason) = &result.reason {
                observer.note(&format!("trial {number}: {}: {reason}", result.end.name()));
            }
            results.add(number, result);
            runner.save(results)?;
            header.take().iter().for_each(|header| observer.note(header));
            let is_best = results.best(sweep.metric).is_some_and(|best| best.trial == number);
            let added = results.trials.iter().find(|result| result.trial == number);
            let remark = if is_best { "best so far" } else { "" };
            observer.note(&table.row(added.expect("just added"), remark));
        }
    }
    Ok(true)
}
