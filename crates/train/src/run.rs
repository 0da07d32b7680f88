//! A run: what decides its bits, and how it begins, goes on and ends.

mod end;
mod planning;
mod saving;
mod training;

pub use planning::Blueprint;

use crate::checkpoint::{Checkpoint, Difference, Identity, Policy};
use crate::folder::{RunFolder, State, Status};
use crate::init::Init;
use crate::metrics::Score;
use crate::observe::Observer;
use crate::recipe::{Mean, Recipe};
use crate::step::Plan;
use crate::team::Team;
use crate::weights::{About, Values, Weights};
use crate::{Error, Result, Stop};
use comm::Traffic;
use data::{Loader, Patience, Source, Statistics};
use end::conclude;
use layers::Spec;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tensor::Device;
use training::Training;

/// Everything that decides a run's bits, and how it is to be watched.
#[derive(Clone)]
pub struct Job {
    /// The network, for as many classes as the data has.
    pub spec: Spec,
    /// How it is trained.
    pub recipe: Recipe,
    /// Names every random draw.
    pub seed: u64,
    /// What is learned from.
    pub train: Arc<dyn Source>,
    /// What it is validated on.
    pub validation: Arc<dyn Source>,
    /// The training set's mean and colours.
    pub statistics: Statistics,
    /// Threads that decode; 0: one for each core.
    pub workers: usize,
    /// Parameters that are taken over instead of drawn, if the run begins; one that goes on needs
    /// none.
    pub init: Option<Arc<Init>>,
    /// Stop after so many steps.
    pub max_steps: Option<u64>,
    /// Validate after every so many epochs, and after the last.
    pub validate_every: u32,
    /// When it is saved.
    pub checkpoints: Policy,
    /// What each class is called in words, in the order of labels, for the file of weights; empty:
    /// nothing but what `train` calls them. Names need not be unique, and decide nothing.
    pub class_names: Vec<String>,
}

/// Differences that are listed one by one.
const MOST_LINES: usize = 12;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The signal that ended it early.
    pub stopped: Option<usize>,
    /// Steps done.
    pub steps: u64,
    /// Of these, steps done by the processes before.
    pub resumed_at: u64,
    /// Seconds of it all, earlier processes included.
    pub seconds: f64,
    /// Seconds in which this process wrote logs, copied snapshots or waited for them to be written
    /// instead of training.
    pub bookkeeping_s: f64,
    /// Training images a second of this process, validations not counted.
    pub images_per_s: f64,
    /// What this process's devices sent to others in a step, if somebody else has a part of it and
    /// a step was made in which nothing but training happened.
    pub exchanged: Option<Traffic>,
    /// The last training steps.
    pub train: Score,
    /// The last validation.
    pub validation: Option<Score>,
}

impl Outcome {
    /// Of a run that was stopped while it waited for a disk.
    fn before_the_first_step(stop: &Stop, from: Option<&Checkpoint>) -> Outcome {
        let progress = from.map(|from| &from.progress);
        let steps = progress.map_or(0, |progress| progress.step);
        Outcome {
            stopped: stop.requested(),
            steps,
            resumed_at: steps,
            seconds: progress.map_or(0.0, |progress| progress.seconds),
            bookkeeping_s: 0.0,
            images_per_s: 0.0,
            exchanged: None,
            train: Score::default(),
            validation: progress.and_then(|progress| Some(progress.validation?.1)),
        }
    }
}

impl Job {
    /// Trains from the beginning.
    ///
    /// # Errors
    /// Any [`Error`]; the run's folder then says `failed` and why.
    pub fn run(
        &self,
        plan: Plan,
        device: Device,
        folder: &mut RunFolder,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Outcome> {
        self.run_with(|| Ok(plan.open(device)?.into()), folder, observer, stop)
    }

    /// Trains from the beginning with whatever `open` takes the memory of.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with(
        &self,
        open: impl FnOnce() -> Result<Team>,
        folder: &mut RunFolder,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Outcome> {
        self.go(open, folder, (observer, stop), (Status::begun(), None, None))
    }

    /// As [`run_with`](Self::run_with), of a job whose identity is known: the images that it is
    /// made of are not read again.
    ///
    /// # Errors
    /// As there.
    pub fn begin_with(
        &self,
        open: impl FnOnce() -> Result<Team>,
        folder: &mut RunFolder,
        watchers: (&mut dyn Observer, &Stop),
        identity: Identity,
    ) -> Result<Outcome> {
        self.go(open, folder, watchers, (Status::begun(), None, Some(identity)))
    }

    /// Trains on from a checkpoint of the folder's run, or from the beginning if it never wrote
    /// one, to the bits that an uninterrupted run would have come to.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Error::Checkpoint`] if it is not this network's. Whether it is
    /// this job's, [`check`](Self::check) says: nobody asks here.
    pub fn resume(
        &self,
        plan: Plan,
        device: Device,
        folder: &mut RunFolder,
        watchers: (&mut dyn Observer, &Stop),
        checkpoint: Option<Checkpoint>,
    ) -> Result<Outcome> {
        self.go_on(|| Ok(plan.open(device)?.into()), folder, watchers, (checkpoint, None))
    }

    /// Trains on, as [`resume`](Self::resume), with whatever `open` takes the memory of, from a
    /// checkpoint and this job's identity as [`check`](Self::check) gave it: the images that it is
    /// made of are not read again. On how many devices the run was so far does not matter.
    ///
    /// # Errors
    /// As `resume`.
    pub fn resume_with(
        &self,
        open: impl FnOnce() -> Result<Team>,
        folder: &mut RunFolder,
        watchers: (&mut dyn Observer, &Stop),
        from: Option<(Checkpoint, Identity)>,
    ) -> Result<Outcome> {
        self.go_on(open, folder, watchers, from.unzip())
    }

    fn go_on(
        &self,
        open: impl FnOnce() -> Result<Team>,
        folder: &mut RunFolder,
        watchers: (&mut dyn Observer, &Stop),
        (checkpoint, identity): (Option<Checkpoint>, Option<Identity>),
    ) -> Result<Outcome> {
        let before = folder.read_status()?; // while it cannot be read, nothing is cut
        let lengths = checkpoint.as_ref().map(|checkpoint| checkpoint.progress.logs.clone());
        folder.cut_back(&lengths.unwrap_or_default())?;
        let (started, resumed) = (before.started, before.resumed + 1);
        let status = Status { started, resumed, ..Status::begun() };
        self.go(open, folder, watchers, (status, checkpoint, identity))
    }

    fn go(
        &self,
        open: impl FnOnce() -> Result<Team>,
        folder: &mut RunFolder,
        (observer, stop): (&mut dyn Observer, &Stop),
        (mut status, from, identity): (Status, Option<Checkpoint>, Option<Identity>),
    ) -> Result<Outcome> {
        if let Some(checkpoint) = &from {
            let progress = &checkpoint.progress;
            (status.step, status.epoch) = (progress.step, progress.epoch);
            status.validation = progress.validation.map(|(_, score)| score);
            status.saved = Some(progress.step);
        }
        folder.status(&status)?;
        let identity = match identity {
            Some(identity) => Ok(Some(identity)),
            None => self.identity(observer, stop),
        };
        let outcome = identity.and_then(|identity| match identity {
            None => Ok(Outcome::before_the_first_step(stop, from.as_ref())),
            Some(identity) => open()?.enter(|team| {
                let watchers: (&mut dyn Observer, _) = (observer, stop);
                let watched = (identity, from);
                Training::new(self, team, folder, watchers, &mut status, watched)?.run_to_end()
            }),
        });
        match status.status {
            State::Running => conclude(outcome, folder, &mut status), // it never began
            _ => outcome,
        }
    }

    /// Whether a checkpoint may be gone on from by this job. The number of epochs and steps may
    /// have changed, and all that does not decide bits: threads, workers, logging. The learning
    /// rate may if `new_rate` says that this is meant. A job without [`init`](Self::init) may go on
    /// with a run that had one: its first step is behind it. `observer` hears of images that take
    /// long.
    /// Gives this job's identity, or `None` if a stop was asked for while an image was waited for.
    ///
    /// # Errors
    /// [`Error::Resume`], with a line for each difference; [`Error::Data`] if a disk does not
    /// answer.
    pub fn check(
        &self,
        checkpoint: &Checkpoint,
        new_rate: bool,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Option<Identity>> {
        let Some(mut identity) = self.identity(observer, stop)? else { return Ok(None) };
        if self.init.is_none() {
            identity.take_over("init", &checkpoint.identity);
        }
        // Another decoder alone is no difference: what counts is whether pixels are the same.
        let may_change = |name: &str| {
            [DECODER, "recipe.epochs"].contains(&name) || (name == "recipe.rate" && new_rate)
        };
        let differences = checkpoint.identity.differences(&identity, may_change);
        if differences.is_empty() {
            return Ok(Some(identity));
        }
        let mut lines: Vec<String> = differences.iter().map(|line| format!("  {line}")).collect();
        if lines.len() > MOST_LINES {
            let more = lines.split_off(MOST_LINES - 1).len();
            lines.push(format!("  and {more} more"));
        }
        lines.extend(other_decoder(&checkpoint.identity, &identity, &differences));
        let about_rate = |line: &Difference| line.name == "recipe.rate";
        let hint = match differences.iter().any(about_rate) {
            true => " (a new learning rate is taken from --lr alone)",
            false => "",
        };
        Err(Error::Resume {
            path: checkpoint.path.clone(),
            reason: format!(
                "a run goes on as what it was, and this differs{hint}:\n{}\nWhat may change: \
                 epochs, max_steps, threads, workers, device, checkpoints, logging; the rate with \
                 --lr. Leave the rest out, or start a new run",
                lines.join("\n")
            ),
        })
    }

    /// Everything that decides this run's bits. Some images are read for that: `observer` hears if
    /// one takes long. `None` if a stop was asked for while it was waited for.
    ///
    /// # Errors
    /// [`Error::Data`] if a disk does not answer.
    pub fn identity(&self, observer: &mut dyn Observer, stop: &Stop) -> Result<Option<Identity>> {
        let mut fingerprint = |source: &Arc<dyn Source>| {
            data::fingerprint_watched(source, Patience::default(), &mut |stalled| {
                stalled.into_iter().for_each(|stalled| observer.stalled(stalled));
                stop.requested().is_none()
            })
        };
        let Some(train) = fingerprint(&self.train)? else { return Ok(None) };
        let Some(validation) = fingerprint(&self.validation)? else { return Ok(None) };
        let table = |value| match value {
            Ok(toml::Value::Table(table)) => table,
            _ => unreachable!("recipes and networks are tables"),
        };
        let mut identity = Identity::default();
        identity.insert("seed", self.seed);
        identity.insert_table("recipe", table(toml::Value::try_from(&self.recipe)));
        identity.insert_table("model", table(toml::Value::try_from(&self.spec)));
        identity.insert("data.classes", self.train.classes().len());
        identity.insert(DECODER, data::decode::DECODER_VERSION);
        identity.insert("data.train", train);
        identity.insert("data.validation", validation);
        identity.insert("data.mean", digest(bytemuck::cast_slice(&self.statistics.mean)));
        identity.insert("validate_every", self.validate_every);
        if let Some(init) = &self.init {
            identity.insert("init", init.digest());
        }
        Ok(Some(identity))
    }

    fn about(&self) -> About {
        About {
            format: Weights::FORMAT,
            classes: self.train.classes().to_vec(),
            class_names: self.class_names.clone(),
            input: self.recipe.input,
            model: self.spec.clone(),
        }
    }

    fn color_shift(&self, on: bool) -> Option<augment::ColorShift> {
        on.then(|| self.recipe.augment.color_shift(&self.statistics)).flatten()
    }

    /// What is subtracted from an image.
    pub fn mean(&self) -> Values {
        let (height, width) = self.train.size();
        match self.recipe.input.mean {
            Mean::Image => {
                Values { shape: vec![height, width, 3], values: self.statistics.mean.clone() }
            }
            Mean::Color => Values { shape: vec![3], values: self.statistics.color.to_vec() },
        }
    }

    /// A loader for this job's validation set.
    pub fn validation_loader(&self) -> Loader {
        self.validation_loader_of((0, 1))
    }

    /// Of a part of every batch.
    fn validation_loader_of(&self, part: (usize, usize)) -> Loader {
        let [height, width, _] = self.spec.input;
        let plan = data::Plan::testing(self.recipe.batch, (height, width)).part(part);
        Loader::new(Arc::clone(&self.validation), plan, self.workers, 0)
    }

    fn training_loader(&self, part: (usize, usize)) -> Loader {
        let [height, width, _] = self.spec.input;
        let plan = self.recipe.augment.plan(self.recipe.batch, (height, width), self.seed);
        let plan = plan.part(part);
        Loader::new(Arc::clone(&self.train), plan, self.workers, 0)
    }
}

/// The name of the decoder's version in an identity; where it is absent, it was 1.
const DECODER: &str = "data.decoder";

/// Where pixels differ and the decoder does, too: that this may be why.
fn other_decoder(was: &Identity, now: &Identity, differences: &[Difference]) -> Option<String> {
    let pixels = ["data.train", "data.validation", "data.mean"];
    let [was, now] = [was, now].map(|identity| identity.get(DECODER).unwrap_or("1"));
    let other = differences.iter().any(|line| pixels.contains(&&*line.name)) && was != now;
    other.then(|| {
        format!(
            "  images may decode to other pixels than when the run began: decoder version {was} \
             then, {now} now"
        )
    })
}

/// The first half of a SHA-256, in letters.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
