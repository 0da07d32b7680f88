//! What a run takes over from another, and runs that end when they have learned enough.

mod fixtures;

use alexnet_train::checkpoint::{self, Checkpoint, Policy};
use alexnet_train::folder::RunFolder;
use alexnet_train::init::Pretrained;
use alexnet_train::recipe::{Augment, Optimizer, Recipe};
use alexnet_train::recipes;
use alexnet_train::run::{Job, Outcome, Session};
use alexnet_train::schedule::Schedule;
use data::{Shapes, Statistics};
use evaluate::Stop;
use evaluate::observe::Silent;
use fixtures::Scratch;
use layers::{Spec, window};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensor::Device;
use weights::Weights;

fn spec(classes: usize) -> Spec {
    Spec::image("tiny", 16, 16, 3)
        .conv("conv1", 8, window(5).stride(2))
        .relu()
        .linear("fc2", 12)
        .relu()
        .linear("fc3", classes)
}

/// 4 steps an epoch.
fn job(classes: usize) -> Job {
    let images = Arc::new(Shapes::train(Shapes::SEED, 16, 32));
    let recipe = Recipe {
        batch: 8,
        epochs: 3,
        rate: 1e-4,
        augment: Augment::NONE,
        schedule: Schedule::Constant {},
        ..recipes::paper()
    };
    Job {
        spec: spec(classes),
        recipe,
        seed: 5,
        statistics: Statistics::of(&*images).unwrap(),
        train: images.clone(),
        validation: images,
        workers: 1,
        init: None,
        max_steps: None,
        class_names: Vec::new(),
        validate_every: 1,
        checkpoints: Policy::default(),
    }
}

/// Runs in a folder that goes away with the test.
struct Runs(Scratch);

impl Runs {
    fn new(name: &str) -> Runs {
        let scratch = Scratch::new(name);
        std::fs::create_dir_all(&scratch.0).unwrap();
        Runs(scratch)
    }

    fn run(&self, name: &str, job: &Job) -> (PathBuf, Outcome) {
        let path = self.0.0.join(name);
        let mut folder = RunFolder::create(&path).unwrap();
        let (plan, device) =
            (job.plan(tensor::Target::Cpu { threads: 1 }).unwrap(), Device::cpu(1));
        let (mut silent, stop) = (Silent, Stop::new());
        let session = Session::new(job, &mut folder, &mut silent, &stop);
        let outcome = session.start(|start| plan.open_boxed(device, start)).unwrap();
        (path, outcome)
    }
}

fn newest(run: &Path) -> Checkpoint {
    checkpoint::load_newest(run, &mut |_| ()).unwrap().unwrap()
}

fn weights(run: &Path) -> Vec<(String, Vec<f32>)> {
    let weights = Weights::read(run.join("weights.safetensors")).unwrap();
    weights.parameters.into_iter().map(|(name, values)| (name, values.values)).collect()
}

/// A job that inherits and then stands still, but for what it has of velocity.
fn still(init: Pretrained) -> Job {
    let mut job = Job { init: Some(Arc::new(init)), max_steps: Some(1), ..job(10) };
    (job.recipe.rate, job.recipe.decay) = (1e-30, 0.0); // at zero a layer is left out
    job
}

#[test]
fn parameters_are_taken_over_with_or_without_their_velocities() {
    let runs = Runs::new("taken");
    let (first, _) = runs.run("first", &job(10));
    let plain =
        still(Pretrained::read(&first, None, false, &Default::default(), &mut |_| ()).unwrap());
    assert!(weights(&runs.run("plain", &plain).0) == weights(&first));

    let moving =
        still(Pretrained::read(&first, None, true, &Default::default(), &mut |_| ()).unwrap());
    let (moved, _) = runs.run("moving", &moving);
    let before = newest(&first);
    let mut moved_at_all = false;
    // At so small a rate a step is v <- 0.9 v, w <- w + v.
    for (name, values) in weights(&moved) {
        let (w, v) = before.parameter_named(&name).unwrap();
        let close = |(now, (w, v)): (&f32, (&f32, &f32))| (now - (w + 0.9 * v)).abs() <= 1e-6;
        assert!(values.iter().zip(w.iter().zip(v)).all(close), "{name}");
        moved_at_all |= values != w;
    }
    assert!(moved_at_all, "no velocity was taken over");
    // Both are part of what a run is.
    let error =
        plain.check(&newest(&moved), false, &mut Silent, &Stop::new()).unwrap_err().to_string();
    assert!(error.contains("  init: was "), "{error}");
}

/// PyTorch's velocities lack the rate that the paper's include.
#[test]
fn velocities_of_another_convention_are_refused() {
    let runs = Runs::new("conventions");
    let with = |optimizer, init: Option<Pretrained>| {
        let mut job = Job { max_steps: Some(1), init: init.map(Arc::new), ..job(10) };
        job.recipe.optimizer = optimizer;
        job
    };
    let kinds = [(Optimizer::Sgd, "sgd"), (Optimizer::SgdPytorch, "sgd-pytorch")];
    for (theirs, name) in kinds.into_iter().chain([(Optimizer::Adam, "adam")]) {
        let (first, _) = runs.run(name, &with(theirs, None));
        for (own, to) in kinds {
            let init =
                Pretrained::read(&first, None, true, &Default::default(), &mut |_| ()).unwrap();
            let job = with(own, Some(init));
            let plan = job.plan(tensor::Target::Cpu { threads: 1 }).unwrap();
            let opened = plan.open_boxed(Device::cpu(1), &job.start(None).unwrap());
            if own == theirs {
                assert!(opened.is_ok(), "{name}");
                continue;
            }
            let said = opened.err().unwrap().to_string();
            for part in [format!("= \"{name}\""), format!("this run has \"{to}\"")] {
                assert!(said.contains(&part) && said.contains("weights alone"), "{said}");
            }
        }
    }
}

#[test]
fn a_run_that_goes_on_needs_nothing_of_what_it_began_with() {
    let runs = Runs::new("without");
    let (first, _) = runs.run("first", &job(10));
    let init = Pretrained::read(&first, None, true, &Default::default(), &mut |_| ()).unwrap();
    let begun = Job { init: Some(Arc::new(init)), ..job(10) };
    let (whole, _) = runs.run("whole", &begun);
    let (run, _) = runs.run("run", &Job { max_steps: Some(3), ..begun });
    std::fs::remove_dir_all(&first).unwrap();

    // Twice, as what it began with is still a part of what it is.
    for steps in [5, 12] {
        let again = Job { max_steps: Some(steps), ..job(10) };
        let mut folder = RunFolder::open(&run).unwrap();
        let (plan, from) = (again.plan(tensor::Target::Cpu { threads: 1 }).unwrap(), newest(&run));
        let identity = again.check(&from, false, &mut Silent, &Stop::new()).unwrap().unwrap();
        assert_eq!(identity, from.identity);
        let (mut silent, stop) = (Silent, Stop::new());
        let session =
            Session::new(&again, &mut folder, &mut silent, &stop).with_identity(Some(identity));
        session.resume(Some(from), |start| plan.open_boxed(Device::cpu(1), start)).unwrap();
    }
    assert!(weights(&run) == weights(&whole));
    assert_eq!(newest(&run).identity, newest(&whole).identity);
}

#[test]
fn a_last_layer_of_other_classes_starts_anew_and_others_must_fit() {
    let runs = Runs::new("classes");
    let (first, _) = runs.run("first", &job(10));
    let other = Job { max_steps: Some(1), ..job(7) };
    let names = |layers: Option<&[&str]>, job: &Job| {
        let layers = layers.map(|names| names.iter().map(|name| name.to_string()).collect());
        let plan = job.plan(tensor::Target::Cpu { threads: 1 }).unwrap();
        let entries = plan.parameters().entries.clone();
        let taken = Pretrained::read(&first, layers, false, &Default::default(), &mut |_| ())
            .unwrap()
            .taken(&entries);
        taken.map(|taken| taken.into_iter().map(|idx| entries[idx].name.clone()).collect())
    };
    let taken: Vec<String> = names(None, &other).unwrap();
    assert_eq!(taken, ["conv1.weight", "conv1.bias", "fc2.weight", "fc2.bias"]);
    let taken: Vec<String> = names(None, &job(10)).unwrap();
    assert_eq!(taken.len(), 6);
    let taken: Vec<String> = names(Some(&["conv*"]), &other).unwrap();
    assert_eq!(taken, ["conv1.weight", "conv1.bias"]);
    let refused = |layers: &[&str]| names(Some(layers), &other).unwrap_err().to_string();
    let error = refused(&["*"]);
    assert!(error.contains("`fc3.weight` is [10, 12], and the new network has"), "{error}");
    let error = refused(&["fc9"]);
    assert!(error.contains("no layer that fits `fc9`"), "{error}");
}

#[test]
fn a_run_ends_when_it_has_learned_enough() {
    let runs = Runs::new("until");
    let until = |error| {
        let mut job = job(10);
        job.recipe.until = Some(error);
        job
    };
    let (run, outcome) = runs.run("easy", &until(1.0));
    assert_eq!(outcome.steps, 4);
    assert_eq!(runs.run("hard", &until(0.0)).1.steps, 12);
    // Asked to go on, it has nothing to do.
    let mut folder = RunFolder::open(&run).unwrap();
    let again = until(1.0);
    let (plan, from) =
        (again.plan(tensor::Target::Cpu { threads: 1 }).unwrap(), Some(newest(&run)));
    let (mut silent, stop) = (Silent, Stop::new());
    let session = Session::new(&again, &mut folder, &mut silent, &stop);
    let outcome = session.resume(from, |start| plan.open_boxed(Device::cpu(1), start)).unwrap();
    assert_eq!((outcome.steps, outcome.resumed_at), (4, 4));
}
