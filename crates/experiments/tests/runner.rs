//! Experiments whose runner trains nothing: which runs are made, which are taken as they are, and
//! what is kept of them.

use alexnet_experiments::{
    Data, Ended, Error, Experiment, Fingerprints, Images, Result, RunRequest, RunStart, Runner,
    Scale, View, example, find, reproduce,
};
use evaluate::{Observer, Predictions, Score, Silent, Tested};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Remembers what it was asked for.
#[derive(Default)]
struct Pretender {
    began: RefCell<HashMap<PathBuf, RunStart>>,
    trained: RefCell<Vec<String>>,
    tests: Cell<usize>,
    /// The run, by its place among all, before which a stop is asked for.
    stopped_before: Option<usize>,
    /// The seed whose networks diverge.
    diverging: Option<u64>,
    /// Others than those that runs are made with.
    has_other_images: bool,
}

impl Runner for Pretender {
    type Error = Error;
    type Opened = ();

    fn began(&self, run: &Path) -> Result<RunStart> {
        Ok(self.began.borrow()[run].clone())
    }

    fn fingerprints(&self, _: &RunRequest, _: &mut dyn Observer) -> Result<Option<Fingerprints>> {
        let other = self.has_other_images.then(|| ["others".into(), "others".into()]);
        Ok(Some(other.unwrap_or(example::FINGERPRINTS.map(String::from))))
    }

    fn train(&self, run: &Path, task: &RunRequest, _: &mut dyn Observer) -> Result<Ended> {
        if self.stopped_before == Some(self.trained.borrow().len()) {
            return Ok(Ended::Stopped);
        }
        let RunRequest { recipe, hold_out, seed, max_steps, precision, .. } = task.clone();
        let data = task.images.name().to_string();
        let began = RunStart { data, recipe, hold_out, seed, max_steps, precision };
        self.began.borrow_mut().insert(run.into(), began);
        let name = run.file_name().unwrap().display().to_string();
        self.trained.borrow_mut().push(name);
        example::leave_run(run, task).unwrap();
        if self.diverging == Some(seed) {
            Ok(Ended::Diverged("the loss is NaN".into()))
        } else {
            Ok(Ended::Finished)
        }
    }

    fn open(&self, _: &Path, images: &Images) -> Result<()> {
        assert_eq!(*images, Images::Shapes { train: 48, test: 24 });
        Ok(())
    }

    fn test(&self, (): &(), _: View, _: &mut dyn Observer) -> Result<Option<(Score, Predictions)>> {
        self.tests.set(self.tests.get() + 1);
        let mut said = Predictions::new(2);
        said.push(Tested { sample: 0, label: 1, probabilities: &[0.75, 0.25] });
        Ok(Some((said.score(), said)))
    }

    fn write(&self, path: &Path, contents: &[u8]) -> Result<()> {
        fs::write(path, contents).unwrap();
        Ok(())
    }
}

/// A rehearsal in an empty folder.
fn rehearsal(name: &str) -> Experiment {
    let folder = format!("alexnet-experiments-{name}-{}", std::process::id());
    let runs = std::env::temp_dir().join(folder);
    let _ = fs::remove_dir_all(&runs);
    let scale = Scale::Rehearsal;
    let page = find(name).and_then(|page| page.at_scale(scale)).unwrap();
    let (seeds, out) = (page.seeds, runs.clone());
    let (data, larger, precision, note) = (None, None, None, None);
    Experiment { page, scale, seeds, data, larger, precision, runs, out, note }
}

fn text(experiment: &Experiment, ending: &str) -> String {
    let name = format!("{}.{ending}", experiment.page.name);
    fs::read_to_string(experiment.out.join(name)).unwrap()
}

#[test]
fn finished_runs_are_not_repeated() {
    let experiment = rehearsal("overlap");
    let mut runner = Pretender { stopped_before: Some(3), ..Pretender::default() };
    assert_eq!(reproduce(&experiment, &runner, &mut Silent).unwrap(), None);
    assert!(text(&experiment, "md").contains("Some runs are missing"));
    runner.stopped_before = None;
    let measured = reproduce(&experiment, &runner, &mut Silent).unwrap().unwrap();
    let [one, other] = [0, 1].map(|arm| &experiment.page.arms[arm].name);
    let order =
        [(one, 0), (other, 0), (one, 1), (other, 1)].map(|(arm, n)| format!("{arm}-seed-{n}"));
    assert_eq!(*runner.trained.borrow(), order);
    assert_eq!(measured.len(), 4);
    assert!(measured.iter().all(|run| run.tested.len() == 1 && run.steps == 10.0));
    assert_eq!(runner.tests.get(), 4);
    let whole = ["md", "svg", "json"].map(|ending| text(&experiment, ending));
    assert!(!whole[0].contains("Some runs are missing"), "{}", whole[0]);
    let again = reproduce(&experiment, &runner, &mut Silent).unwrap().unwrap();
    assert_eq!((again, runner.tests.get()), (measured, 4));
    assert_eq!(["md", "svg", "json"].map(|ending| text(&experiment, ending)), whole);

    // A run without measurements is measured again, not trained again.
    fs::remove_file(experiment.runs.join(&order[2]).join("measured.json")).unwrap();
    reproduce(&experiment, &runner, &mut Silent).unwrap().unwrap();
    assert_eq!((runner.trained.borrow().len(), runner.tests.get()), (4, 5));
    fs::remove_dir_all(&experiment.runs).unwrap();
}

#[test]
fn an_ensemble_is_tested_if_no_network_diverged() {
    let experiment = rehearsal("ensemble");
    let runner = Pretender { diverging: Some(1), ..Pretender::default() };
    let measured = reproduce(&experiment, &runner, &mut Silent).unwrap().unwrap();
    assert_eq!(measured[1].diverged.as_deref(), Some("the loss is NaN"));
    assert!(text(&experiment, "md").contains("| diverged |"));
    assert!(text(&experiment, "json").contains("\"together\": null"));
    fs::remove_dir_all(&experiment.runs).unwrap();

    let runner = Pretender::default();
    reproduce(&experiment, &runner, &mut Silent).unwrap().unwrap();
    assert!(text(&experiment, "md").contains("averaged predictions of all seeds: 100.00 % top-1"));
    fs::remove_dir_all(&experiment.runs).unwrap();
}

#[test]
fn another_run_is_not_taken_for_the_one_that_is_meant() {
    let experiment = rehearsal("cifar-80sec");
    let mut runner = Pretender::default();
    reproduce(&experiment, &runner, &mut Silent).unwrap().unwrap();
    let run = experiment.runs.join("cifar-80sec-seed-0");

    let precise = Experiment { precision: Some("bf16".into()), ..experiment.clone() };
    let error = reproduce(&precise, &runner, &mut Silent).unwrap_err();
    let said = format!("{}: this run computes in f32, not in bf16", run.display());
    assert_eq!(error.to_string(), said);

    let mut changed = experiment.clone();
    changed.page.arms[0].stages[0].recipe.momentum = 0.8;
    let error = reproduce(&changed, &runner, &mut Silent).unwrap_err();
    assert!(matches!(&error, Error::AnotherRun { what: "recipe", .. }), "{error}");

    runner.has_other_images = true;
    let error = reproduce(&experiment, &runner, &mut Silent).unwrap_err();
    let said = "this run was made with other images (shapes) than those of shapes";
    assert!(error.to_string().ends_with(said), "{error}");
    assert!(matches!(error, Error::OtherImages { data: Data::Own, .. }));
    fs::remove_dir_all(&experiment.runs).unwrap();
}

#[test]
fn images_are_missed_before_anything_is_written() {
    let mut experiment = rehearsal("pretrain");
    experiment.scale = Scale::Whole;
    let error = reproduce(&experiment, &Pretender::default(), &mut Silent).unwrap_err();
    assert!(matches!(error, Error::NoImages { data: Data::Own, .. }), "{error}");
    experiment.data = Some("imagenet".into());
    let error = reproduce(&experiment, &Pretender::default(), &mut Silent).unwrap_err();
    assert_eq!(error.to_string(), "pretrain needs images");
    assert!(matches!(error, Error::NoImages { data: Data::Larger, .. }));
    assert!(!experiment.out.exists());
}
