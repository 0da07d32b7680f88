//! What follows from several settings together, once the model is known.

use crate::cli::TrainArgs;
use crate::fault::{Fault, Result};
use crate::settings::{Settings, did_you_mean};
use layers::Spec;
use train::recipes;
use train::schedule::Schedule;

/// A layer that is named in the settings and not in the model is a slip of the finger, unless the
/// built-in recipe names it: recipes serve many models.
pub(super) fn check_layer_names(spec: &Spec, settings: &Settings) -> Result<()> {
    let rows = spec.describe()?;
    let learned = rows.iter().filter(|row| row.parameters > 0);
    let layers: Vec<&str> = learned.map(|row| row.name.as_str()).collect();
    let built_in = recipes::find(&settings.recipe.base).map(|recipe| recipe.layers);
    let built_in = built_in.unwrap_or_default();
    let idle = settings.recipe.idle_layers(&layers);
    match idle.iter().find(|name| !built_in.contains_key(**name)) {
        None => Ok(()),
        Some(name) => {
            let hint = did_you_mean(name, layers.iter().copied());
            let (model, all) = (&spec.name, layers.join(", "));
            Err(Fault::usage(format!(
                "recipe.layers.{name}: {model} has no such layer{hint} (it has {all})"
            )))
        }
    }
}

/// Fills in what depends on several settings, so that the saved configuration is complete.
pub(super) fn settle(settings: &mut Settings, args: &TrainArgs, spec: &Spec) {
    let [height, width, _] = spec.input;
    if let Ok(path) = std::fs::canonicalize(&settings.data) {
        settings.data = path.display().to_string(); // so that a later test finds it from anywhere
    }
    if let Some(init) = &mut settings.init
        && let Ok(path) = std::fs::canonicalize(&init.from)
    {
        init.from = path;
    }
    settings.recipe.input.side = Some(settings.recipe.side(height, width));
    let Some(count) = settings.overfit.filter(|_| args.resume.is_none()) else { return };
    // By heart: the same few images again and again, as they are, at one rate, in steps enough for
    // the paper's recipe to leave its plateau at ln(classes).
    let mut recipe = settings.recipe.clone().without_augmentation();
    recipe.batch = recipe.batch.min(count);
    recipe.schedule = Schedule::Constant {};
    if args.epochs.is_none() {
        let steps_an_epoch = count.div_ceil(recipe.batch);
        recipe.epochs = OVERFIT_STEPS.div_ceil(steps_an_epoch) as u32;
    }
    settings.recipe = recipe;
}

/// Steps of a run by heart, unless --epochs or --max-steps say otherwise.
const OVERFIT_STEPS: usize = 300;

/// By heart an epoch may be one step: then every 25th is enough.
pub(super) fn validate_every(settings: &Settings, images: usize) -> u32 {
    match settings.overfit {
        Some(_) => 25_usize.div_ceil(images.div_ceil(settings.recipe.batch)) as u32,
        None => 1,
    }
}
