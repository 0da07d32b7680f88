//! The runs of a protocol: ordinary runs in folders of their own, which go on if they were ended.

use super::begun::{self, Fingerprints};
use super::measured::{Measured, Tested, words};
use crate::cli::Exchange;
use crate::cli::{MachineArgs, ReproduceArgs, ViewsArg};
use crate::fault::{Fault, Result};
use crate::images::Images;
use crate::progress::Reading;
use crate::settings::{Inherited, Settings};
use crate::trained::{Trained, WEIGHTS};
use crate::training::{Place, Ready, open_images, reopen};
use crate::vendor::Vendor;
use crate::{devices, machine, output, run_file, testing};
use evaluate::Score;
use evaluate::Stop;
use evaluate::observe::Observer;
use evaluate::predictions::Predictions;
use experiments::{Arm, Data, Measure, Protocol, Stage, Takes, View};
use layers::Spec;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use tensor::Choice;
use train::checkpoint::Policy;
use train::folder::RunFolder;

/// Where and on what a protocol runs.
pub struct Lab<'a> {
    page: &'a Protocol,
    stop: &'a Stop,
    machine: &'a MachineArgs,
    reading: Reading,
    runs: PathBuf,
    /// `None`: a rehearsal.
    data: Option<String>,
    larger: Option<String>,
    /// What was found of images.
    found: RefCell<HashMap<Named, Fingerprints>>,
}

/// Images as a stage names them: their folder, their side, and what is held out.
type Named = (String, Option<usize>, Option<usize>);

/// Images of a test at a time.
const BATCH: usize = 128;

/// After an arm's name and its seeds: the file that keeps what they say together.
const TOGETHER: &str = "-together.json";

/// A rehearsal's training and test images, and the steps of each of its runs.
const REHEARSED: (u32, u32) = (48, 24);
const REHEARSED_STEPS: u64 = 9;

impl<'a> Lab<'a> {
    /// # Errors
    /// Exit code 2 if data are missing that the protocol needs, 6 if a card was named that is not
    /// there.
    pub fn new(args: &'a ReproduceArgs, page: &'a Protocol, stop: &'a Stop) -> Result<Lab<'a>> {
        let device: Choice = args.machine.device.as_deref().unwrap_or("auto").parse()?;
        devices::open_cards(&[device], 0)?;
        machine::precision(args.machine.precision.as_deref())?;
        let needs = |data| page.arms.iter().flat_map(|arm| &arm.stages).any(|s| s.data == data);
        for (data, given, flag) in
            [(Data::Own, &args.data, "--data"), (Data::Larger, &args.larger, "--larger")]
        {
            if needs(data) && given.is_none() && !args.rehearse {
                let name = page.name;
                return Err(Fault::usage(format!(
                    "{flag}: {name} needs images; name their folder, or --rehearse without any"
                )));
            }
        }
        let default = if args.rehearse { "runs/rehearse" } else { "runs/reproduce" };
        Ok(Lab {
            page,
            stop,
            machine: &args.machine,
            reading: Reading::new(args.progress),
            runs: args.runs.clone().unwrap_or_else(|| PathBuf::from(default)),
            data: args.data.as_deref().map(canonical),
            larger: args.larger.as_deref().map(canonical),
            found: RefCell::default(),
        })
    }

    /// The folder of all runs.
    pub fn runs(&self) -> &Path {
        &self.runs
    }

    fn folder(&self, arm: &Arm, stage: &Stage, seed: u64) -> PathBuf {
        let stage = if stage.name.is_empty() { "" } else { &format!("-{}", stage.name) };
        self.runs.join(format!("{}-seed-{seed}{stage}", arm.name))
    }

    /// Makes an arm's run with a seed, or goes on with it, and measures it; `None` if a signal came
    /// before the end.
    ///
    /// # Errors
    /// Exit codes 1 to 4, 6 and 7.
    pub fn run(
        &self,
        arm: &Arm,
        seed: u64,
        most_epochs: Option<u32>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Measured>> {
        let folders: Vec<PathBuf> =
            arm.stages.iter().map(|stage| self.folder(arm, stage, seed)).collect();
        let last = folders.last().zip(arm.stages.last()).expect("an arm has stages");
        for (idx, stage) in arm.stages.iter().enumerate() {
            let before = idx.checked_sub(1).map(|before| folders[before].as_path());
            let mut settings = self.settings(stage, seed + 1000 * idx as u64, before)?;
            if let Some(most) = most_epochs {
                settings.recipe.epochs = settings.recipe.epochs.min(most);
            }
            begun::settle(&folders[idx], &mut settings, &stage.spec)?;
            let named = (flag_of(stage), &settings.data[..]);
            let now = || self.fingerprints(&settings, &stage.spec, observer);
            if begun::check_images(&folders[idx], named, now)?.is_none() {
                return Ok(None);
            }
            if let Some(measured) = Measured::read(&folders[idx])? {
                let measured = Measured { label: arm.label.clone(), ..measured };
                return match measured.diverged {
                    Some(_) => Ok(Some(measured)),
                    None => self.tested(measured, last, observer),
                };
            }
            match self.stage(&settings, &stage.spec, &folders[idx], observer) {
                Ok(false) => return Ok(None),
                Ok(true) => {}
                Err(fault) if fault.code == 5 => {
                    let mut measured = Measured::of(arm, seed, &folders[..=idx], self.page)?;
                    measured.diverged = Some(fault.message);
                    self.forget_together(arm)?;
                    measured.write(&folders[idx])?;
                    return Ok(Some(measured));
                }
                Err(fault) => return Err(fault),
            }
        }
        self.forget_together(arm)?;
        self.tested(Measured::of(arm, seed, &folders, self.page)?, last, observer)
    }

    /// Adds what the tests say that the protocol asks for and another that shares the run did not;
    /// `None` if a signal came before the end.
    fn tested(
        &self,
        mut measured: Measured,
        (run, stage): (&PathBuf, &Stage),
        observer: &mut dyn Observer,
    ) -> Result<Option<Measured>> {
        let views = self.page.views;
        let mut opened = None;
        for &view in views {
            if is_tested(&measured, view) {
                continue;
            }
            let (trained, images) = match &opened {
                Some(opened) => opened,
                None => opened.insert(self.opened(run, stage)?),
            };
            let tested = self.test(trained, images, view, observer)?;
            let Some((score, _)) = tested else { return Ok(None) };
            measured.tested.push(Tested::of(view, score));
            measured.write(run)?;
        }
        let place = |test: &Tested| views.iter().position(|&view| words(view) == test.views);
        measured.tested.retain(|test| place(test).is_some());
        measured.tested.sort_by_key(place);
        Ok(Some(measured))
    }

    fn settings(&self, stage: &Stage, seed: u64, before: Option<&Path>) -> Result<Settings> {
        let [height, width, _] = stage.spec.input;
        let mut recipe = stage.recipe.clone();
        recipe.input.side = Some(recipe.side(height, width));
        let init = before.filter(|_| stage.takes != Takes::Nothing).map(|from| Inherited {
            from: from.to_path_buf(),
            layers: None,
            velocities: stage.takes == Takes::All,
        });
        Ok(Settings {
            model: stage.spec.name.clone(),
            data: self.data_of(stage),
            labelling: Default::default(),
            seed,
            device: self.machine.device.clone().unwrap_or_else(|| "auto".to_string()),
            precision: self.machine.precision.clone(),
            parallel: None,
            exchange: Exchange::Host,
            vendor: Vendor::None,
            deterministic: false,
            threads: self.machine.threads.unwrap_or(0),
            workers: self.machine.workers.unwrap_or(0),
            max_steps: self.data.is_none().then_some(REHEARSED_STEPS),
            overfit: None,
            hold_out: stage.hold_out,
            init,
            fake_data: None,
            checkpoints: Policy { keep: 1, ..Policy::default() },
            recipe,
        })
    }

    /// What a stage learns from.
    fn data_of(&self, stage: &Stage) -> String {
        let data = match stage.data {
            Data::Own => &self.data,
            Data::Larger => &self.larger,
        };
        data.clone().unwrap_or_else(|| "shapes".to_string())
    }

    fn images(&self, settings: &Settings, spec: &Spec) -> Result<Images> {
        if self.data.is_some() {
            return open_images(settings, spec, &self.reading);
        }
        let side = settings.recipe.input.side.expect("settings are settled");
        let images = Images::shapes(REHEARSED, side, settings.workers)?;
        Ok(match settings.hold_out {
            Some(nth) => images.hold_out(nth),
            None => images,
        })
    }

    /// What these images are known by; `None` if a signal came before they were read.
    fn fingerprints(
        &self,
        settings: &Settings,
        spec: &Spec,
        observer: &mut dyn Observer,
    ) -> Result<Option<Fingerprints>> {
        let key = (settings.data.clone(), settings.recipe.input.side, settings.hold_out);
        if let Some(found) = self.found.borrow().get(&key) {
            return Ok(Some(found.clone()));
        }
        let mut images = self.images(settings, spec)?;
        let found = images.identify(observer, self.stop)?.cloned();
        self.found.borrow_mut().extend(found.clone().map(|found| (key, found)));
        Ok(found)
    }

    /// Makes a run or goes on with it; false if a signal came before the end.
    fn stage(
        &self,
        settings: &Settings,
        spec: &Spec,
        path: &Path,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        let has_begun = begun::has_begun(path)?;
        if has_begun && is_finished(path)? {
            return Ok(true);
        }
        let mut images = self.images(settings, spec)?;
        if images.identify(observer, self.stop)?.is_none() {
            return Ok(false);
        }
        let reopened = has_begun.then(|| reopen(path, &mut |text| observer.note(text)));
        let reopened = reopened.transpose()?;
        let goes_on = reopened.as_ref().is_some_and(|(_, from)| from.is_some());
        let watchers: (&Reading, &mut dyn Observer) = (&self.reading, observer);
        let ready = Ready::new(settings, spec.clone(), &images, watchers, ((0, 1), goes_on))?;
        let place = match reopened {
            Some((folder, None)) => Place::Reopened(folder, None),
            Some((folder, Some(from))) => {
                match ready.job.check(&from, false, observer, self.stop)? {
                    None => return Ok(false),
                    Some(identity) => Place::Reopened(folder, Some(Box::new((from, identity)))),
                }
            }
            None => Place::New(RunFolder::create(path)?, None),
        };
        let (outcome, _) = ready.go(place, observer, self.stop)?;
        Ok(outcome.signal().is_none())
    }

    /// The network of a stage's run, and the images it is tested on: those that were named now, as
    /// they may have been moved since the run was made.
    fn opened(&self, run: &Path, stage: &Stage) -> Result<(Trained, Images)> {
        let trained = Trained::open(Some(run), None)?;
        let mut settings = trained.config.clone().expect("a run's folder has its settings");
        (settings.hold_out, settings.data) = (None, self.data_of(stage));
        let images = self.images(&settings, &trained.weights.about.model)?;
        trained.check_classes(images.test.classes())?;
        Ok((trained, images))
    }

    /// Tests a network on the test images; `None` if a signal came before the end.
    fn test(
        &self,
        trained: &Trained,
        images: &Images,
        view: View,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Score, Predictions)>> {
        let seen = (views(view), BATCH, self.machine);
        testing::test(seen, trained, &images.test, observer, self.stop)
    }

    /// Removes what was kept of an arm's averages: a run of it is new.
    fn forget_together(&self, arm: &Arm) -> Result<()> {
        let is_seeds = |text: &str| text.parse::<u64>().is_ok();
        let failed = |error| run_file::unreadable(&self.runs, error);
        if !run_file::exists(&self.runs)? {
            return Ok(());
        }
        for entry in fs::read_dir(&self.runs).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().to_string();
            let seeds = name.strip_prefix(&before_seeds(arm));
            if seeds.and_then(|text| text.strip_suffix(TOGETHER)).is_some_and(is_seeds) {
                fs::remove_file(entry.path()).map_err(|error| Fault {
                    code: 7,
                    message: format!("{}: cannot remove it: {error}", entry.path().display()),
                })?;
            }
        }
        Ok(())
    }

    /// The score of the averaged probabilities of all seeds, where the protocol asks for it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn together(
        &self,
        arm: &Arm,
        seeds: u64,
        observer: &mut dyn Observer,
    ) -> Result<Option<Score>> {
        if self.page.measure != Measure::Together {
            return Ok(None);
        }
        let (Some(stage), Some(&view)) = (arm.stages.last(), self.page.views.last()) else {
            return Ok(None);
        };
        let path = self.runs.join(format!("{}{seeds}{TOGETHER}", before_seeds(arm)));
        let kept = run_file::read(&path)?;
        if let Some(score) = kept.and_then(|text| serde_json::from_str(&text).ok()) {
            return Ok(Some(score)); // ten views of ImageNet by five networks take a while
        }
        let mut said = Vec::new();
        for seed in 0..seeds {
            let (trained, images) = self.opened(&self.folder(arm, stage, seed), stage)?;
            match self.test(&trained, &images, view, observer)? {
                Some((_, predictions)) => said.push(predictions),
                None => return Ok(None),
            }
        }
        let weights = vec![1.0 / said.len() as f64; said.len()];
        let average = Predictions::average(&said, &weights);
        let score = average.map_err(|message| Fault { code: 3, message })?.score();
        let text = serde_json::to_string(&score).expect("plain data") + "\n";
        output::write(&path, text.as_bytes())?;
        Ok(Some(score))
    }
}

/// What names the images of a stage.
fn flag_of(stage: &Stage) -> &'static str {
    match stage.data {
        Data::Own => "--data",
        Data::Larger => "--larger",
    }
}

fn before_seeds(arm: &Arm) -> String {
    format!("{}-", arm.name)
}

/// A folder's whole name, so that a later command finds it from anywhere.
fn canonical(folder: &str) -> String {
    fs::canonicalize(folder).map_or(folder.to_string(), |whole| whole.display().to_string())
}

fn is_tested(measured: &Measured, view: View) -> bool {
    measured.tested.iter().any(|test| test.views == words(view))
}

/// Whether a run has made its last step and left its weights.
fn is_finished(run: &Path) -> Result<bool> {
    let text = run_file::read(&run.join("run.json"))?.unwrap_or_default();
    let status: Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(status["status"] == "finished" && run_file::exists(&run.join(WEIGHTS))?)
}

fn views(view: View) -> ViewsArg {
    match view {
        View::Centre => ViewsArg::Centre,
        View::Nine => ViewsArg::Nine,
        View::Ten => ViewsArg::Ten,
    }
}
