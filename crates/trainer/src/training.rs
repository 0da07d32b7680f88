//! `alexnet train`: from the command line to a run.

mod in_folder;
mod processes;
mod ready;

pub use in_folder::run_in;
use ready::Checked;
pub use ready::{Destination, Ready};

use crate::cli::TrainArgs;
use crate::console;
use crate::devices;
use crate::fault::{Fault, Result};
use crate::images::{self, Images};
use crate::importing;
use crate::limits;
use crate::model_file::{find_model, model_of};
use crate::ranks::Ranks;
use crate::settings::{Inherited, Settings, did_you_mean, trainable_layers};
use data::DatasetOptions;
use evaluate::Stop;
use evaluate::observe::Observer;
use layers::Spec;
use std::path::Path;
use terminal::progress::{self, Reading};
use terminal::signals;
use train::checkpoint::{self, Checkpoint};
use train::folder::RunFolder;
use train::recipe::Sampling;
use train::recipes;
use train::run::Outcome;
use train::schedule::Schedule;

/// Runs the command; the exit code of a run that was stopped is its signal's.
///
/// # Errors
/// Every exit code that `alexnet --help` lists.
pub fn train(args: &TrainArgs) -> Result<u8> {
    let ranks = Ranks::join()?;
    if ranks.is_alone() { train_alone(args) } else { processes::train(args, ranks) }
}

/// One process: resolves the settings, opens images and devices, and trains.
fn train_alone(args: &TrainArgs) -> Result<u8> {
    let resumed = args.resume.as_deref();
    resumed.map_or(Ok(()), RunFolder::check_begun)?;
    let (mut settings, spec) = resolve_all(args, Saved::default())?;
    if args.print_config {
        return console::print(settings.to_toml()).map(|()| 0);
    }
    let stop = Stop::new();
    signals::listen_for_checkpoints(&stop)?;
    args.run.as_deref().map_or(Ok(()), RunFolder::check)?;
    let note = devices::resolve_precision(&mut settings, (resumed, None))?;
    let own = settings.clone();
    let choices = devices::choices(&own)?;
    let gpus = devices::open_gpus(&choices, own.threads)?;
    let mut observer = progress::observer(args.output.progress);
    let reading = Reading::new(args.output.progress);
    begin_with(note, &own, &mut *observer);

    let mut say = |text: &str| observer.note(text);
    let (folder, checkpoint) = resumed.map(|run| reopen(run, &mut say)).transpose()?.unzip();
    let checkpoint = checkpoint.flatten();
    let images = open_images(&own, &spec, &reading)?;
    let spec = devices::resolve_spec(spec, &own, choices.len(), resumed.is_some(), &mut say)?;
    resumed.map_or(Ok(()), |run| check_kept(run, &own, checkpoint.is_some(), &mut say))?;
    let watchers: (&Reading, &mut dyn Observer) = (&reading, &mut *observer);
    let mut ready = Ready::new(&own, spec, &images, watchers, ((0, 1), checkpoint.is_some()))?;
    drop(gpus); // the run has opened its own
    ready.tune(&mut Ranks::default(), resumed, &mut *observer)?;
    ready.complete(&mut settings);
    let Checked::From(from) = ready.check(checkpoint, args, &mut *observer, &stop)? else {
        return Ok(stop.requested().map_or(0, signals::exit_code));
    };
    signals::listen_with(&stop)?; // until here a signal ends the program: there is nothing to save
    let destination = match folder {
        Some(folder) => Destination::Reopened(folder, from),
        None => Destination::New(new_folder(args.run.as_deref(), &ready.job.spec)?, None),
    };
    let (outcome, run) = ready.train(destination, &mut *observer, &stop)?;
    drop(observer); // clears the bar
    ended(&outcome, print_outcome(&outcome, &run, args.output.json))
}

/// Files of the run that is resumed, where another process has read them.
#[derive(Default)]
pub struct Saved {
    config: Option<String>,
    /// The text, and its name for messages.
    model: Option<(String, String)>,
}

/// The settings and the model, with all defaults filled in.
///
/// # Errors
/// Exit code 2.
pub fn resolve_all(args: &TrainArgs, saved: Saved) -> Result<(Settings, Spec)> {
    let (mut settings, spec) = Settings::resolve_saved(args, saved.config)?;
    let spec = match (args.resume.as_deref().filter(|_| args.setup.model.is_none()), saved.model) {
        (Some(_), Some((text, name))) => model_of(&text, &name)?,
        (Some(run), None) => find_model(&run.join("model.toml").display().to_string())?,
        (None, _) => spec.map_or_else(|| find_model(&settings.model), Ok)?,
    };
    check_layer_names(&spec, &settings)?;
    check_has_weights(&settings)?;
    fill_in(&mut settings, args, &spec);
    Ok((settings, spec))
}

/// Notes and warnings before anything is read.
pub fn begin_with(note: Option<String>, own: &Settings, observer: &mut dyn Observer) {
    note.iter().for_each(|note| observer.note(note));
    if cfg!(debug_assertions) {
        observer
            .note("WARNING: this is a debug build, many times slower: use cargo build --release");
    }
    limits::too_many_threads(own.threads).iter().for_each(|warning| observer.note(warning));
}

/// Checks that a resumed run keeps its mode and its initial weights, or notes the difference.
fn check_kept(
    run: &Path,
    own: &Settings,
    has_checkpoint: bool,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    devices::note_mode(run, own, say)?;
    if has_checkpoint { check_init(run, own) } else { Ok(()) }
}

/// The exit code of a run, after its outcome was printed.
fn ended(outcome: &Outcome, printed: Result<()>) -> Result<u8> {
    match outcome.signal() {
        None => printed.map(|()| 0),
        Some(signal) => {
            printed.unwrap_or_else(|fault| _ = console::fault(fault));
            Ok(signals::exit_code(signal))
        }
    }
}

fn print_outcome(outcome: &Outcome, run: &Path, as_json: bool) -> Result<()> {
    console::result(as_json, || outcome.to_json(run), || outcome.to_text(run))
}

fn new_folder(named: Option<&Path>, spec: &Spec) -> Result<RunFolder> {
    Ok(match named {
        Some(path) => RunFolder::create(path)?,
        None => RunFolder::create_under(Path::new("runs"), &spec.name)?,
    })
}

/// The folder of a run that is resumed, locked, and its last checkpoint.
///
/// # Errors
/// Exit codes 2 if another process trains there, 4 if no checkpoint can be read.
pub fn reopen(run: &Path, say: &mut dyn FnMut(&str)) -> Result<(RunFolder, Option<Checkpoint>)> {
    let folder = RunFolder::open(run)?;
    let checkpoint = checkpoint::load_newest(run, say)?;
    if checkpoint.is_none() {
        say("there is no checkpoint yet: the run begins again from its first step");
    }
    Ok((folder, checkpoint))
}

/// The images that settings name, at the size that the network's crops are taken from.
///
/// # Errors
/// Exit code 3.
pub fn open_images(settings: &Settings, spec: &Spec, reading: &Reading) -> Result<Images> {
    let [height, width, _] = spec.input;
    let side = settings.recipe.side(height, width);
    let is_generated = settings.data == "shapes" && settings.fake_data.is_none();
    if is_generated && !settings.labelling.gives_labels() && side < SMALLEST_SHAPES {
        return Err(Fault::usage(format!(
            "shapes: {} takes images of {side} x {side} pixels, and shapes need at least \
             {SMALLEST_SHAPES}: --set recipe.input.side={SMALLEST_SHAPES}, or name other images \
             with --data",
            spec.name
        )));
    }
    let images = match settings.fake_data {
        Some(count) => Images::random(count, side, spec.classes()?),
        None => {
            let options = DatasetOptions {
                threads: settings.workers,
                labelling: settings.labelling.clone(),
                exif: settings.recipe.input.exif,
                centre: settings.recipe.input.centre,
                ..DatasetOptions::with_side(side)
            };
            images::open(&settings.data, &options, reading)?
        }
    };
    Ok(match (settings.overfit, settings.hold_out) {
        (Some(count), _) => images.few(count),
        (None, Some(nth)) => images.hold_out(nth),
        (None, None) => images,
    })
}

/// Rejects layer names in the settings that the model does not have, unless the built-in recipe has
/// them too: a recipe serves many models.
fn check_layer_names(spec: &Spec, settings: &Settings) -> Result<()> {
    let layers = trainable_layers(spec)?;
    let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
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

/// Rejects a recipe for trained weights without any: random layers would stay as they are.
fn check_has_weights(Settings { recipe, init, .. }: &Settings) -> Result<()> {
    if init.is_some() || !recipes::needs_trained_weights(&recipe.base) {
        return Ok(());
    }
    Err(Fault::usage(format!(
        "the recipe `{}` trains from trained weights: name them with --init RUN, --init FILE or \
         --init torchvision, or train from random weights with another --recipe",
        recipe.base
    )))
}

/// Checks that a resumed run asks for the initial weights that it began with. The file itself may
/// be gone by then.
///
/// # Errors
/// Exit code 2 if another is asked for, 4 if the run's settings cannot be read.
fn check_init(run: &Path, settings: &Settings) -> Result<()> {
    let mut began = Settings::read(&run.join("config.toml"))?.init;
    resolve_init(&mut began);
    if began == settings.init {
        return Ok(());
    }
    let began = began.map_or("random weights".to_string(), |init| {
        format!("the weights of {}", init.from.display())
    });
    Err(Fault::usage(format!(
        "--init: {} has already started, with {began}: leave --init out to resume it, or start a \
         new run",
        run.display()
    )))
}

fn resolve_init(init: &mut Option<Inherited>) {
    let Some(init) = init else { return };
    init.from = importing::path(&init.from);
    for path in [Some(&mut init.from), init.mean.as_mut()].into_iter().flatten() {
        if let Ok(whole) = std::fs::canonicalize(&*path) {
            *path = whole;
        }
    }
}

/// Fills in what depends on several settings, so that the saved configuration is complete.
fn fill_in(settings: &mut Settings, args: &TrainArgs, spec: &Spec) {
    let [height, width, _] = spec.input;
    if let Ok(path) = std::fs::canonicalize(&settings.data) {
        settings.data = path.display().to_string(); // so that a later test finds it from anywhere
    }
    let labelling = &mut settings.labelling;
    for file in [&mut labelling.file, &mut labelling.class_names].into_iter().flatten() {
        if let Ok(path) = std::fs::canonicalize(&*file) {
            *file = path;
        }
    }
    resolve_init(&mut settings.init);
    settings.recipe.input.side = Some(settings.recipe.side(height, width));
    let Some(count) = settings.overfit.filter(|_| args.resume.is_none()) else { return };
    // Overfitting: the same few images, each once an epoch, without augmentation and with the plain
    // loss, at a constant rate, for enough steps that the paper's recipe leaves its plateau at
    // ln(classes).
    let mut recipe = settings.recipe.clone().without_augmentation();
    recipe.batch = recipe.batch.min(count);
    recipe.schedule = Schedule::Constant {};
    recipe.warmup = None;
    (recipe.sampling, recipe.label_smoothing) = (Sampling::default(), 0.0);
    recipe.class_weights = None;
    recipe.ema = None;
    recipe.layers.values_mut().for_each(|layer| layer.train_from = None);
    if args.epochs.is_none() {
        let steps_an_epoch = count.div_ceil(recipe.batch);
        recipe.epochs = OVERFIT_STEPS.div_ceil(steps_an_epoch) as u32;
    }
    settings.recipe = recipe;
}

/// Smaller shapes cannot be told apart.
const SMALLEST_SHAPES: usize = 16;
/// Steps of an overfitting run by default.
const OVERFIT_STEPS: usize = 300;
