//! Runs in given folders, as experiments and sweeps make them: started, or resumed where they were.

use super::{Destination, Ready, reopen};
use crate::fault::Result;
use crate::images::Images;
use crate::ranks::Ranks;
use crate::run_file;
use crate::settings::Settings;
use evaluate::Stop;
use evaluate::observe::Observer;
use layers::Spec;
use std::path::Path;
use terminal::progress::Reading;
use train::folder::RunFolder;
use train::run::Outcome;

/// Starts the run that the settings describe in a new folder, or resumes the run there. `None` if a
/// stop was requested before its first step.
///
/// # Errors
/// Every exit code of `alexnet train`.
pub fn run_in(
    path: &Path,
    settings: &Settings,
    spec: &Spec,
    images: &Images,
    (reading, observer): (&Reading, &mut dyn Observer),
    stop: &Stop,
) -> Result<Option<Outcome>> {
    let has_begun = run_file::exists(&path.join("run.json"))?;
    let reopened = has_begun.then(|| reopen(path, &mut |text| observer.note(text)));
    let reopened = reopened.transpose()?;
    let goes_on = reopened.as_ref().is_some_and(|(_, from)| from.is_some());
    let watchers: (&Reading, &mut dyn Observer) = (reading, observer);
    let mut ready = Ready::new(settings, spec.clone(), images, watchers, ((0, 1), goes_on))?;
    ready.tune(&mut Ranks::default(), has_begun.then_some(path), observer)?;
    let destination = match reopened {
        Some((folder, None)) => Destination::Reopened(folder, None),
        Some((folder, Some(from))) => match ready.job.check(&from, false, observer, stop)? {
            None => return Ok(None),
            Some(identity) => Destination::Reopened(folder, Some(Box::new((from, identity)))),
        },
        None => Destination::New(RunFolder::create(path)?, None),
    };
    let (outcome, _) = ready.train(destination, observer, stop)?;
    Ok(Some(outcome))
}
