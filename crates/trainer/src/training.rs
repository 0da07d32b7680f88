//! `alexnet train`: wiring.

mod ready;
mod telling;

pub use ready::{Place, Ready};

use crate::cli::TrainArgs;
use crate::console;
use crate::describe::{find_model, model_of};
use crate::devices;
use crate::fault::{Fault, Result};
use crate::images::Images;
use crate::limits;
use crate::progress::Reading;
use crate::ranks::Ranks;
use crate::settings::{Inherited, Settings, did_you_mean};
use crate::signals;
use layers::Spec;
use std::path::Path;
use std::time::Duration;
use telling::tell;
use train::Stop;
use train::checkpoint::{self, Checkpoint};
use train::folder::RunFolder;
use train::observe::Observer;
use train::recipes;
use train::schedule::Schedule;

/// Runs the command; the exit code of a run that was stopped is its signal's.
///
/// # Errors
/// Every exit code that `alexnet --help` lists.
pub fn train(args: &TrainArgs) -> Result<u8> {
    let ranks = Ranks::join()?;
    let rank = ranks.rank();
    let ended = train_as_rank(args, ranks).map_err(|fault| fault.of_rank(rank));
    if rank == 0 || ended == Ok(0) {
        return ended;
    }
    let code = ended.unwrap_or_else(console::fault);
    std::thread::sleep(LAST_WORD);
    Ok(code)
}

/// mpirun kills the others as soon as one process has ended with a code: the first may take so long
/// to say its last word.
const LAST_WORD: Duration = Duration::from_millis(300);

fn train_as_rank(args: &TrainArgs, mut ranks: Ranks) -> Result<u8> {
    let rank = ranks.rank();
    let resumed = args.resume.as_deref().filter(|_| ranks.is_first());
    resumed.map_or(Ok(()), RunFolder::check_begun)?;
    ranks.check_resumed(args.resume.is_some())?;
    let saved = ranks.read(args.resume.as_deref(), "config.toml")?;
    let mut settings = Settings::resolve_saved(args, saved.clone())?;
    let spec = match args.resume.as_deref().filter(|_| args.model.is_none()) {
        Some(run) => saved_model(run, &mut ranks)?,
        None => find_model(&settings.model)?,
    };
    check_layer_names(&spec, &settings)?;
    settle(&mut settings, args, &spec);
    if args.print_config {
        if rank == 0 {
            console::print(settings.to_toml())?;
        }
        return Ok(0);
    }
    let asked = Stop::new();
    signals::listen_for_checkpoints(&asked)?;
    args.run.as_deref().filter(|_| ranks.is_first()).map_or(Ok(()), RunFolder::check)?;
    let mut notes: Vec<String> = Vec::new();
    let (from, note) = ((args.resume.as_deref(), saved), &mut |text: &str| notes.push(text.into()));
    devices::settle_precision(&mut settings, from, note)?;
    let own = ranks.own(&settings)?.unwrap_or_else(|| settings.clone());
    let choices = devices::choices(&own)?;
    let cards = devices::open_cards(&choices, own.threads)?;
    let (mut observer, reading) = ranks.observer(args.output.progress);
    let mut say = |text: &str| observer.note(text);
    notes.iter().for_each(|note| say(note));
    if cfg!(debug_assertions) {
        say("WARNING: this is a debug build, many times slower: use cargo build --release");
    }

    limits::too_many_threads(own.threads).into_iter().for_each(|warning| say(&warning));

    let (folder, found) = resumed.map(|run| reopen(run, &mut say)).transpose()?.unzip();
    let checkpoint = match args.resume {
        Some(_) => ranks.checkpoint(found.flatten())?,
        None => None,
    };
    let images = open_images(&own, &spec, &reading)?;
    let devices = if ranks.is_alone() { choices.len() } else { ranks.world() };
    let is_resumed = args.resume.is_some();
    let mut say = |text: &str| observer.note(text);
    let spec = devices::settle(spec, &own, devices, is_resumed, &mut say)?;
    resumed.map_or(Ok(()), |run| devices::note_mode(run, &settings, &mut say))?;
    resumed.filter(|_| checkpoint.is_some()).map_or(Ok(()), |run| check_init(run, &settings))?;
    let watchers: (&Reading, &mut dyn Observer) = (&reading, &mut *observer);
    let part = (ranks.place(), checkpoint.is_some());
    let mut ready = Ready::new(&own, spec, &images, watchers, part)?;
    drop(cards); // the run has opened its own
    ready.tune(&mut ranks, resumed, &mut *observer)?;
    settings.precision = Some(ready.devices.precision().to_string());
    ready.config = settings.to_toml(); // of all processes, which may be others when it goes on
    let identity = match ranks.is_alone() {
        true => None,
        false => ready.meet(&mut ranks, &mut *observer, &asked)?,
    };
    let from = match checkpoint {
        None => None,
        Some(from) => match ready.job.check(&from, args.lr.is_some(), &mut *observer, &asked)? {
            None => return Ok(asked.requested().map_or(0, signals::exit_code)),
            Some(identity) => Some(Box::new((from, identity))),
        },
    };

    ranks.listen(&asked)?;
    signals::listen_with(&asked)?; // until here a signal ends the program: there is nothing to save
    let folder = match folder {
        Some(folder) => folder,
        None if rank > 0 => RunFolder::nowhere(), // the first writes it all down
        None => new_folder(args.run.as_deref(), &ready.job.spec)?,
    };
    let place = match is_resumed {
        true => Place::Reopened(folder, from),
        false => Place::New(folder, identity.map(Box::new)),
    };
    // Of several processes all stop at once: the loop sees what they have agreed on.
    let stop = if ranks.is_alone() { asked.clone() } else { Stop::new() };
    ready.seat = ranks.into_comm().map(|comm| (comm, asked, stop.clone()));
    let (outcome, run) = ready.go(place, &mut *observer, &stop)?;
    drop(observer); // clears the bar
    let told = if rank == 0 { tell(&outcome, &run, args.output.json) } else { Ok(()) };
    match outcome.signal() {
        None => told.map(|()| 0),
        Some(signal) => {
            told.unwrap_or_else(|fault| _ = console::fault(fault));
            Ok(signals::exit_code(signal))
        }
    }
}

fn new_folder(named: Option<&Path>, spec: &Spec) -> Result<RunFolder> {
    Ok(match named {
        Some(path) => RunFolder::create(path)?,
        None => RunFolder::create_under(Path::new("runs"), &spec.name)?,
    })
}

/// The model of a run that is resumed.
fn saved_model(run: &Path, ranks: &mut Ranks) -> Result<Spec> {
    let name = run.join("model.toml").display().to_string();
    match ranks.read(Some(run), "model.toml")? {
        Some(text) => model_of(&text, &name),
        None => find_model(&name),
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

/// The images that settings name, at the size that the network's crops are taken from.
///
/// # Errors
/// Exit code 3.
pub fn open_images(settings: &Settings, spec: &Spec, reading: &Reading) -> Result<Images> {
    let [height, width, _] = spec.input;
    let side = settings.recipe.side(height, width);
    let images = match settings.fake_data {
        Some(count) => Images::fake(count, side, spec.classes()?),
        None => {
            let what = (settings.data.as_str(), &settings.labelling);
            let seen = (side, settings.recipe.input.exif);
            Images::open(what, seen, settings.workers, reading)?
        }
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

/// What a run began with is behind it: it need not be there any more, and cannot be another.
///
/// # Errors
/// Exit code 2 if another is asked for, 4 if the run's settings cannot be read.
fn check_init(run: &Path, settings: &Settings) -> Result<()> {
    let mut began = Settings::read(&run.join("config.toml"))?.init;
    settle_init(&mut began);
    if began == settings.init {
        return Ok(());
    }
    let began = began.map_or("weights that were drawn".to_string(), |init| {
        format!("those of {}", init.from.display())
    });
    Err(Fault::usage(format!(
        "--init: {} has begun, with {began}, and goes on with what it has learned since: leave \
         --init out, or start a new run",
        run.display()
    )))
}

fn settle_init(init: &mut Option<Inherited>) {
    if let Some(init) = init
        && let Ok(path) = std::fs::canonicalize(&init.from)
    {
        init.from = path;
    }
}

/// Fills in what depends on several settings, so that the saved configuration is complete.
fn settle(settings: &mut Settings, args: &TrainArgs, spec: &Spec) {
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
    settle_init(&mut settings.init);
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
