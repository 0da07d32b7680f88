//! The runs of a protocol, one after another, and what they come to.

use crate::error::Error;
use crate::experiment::Experiment;
use crate::lab::Lab;
use crate::measured::Measured;
use crate::order::{Next, is_whole, next};
use crate::page::{self, Said};
use crate::runner::Runner;
use evaluate::Observer;
use std::fs;

/// Makes the runs of an experiment, or goes on with those that are there, tests their networks, and
/// writes what they come to: `NAME.md`, `NAME.svg` and `NAME.json`, anew after every run. Gives
/// what was measured; `None` if a stop was requested before the last run ended.
///
/// A run that is done is not made again, whichever protocol made it. A network that diverges is a
/// result, and no error.
///
/// # Errors
/// If images are missing that the protocol needs, a folder holds another run than the one that is
/// meant, or the runner cannot go on.
pub fn reproduce<R: Runner>(
    experiment: &Experiment,
    runner: &R,
    observer: &mut dyn Observer,
) -> Result<Option<Vec<Measured>>, R::Error> {
    let Experiment { page, form, seeds, out, note, .. } = experiment;
    experiment.check()?;
    fs::create_dir_all(out).map_err(|source| Error::Folder { path: out.clone(), source })?;
    let lab = Lab::new(experiment, runner);
    let (seeds, form, name) = (*seeds, *form, page.name);
    let mut done: Vec<Measured> = Vec::new();
    while let Some(Next { arm, seed, most_epochs }) = next(page, seeds, &done) {
        let arm = &page.arms[arm];
        let Some(measured) = lab.run(arm, seed, most_epochs, observer)? else {
            return Ok(None);
        };
        observer.note(&format!("{name}: {}", page::line(page, &measured)));
        done.push(measured);
        // After every run, so that what is there can be seen.
        let together = if is_whole(page, seeds, &done) {
            lab.together(&page.arms[0], seeds, observer)?
        } else {
            None
        };
        let said = Said { page, seeds, form, note: note.as_deref(), together };
        for (ending, text) in
            [("json", said.json(&done)), ("svg", said.svg(&done)), ("md", said.markdown(&done))]
        {
            runner.write(&out.join(format!("{name}.{ending}")), text.as_bytes())?;
        }
    }
    Ok(Some(done))
}
