//! `alexnet train`: wiring.

use crate::cli::TrainArgs;
use crate::describe::{find_model, grouped};
use crate::devices::{self, Devices};
use crate::fault::{Fault, Result};
use crate::images::Images;
use crate::progress::{self, Reading, duration, percent};
use crate::settings::{Inherited, Settings, did_you_mean};
use crate::trained::WEIGHTS;
use crate::{machine, signals};
use layers::Spec;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use train::Stop;
use train::checkpoint::{self, Checkpoint, Identity};
use train::folder::RunFolder;
use train::init::Init;
use train::observe::Observer;
use train::recipe::Recipe;
use train::recipes;
use train::run::{Job, Outcome};
use train::schedule::Schedule;

/// Runs the command; the exit code of a run that was stopped is its signal's.
///
/// # Errors
/// Every exit code that `alexnet --help` lists.
pub fn train(args: &TrainArgs) -> Result<u8> {
    devices::check_alone()?;
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
    let choices = devices::choices(&settings)?;
    let cards = devices::open_cards(&choices, settings.threads)?;
    let mut observer = progress::observer(args.output.progress);
    let mut say = |text: &str| observer.note(text);
    if cfg!(debug_assertions) {
        say("WARNING: this is a debug build, many times slower: use cargo build --release");
    }

    let reopened = args.resume.as_deref().map(|run| reopen(run, &mut say)).transpose()?;
    let reading = Reading::new(args.output.progress);
    let images = open_images(&settings, &spec, &reading)?;
    let is_resumed = reopened.is_some();
    let mut say = |text: &str| observer.note(text);
    let spec = devices::settle(spec, &settings, choices.len(), is_resumed, &mut say)?;
    args.resume.as_deref().map_or(Ok(()), |run| devices::note_mode(run, &settings, &mut say))?;
    let checkpoint = reopened.as_ref().and_then(|(_, checkpoint)| checkpoint.as_ref());
    let ready = Ready::new(&settings, spec, &images, &reading, &mut *observer)?;
    drop(cards); // the run has opened its own
    let identity = match checkpoint {
        None => None,
        Some(from) => match ready.job.check(from, args.lr.is_some(), &mut *observer, &stop)? {
            None => return Ok(stop.requested().map_or(0, signals::exit_code)),
            identity => identity,
        },
    };

    signals::listen_with(&stop)?; // until here a signal ends the program: there is nothing to save
    let place = match (reopened, &args.run) {
        (Some((folder, from)), _) => Place::Reopened(folder, from.zip(identity).map(Box::new)),
        (None, Some(path)) => Place::New(RunFolder::create(path)?),
        (None, None) => {
            Place::New(RunFolder::create_under(Path::new("runs"), &ready.job.spec.name)?)
        }
    };
    let (outcome, run) = ready.go(place, &mut *observer, &stop)?;
    drop(observer); // clears the bar
    tell(&outcome, &run, args.output.json);
    Ok(outcome.stopped.map_or(0, signals::exit_code))
}

/// A run that can be made: its job, planned on its device.
pub struct Ready<'a> {
    /// What is to be done.
    pub job: Job,
    settings: &'a Settings,
    images: &'a Images,
    devices: Devices,
}

/// Where a run is written.
pub enum Place {
    /// A folder with nothing in it.
    New(RunFolder),
    /// That of a run which goes on, from its last checkpoint if it has one; and the job's identity,
    /// which was checked against it.
    Reopened(RunFolder, Option<Box<(Checkpoint, Identity)>>),
}

impl<'a> Ready<'a> {
    /// Plans what settings ask for, and says what it is.
    ///
    /// # Errors
    /// Exit codes 1, 2, 3, 4 and 6.
    pub fn new(
        settings: &'a Settings,
        spec: Spec,
        images: &'a Images,
        reading: &Reading,
        observer: &mut dyn Observer,
    ) -> Result<Ready<'a>> {
        let mut say = |text: &str| observer.note(text);
        images.notes.iter().for_each(|note| say(note));
        let classes = images.train.classes().len();
        if spec.classes()? != classes {
            let made = spec.classes()?;
            say(&format!("{}: {made} classes made {classes}, as the data has", spec.name));
        }
        let spec = spec.with_classes(classes)?;
        let job = job(settings, spec, images, (reading, &mut say))?;
        // Before anything is written.
        let devices = Devices::open(&devices::choices(settings)?, settings, &job, &mut say)?;
        say(&format!("model   {}, {} parameters", job.spec.name, grouped(job.spec.parameters()?)));
        say(&format!("recipe  {}", recipe_line(&job.recipe)));
        if let Some(init) = &job.init {
            let entries = train::team::entries_of(&job.spec)?;
            let (taken, of) = (init.taken(&entries)?.len(), entries.len());
            say(&format!("init    {taken} of {of} parameters from {}", init.path().display()));
        }
        say(&format!("data    {}", images.describe()));
        say(&format!("device  {}", devices.describe()));
        devices.memory(job.recipe.batch).iter().for_each(|line| say(&format!("memory  {line}")));
        Ok(Ready { job, settings, images, devices })
    }

    /// Trains, and says where it left what it learned.
    ///
    /// # Errors
    /// Exit codes 1, 3, 4, 5 and 7.
    pub fn go(
        self,
        place: Place,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<(Outcome, PathBuf)> {
        let Ready { job, settings, images, devices } = self;
        let (Place::New(folder) | Place::Reopened(folder, _)) = &place;
        let path = folder.path().to_path_buf();
        observer.note(&format!("run     {}", path.display()));
        let environment = machine::environment(&devices.machine(), images.summary());
        describe_run(folder, settings, &job, environment)?;
        let open = || devices.team(&job.spec);
        let outcome = match place {
            Place::New(mut folder) => job.run_with(open, &mut folder, observer, stop)?,
            Place::Reopened(mut folder, from) => {
                let from = from.map(|from| *from);
                job.resume_with(open, &mut folder, (observer, stop), from)?
            }
        };
        Ok((outcome, path))
    }
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

fn job(
    settings: &Settings,
    spec: Spec,
    images: &Images,
    (reading, say): (&Reading, &mut dyn FnMut(&str)),
) -> Result<Job> {
    Ok(Job {
        spec,
        recipe: settings.recipe.clone(),
        seed: settings.seed,
        train: images.train.clone(),
        validation: images.test.clone(),
        statistics: images.statistics(settings.workers, reading)?,
        workers: settings.workers,
        init: inherited(settings, say)?,
        max_steps: settings.max_steps,
        validate_every: validate_every(settings, images.train.len()),
        checkpoints: settings.checkpoints,
    })
}

fn inherited(settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<Option<Arc<Init>>> {
    let Some(Inherited { from, layers, velocities }) = &settings.init else { return Ok(None) };
    Ok(Some(Arc::new(Init::read(from, layers.clone(), *velocities, say)?)))
}

/// The images that settings name, at the size that the network's crops are taken from.
///
/// # Errors
/// Exit code 3.
pub fn open_images(settings: &Settings, spec: &Spec, reading: &Reading) -> Result<Images> {
    let [height, width, _] = spec.input;
    let side = settings.recipe.side(height, width);
    let images = match settings.fake_data {
        Some(count) => Images::fake(count, side, spec.classes()?),
        None => Images::open(&settings.data, side, settings.workers, reading)?,
    };
    Ok(match (settings.overfit, settings.hold_out) {
        (Some(count), _) => images.overfit(count),
        (None, Some(nth)) => images.hold_out(nth),
        (None, None) => images,
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
    let weights = run.join(WEIGHTS);
    if weights.exists() {
        println!("weights: {}", weights.display()); // none yet if it was stopped before a step
    }
}
