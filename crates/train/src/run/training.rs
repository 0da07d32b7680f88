//! The loop: epochs of steps, a validation after each, checkpoints on the way, weights at the end.

use super::end::conclude;
use super::saving::place;
use super::{Job, Outcome};
use crate::checkpoint::{Checkpoint, Desk, Form, Identity, Saver, Store, What};
use crate::evaluate::{Examinee, evaluate, next_batch};
use crate::folder::{Record, RunFolder, Status};
use crate::look::Look;
use crate::metrics::Score;
use crate::observe::{Observer, StepReport, ValidationReport};
use crate::progress::{Progress, Sums};
use crate::stuck::Stuck;
use crate::team::Team;
use crate::weights::Weights;
use crate::{Error, Result, Stop};
use comm::Traffic;
use data::Loader;
use std::sync::Arc;
use std::time::Instant;

/// A run in progress.
pub(super) struct Training<'a> {
    /// Absent in a process whose run another writes down. Dropped first: when the team is gone the
    /// other processes end, and a launcher may then end this one.
    pub(super) saver: Option<Saver>,
    pub(super) job: &'a Job,
    pub(super) team: Team,
    pub(super) train: Loader,
    validation: Loader,
    pub(super) folder: &'a mut RunFolder,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) stop: &'a Stop,
    pub(super) status: &'a mut Status,
    pub(super) progress: Progress,
    look: Look,
    /// What its images gave cause to report has been reported.
    has_remarked: bool,
    /// A checkpoint is due, and waits until the one before has been written.
    pub(super) due: bool,
    /// When the last was taken, and how far the run had come.
    pub(super) saved: Instant,
    pub(super) saved_at: Option<(u64, u32, usize)>,
    began: Instant,
    /// Seconds of training before this process.
    before: f64,
    /// Of this process.
    all: Sums,
    /// What a step of it sends.
    exchanged: Option<Traffic>,
    validation_seconds: f64,
    /// Seconds in which this thread wrote logs and copied snapshots instead of training.
    bookkeeping: f64,
}

impl<'a> Training<'a> {
    /// Steps up to this one each have their own line of metrics; later, every tenth has.
    const EVERY_STEP_UNTIL: u64 = 100;
    /// Layers are looked at in the first step and in every so many.
    const LOOK_EVERY: u64 = 100;

    /// # Errors
    /// [`Error::Checkpoint`] if the checkpoint is another network's; [`Error::Write`];
    /// [`Error::Device`].
    pub(super) fn new(
        job: &'a Job,
        mut team: Team,
        folder: &'a mut RunFolder,
        (observer, stop): (&'a mut dyn Observer, &'a Stop),
        status: &'a mut Status,
        (identity, from): (Identity, Option<Checkpoint>),
    ) -> Result<Training<'a>> {
        let mut train = job.training_loader(team.part());
        let from = from.map(Arc::new);
        let progress = match &from {
            None => {
                team.initialize(&job.recipe, job.seed)?;
                job.init.as_ref().map_or(Ok(()), |init| team.inherit(init))?;
                Progress::begin()
            }
            Some(checkpoint) => {
                team.restore(checkpoint, job.seed)?;
                let Progress { epoch, batches, .. } = checkpoint.progress;
                match batches < train.batches_per_epoch() {
                    true => train.start_at(epoch - 1, batches),
                    false => train.start_at(epoch, 0), // only its validation is missing
                }
                checkpoint.progress.clone()
            }
        };
        team.set_input(&job.mean().values, job.recipe.input.scale)?;
        let saver = saver(job, &team, folder, identity)?;
        Ok(Training {
            validation: job.validation_loader_of(team.part()),
            look: team.look(),
            has_remarked: false,
            due: false,
            saved: Instant::now(),
            saved_at: from.map(|from| place(&from.progress)),
            began: Instant::now(),
            before: progress.seconds,
            all: Sums::default(),
            exchanged: None,
            validation_seconds: 0.0,
            bookkeeping: 0.0,
            job,
            team,
            train,
            folder,
            observer,
            stop,
            status,
            progress,
            saver,
        })
    }

    /// Runs, and writes down how that ended while the other processes still wait for this one.
    pub(super) fn run_to_end(mut self) -> Result<Outcome> {
        let outcome = self.run();
        self.note_saved();
        conclude(outcome, self.folder, self.status)
    }

    fn run(&mut self) -> Result<Outcome> {
        let first = self.progress.step;
        if self.is_over() {
            let note = "all its steps are done: more are made with --epochs or --max-steps";
            self.observer.note(note);
        }
        while !self.is_over() && !self.is_stopped() {
            self.epoch()?;
            if self.is_stopped() {
                break;
            }
            let whole = self.progress.batches == self.train.batches_per_epoch();
            let due = whole && self.progress.epoch.is_multiple_of(self.job.validate_every);
            self.progress.reached |= due && self.is_low_enough();
            if (due || self.is_last()) && !self.validate(due)? {
                break; // stopped half-way: the run that goes on begins with the validation
            }
            let is_best = self.progress.best.is_some_and(|(step, _)| step == self.progress.step);
            if whole {
                self.progress.epoch += 1;
                self.progress.batches = 0;
                self.report_remarks()?;
            }
            let is_old = self.agree()?.old;
            if self.due || (due && (is_best || is_old)) {
                let began = Instant::now();
                let weights = self.wait_for_disk()?.old;
                self.save(if weights { What::CheckpointAndWeights } else { What::Checkpoint })?;
                self.bookkeeping += began.elapsed().as_secs_f64();
            }
        }
        self.record_observers_warning()?;
        self.report_remarks()?;
        let began = Instant::now();
        self.finish()?;
        self.bookkeeping += began.elapsed().as_secs_f64();
        Ok(Outcome {
            stopped: self.stop.requested(),
            steps: self.progress.step,
            resumed_at: first,
            seconds: self.seconds(),
            bookkeeping_s: self.bookkeeping,
            images_per_s: self.all.images_per_s(),
            exchanged: self.exchanged.filter(|exchanged| exchanged.messages > 0),
            train: self.progress.recent.score(),
            validation: self.progress.validation.map(|(_, score)| score),
        })
    }

    /// The rest of an epoch's steps.
    fn epoch(&mut self) -> Result<()> {
        let (recipe, epoch) = (&self.job.recipe, self.progress.epoch);
        self.status.epoch = epoch;
        let setting = recipe.schedule.setting(&self.progress.schedule, epoch);
        self.team.set_rates(recipe, &setting)?;
        self.train.set_color(self.job.color_shift(setting.color));
        let rate = recipe.rate * setting.rate;
        while self.progress.batches < self.train.batches_per_epoch()
            && self.progress.step < self.steps()
            && !self.is_stopped()
        {
            if !self.learn()? {
                break;
            }
            let began = Instant::now();
            self.write_down(rate)?;
            self.save_if_due()?;
            self.bookkeeping += began.elapsed().as_secs_f64();
            self.report(rate);
            self.record_observers_warning()?;
        }
        Ok(())
    }

    /// One step; false if a stop was asked for while it waited for images.
    fn learn(&mut self) -> Result<bool> {
        let began = Instant::now();
        let Some(mut batch) = next_batch(&mut self.train, self.observer, self.stop)? else {
            return Ok(false); // training data have no end
        };
        let wait = began.elapsed().as_secs_f64();
        let step = self.progress.step + 1;
        if self.team.heard().is_some() {
            let moment = self.moment(step)?;
            self.team.say(moment);
        }
        let tally = match Self::looks(step) {
            true => self.team.train_and_look(&mut batch, step, &mut self.look)?,
            false if self.exchanged.is_none() => {
                let before = self.team.traffic()?; // every step sends as much
                let tally = self.team.train(&mut batch, step)?;
                self.exchanged = Some(self.team.traffic()?.since(before));
                tally
            }
            false => self.team.train(&mut batch, step)?,
        };
        drop(batch);
        let seconds = began.elapsed().as_secs_f64();

        let progress = &mut self.progress;
        progress.step = step;
        progress.batches += 1;
        progress.recent.add(tally, seconds, wait);
        progress.unrecorded.add(tally, seconds, wait);
        progress.unvalidated.add(tally);
        self.status.step = step;
        self.all.add(tally, seconds, wait);
        Ok(true)
    }

    /// What the step in hand gives cause to write down.
    fn write_down(&mut self, rate: f64) -> Result<()> {
        let step = self.progress.step;
        if step <= Self::EVERY_STEP_UNTIL || step.is_multiple_of(10) || step == self.steps() {
            self.record(rate)?;
        }
        if Self::looks(step) {
            let (epoch, layers) = (self.progress.epoch, self.look.layers.clone());
            self.folder.record(&Record::Layers { step, epoch, layers })?;
            if let Some(tensor) = self.look.not_finite() {
                return Err(Error::NotFinite { step, tensor });
            }
        }
        self.warn_if_stuck()
    }

    /// Whether a step is one in which layers are looked at.
    fn looks(step: u64) -> bool {
        step == 1 || step.is_multiple_of(Self::LOOK_EVERY)
    }

    fn record(&mut self, rate: f64) -> Result<()> {
        let sums = std::mem::take(&mut self.progress.unrecorded);
        let Score { loss, top1_error, .. } = sums.tally.score();
        self.folder.record(&Record::Train {
            step: self.progress.step,
            epoch: self.progress.epoch,
            loss,
            top1_error,
            rate,
            images_per_s: sums.images_per_s(),
            data_wait: sums.data_wait(),
        })
    }

    fn warn_if_stuck(&mut self) -> Result<()> {
        let patience = Stuck::patience(self.steps());
        let loss = self.progress.recent.score().loss;
        let text = self.progress.stuck.see(loss, self.team.classes(), patience);
        let Some(text) = text else { return Ok(()) };
        self.observer.note(&format!("WARNING: {text}"));
        self.folder.record(&Record::Warning { step: self.progress.step, text })
    }

    /// What the images that were read gave cause to report; once.
    fn report_remarks(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.has_remarked, true) {
            return Ok(());
        }
        let mut remarks = self.train.source().remarks();
        remarks.extend(self.validation.source().remarks());
        remarks.dedup();
        for text in remarks {
            self.observer.note(&text);
            self.folder.record(&Record::Warning { step: self.progress.step, text })?;
        }
        Ok(())
    }

    fn record_observers_warning(&mut self) -> Result<()> {
        let Some(text) = self.observer.take_warning() else { return Ok(()) };
        self.folder.record(&Record::Warning { step: self.progress.step, text })
    }

    fn report(&mut self, rate: f64) {
        let (steps, epochs) = (self.steps(), self.epochs());
        let Progress { step, epoch, recent, .. } = self.progress;
        let epochs_left = f64::from(epochs.saturating_sub(epoch) / self.job.validate_every + 1);
        let steps_left = (steps - step) as f64;
        let Score { loss, top1_error, .. } = recent.score();
        self.observer.step(&StepReport {
            step,
            steps,
            epoch,
            epochs,
            loss,
            top1_error,
            rate,
            images_per_s: recent.images_per_s(),
            data_wait: recent.data_wait(),
            eta_s: steps_left * recent.seconds_a_step() + epochs_left * self.validation_seconds,
        });
    }

    /// Validates, unless a stop is asked for on the way; the schedule learns of it if it was `due`,
    /// and not if the run merely ends here: one that goes on from here is to be as if it had never
    /// ended.
    fn validate(&mut self, due: bool) -> Result<bool> {
        let began = Instant::now();
        let tally = evaluate(&mut self.team, &mut self.validation, self.stop, self.observer)?;
        let Some(tally) = tally else { return Ok(false) };
        self.validation_seconds = began.elapsed().as_secs_f64();

        let (score, seconds) = (tally.score(), self.seconds());
        let progress = &mut self.progress;
        let (step, epoch) = (progress.step, progress.epoch);
        if due {
            let schedule = &self.job.recipe.schedule;
            progress.schedule = schedule.remember(progress.schedule, score.top1_error);
        }
        progress.validation = Some((step, score));
        if progress.best.is_none_or(|(_, best)| score.top1_error < best) {
            progress.best = Some((step, score.top1_error));
        }
        let train_loss = std::mem::take(&mut progress.unvalidated).score().loss;
        self.status.validation = Some(score);
        self.folder.record(&Record::Validation { step, epoch, score, seconds })?;
        self.folder.status(self.status)?;
        let epochs = self.epochs();
        let report = ValidationReport { step, epoch, epochs, score, train_loss, seconds };
        self.observer.validation(&report);
        Ok(true)
    }

    fn is_stopped(&self) -> bool {
        self.stop.requested().is_some()
    }

    fn is_over(&self) -> bool {
        self.is_last() && self.progress.is_validated()
    }

    /// Whether no step is left to be made.
    fn is_last(&self) -> bool {
        self.progress.step >= self.steps() || self.progress.reached
    }

    /// Whether the training error since the last validation is what the recipe waits for.
    fn is_low_enough(&self) -> bool {
        let error = self.progress.unvalidated.score().top1_error;
        self.job.recipe.until.is_some_and(|most| error <= most)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    /// Epochs that will be begun.
    fn epochs(&self) -> u32 {
        let by_steps = self.steps().div_ceil(self.train.batches_per_epoch() as u64);
        self.job.recipe.epochs.min(u32::try_from(by_steps).unwrap_or(u32::MAX))
    }

    /// Steps that will have been made at the end: never fewer than have been.
    fn steps(&self) -> u64 {
        let all = u64::from(self.job.recipe.epochs) * self.train.batches_per_epoch() as u64;
        self.job.max_steps.unwrap_or(all).min(all).max(self.progress.step)
    }
}

/// The thread that writes, where something is kept.
fn saver(job: &Job, team: &Team, folder: &RunFolder, identity: Identity) -> Result<Option<Saver>> {
    let Some(log) = folder.log() else { return Ok(None) };
    let (about, mean, entries) = (job.about(), job.mean(), team.entries().to_vec());
    Ok(Some(Saver::start(Desk {
        store: Store::open(folder.path(), job.checkpoints.keep)?,
        form: Form { about, identity, mean, entries },
        logs: log.handles()?,
        weights: folder.path().join(Weights::FILE),
    })))
}
