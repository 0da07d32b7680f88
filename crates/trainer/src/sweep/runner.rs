//! Trains the trials of a sweep, one after another in this process.

use super::{Planned, write_results};
use crate::devices;
use crate::fault::{Fault, Result};
use crate::images::{self, Images};
use crate::run_file;
use crate::settings::Settings;
use crate::training::{open_images, run_in};
use data::StalledRead;
use evaluate::observe::{Observer, StepReport};
use evaluate::{Score, Stop, has_top5};
use experiments::sweep::{Metric, Results, RungResult, Trial, TrialEnd, TrialRunner};
use layers::Spec;
use report::Curves;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;
use terminal::progress::{Progress, Reading};
use train::recipe::ClassWeights;
use train::run::Outcome;

/// The trials of a sweep.
pub(super) struct Trials<'a> {
    planned: Planned<'a>,
    trials: &'a [Trial],
    out: &'a Path,
    reading: Reading,
    stop: &'a Stop,
    /// The images of the last trial, and the settings that they depend on.
    images: Option<(String, Images)>,
}

/// A trial's folder.
pub(super) fn folder(out: &Path, trial: usize) -> PathBuf {
    out.join("trials").join(format!("{trial:04}"))
}

impl<'a> Trials<'a> {
    pub(super) fn new(
        planned: Planned<'a>,
        trials: &'a [Trial],
        out: &'a Path,
        progress: Progress,
        stop: &'a Stop,
    ) -> Trials<'a> {
        Trials { planned, trials, out, reading: Reading::new(progress), stop, images: None }
    }

    /// Checks what the classes decide: the metric; and the names of classes that have a weight.
    ///
    /// # Errors
    /// Exit codes 2 with the trial and the name at fault, 3 if images cannot be read.
    pub(super) fn check(&mut self, metric: Metric) -> Result<()> {
        for trial in self.trials {
            let (settings, spec) = self.planned.resolve(trial)?;
            let classes = spec.classes()?;
            if metric == Metric::Top5Error && !has_top5(classes) {
                return Err(Fault::usage(format!(
                    "metric = \"{}\": of {classes} classes it is always 0: use \"{}\"",
                    metric.name(),
                    Metric::Error.name()
                )));
            }
            if let Some(ClassWeights::Table(_)) = settings.recipe.class_weights {
                let train = &self.images(&settings, &spec)?.train;
                let checked = settings.recipe.loss(&**train).map_err(Fault::from);
                let at = || format!("trial {}, {}", trial.number, trial.summary());
                checked.map_err(|fault| fault.inside(at()))?;
            }
        }
        Ok(())
    }

    /// The epochs and steps of a trial that an error has ended.
    fn done(&self, trial: &Trial) -> RungResult {
        let status = run_file::read(&folder(self.out, trial.number).join("run.json"));
        let status = status.ok().flatten().unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
        let number = |name: &str| status[name].as_u64().unwrap_or(0);
        let epochs = u32::try_from(number("epoch")).unwrap_or(u32::MAX);
        RungResult { epochs, steps: number("step"), ..RungResult::default() }
    }

    /// Opens the images of a trial, unless they are those of the trial before.
    fn images(&mut self, settings: &Settings, spec: &Spec) -> Result<&Images> {
        let Settings { data, labelling, workers, fake_data, overfit, hold_out, .. } = settings;
        let [height, width, _] = spec.input;
        let (side, input) = (settings.recipe.side(height, width), settings.recipe.input);
        let classes = spec.classes()?;
        let of = (data, labelling, workers, fake_data, overfit, hold_out, side, input, classes);
        let key = format!("{of:?}");
        if self.images.as_ref().is_none_or(|(found, _)| *found != key) {
            self.images = None;
            let mut images = open_images(settings, spec, &self.reading)?;
            images.statistics = Some(images::statistics(&images, *workers, &self.reading)?);
            self.images = Some((key, images));
        }
        Ok(&self.images.as_ref().expect("just opened").1)
    }

    /// The folder of the first trial that has begun.
    fn first_begun(&self) -> Result<Option<PathBuf>> {
        for trial in self.trials {
            let folder = folder(self.out, trial.number);
            if run_file::exists(&folder.join("config.toml"))? {
                return Ok(Some(folder));
            }
        }
        Ok(None)
    }

    /// Checks that no flag names another precision than that of the trials so far: their results
    /// could not be compared.
    ///
    /// # Errors
    /// Exit codes 2, 4.
    pub(super) fn check_precision(&self) -> Result<()> {
        let mut values = self.trials.iter().flat_map(|trial| &trial.values);
        if values.any(|(key, _)| key == "precision") {
            return Ok(());
        }
        let Some(first) = self.first_begun()? else { return Ok(()) };
        let (mut settings, _) = self.planned.resolve(&self.trials[0])?;
        let Some(asked) = settings.precision.take() else { return Ok(()) };
        devices::resolve_precision(&mut settings, (Some(&first), None))?;
        let began = settings.precision.unwrap_or_default();
        if asked == began {
            return Ok(());
        }
        Err(Fault::usage(format!(
            "--precision {asked}: the trials in {} are computed in {began}: leave --precision out, \
             or name another folder with --out",
            self.out.display()
        )))
    }

    fn run(
        &mut self,
        trial: &Trial,
        epochs: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Result<Option<RungResult>> {
        let (mut settings, spec) = self.planned.resolve(trial)?;
        let (path, stop) = (folder(self.out, trial.number), self.stop);
        let has_begun = run_file::exists(&path.join("run.json"))?;
        // A new trial is computed in the precision of those before, unless a flag names one.
        let like = if has_begun { Some(path.clone()) } else { self.first_begun()? };
        let note = devices::resolve_precision(&mut settings, (like.as_deref(), None))?;
        let note = note.filter(|_| has_begun);
        let mut say = |text: &str| observer.note(text);
        note.iter().for_each(|note| say(note));
        let choices = devices::choices(&settings)?;
        let spec = devices::resolve_spec(spec, &settings, choices.len(), false, &mut say)?;
        self.images(&settings, &spec)?;
        let images = &self.images.as_ref().expect("just opened").1;
        let per_epoch = images.train.len().div_ceil(settings.recipe.batch) as u64;
        if let Some(epochs) = epochs {
            // A limit of steps, as a schedule may depend on the number of epochs.
            let steps = per_epoch * u64::from(epochs);
            settings.max_steps = Some(settings.max_steps.map_or(steps, |own| own.min(steps)));
        }
        let mut quiet = Quiet(observer);
        let watchers: (&Reading, &mut dyn Observer) = (&self.reading, &mut quiet);
        let outcome = run_in(&path, &settings, &spec, images, watchers, stop)?;
        let Some(outcome) = outcome.filter(|outcome| outcome.signal().is_none()) else {
            return Ok(None);
        };
        let is_early = outcome.best_weights.is_some_and(|best| best.stopped);
        Ok(Some(RungResult {
            epochs: u32::try_from(outcome.steps.div_ceil(per_epoch)).unwrap_or(u32::MAX),
            steps: outcome.steps,
            seconds: outcome.seconds,
            end: if is_early { TrialEnd::StoppedEarly } else { TrialEnd::Finished },
            reason: None,
            score: score(&path, &outcome)?,
        }))
    }
}

/// The validation of the weights that a run has kept.
fn score(run: &Path, outcome: &Outcome) -> Result<Option<Score>> {
    let Some(best) = outcome.best_weights else { return Ok(outcome.validation) };
    let text = run_file::read(&run.join("metrics.jsonl"))?.unwrap_or_default();
    let curves = Curves::parse(&text);
    let of_best = |at: &&report::ValidationPoint| at.step == best.validated.step as f64;
    Ok(curves.validation.iter().rev().find(of_best).map(|at| Score {
        loss: at.loss,
        top1_error: at.top1_error,
        top5_error: at.top5_error,
        images: outcome.validation.map_or(0, |last| last.images),
    }))
}

/// How a trial that ended with an error has ended; `None` for errors that are not its own. A usage
/// error of a trial whose folder was there before may be that of another process in it.
fn end_of(fault: &Fault, is_new: bool) -> Option<TrialEnd> {
    match fault.code {
        5 => Some(TrialEnd::Diverged),
        2 if is_new => Some(TrialEnd::Failed),
        _ if fault.is_out_of_memory() => Some(TrialEnd::Failed),
        _ => None,
    }
}

impl TrialRunner for Trials<'_> {
    type Error = Fault;

    fn train(
        &mut self,
        trial: &Trial,
        epochs: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Result<Option<RungResult>> {
        let began = Instant::now();
        let is_new = !run_file::exists(&folder(self.out, trial.number))?;
        let fault = match self.run(trial, epochs, observer) {
            Err(fault) => fault,
            ended => return ended,
        };
        let Some(end) = end_of(&fault, is_new) else {
            return Err(fault.inside(format!("trial {}", trial.number)));
        };
        let (seconds, reason) = (began.elapsed().as_secs_f64(), Some(fault.message));
        Ok(Some(RungResult { seconds, end, reason, ..self.done(trial) }))
    }

    fn save(&mut self, results: &Results) -> Result<()> {
        write_results(self.out, self.planned.sweep, self.trials, results)
    }
}

/// Shows the steps of a trial and its warnings only.
struct Quiet<'a>(&'a mut dyn Observer);

impl Observer for Quiet<'_> {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0.step(report)
    }

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        self.0.progress(what, done, total);
    }

    fn bytes(&mut self, what: &str, done: u64, total: u64) {
        self.0.bytes(what, done, total);
    }

    fn stalled(&mut self, stalled: &StalledRead) {
        self.0.stalled(stalled);
    }

    fn note(&mut self, text: &str) {
        if text.starts_with("WARNING") {
            self.0.note(text);
        }
    }

    fn take_warning(&mut self) -> Option<String> {
        self.0.take_warning()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_trial_are_results_and_others_end_the_sweep() {
        let (device, group) = ("cuda:0".to_string(), None);
        let memory = tensor::Error::OutOfMemory { device, needed: 9 << 20, free: 1 << 20, group };
        let memory = Fault::from(memory);
        assert_eq!(memory.code, 6);
        let device = Fault::new(6, "cuda:0 is not available");
        for (fault, is_new, expected) in [
            (Fault::new(5, "step 3: the loss is NaN"), false, Some(TrialEnd::Diverged)),
            (Fault::usage("no class"), true, Some(TrialEnd::Failed)),
            (Fault::usage("another process trains there"), false, None),
            (memory, false, Some(TrialEnd::Failed)),
            (device, true, None),
            (Fault::new(7, "the disk is full"), true, None),
        ] {
            assert_eq!(end_of(&fault, is_new), expected, "{fault:?}");
        }
    }
}
