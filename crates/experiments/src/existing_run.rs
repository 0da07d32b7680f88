//! Checks that an existing run has the requested settings and images.

use crate::error::{Error, Result};
use crate::protocol::Data;
use crate::run_file;
use crate::runner::{Fingerprints, RunRequest, Runner};
use layers::Spec;
use serde_json::Value;
use std::path::Path;
use train::checkpoint;
use train::recipe::Recipe;

/// Checks that an existing run has the settings of `task`, whose precision becomes the run's if it
/// has none.
///
/// # Errors
/// If the run has other settings, or another precision is requested.
pub fn check_same_run<R: Runner>(
    runner: &R,
    run: &Path,
    task: &mut RunRequest,
) -> std::result::Result<(), R::Error> {
    if !has_begun(run)? {
        return Ok(());
    }
    let was = runner.began(run)?;
    let model = run_file::read(&run.join("model.toml"))?;
    let model = model.and_then(|text| Spec::from_toml(&text).ok());
    let classes = model.as_ref().and_then(|model| model.classes().ok());
    let spec = classes.and_then(|classes| task.spec.clone().with_classes(classes).ok());
    // It may have fewer epochs: slower learning rates are cut off.
    let recipe = Recipe { epochs: was.recipe.epochs, ..task.recipe.clone() };
    let same = [
        (model == spec, "network"),
        (was.recipe == recipe, "recipe"),
        (was.seed == task.seed, "seed"),
        (was.hold_out == task.hold_out, "part of the images"),
        (was.max_steps == task.max_steps, "number of steps"),
    ];
    if let Some((_, what)) = same.into_iter().find(|(same, _)| !same) {
        return Err(Error::AnotherRun { run: run.into(), what }.into());
    }
    let environment = environment(run)?;
    let began = environment["precision"].as_str().or(was.precision.as_deref()).unwrap_or("f32");
    let asked = task.precision.get_or_insert_with(|| began.to_string());
    if began != asked {
        let (began, asked) = (began.to_string(), asked.clone());
        return Err(Error::AnotherPrecision { run: run.into(), began, asked }.into());
    }
    Ok(())
}

/// Checks that the requested images are those of the existing run, by fingerprint. `now` computes
/// the fingerprints and is called only if the run has some. `None` if `now` was stopped.
///
/// # Errors
/// If the images differ, or `now` fails.
pub fn check_images<R: Runner>(
    runner: &R,
    run: &Path,
    data: Data,
    named: &str,
    now: impl FnOnce() -> std::result::Result<Option<Fingerprints>, R::Error>,
) -> std::result::Result<Option<()>, R::Error> {
    let Some(was) = fingerprints(run)? else { return Ok(Some(())) };
    let Some(now) = now()? else { return Ok(None) };
    if was == now {
        return Ok(Some(()));
    }
    let (began, named) = (runner.began(run)?.data, named.to_string());
    Err(Error::OtherImages { run: run.into(), began, named, data }.into())
}

/// Whether the folder contains a run.
///
/// # Errors
/// [`Error::Unreadable`] if the folder cannot be read.
pub fn has_begun(run: &Path) -> Result<bool> {
    run_file::exists(&run.join("run.json"))
}

/// Whether a run has finished and written its weights.
///
/// # Errors
/// [`Error::Unreadable`] if the folder cannot be read.
pub fn is_finished(run: &Path) -> Result<bool> {
    let text = run_file::read(&run.join("run.json"))?.unwrap_or_default();
    let status: Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(status["status"] == "finished" && run_file::exists(&run.join(weights::Weights::FILE))?)
}

/// The fingerprints in `env.json` or, for runs of older versions, in the last checkpoint.
fn fingerprints(run: &Path) -> Result<Option<Fingerprints>> {
    if !has_begun(run)? {
        return Ok(None);
    }
    if let Ok(found) = serde_json::from_value(environment(run)?["data"]["fingerprints"].take()) {
        return Ok(Some(found));
    }
    let Some(last) = checkpoint::find_newest(run, &mut |_| ())? else { return Ok(None) };
    let of = |name| last.identity.get(name).unwrap_or_default().to_string();
    Ok(Some([of("data.train"), of("data.validation")]))
}

fn environment(run: &Path) -> Result<Value> {
    let text = run_file::read(&run.join("env.json"))?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}
