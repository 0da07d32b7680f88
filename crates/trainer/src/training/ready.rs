//! A run that can be made: planned on its devices, before anything is written; and made.

use super::telling::recipe_line;
use crate::cli::TrainArgs;
use crate::devices::{self, Devices};
use crate::fault::Result;
use crate::images::{self, Images};
use crate::machine;
use crate::ranks::Ranks;
use crate::settings::{Inherited, Settings};
use crate::tuning;
use crate::vendor::Vendor;
use evaluate::Stop;
use evaluate::observe::Observer;
use layers::Spec;
use parallel::ProcessLink;
use parallel::tuning::{FILE, Tuned};
use report::grouped;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use terminal::progress::Reading;
use train::checkpoint::{Checkpoint, Identity};
use train::folder::RunFolder;
use train::init::Pretrained;
use train::run::{Job, Outcome, Session};
use train::start::Start;

/// A run that can be made: its job, planned on its device.
pub struct Ready<'a> {
    /// What is to be done.
    pub job: Job,
    settings: &'a Settings,
    images: &'a Images,
    pub(super) devices: Devices,
    /// The run's `config.toml`.
    pub(super) config: String,
    /// The run's `choices.toml`, if it has one.
    tuned: Option<Tuned>,
    /// Where this is one of several processes: its way to the others.
    pub(super) link: Option<ProcessLink>,
}

/// What a run goes on from.
pub(super) enum Checked {
    /// Its checkpoint, if it has one, and the job's identity that was checked against it.
    From(Option<Box<(Checkpoint, Identity)>>),
    /// Nothing: a stop was asked for while an image was waited for.
    Stopped,
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
    /// is. Of a run that `goes_on` from a checkpoint, what it began with is not read.
    ///
    /// # Errors
    /// Exit codes 1, 2, 3, 4 and 6.
    pub fn new(
        settings: &'a Settings,
        spec: Spec,
        images: &'a Images,
        (reading, observer): (&Reading, &mut dyn Observer),
        (place, goes_on): ((usize, usize), bool),
    ) -> Result<Ready<'a>> {
        let mut say = |text: &str| observer.note(text);
        images.notes.iter().for_each(|note| say(note));
        let classes = images.train.classes().len();
        if spec.classes()? != classes {
            let made = spec.classes()?;
            say(&format!("{}: {made} classes made {classes}, as the data has", spec.name));
        }
        let spec = spec.with_classes(classes)?;
        let init = if goes_on { None } else { inherited(settings, &mut say)? };
        let job = Job { init, ..job(settings, spec, images, reading)? };
        // Before anything is written.
        let choices = devices::choices(settings)?;
        let mut devices = match place {
            (0, 1) => Devices::open(&choices, settings, &job.blueprint(), &mut say)?,
            place => Devices::open_one(choices[0], settings, &job.blueprint(), place, &mut say)?,
        };
        let each = devices.own.planned_mut().iter_mut().map(|(device, _)| device);
        settings.vendor.serve(each, &mut say)?;
        say(&format!("model   {}, {} parameters", job.spec.name, grouped(job.spec.parameters()?)));
        say(&format!("recipe  {}", recipe_line(&job.recipe)));
        if let Some(init) = &job.init {
            let entries = parallel::parameters_of(&job.spec)?;
            let (taken, of) = (init.taken(&entries)?.len(), entries.len());
            say(&format!("init    {taken} of {of} parameters from {}", init.path().display()));
        }
        say(&format!("data    {}", images::describe(images)));
        let precision = Some(devices.precision().to_string());
        let config = Settings { precision, ..settings.clone() }.to_toml();
        let ready = Ready { job, settings, images, devices, config, tuned: None, link: None };
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

    /// Chooses the ways in which its GPUs will work, if they are to be tuned.
    ///
    /// # Errors
    /// Exit codes 1, 4 and 6.
    pub(super) fn tune(
        &mut self,
        ranks: &mut Ranks,
        run: Option<&Path>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if self.settings.vendor == Vendor::Tune {
            let (devices, group) = (&mut self.devices.own, ranks.group.as_mut());
            let mut say = |text: &str| observer.note(text);
            let from = (run, self.settings);
            self.tuned = Some(tuning::settle(devices, group, from, &mut say)?);
        }
        Ok(())
    }

    /// Meets the other processes, and says where all of them compute; gives the job's identity.
    ///
    /// # Errors
    /// Exit code 2 if one of them is about to do something else.
    pub(super) fn meet(
        &mut self,
        ranks: &mut Ranks,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Option<Identity>> {
        let Some(identity) = self.job.identity(observer, stop)? else { return Ok(None) };
        if let Some(group) = &mut ranks.group {
            self.devices.meet(group, &identity, self.settings)?;
        }
        self.describe_devices(&mut |text| observer.note(text));
        Ok(Some(identity))
    }

    /// Completes the settings that are saved by what the devices decide.
    pub(super) fn complete(&mut self, settings: &mut Settings) {
        settings.precision = Some(self.devices.precision().to_string());
        self.config = settings.to_toml();
    }

    /// Whether a checkpoint is this job's.
    ///
    /// # Errors
    /// Exit code 2 if it is another job's.
    pub(super) fn check(
        &self,
        checkpoint: Option<Checkpoint>,
        args: &TrainArgs,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Checked> {
        let Some(from) = checkpoint else { return Ok(Checked::From(None)) };
        let identity = self.job.check(&from, args.lr.is_some(), observer, stop)?;
        let checked = |identity| Checked::From(Some(Box::new((from, identity))));
        Ok(identity.map_or(Checked::Stopped, checked))
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
        let Ready { job, images, devices, config, tuned, link, .. } = self;
        let (Place::New(folder, _) | Place::Reopened(folder, _)) = &place;
        let path = folder.path().to_path_buf();
        observer.note(&format!("run     {}", path.display()));
        let environment = machine::environment(&devices.machine(), images.summary());
        describe_run(folder, &config, &job, environment)?;
        if let Some(tuned) = tuned {
            folder.write(FILE, tuned.to_toml().as_bytes())?;
        }
        let open = |start: &Start| devices.executor(&job.spec, link, start);
        let outcome = match place {
            Place::New(mut folder, identity) => {
                let session = Session::new(&job, &mut folder, observer, stop);
                session.with_identity(identity.map(|identity| *identity)).start(open)?
            }
            Place::Reopened(mut folder, from) => {
                let (from, identity) = from.map(|from| *from).unzip();
                let session = Session::new(&job, &mut folder, observer, stop);
                session.with_identity(identity).resume(from, open)?
            }
        };
        Ok((outcome, path))
    }
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

fn job(settings: &Settings, spec: Spec, images: &Images, reading: &Reading) -> Result<Job> {
    Ok(Job {
        spec,
        recipe: settings.recipe.clone(),
        seed: settings.seed,
        train: images.train.clone(),
        validation: images.test.clone(),
        statistics: images::statistics(images, settings.workers, reading)?,
        workers: settings.workers,
        init: None,
        max_steps: settings.max_steps,
        class_names: images.class_names.clone(),
        validate_every: validate_every(settings, images.train.len()),
        checkpoints: settings.checkpoints,
    })
}

fn inherited(settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<Option<Arc<Pretrained>>> {
    let Some(Inherited { from, layers, velocities }) = &settings.init else { return Ok(None) };
    Ok(Some(Arc::new(Pretrained::read(from, layers.clone(), *velocities, say)?)))
}

/// By heart an epoch may be one step: then every 25th is enough.
fn validate_every(settings: &Settings, images: usize) -> u32 {
    match settings.overfit {
        Some(_) => 25_usize.div_ceil(images.div_ceil(settings.recipe.batch)) as u32,
        None => 1,
    }
}
