//! The runs of a protocol: ordinary runs in folders of their own, which go on if they were ended.

use crate::begun;
use crate::error::Error;
use crate::experiment::Experiment;
use crate::measured::{Measured, Tested, words};
use crate::protocol::{Arm, Measure, Stage, View};
use crate::run_file;
use crate::runner::{Ended, Fingerprints, Images, Runner, Task};
use evaluate::{Observer, Predictions, Score};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// An experiment and its runner.
pub struct Lab<'a, R: Runner> {
    experiment: &'a Experiment,
    runner: &'a R,
    /// Fingerprints of the images read so far.
    found: RefCell<HashMap<Seen, Fingerprints>>,
}

/// Images as a task sees them: which, their side, and what is held out.
type Seen = (Images, Option<usize>, Option<usize>);

/// `None` if a stop was requested before the end.
type Result<T, R> = std::result::Result<Option<T>, <R as Runner>::Error>;

/// After an arm's name and its seeds: the file that keeps what they say together.
const TOGETHER: &str = "-together.json";

impl<'a, R: Runner> Lab<'a, R> {
    /// For an experiment whose images have not been read yet.
    pub fn new(experiment: &'a Experiment, runner: &'a R) -> Lab<'a, R> {
        Lab { experiment, runner, found: RefCell::default() }
    }

    /// Makes an arm's run with a seed, or goes on with it, and measures it; `None` if a stop was
    /// requested before the end.
    ///
    /// # Errors
    /// If a run cannot be made, or the one that is there is another.
    pub fn run(
        &self,
        arm: &Arm,
        seed: u64,
        most_epochs: Option<u32>,
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
            if let Some(most) = most_epochs {
                task.recipe.epochs = task.recipe.epochs.min(most);
            }
            begun::settle(runner, folder, &mut task)?;
            let named = (stage.data, task.images.name());
            let now = || self.fingerprints(&task, observer);
            if begun::check_images(runner, folder, named, now)?.is_none() {
                return Ok(None);
            }
            if let Some(measured) = Measured::read(folder)? {
                let measured = Measured { label: arm.label.clone(), ..measured };
                return match measured.diverged {
                    Some(_) => Ok(Some(measured)),
                    None => self.tested(measured, last, observer),
                };
            }
            match self.trained(&task, folder, observer)? {
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
        self.tested(Measured::of(arm, seed, &folders, page)?, last, observer)
    }

    /// Makes a run or goes on with it, unless it is finished.
    fn trained(
        &self,
        task: &Task,
        run: &Path,
        observer: &mut dyn Observer,
    ) -> std::result::Result<Ended, R::Error> {
        if begun::is_finished(run)? {
            Ok(Ended::Finished)
        } else {
            self.runner.train(run, task, observer)
        }
    }

    /// Adds what the tests say that the protocol asks for and another that shares the run did not;
    /// `None` if a stop was requested before the end.
    fn tested(
        &self,
        mut measured: Measured,
        (run, stage): (&Path, &Stage),
        observer: &mut dyn Observer,
    ) -> Result<Measured, R> {
        let views = self.experiment.page.views;
        let mut opened = None;
        for &view in views {
            if is_tested(&measured, view) {
                continue;
            }
            let opened = match &opened {
                Some(opened) => opened,
                None => opened.insert(self.opened(run, stage)?),
            };
            let tested = self.runner.test(opened, view, observer)?;
            let Some((score, _)) = tested else { return Ok(None) };
            measured.tested.push(Tested::of(view, score));
            self.runner.write(&Measured::path(run), measured.json().as_bytes())?;
        }
        let place = |test: &Tested| views.iter().position(|&view| words(view) == test.views);
        measured.tested.retain(|test| place(test).is_some());
        measured.tested.sort_by_key(place);
        Ok(Some(measured))
    }

    /// What the images of a task are known by; `None` if a stop was requested before they were
    /// read.
    fn fingerprints(&self, task: &Task, observer: &mut dyn Observer) -> Result<Fingerprints, R> {
        let key = (task.images.clone(), task.recipe.input.side, task.hold_out);
        if let Some(found) = self.found.borrow().get(&key) {
            return Ok(Some(found.clone()));
        }
        let found = self.runner.fingerprints(task, observer)?;
        self.found.borrow_mut().extend(found.clone().map(|found| (key, found)));
        Ok(found)
    }

    /// The network of a stage's run, and the images it is tested on: those that were named now, as
    /// they may have been moved since the run was made.
    fn opened(&self, run: &Path, stage: &Stage) -> std::result::Result<R::Opened, R::Error> {
        self.runner.open(run, &self.experiment.images(stage.data)?)
    }

    /// Removes what was kept of an arm's averages: a run of it is new.
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

    /// The score of the averaged probabilities of all seeds, where the protocol asks for it.
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
        let mut said = Vec::new();
        for seed in 0..seeds {
            let opened = self.opened(&self.experiment.folder(arm, stage, seed), stage)?;
            match self.runner.test(&opened, view, observer)? {
                Some((_, predictions)) => said.push(predictions),
                None => return Ok(None),
            }
        }
        let weights = vec![1.0 / said.len() as f64; said.len()];
        let score = Predictions::average(&said, &weights).map_err(Error::Apart)?.score();
        let text = serde_json::to_string(&score).expect("plain data") + "\n";
        self.runner.write(&path, text.as_bytes())?;
        Ok(Some(score))
    }
}

fn before_seeds(arm: &Arm) -> String {
    format!("{}-", arm.name)
}

fn is_tested(measured: &Measured, view: View) -> bool {
    measured.tested.iter().any(|test| test.views == words(view))
}
