//! `alexnet train`: wiring.

mod settling;
mod telling;

use crate::cli::TrainArgs;
use crate::describe::{find_model, grouped, model_of};
use crate::devices::{self, Devices, Seat};
use crate::fault::{Fault, Result};
use crate::images::Images;
use crate::progress::Reading;
use crate::ranks::Ranks;
use crate::settings::{Inherited, Settings};
use crate::tuning::{self, Tuned};
use crate::vendor::Vendor;
use crate::{machine, signals};
use layers::Spec;
use settling::{check_layer_names, settle, validate_every};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use telling::{recipe_line, tell};
use train::Stop;
use train::checkpoint::{self, Checkpoint, Identity};
use train::folder::RunFolder;
use train::init::Init;
use train::observe::Observer;
use train::run::{Job, Outcome};

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
    let code = ended.unwrap_or_else(Fault::tell);
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
            print!("{}", settings.to_toml());
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
    let watchers: (&Reading, &mut dyn Observer) = (&reading, &mut *observer);
    let mut ready = Ready::new(&own, spec, &images, watchers, ranks.place())?;
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
    if rank == 0 {
        tell(&outcome, &run, args.output.json);
    }
    Ok(outcome.stopped.map_or(0, signals::exit_code))
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

/// A run that can be made: its job, planned on its device.
pub struct Ready<'a> {
    /// What is to be done.
    pub job: Job,
    settings: &'a Settings,
    images: &'a Images,
    devices: Devices,
    /// The run's `config.toml`.
    config: String,
    /// The run's `choices.toml`, if it has one.
    tuned: Option<Tuned>,
    /// Where this is one of several processes: its way to the others.
    seat: Option<Seat>,
}

/// Where a run is written.
pub enum Place {
    /// A folder with nothing in it; and the job's identity, if it is known.
    New(RunFolder, Option<Box<Identity>>),
    /// That of a run which goes on, from its last checkpoint if it has one; and the job's identity,
    /// which was checked against it.
    Reopened(RunFolder, Option<Box<(Checkpoint, Identity)>>),
}

impl<'a> Ready<'a> {
    /// Plans what settings ask for, for one process or for this one of several, and says what it
    /// is.
    ///
    /// # Errors
    /// Exit codes 1, 2, 3, 4 and 6.
    pub fn new(
        settings: &'a Settings,
        spec: Spec,
        images: &'a Images,
        (reading, observer): (&Reading, &mut dyn Observer),
        place: (usize, usize),
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
        let choices = devices::choices(settings)?;
        let mut devices = match place {
            (0, 1) => Devices::open(&choices, settings, &job, &mut say)?,
            place => Devices::open_one(choices[0], settings, &job, place, &mut say)?,
        };
        settings.vendor.serve(devices.each(), &mut say)?;
        say(&format!("model   {}, {} parameters", job.spec.name, grouped(job.spec.parameters()?)));
        say(&format!("recipe  {}", recipe_line(&job.recipe)));
        if let Some(init) = &job.init {
            let entries = train::team::entries_of(&job.spec)?;
            let (taken, of) = (init.taken(&entries)?.len(), entries.len());
            say(&format!("init    {taken} of {of} parameters from {}", init.path().display()));
        }
        say(&format!("data    {}", images.describe()));
        let ready = Ready {
            job,
            settings,
            images,
            devices,
            config: settings.to_toml(),
            tuned: None,
            seat: None,
        };
        if place == (0, 1) {
            ready.describe_devices(&mut say);
        }
        Ok(ready)
    }

    fn describe_devices(&self, say: &mut dyn FnMut(&str)) {
        say(&format!("device  {}", self.devices.describe()));
        let memory = self.devices.memory(self.job.recipe.batch);
        memory.iter().for_each(|line| say(&format!("memory  {line}")));
    }

    /// Chooses the ways in which its cards will work, if they are to be tuned.
    ///
    /// # Errors
    /// Exit codes 1, 4 and 6.
    fn tune(
        &mut self,
        ranks: &mut Ranks,
        run: Option<&Path>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if self.settings.vendor == Vendor::Tune {
            let sources = tuning::Sources { run, deterministic: self.settings.deterministic };
            let mut say = |text: &str| observer.note(text);
            self.tuned = Some(tuning::settle(&mut self.devices, ranks, sources, &mut say)?);
        }
        Ok(())
    }

    /// Meets the other processes, and says where all of them compute; gives the job's identity.
    ///
    /// # Errors
    /// Exit code 2 if one of them is about to do something else.
    fn meet(
        &mut self,
        ranks: &mut Ranks,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Option<Identity>> {
        let Some(identity) = self.job.identity(observer, stop)? else { return Ok(None) };
        self.devices.meet(ranks, (&identity, self.settings))?;
        self.describe_devices(&mut |text| observer.note(text));
        Ok(Some(identity))
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
        let Ready { job, images, devices, config, tuned, seat, .. } = self;
        let (Place::New(folder, _) | Place::Reopened(folder, _)) = &place;
        let path = folder.path().to_path_buf();
        observer.note(&format!("run     {}", path.display()));
        let environment = machine::environment(&devices.machine(), images.summary());
        describe_run(folder, &config, &job, environment)?;
        if let Some(tuned) = tuned {
            folder.write(tuning::FILE, tuned.to_toml().as_bytes())?;
        }
        let open = || devices.team(&job.spec, seat);
        let outcome = match place {
            Place::New(mut folder, None) => job.run_with(open, &mut folder, observer, stop)?,
            Place::New(mut folder, Some(identity)) => {
                job.begin_with(open, &mut folder, (observer, stop), *identity)?
            }
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
    config: &str,
    job: &Job,
    environment: serde_json::Value,
) -> Result<()> {
    folder.write("config.toml", config.as_bytes())?;
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
