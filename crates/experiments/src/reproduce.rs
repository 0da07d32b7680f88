//! Executes the runs of a protocol and writes the results.

use crate::error::Error;
use crate::experiment::Experiment;
use crate::experiment_runner::ExperimentRunner;
use crate::measured::Measured;
use crate::order::{Next, is_whole, next};
use crate::page::{self, Results};
use crate::runner::Runner;
use evaluate::Observer;
use std::fs;

/// Executes or resumes the runs of an experiment, tests their networks, and writes the results to
/// `NAME.md`, `NAME.svg` and `NAME.json` after every run. Returns the measurements; `None` if a
/// stop was requested before the last run ended.
///
/// A finished run is not repeated, whichever protocol made it. A diverged network is a result, not
/// an error.
///
/// # Errors
/// If images are missing that the protocol needs, a folder contains another run, or the runner
/// fails.
pub fn reproduce<R: Runner>(
    experiment: &Experiment,
    runner: &R,
    observer: &mut dyn Observer,
) -> Result<Option<Vec<Measured>>, R::Error> {
    let Experiment { page, scale, seeds, out, note, .. } = experiment;
    experiment.check()?;
    fs::create_dir_all(out).map_err(|source| Error::Folder { path: out.clone(), source })?;
    let runs = ExperimentRunner::new(experiment, runner);
    let (seeds, scale, name) = (*seeds, *scale, page.name);
    let mut done: Vec<Measured> = Vec::new();
    while let Some(Next { arm, seed, max_epochs }) = next(page, seeds, &done) {
        let arm = &page.arms[arm];
        let Some(measured) = runs.run(arm, seed, max_epochs, observer)? else {
            return Ok(None);
        };
        observer.note(&format!("{name}: {}", page::line(page, &measured)));
        done.push(measured);
        // Written after every run, to show intermediate results.
        let together = if is_whole(page, seeds, &done) {
            runs.together(&page.arms[0], seeds, observer)?
        } else {
            None
        };
        let results = Results { page, seeds, scale, note: note.as_deref(), together };
        let files = [
            ("json", results.json(&done)),
            ("svg", results.svg(&done)),
            ("md", results.markdown(&done)),
        ];
        for (ending, text) in files {
            runner.write(&out.join(format!("{name}.{ending}")), text.as_bytes())?;
        }
    }
    Ok(Some(done))
}
