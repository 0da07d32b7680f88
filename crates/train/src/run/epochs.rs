//! The loop: epochs of steps, a validation after each, checkpoints in between, weights at the end.

use super::outcome::{End, Outcome, conclude};
use super::training::Training;
use crate::Result;
use crate::early_stopping::Validated;
use crate::executor::{Control, StepRequest};
use crate::progress::Progress;
use crate::schedule::{Position, Setting};
use data::Batch;
use evaluate::Tally;
use evaluate::{evaluate, next_batch};
use std::time::Instant;
use tensor::Traffic;

impl<'a> Training<'a> {
    /// Runs, and writes the outcome before the other processes are released.
    pub(super) fn run_to_end(mut self) -> Result<Outcome> {
        let outcome = self.run();
        self.note_saved();
        conclude(outcome, self.folder, self.status)
    }

    fn run(&mut self) -> Result<Outcome> {
        let first = self.progress.step;
        self.note_if_over();
        self.status.early_stopping = self.best_weights();
        while !self.is_over() && !self.is_stopped() {
            self.epoch()?;
        }
        self.record_observers_warning()?;
        self.report_remarks()?;
        self.aside(Self::finish)?;
        self.status.early_stopping = self.best_weights();
        Ok(self.outcome(first))
    }

    /// The rest of an epoch: its steps, its validation, and a checkpoint if one is due.
    fn epoch(&mut self) -> Result<()> {
        self.rest_of_steps()?;
        if self.is_stopped() {
            return Ok(());
        }
        let is_whole = self.progress.batches == self.train.batches_per_epoch();
        let is_due = is_whole && self.progress.epoch.is_multiple_of(self.job.validate_every);
        self.progress.reached |= is_due && self.is_low_enough();
        if (is_due || self.is_last()) && !self.validate(is_due)? {
            return Ok(()); // stopped halfway: a resumed run starts with the validation
        }
        let progress = &self.progress;
        let is_best = progress.best.is_some_and(|(step, _)| step == progress.step)
            || progress.early_stopping.best.is_some_and(|best| best.step == progress.step);
        if is_whole {
            self.progress.epoch += 1;
            self.progress.batches = 0;
            self.report_remarks()?;
        }
        self.save_after_epoch(is_due, is_best)
    }

    /// The remaining steps of an epoch.
    fn rest_of_steps(&mut self) -> Result<()> {
        let recipe = &self.job.recipe;
        let mut setting = self.begin_epoch()?;
        while self.progress.batches < self.train.batches_per_epoch()
            && self.progress.step < self.steps()
            && !self.is_stopped()
        {
            let began = Instant::now();
            let Some(mut batch) = next_batch(&mut self.train, self.observer, self.stop)? else {
                break; // a stop was requested: training data never end
            };
            let wait = began.elapsed().as_secs_f64();
            let next = self.setting();
            if next != setting {
                self.executor.set_rates(recipe, &next)?;
                setting = next;
            }
            let rate = recipe.rate * setting.rate;
            let tally = self.step(&mut batch)?;
            drop(batch);
            self.count_step(tally, began.elapsed().as_secs_f64(), wait);
            self.aside(|run| {
                run.record_step(rate)?;
                run.save_if_due()
            })?;
            if self.report(rate).is_break() {
                self.end_requested = true;
            }
            self.record_observers_warning()?;
        }
        Ok(())
    }

    /// Applies the schedule's setting of the next step, the first of an epoch or of this process.
    fn begin_epoch(&mut self) -> Result<Setting<'a>> {
        self.status.epoch = self.progress.epoch;
        let setting = self.setting();
        self.executor.set_rates(&self.job.recipe, &setting)?;
        self.train.set_color(self.job.color_shift(setting.color));
        Ok(setting)
    }

    /// The schedule's setting of the next step.
    fn setting(&self) -> Setting<'a> {
        let &Progress { epoch, batches: batch, ref schedule, .. } = &self.progress;
        let at = Position { epoch, batch, batches: self.train.batches_per_epoch() };
        self.job.recipe.setting(schedule, at)
    }

    /// One step.
    fn step(&mut self, batch: &mut Batch) -> Result<Tally> {
        let step = self.progress.step + 1;
        let control =
            if self.executor.is_alone() { Control::default() } else { self.control_at(step)? };
        let stats = Self::fills_stats(step).then_some(&mut self.stats);
        let counts = self.exchanged.is_none() && stats.is_none(); // every step sends as much
        let before = if counts { self.executor.traffic()? } else { Traffic::default() };
        let done = self.executor.train(batch, StepRequest { step, control, stats })?;
        self.control = done.control;
        if counts {
            self.exchanged = Some(self.executor.traffic()?.since(before));
        }
        Ok(done.tally)
    }

    fn count_step(&mut self, tally: Tally, seconds: f64, wait: f64) {
        let progress = &mut self.progress;
        progress.step += 1;
        progress.batches += 1;
        progress.recent.add(tally, seconds, wait);
        progress.unrecorded.add(tally, seconds, wait);
        progress.unvalidated.add(tally);
        self.status.step = progress.step;
        self.all.add(tally, seconds, wait);
    }

    /// Validates; returns false if a stop is requested meanwhile. The schedule is updated only if
    /// the validation was due, not if it is one at the end of the run: a resumed run must be
    /// bit-identical to an uninterrupted one.
    fn validate(&mut self, is_due: bool) -> Result<bool> {
        let began = Instant::now();
        self.executor.use_average(true)?;
        let tally = evaluate(&mut *self.executor, &mut self.validation, self.stop, self.observer)?;
        self.executor.use_average(false)?;
        let Some(tally) = tally else { return Ok(false) };
        self.validation_seconds = began.elapsed().as_secs_f64();

        let (score, progress) = (tally.score_of(self.shape.classes), &mut self.progress);
        if is_due {
            let schedule = &self.job.recipe.schedule;
            progress.schedule = schedule.remember(progress.schedule, score.top1_error);
            if let Some(rule) = &self.job.recipe.early_stopping {
                let (step, epoch) = (progress.step, progress.epoch);
                let validated = Validated { step, epoch, value: rule.metric.of(&score) };
                progress.early_stopping = progress.early_stopping.after(rule, validated);
            }
        }
        progress.validation = Some((progress.step, score));
        if progress.best.is_none_or(|(_, best)| score.top1_error < best) {
            progress.best = Some((progress.step, score.top1_error));
        }
        let steps_since = std::mem::take(&mut progress.unvalidated);
        if self.record_validation(score, steps_since)?.is_break() {
            self.end_requested = true;
        }
        Ok(true)
    }

    fn end(&self) -> End {
        match self.stop.requested() {
            Some(signal) => End::Signal(signal),
            None if self.is_over() => End::Finished,
            None => End::StoppedEarly,
        }
    }

    fn outcome(&self, resumed_at: u64) -> Outcome {
        Outcome {
            end: self.end(),
            steps: self.progress.step,
            resumed_at,
            seconds: self.seconds(),
            bookkeeping_s: self.bookkeeping,
            images_per_s: self.all.images_per_s(),
            exchanged: self.exchanged.filter(|exchanged| exchanged.messages > 0),
            train: self.progress.recent.score(),
            validation: self.progress.validation.map(|(_, score)| score),
            best_weights: self.best_weights(),
        }
    }
}
