//! The runs of a protocol: ordinary runs in separate folders, which are resumed if interrupted.

use crate::error::Error;
use crate::existing_run;
use crate::experiment::Experiment;
use crate::findings;
use crate::measured::{Finding, Measured, TestResult, view_name};
use crate::protocol::{Arm, Inspection, Measure, Stage};
use crate::run_file;
use crate::runner::{Ended, Fingerprints, Images, RunRequest, Runner};
use evaluate::{Observer, Predictions, Score};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// An experiment and its runner.
pub struct ExperimentRunner<'a, R: Runner> {
    experiment: &'a Experiment,
    runner: &'a R,
    /// Fingerprints of the images read so far.
    found: RefCell<HashMap<DataKey, Fingerprints>>,
}

/// What fingerprints depend on: the images, their side, and the held-out part.
type DataKey = (Images, Option<usize>, Option<usize>);

/// `None` if a stop was requested before the end.
type Result<T, R> = std::result::Result<Option<T>, <R as Runner>::Error>;

/// The findings of an inspection, as they are kept in a run's folder.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The inspection with its sizes; findings of another are made anew.
    inspection: String,
    findings: Vec<Finding>,
}

/// The suffix, after an arm's name and number of seeds, of the file with their ensemble's score.
const TOGETHER: &str = "-together.json";

impl<'a, R: Runner> ExperimentRunner<'a, R> {
    /// For an experiment whose images have not been read yet.
    pub fn new(experiment: &'a Experiment, runner: &'a R) -> ExperimentRunner<'a, R> {
        ExperimentRunner { experiment, runner, found: RefCell::default() }
    }

    /// Trains an arm with a seed, or resumes its run, and measures it; `None` if a stop was
    /// requested before the end.
    ///
    /// # Errors
    /// If training fails, or the existing run has other settings.
    pub fn run(
        &self,
        arm: &Arm,
        seed: u64,
        max_epochs: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Result<Measured, R> {
        let (page, runner) = (&self.experiment.page, self.runner);
        let folders: Vec<PathBuf> =
            arm.stages.iter().map(|stage| self.experiment.folder(arm, stage, seed)).collect();
        let last = folders.last().map(PathBuf::as_path).zip(arm.stages.last());
        let last = last.expect("an arm has stages");
        for (idx, stage) in arm.stages.iter().enumerate() {
            let folder = &folders[idx];
            let before = idx.checked_sub(1).map(|before| folders[before].as_path());
            let mut task = self.experiment.task(stage, seed + 1000 * idx as u64, before)?;
            if let Some(most) = max_epochs {
                task.recipe.epochs = task.recipe.epochs.min(most);
            }
            existing_run::check_same_run(runner, folder, &mut task)?;
            let now = || self.fingerprints(&task, observer);
            let named = task.images.name();
            if existing_run::check_images(runner, folder, stage.data, named, now)?.is_none() {
                return Ok(None);
            }
            if let Some(measured) = Measured::read(folder)? {
                let (arm, label) = (arm.name.clone(), arm.label.clone());
                let measured = Measured { arm, label, ..measured };
                match measured.diverged {
                    Some(_) => return Ok(Some(measured)),
                    None if stage.run_of.is_some() => continue,
                    None => return self.tested(measured, last.0, last.1, observer),
                }
            }
            let is_finished = existing_run::is_finished(folder)?;
            let ended = if is_finished {
                Ended::Finished
            } else {
                runner.train(folder, &task, observer)?
            };
            match ended {
                Ended::Finished => {}
                Ended::Stopped => return Ok(None),
                Ended::Diverged(why) => {
                    let mut measured = Measured::of(arm, seed, &folders[..=idx], page)?;
                    measured.diverged = Some(why);
                    self.forget_together(arm)?;
                    runner.write(&Measured::path(folder), measured.json().as_bytes())?;
                    return Ok(Some(measured));
                }
            }
        }
        self.forget_together(arm)?;
        self.tested(Measured::of(arm, seed, &folders, page)?, last.0, last.1, observer)
    }

    /// Runs the protocol's tests that are not yet measured (another protocol that shares the run
    /// may have run some); `None` if a stop was requested before the end.
    fn tested(
        &self,
        mut measured: Measured,
        run: &Path,
        stage: &Stage,
        observer: &mut dyn Observer,
    ) -> Result<Measured, R> {
        let views = self.experiment.page.views;
        let mut opened = None;
        for &view in views {
            if measured.tested.iter().any(|test| test.views == view_name(view)) {
                continue;
            }
            let opened = match &opened {
                Some(opened) => opened,
                None => opened.insert(self.opened(run, stage)?),
            };
            let tested = self.runner.test(opened, view, observer)?;
            let Some((score, _)) = tested else { return Ok(None) };
            measured.tested.push(TestResult::of(view, score));
            self.runner.write(&Measured::path(run), measured.json().as_bytes())?;
        }
        let place =
            |test: &TestResult| views.iter().position(|&view| view_name(view) == test.views);
        measured.tested.retain(|test| place(test).is_some());
        measured.tested.sort_by_key(place);
        let Some(inspection) = self.experiment.page.inspection else {
            measured.findings.clear(); // another protocol's
            return Ok(Some(measured));
        };
        let opened = match opened {
            Some(opened) => opened,
            None => self.opened(run, stage)?,
        };
        self.inspected(measured, run, (&opened, inspection), observer)
    }

    /// Adds the protocol's findings, which are kept in a file of the run's folder.
    fn inspected(
        &self,
        mut measured: Measured,
        run: &Path,
        (opened, inspection): (&R::Opened, Inspection),
        observer: &mut dyn Observer,
    ) -> Result<Measured, R> {
        let path = run.join(format!("{}.json", self.experiment.page.name));
        let kept = run_file::read(&path)?;
        let kept = kept.and_then(|text| serde_json::from_str::<Kept>(&text).ok());
        let asked = format!("{inspection:?}");
        if let Some(kept) = kept.filter(|kept| kept.inspection == asked) {
            measured.findings = kept.findings;
            return Ok(Some(measured));
        }
        let Some(mut findings) = self.runner.inspect(opened, inspection, observer)? else {
            return Ok(None);
        };
        if inspection == Inspection::Gradients {
            let log = run.join("metrics.jsonl");
            let text = files::read_to_string(&log);
            let text = text.map_err(|source| Error::Log { path: log.clone(), source })?;
            findings = findings::with_gradients(&text, findings);
        }
        let kept = Kept { inspection: asked, findings };
        let text = serde_json::to_string_pretty(&kept).expect("plain data") + "\n";
        self.runner.write(&path, text.as_bytes())?;
        measured.findings = kept.findings;
        Ok(Some(measured))
    }

    /// The fingerprints of a run's images; `None` if a stop was requested before they were read.
    fn fingerprints(
        &self,
        task: &RunRequest,
        observer: &mut dyn Observer,
    ) -> Result<Fingerprints, R> {
        let key = (task.images.clone(), task.recipe.input.side, task.hold_out);
        if let Some(found) = self.found.borrow().get(&key) {
            return Ok(Some(found.clone()));
        }
        let found = self.runner.fingerprints(task, observer)?;
        self.found.borrow_mut().extend(found.clone().map(|found| (key, found)));
        Ok(found)
    }

    /// Opens the network of a stage's run and its test images, which may have been moved since the
    /// run was made.
    fn opened(&self, run: &Path, stage: &Stage) -> std::result::Result<R::Opened, R::Error> {
        self.runner.open(run, &self.experiment.images(stage.data)?)
    }

    /// Removes the stored ensemble scores of an arm, as it has a new run.
    fn forget_together(&self, arm: &Arm) -> crate::error::Result<()> {
        let runs = &self.experiment.runs;
        let is_seeds = |text: &str| text.parse::<u64>().is_ok();
        let failed = |error| run_file::unreadable(runs, error);
        if !run_file::exists(runs)? {
            return Ok(());
        }
        for entry in fs::read_dir(runs).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().to_string();
            let seeds = name.strip_prefix(&before_seeds(arm));
            if seeds.and_then(|text| text.strip_suffix(TOGETHER)).is_some_and(is_seeds) {
                fs::remove_file(entry.path())
                    .map_err(|source| Error::Remove { path: entry.path(), source })?;
            }
        }
        Ok(())
    }

    /// The score of the averaged probabilities of all seeds, if the protocol measures it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn together(&self, arm: &Arm, seeds: u64, observer: &mut dyn Observer) -> Result<Score, R> {
        let Experiment { page, runs, .. } = self.experiment;
        if page.measure != Measure::Together {
            return Ok(None);
        }
        let (Some(stage), Some(&view)) = (arm.stages.last(), page.views.last()) else {
            return Ok(None);
        };
        let path = runs.join(format!("{}{seeds}{TOGETHER}", before_seeds(arm)));
        let kept = run_file::read(&path)?;
        if let Some(score) = kept.and_then(|text| serde_json::from_str(&text).ok()) {
            return Ok(Some(score)); // ten views of ImageNet by five networks take a while
        }
        let mut predictions = Vec::new();
        for seed in 0..seeds {
            let opened = self.opened(&self.experiment.folder(arm, stage, seed), stage)?;
            match self.runner.test(&opened, view, observer)? {
                Some((_, one)) => predictions.push(one),
                None => return Ok(None),
            }
        }
        let weights = vec![1.0 / predictions.len() as f64; predictions.len()];
        let score = Predictions::average(&predictions, &weights).map_err(Error::Apart)?.score();
        let text = serde_json::to_string(&score).expect("plain data") + "\n";
        self.runner.write(&path, text.as_bytes())?;
        Ok(Some(score))
    }
}

fn before_seeds(arm: &Arm) -> String {
    format!("{}-", arm.name)
}
