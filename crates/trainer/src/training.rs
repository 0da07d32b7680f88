//! `alexnet train`: wiring.

use crate::cli::TrainArgs;
use crate::describe::{find_model, grouped};
use crate::fault::{Fault, Result};
use crate::images::{Images, memory_line};
use crate::progress::{self, Reading, duration, percent};
use crate::settings::{Settings, did_you_mean};
use crate::{machine, signals};
use layers::Spec;
use serde_json::json;
use std::path::Path;
use tensor::{Choice, Device};
use train::Stop;
use train::checkpoint::{self, Checkpoint};
use train::folder::RunFolder;
use train::recipe::Recipe;
use train::recipes;
use train::run::{Job, Outcome};
use train::schedule::Schedule;

/// Runs the command; the exit code of a run that was stopped is its signal's.
///
/// # Errors
/// Every exit code that `alexnet --help` lists.
pub fn train(args: &TrainArgs) -> Result<u8> {
    args.resume.as_deref().map_or(Ok(()), RunFolder::check_begun)?;
    let mut settings = Settings::resolve(args)?;
    let spec = match args.resume.as_deref().filter(|_| args.model.is_none()) {
        Some(run) => find_model(&run.join("model.toml").display().to_string())?,
        None => find_model(&settings.model)?,
    };
    check_layer_names(&spec, &settings)?;
    settle(&mut settings, args, &spec);
    if args.print_config {
        print!("{}", settings.to_toml());
        return Ok(0);
    }
    let stop = Stop::new();
    signals::listen_for_checkpoints(&stop)?;
    args.run.as_deref().map_or(Ok(()), RunFolder::check)?;
    let choice: Choice = settings.device.parse()?;
    if let Choice::Cuda(_) = choice {
        Device::open(choice, settings.threads)?; // a card that is not there: before data is read
    }
    let mut observer = progress::observer(args.output.progress);
    let mut say = |text: &str| observer.note(text);
    if cfg!(debug_assertions) {
        say("WARNING: this is a debug build, many times slower: use cargo build --release");
    }

    let (resumed, checkpoint) = match args.resume.as_deref() {
        Some(run) => reopen(run, &mut say).map(|(folder, from)| (Some(folder), from))?,
        None => (None, None),
    };
    let reading = Reading::new(args.output.progress);
    let images = open_images(&settings, &spec, &reading)?;
    images.notes.iter().for_each(|note| say(note));
    let classes = images.train.classes().len();
    if spec.classes()? != classes {
        say(&format!("{}: {} classes made {classes}, as the data has", spec.name, spec.classes()?));
    }
    let spec = spec.with_classes(classes)?;
    let job = job(&settings, spec, &images, &reading)?;
    if let Some(checkpoint) = &checkpoint {
        job.check(checkpoint, args.lr.is_some())?;
    }
    let (device, plan) = machine::open(
        choice,
        settings.threads,
        |device| job.plan(device.target()),
        train::step::Plan::check, // before anything is written
        &mut say,
    )?;
    say(&format!("model   {}, {} parameters", job.spec.name, grouped(job.spec.parameters()?)));
    say(&format!("recipe  {}", recipe_line(&job.recipe)));
    say(&format!("data    {}", images.describe()));
    say(&format!("device  {}, {} threads", machine::name(&device), device.threads()));
    say(&format!("memory  {}", memory_line(&plan.memory(), job.recipe.batch)));

    signals::listen_with(&stop)?; // until here a signal ends the program: there is nothing to save
    let is_resumed = resumed.is_some();
    let mut folder = match (resumed, &args.run) {
        (Some(folder), _) => folder,
        (None, Some(path)) => RunFolder::create(path)?,
        (None, None) => RunFolder::create_under(Path::new("runs"), &job.spec.name)?,
    };
    say(&format!("run     {}", folder.path().display()));
    describe_run(&folder, &settings, &job, machine::environment(&device, images.summary()))?;

    let outcome = if is_resumed {
        job.resume(plan, device, &mut folder, (&mut *observer, &stop), checkpoint)?
    } else {
        job.run(plan, device, &mut folder, &mut *observer, &stop)?
    };
    drop(observer); // clears the bar
    tell(&outcome, folder.path(), args.output.json);
    Ok(outcome.stopped.map_or(0, signals::exit_code))
}

/// The folder of a run that is resumed, locked, and its last checkpoint.
fn reopen(run: &Path, say: &mut dyn FnMut(&str)) -> Result<(RunFolder, Option<Checkpoint>)> {
    let folder = RunFolder::open(run)?;
    let checkpoint = checkpoint::load_newest(run, say)?;
    if checkpoint.is_none() {
        say("there is no checkpoint yet: the run begins again from its first step");
    }
    Ok((folder, checkpoint))
}

/// What is known of a run before its first step.
fn describe_run(
    folder: &RunFolder,
    settings: &Settings,
    job: &Job,
    environment: serde_json::Value,
) -> Result<()> {
    folder.write("config.toml", settings.to_toml().as_bytes())?;
    folder.write("model.toml", job.spec.to_toml().as_bytes())?;
    let environment = serde_json::to_string_pretty(&environment).expect("plain data") + "\n";
    folder.write("env.json", environment.as_bytes())?;
    Ok(())
}

fn job(settings: &Settings, spec: Spec, images: &Images, reading: &Reading) -> Result<Job> {
    Ok(Job {
        spec,
        recipe: settings.recipe.clone(),
        seed: settings.seed,
        train: images.train.clone(),
        validation: images.test.clone(),
        statistics: images.statistics(settings.workers, reading)?,
        workers: settings.workers,
        max_steps: settings.max_steps,
        validate_every: validate_every(settings, images.train.len()),
        checkpoints: settings.checkpoints,
    })
}

fn open_images(settings: &Settings, spec: &Spec, reading: &Reading) -> Result<Images> {
    let [height, width, _] = spec.input;
    let side = settings.recipe.side(height, width);
    let images = match settings.fake_data {
        Some(count) => Images::fake(count, side, spec.classes()?),
        None => Images::open(&settings.data, side, settings.workers, reading)?,
    };
    Ok(match settings.overfit {
        Some(count) => images.overfit(count),
        None => images,
    })
}

/// A layer that is named in the settings and not in the model is a slip of the finger, unless the
/// built-in recipe names it: recipes serve many models.
fn check_layer_names(spec: &Spec, settings: &Settings) -> Result<()> {
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
fn settle(settings: &mut Settings, args: &TrainArgs, spec: &Spec) {
    let [height, width, _] = spec.input;
    if let Ok(path) = std::fs::canonicalize(&settings.data) {
        settings.data = path.display().to_string(); // so that a later test finds it from anywhere
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
fn validate_every(settings: &Settings, images: usize) -> u32 {
    match settings.overfit {
        Some(_) => 25_usize.div_ceil(images.div_ceil(settings.recipe.batch)) as u32,
        None => 1,
    }
}

fn recipe_line(recipe: &Recipe) -> String {
    let schedule = match &recipe.schedule {
        Schedule::Constant {} => "constant".to_string(),
        Schedule::Steps { after, factor } => format!("x {factor} after epochs {after:?}"),
        Schedule::Plateau { factor, drops, .. } => {
            format!("x {factor} when the validation error stops improving, {drops} times")
        }
        Schedule::Phases { phases } => format!("{} phases", phases.len()),
    };
    let (base, batch, epochs, rate) = (&recipe.base, recipe.batch, recipe.epochs, recipe.rate);
    let (momentum, decay) = (recipe.momentum, recipe.decay);
    format!(
        "{base}: batch {batch}, rate {rate} ({schedule}), momentum {momentum}, decay {decay}, \
         {epochs} epochs"
    )
}

/// The result: for people, or for programs.
fn tell(outcome: &Outcome, run: &Path, as_json: bool) {
    let validation = outcome.validation;
    if as_json {
        let line = json!({
            "loss": validation.map(|score| score.loss),
            "top1_error": validation.map(|score| score.top1_error),
            "top5_error": validation.map(|score| score.top5_error),
            "train_loss": outcome.train.loss,
            "train_top1_error": outcome.train.top1_error,
            "images_per_s": outcome.images_per_s,
            "steps": outcome.steps,
            "seconds": outcome.seconds,
            "bookkeeping_s": outcome.bookkeeping_s,
            "stopped": outcome.stopped,
            "run": run,
        });
        println!("{line}");
        return;
    }
    let how = if outcome.stopped.is_some() { "stopped" } else { "done" };
    let (steps, time) = (outcome.steps, duration(outcome.seconds));
    println!("{how}: {steps} steps in {time}, {:.0} images/s", outcome.images_per_s);
    if let Some(score) = validation {
        let (top1, top5) = (percent(score.top1_error), percent(score.top5_error));
        println!("last validation: loss {:.4}, top-1 error {top1}, top-5 error {top5}", score.loss);
    }
    println!("weights: {}", run.join("weights.safetensors").display());
}
