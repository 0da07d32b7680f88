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
use evaluate::{Score, Stop};
use experiments::sweep::{Results, RungResult, Trial, TrialEnd, TrialRunner};
use layers::Spec;
use report::Curves;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use terminal::progress::{Progress, Reading};
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

    fn run(
        &mut self,
        trial: &Trial,
        epochs: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Result<Option<RungResult>> {
        let (mut settings, spec) = self.planned.resolve(trial)?;
        let (path, stop) = (folder(self.out, trial.number), self.stop);
        let has_begun = run_file::exists(&path.join("run.json"))?;
        let resumed = has_begun.then_some(&*path);
        let note = devices::resolve_precision(&mut settings, (resumed, None))?;
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

impl TrialRunner for Trials<'_> {
    type Error = Fault;

    fn train(
        &mut self,
        trial: &Trial,
        epochs: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Result<Option<RungResult>> {
        match self.run(trial, epochs, observer) {
            Err(fault) if fault.code == 5 => {
                let (end, reason) = (TrialEnd::Diverged, Some(fault.message));
                Ok(Some(RungResult { end, reason, ..RungResult::default() }))
            }
            Err(fault) => Err(fault.inside(format!("trial {}", trial.number))),
            ended => ended,
        }
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
