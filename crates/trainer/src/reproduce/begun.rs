//! Whether a run that has begun is the one that is meant.

use crate::fault::{Fault, Result};
use crate::run_file;
use crate::settings::Settings;
use layers::Spec;
use serde_json::Value;
use std::path::Path;
use train::checkpoint;
use train::recipe::Recipe;

/// Digests of what is learned from and of what is validated on.
pub(super) type Fingerprints = [String; 2];

/// Whether a run that has begun is the one that is meant. It keeps the precision in which it began.
///
/// # Errors
/// Exit code 2 if its folder is another's, or another precision was typed.
pub(super) fn settle(run: &Path, settings: &mut Settings, spec: &Spec) -> Result<()> {
    if !has_begun(run)? {
        return Ok(());
    }
    let was = Settings::read(&run.join("config.toml"))?;
    let model = run_file::read(&run.join("model.toml"))?;
    let model = model.and_then(|text| Spec::from_toml(&text).ok());
    let classes = model.as_ref().and_then(|model| model.classes().ok());
    let spec = classes.and_then(|classes| spec.clone().with_classes(classes).ok());
    // Of epochs there may be fewer: a rate that is not the fastest is given up.
    let recipe = Recipe { epochs: was.recipe.epochs, ..settings.recipe.clone() };
    let same = [
        (model == spec, "network"),
        (was.recipe == recipe, "recipe"),
        (was.seed == settings.seed, "seed"),
        (was.hold_out == settings.hold_out, "part of the images"),
        (was.max_steps == settings.max_steps, "number of steps"),
    ];
    if let Some((_, what)) = same.iter().find(|(same, _)| !same) {
        return Err(Fault::usage(format!(
            "{}: this run has another {what} than the protocol: move it away, or name another \
             folder with --runs",
            run.display()
        )));
    }
    let environment = environment(run)?;
    let began = environment["precision"].as_str().or(was.precision.as_deref()).unwrap_or("f32");
    let now = settings.precision.get_or_insert_with(|| began.to_string());
    if began != now {
        return Err(Fault::usage(format!(
            "{}: this run multiplies in {began}, not in {now}: leave --precision out, move the \
             run away, or name another folder with --runs",
            run.display()
        )));
    }
    Ok(())
}

/// Whether the images that are named now are those that a run was made with, wherever they lie.
/// `now` is asked only if the run says which those were.
///
/// # Errors
/// Exit code 2 if they are others; what `now` ends with. `None` if `now` was stopped.
pub(super) fn check_images(
    run: &Path,
    (flag, data): (&str, &str),
    now: impl FnOnce() -> Result<Option<Fingerprints>>,
) -> Result<Option<()>> {
    let Some(was) = fingerprints(run)? else { return Ok(Some(())) };
    let Some(now) = now()? else { return Ok(None) };
    if was == now {
        return Ok(Some(()));
    }
    let began = Settings::read(&run.join("config.toml"))?.data;
    Err(Fault::usage(format!(
        "{}: this run was made with other images (those of {began}) than {data} has: name its own \
         with {flag}, move it away, or name another folder with --runs",
        run.display()
    )))
}

/// Whether there is a run.
///
/// # Errors
/// Exit code 4 if that cannot be told.
pub(super) fn has_begun(run: &Path) -> Result<bool> {
    run_file::exists(&run.join("run.json"))
}

/// What its `env.json` says; what was begun before that said it, the last checkpoint.
fn fingerprints(run: &Path) -> Result<Option<Fingerprints>> {
    if !has_begun(run)? {
        return Ok(None);
    }
    if let Ok(told) = serde_json::from_value(environment(run)?["data"]["fingerprints"].take()) {
        return Ok(Some(told));
    }
    let Some(last) = checkpoint::find_newest(run, &mut |_| ())? else { return Ok(None) };
    let of = |name| last.identity.get(name).unwrap_or_default().to_string();
    Ok(Some([of("data.train"), of("data.validation")]))
}

fn environment(run: &Path) -> Result<Value> {
    let text = run_file::read(&run.join("env.json"))?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}
