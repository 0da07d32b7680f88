//! A planned run: its devices are open and its memory is laid out, before anything is written.

use crate::cli::TrainArgs;
use crate::devices::{self, Devices};
use crate::fault::Result;
use crate::images::{self, Images};
use crate::importing;
use crate::machine;
use crate::ranks::Ranks;
use crate::settings::Settings;
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
use train::executor::Executor;
use train::folder::RunFolder;
use train::init::Pretrained;
use train::run::{Job, Outcome, Session};
use train::start::Start;

/// A planned run.
pub struct Ready<'a> {
    /// The network, the recipe and the data.
    pub job: Job,
    settings: &'a Settings,
    images: &'a Images,
    pub(super) devices: Devices,
    /// The run's `config.toml`.
    pub(super) config: String,
    /// The run's `choices.toml`, if it has one.
    tuned: Option<Tuned>,
    /// The connection to the other processes, if there are several.
    pub(super) link: Option<ProcessLink>,
}

/// The result of [`Ready::check`].
pub(super) enum Checked {
    /// The checkpoint to resume from, if any, and the identity that was checked against it.
    From(Option<Box<(Checkpoint, Identity)>>),
    /// The user stopped the program while it waited for an image.
    Stopped,
}

/// Where a run is written, and what it resumes from.
pub enum Destination {
    /// An empty folder, and the job's identity if it is known.
    New(RunFolder, Option<Box<Identity>>),
    /// The folder of a resumed run, its last checkpoint if it has one, and the job's identity,
    /// which was checked against the checkpoint.
    Reopened(RunFolder, Option<Box<(Checkpoint, Identity)>>),
}

impl<'a> Ready<'a> {
    /// Plans the run that the settings describe, for one process or for this one of several, and
    /// logs a summary. `goes_on`: it resumes from a checkpoint, and its initial weights are not
    /// read.
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
        settings.recipe.loss(&*images.train)?; // names of classes
        let spec = spec.with_classes(classes)?;
        let init = if goes_on { None } else { inherited(settings, &spec, images, &mut say)? };
        let job = Job { init, ..job(settings, spec, images, reading)? };
        // Before anything is written.
        if job.recipe.early_stopping.is_some() && images.train.len() == images.test.len() {
            let identity = job.identity(observer, &Stop::new())?;
            identity.map_or(Ok(()), |identity| job.check_validation(&identity))?;
        }
        let mut say = |text: &str| observer.note(text);
        let choices = devices::choices(settings)?;
        let mut devices = match place {
            (0, 1) => Devices::open(&choices, settings, &job.blueprint(), &mut say)?,
            place => Devices::open_one(choices[0], settings, &job.blueprint(), place, &mut say)?,
        };
        let each = devices.own.planned_mut().iter_mut().map(|(device, _)| device);
        settings.vendor.serve(each, &mut say)?;
        say(&format!("model   {}, {} parameters", job.spec.name, grouped(job.spec.parameters()?)));
        say(&format!("recipe  {}", job.recipe.summary()));
        if let Some(init) = &job.init {
            let entries = parallel::parameters_of(&job.spec)?;
            let (taken, of) = (init.taken(&entries)?.len(), entries.len());
            say(&format!("init    {taken} of {of} parameters from {}", init.path().display()));
            importing::dropout_warning(&job.spec, init.about()).iter().for_each(|text| say(text));
            let input = importing::input_text(&job.recipe.input, &job.mean().values);
            say(&format!("input   {input}"));
        }
        say(&format!("data    {}", images.describe()));
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

    /// Chooses the algorithms of its GPUs, if tuning is on.
    ///
    /// # Errors
    /// Exit codes 1, 4 and 6.
    pub fn tune(
        &mut self,
        ranks: &mut Ranks,
        run: Option<&Path>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if self.settings.vendor == Vendor::Tune {
            let (devices, group) = (&mut self.devices.own, ranks.group.as_mut());
            let mut say = |text: &str| observer.note(text);
            let from = (run, self.settings);
            self.tuned = Some(tuning::resolve(devices, group, from, &mut say)?);
        }
        Ok(())
    }

    /// Compares settings with the other processes and logs the devices of all; returns the job's
    /// identity, or `None` if the user stopped the program.
    ///
    /// # Errors
    /// Exit code 2 if settings differ.
    pub(super) fn compare(
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

    /// Completes the saved settings with the precision of the devices.
    pub(super) fn complete(&mut self, settings: &mut Settings) {
        settings.precision = Some(self.devices.precision().to_string());
        self.config = settings.to_toml();
    }

    /// Checks that a checkpoint belongs to this job.
    ///
    /// # Errors
    /// Exit code 2 if it belongs to another job.
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

    /// Opens the devices with the initial parameters, for steps that are no run.
    ///
    /// # Errors
    /// Exit codes 1, 4 and 6.
    pub fn open(self) -> Result<(Job, Box<dyn Executor>)> {
        let Ready { job, devices, link, .. } = self;
        let executor = devices.executor(&job.spec, link, &job.start(None)?)?;
        Ok((job, executor))
    }

    /// Trains; returns the outcome and the run folder.
    ///
    /// # Errors
    /// Exit codes 1, 3, 4, 5 and 7.
    pub fn train(
        self,
        destination: Destination,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<(Outcome, PathBuf)> {
        let Ready { job, images, devices, config, tuned, link, .. } = self;
        let (Destination::New(folder, _) | Destination::Reopened(folder, _)) = &destination;
        let path = folder.path().to_path_buf();
        observer.note(&format!("run     {}", path.display()));
        let environment = machine::environment(&devices.machine(), images.summary());
        describe_run(folder, &config, &job, environment)?;
        if let Some(tuned) = tuned {
            folder.write(FILE, tuned.to_toml().as_bytes())?;
        }
        let open = |start: &Start| devices.executor(&job.spec, link, start);
        let outcome = match destination {
            Destination::New(mut folder, identity) => {
                let session = Session::new(&job, &mut folder, observer, stop);
                session.with_identity(identity.map(|identity| *identity)).start(open)?
            }
            Destination::Reopened(mut folder, from) => {
                let (from, identity) = from.map(|from| *from).unzip();
                let session = Session::new(&job, &mut folder, observer, stop);
                session.with_identity(identity).resume(from, open)?
            }
        };
        Ok((outcome, path))
    }
}

/// Writes the files that describe a run before its first step.
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

/// The initial weights that settings name, with their classes matched to those of the images.
fn inherited(
    settings: &Settings,
    spec: &Spec,
    images: &Images,
    say: &mut dyn FnMut(&str),
) -> Result<Option<Arc<Pretrained>>> {
    let Some(init) = &settings.init else { return Ok(None) };
    let mut pretrained =
        importing::own_first(&init.from, Some(spec), init.mean.as_ref(), |options| {
            Pretrained::read(&init.from, init.layers.clone(), init.velocities, options, say)
        })?;
    pretrained.match_classes(images.train.classes(), &images.class_names, say)?;
    Ok(Some(Arc::new(pretrained)))
}

/// An epoch of an overfitting run may be one step: then it validates every 25 epochs.
fn validate_every(settings: &Settings, images: usize) -> u32 {
    match settings.overfit {
        Some(_) => 25_usize.div_ceil(images.div_ceil(settings.recipe.batch)) as u32,
        None => 1,
    }
}
