//! A run that is stopped and goes on comes to the bits of one that was never stopped.
//!
//! `ALEXNET_LONG=1` (`cargo xtask test --long`): at each of its 200 steps; otherwise at a few.

mod fixtures;

use alexnet_train::checkpoint::{self, Policy};
use alexnet_train::folder::RunFolder;
use alexnet_train::optimizer::Ema;
use alexnet_train::recipe::{
    Augment, ClassWeights, ColorForm, Erase, Optimizer, Recipe, Sampling, WeightRule,
};
use alexnet_train::recipes;
use alexnet_train::run::{End, Job, Outcome, Session};
use alexnet_train::schedule::{Per, Schedule, Warmup};
use augment::Interpolation;
use data::{Shapes, Statistics};
use evaluate::Stop;
use evaluate::observe::{Observer, Silent, StepReport, ValidationReport};
use fixtures::{Scratch, StopsAfter, timeless};
use layers::{Lrn, Spec, window};
use serde_json::Value;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tensor::{Device, Target};
use testkit::is_long;
use weights::Weights;

/// 13 batches, the last of them short, for 15 epochs and a bit.
const IMAGES: u32 = 100;
const BATCH: usize = 8;
const STEPS: u64 = 200;

/// Every kind of row, and everything random, in small.
fn spec() -> Spec {
    Spec::image("tiny", 16, 16, 3)
        .conv("conv1", 8, window(5).pad(2).stride(2))
        .relu()
        .lrn_with(Lrn::default())
        .pool(window(3).stride(2))
        .conv("conv2", 16, window(3).pad(1).groups(2))
        .relu()
        .linear("fc3", 24)
        .batch_norm()
        .prelu()
        .dropout(0.5)
        .linear("fc4", 10)
}

fn job(workers: usize) -> Job {
    let images = Arc::new(Shapes::train(Shapes::SEED, 18, IMAGES));
    let augment = Augment { crop: true, mirror: true, form: ColorForm::Source, ..Augment::NONE };
    let recipe = Recipe {
        batch: BATCH,
        epochs: 1000,
        rate: 3e-4,
        augment: Augment { color: 0.1, ..augment },
        // Drops within the run, so that what the schedule remembers matters.
        schedule: Schedule::Plateau { factor: 0.5, drops: 9, patience: 1, threshold: 0.05 },
        ..recipes::paper()
    };
    Job {
        spec: spec(),
        recipe,
        seed: 11,
        statistics: Statistics::of(&*images).unwrap(),
        train: images,
        validation: Arc::new(Shapes::train(Shapes::SEED + 1, 18, 30)),
        workers,
        init: None,
        max_steps: Some(STEPS),
        class_names: Vec::new(),
        validate_every: 2,
        checkpoints: Policy::default(),
    }
}

fn begin(job: &Job, path: &Path, threads: usize, stop_after: Option<u64>) -> Outcome {
    let plan = job.plan(Target::Cpu { threads }).unwrap();
    let mut folder = RunFolder::create(path).unwrap();
    let stop = Stop::new();
    let mut observer = StopsAfter(stop_after.unwrap_or(u64::MAX), stop.clone());
    let session = Session::new(job, &mut folder, &mut observer, &stop);
    session.start(|start| plan.open_boxed(Device::cpu(threads), start)).unwrap()
}

fn resume(job: &Job, path: &Path, threads: usize, stop_after: Option<u64>) -> Outcome {
    let plan = job.plan(Target::Cpu { threads }).unwrap();
    let mut folder = RunFolder::open(path).unwrap();
    let from = checkpoint::load_newest(path, &mut |_| ()).unwrap();
    let stop = Stop::new();
    from.iter().for_each(|from| _ = job.check(from, false, &mut Silent, &stop).unwrap());
    let mut observer = StopsAfter(stop_after.unwrap_or(u64::MAX), stop.clone());
    let session = Session::new(job, &mut folder, &mut observer, &stop);
    session.resume(from, |start| plan.open_boxed(Device::cpu(threads), start)).unwrap()
}

/// All of a run that is not time: its weights, velocities and metrics.
#[derive(PartialEq)]
struct Bits {
    weights: Vec<u8>,
    metrics: Vec<Value>,
    lines: usize,
}

fn bits(run: &Path) -> Bits {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let csv = fs::read_to_string(run.join("metrics.csv")).unwrap();
    Bits {
        weights: fs::read(run.join("weights.safetensors")).unwrap(),
        metrics: text.lines().map(timeless).collect(),
        lines: csv.lines().count(),
    }
}

/// With every method of augmentation, dense targets and balanced sampling, stopped in the middle of
/// an epoch and at its end; with other numbers of threads and workers.
#[test]
fn a_run_with_later_methods_comes_to_the_same_bits() {
    let varied = |workers| {
        let mut job = Job { max_steps: Some(30), ..job(workers) };
        job.recipe.label_smoothing = 0.1;
        job.recipe.sampling = Sampling::Balanced;
        job.recipe.class_weights = Some(ClassWeights::Rule(WeightRule::Balanced));
        job.recipe.augment = Augment {
            vertical_flip: 0.5,
            rotate: 10.0,
            trivial_augment: true,
            interpolation: Interpolation::Bilinear,
            grayscale: 0.2,
            erase: Some(Erase::default()),
            mixup: Some(0.4),
            cutmix: Some(1.0),
            ..job.recipe.augment
        };
        job
    };
    let whole = Scratch::new("varied");
    begin(&varied(1), &whole.0, 1, None);
    let run = Scratch::new("varied-resumed");
    begin(&varied(3), &run.0, 2, Some(7));
    resume(&varied(2), &run.0, 1, Some(13));
    assert_eq!(resume(&varied(1), &run.0, 2, None).resumed_at, 13);
    assert!(bits(&run.0) == bits(&whole.0));
    // Each setting is part of the run's identity.
    let from = checkpoint::load_newest(&run.0, &mut |_| ()).unwrap().unwrap();
    let mut other = varied(1);
    other.recipe.augment.mixup = Some(0.5);
    let refused = other.check(&from, false, &mut Silent, &Stop::new()).err().unwrap().to_string();
    assert!(refused.contains("mixup"), "{refused}");
}

#[test]
fn stopped_after_any_step_it_comes_to_the_same_bits() {
    let whole = Scratch::new("whole");
    let outcome = begin(&job(1), &whole.0, 1, None);
    assert_eq!((outcome.steps, outcome.signal()), (STEPS, None));
    let expected = bits(&whole.0);
    assert!(expected.metrics.iter().filter(|line| line["kind"] == "validation").count() >= 7);
    let rates = expected.metrics.iter().filter_map(|line| line["rate"].as_f64());
    assert!(rates.clone().next_back() < rates.clone().next(), "the schedule did nothing");

    // Around ends of epochs, validations and lines of metrics; a step of a short batch.
    let few = [1, 12, 13, 14, 26, 101, 119, 199, 200];
    let points: Vec<u64> = if is_long() { (1..=STEPS).collect() } else { few.to_vec() };
    let mut equal = 0;
    for &point in &points {
        let run = Scratch::new("point");
        let stopped = begin(&job(1), &run.0, 1, Some(point));
        assert_eq!((stopped.steps, stopped.signal()), (point, Some(15)));
        let (threads, workers) = ([1, 2, 4][point as usize % 3], [0, 2, 4][point as usize / 3 % 3]);
        let resumed = resume(&job(workers), &run.0, threads, None);
        assert_eq!((resumed.steps, resumed.resumed_at, resumed.signal()), (STEPS, point, None));
        equal += u32::from(bits(&run.0) == expected);
    }
    println!("resumed after {} of {STEPS} steps: {equal} to the same bits", points.len());
    assert_eq!(equal as usize, points.len());
}

#[test]
fn threads_and_workers_may_change_on_the_way() {
    let whole = Scratch::new("whole-2");
    begin(&job(1), &whole.0, 1, None);
    let expected = bits(&whole.0);
    let mut equal = 0;
    for threads in [1, 2, 4] {
        for workers in [0, 2, 4] {
            let run = Scratch::new("machines");
            begin(&job(workers), &run.0, threads, Some(53));
            resume(&job(4 - workers), &run.0, 5 - threads, Some(117));
            resume(&job(workers), &run.0, threads, None);
            equal += u32::from(bits(&run.0) == expected);
        }
    }
    println!("1, 2, 4 threads x 0, 2, 4 workers, all changed twice: {equal} of 9 to the same bits");
    assert_eq!(equal, 9);
}

#[test]
fn ten_times_stopped_and_ten_times_resumed() {
    let (whole, run) = (Scratch::new("whole-3"), Scratch::new("chain"));
    begin(&job(1), &whole.0, 1, None);
    begin(&job(2), &run.0, 2, Some(3));
    for stop in (1..=9).map(|link| 3 + 19 * link) {
        assert_eq!(resume(&job(2), &run.0, 2, Some(stop)).steps, stop);
    }
    assert_eq!(resume(&job(2), &run.0, 2, None).resumed_at, 174);
    assert!(bits(&run.0) == bits(&whole.0));
    // Once more changes nothing: everything has been done.
    let again = resume(&job(2), &run.0, 2, None);
    assert_eq!((again.steps, again.resumed_at), (STEPS, STEPS));
    assert!(bits(&run.0) == bits(&whole.0));
}

/// Sees enough at a step, or at a validation.
struct Enough {
    step: u64,
    at_validation: bool,
}

impl Observer for Enough {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.judge(report.step >= self.step && !self.at_validation)
    }

    fn validation(&mut self, report: &ValidationReport) -> ControlFlow<()> {
        self.judge(report.step >= self.step && self.at_validation)
    }
}

impl Enough {
    fn judge(&self, is_enough: bool) -> ControlFlow<()> {
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn an_observer_ends_a_run_early_and_it_goes_on_to_the_same_bits() {
    let whole = Scratch::new("enough-whole");
    begin(&job(1), &whole.0, 1, None);
    let per_epoch = job(1).train.len().div_ceil(job(1).recipe.batch) as u64;
    // In the middle of an epoch, at its last step (its validation is still to come), and after it.
    for (step, at_validation) in
        [(per_epoch + 2, false), (2 * per_epoch, false), (per_epoch + 2, true)]
    {
        let run = Scratch::new("enough");
        let (job, stop) = (job(1), Stop::new());
        let plan = job.plan(Target::Cpu { threads: 1 }).unwrap();
        let mut folder = RunFolder::create(&run.0).unwrap();
        let mut observer = Enough { step, at_validation };
        let session = Session::new(&job, &mut folder, &mut observer, &stop);
        let outcome = session.start(|start| plan.open_boxed(Device::cpu(1), start)).unwrap();
        let expected = if at_validation { 2 * per_epoch } else { step };
        assert_eq!((outcome.end, outcome.steps), (End::StoppedEarly, expected));
        assert_eq!(stop.requested(), None, "the flag is the caller's");
        let status: Value =
            serde_json::from_slice(&fs::read(run.0.join("run.json")).unwrap()).unwrap();
        assert_eq!(status["status"], "stopped-early");
        drop(folder);
        let resumed = resume(&job, &run.0, 1, None);
        assert_eq!((resumed.end, resumed.resumed_at), (End::Finished, expected));
        assert!(bits(&run.0) == bits(&whole.0), "{step}, {at_validation}");
    }
    // At its last validation all is done.
    let run = Scratch::new("enough-last");
    let (job, stop) = (job(1), Stop::new());
    let plan = job.plan(Target::Cpu { threads: 1 }).unwrap();
    let mut folder = RunFolder::create(&run.0).unwrap();
    let mut observer = Enough { step: STEPS, at_validation: true };
    let session = Session::new(&job, &mut folder, &mut observer, &stop);
    assert_eq!(
        session.start(|start| plan.open_boxed(Device::cpu(1), start)).unwrap().end,
        End::Finished
    );
}

/// Adam's second moments and its count of steps go on, too.
#[test]
fn a_run_with_adam_comes_to_the_same_bits() {
    let (whole, run) = (Scratch::new("whole-adam"), Scratch::new("adam"));
    let mut job = Job { max_steps: Some(60), ..job(1) };
    job.recipe = Recipe { optimizer: Optimizer::Adam, rate: 1e-3, ..job.recipe };
    begin(&job, &whole.0, 1, None);
    begin(&job, &run.0, 2, Some(17));
    assert_eq!(resume(&job, &run.0, 1, None).resumed_at, 17);
    assert!(bits(&run.0) == bits(&whole.0));
}

/// So do rates that change before every step, and averages; the file of weights has the averages.
#[test]
fn runs_with_later_updates_come_to_the_same_bits() {
    let adamw = |recipe: Recipe| Recipe {
        optimizer: Optimizer::AdamW,
        rate: 1e-3,
        clip_norm: Some(1.0),
        ema: Some(Ema { decay: 0.9, every: 2, warmup: true }),
        schedule: Schedule::Cosine { end: 0.0, per: Per::Step },
        warmup: Some(Warmup { epochs: Some(0.5), steps: None, start: 0.1 }),
        ..recipe
    };
    let nesterov = |recipe: Recipe| Recipe {
        optimizer: Optimizer::SgdPytorch,
        nesterov: true,
        clip_value: Some(0.5),
        ema: Some(Ema { decay: 0.9, every: 1, warmup: false }),
        schedule: toml::from_str("kind = 'one-cycle'\ncycle-momentum = [0.8, 0.9]").unwrap(),
        ..recipe
    };
    let changes: [(&str, &dyn Fn(Recipe) -> Recipe); 2] =
        [("adamw", &adamw), ("nesterov", &nesterov)];
    for (name, change) in changes {
        let (whole, run) = (Scratch::new(&format!("whole-{name}")), Scratch::new(name));
        let mut job = Job { max_steps: Some(60), ..job(1) };
        job.recipe = change(Recipe { epochs: 5, ..job.recipe });
        job.recipe.input.side = Some(18);
        job.recipe.check().unwrap();
        begin(&job, &whole.0, 1, None);
        begin(&job, &run.0, 2, Some(17));
        assert_eq!(resume(&job, &run.0, 1, None).resumed_at, 17);
        assert!(bits(&run.0) == bits(&whole.0), "{name}");

        let from = checkpoint::load_newest(&run.0, &mut |_| ()).unwrap().unwrap();
        let averages = Weights::read(run.0.join("weights.safetensors")).unwrap();
        assert!(Weights::read(&from.path).unwrap() == averages, "a checkpoint is read as weights");
        for (name, average) in &averages.parameters {
            let (last, _) = from.parameter_named(name).unwrap();
            assert_ne!(last, average.values, "{name}");
        }
        // The curve spans the run, so its length cannot change.
        job.recipe.epochs = 6;
        let error = job.check(&from, false, &mut Silent, &Stop::new()).unwrap_err().to_string();
        assert!(error.contains("follows a curve over all epochs"), "{error}");
        assert!(error.contains("What may change: max_steps, "), "{error}");
    }
}

#[test]
fn a_run_may_be_made_longer_and_is_what_a_longer_one_would_have_been() {
    let (whole, run) = (Scratch::new("whole-4"), Scratch::new("longer"));
    let steps = |max_steps| Job { max_steps: Some(max_steps), ..job(2) };
    begin(&steps(120), &whole.0, 2, None);
    begin(&steps(60), &run.0, 2, None);
    resume(&steps(120), &run.0, 2, None);
    // The shorter one ended in mid-epoch with a validation, which must have left no trace in what
    // was learned.
    let (whole, run) = (bits(&whole.0), bits(&run.0));
    assert!(whole.weights == run.weights);
    let training = |bits: &Bits| {
        let lines = bits.metrics.iter().filter(|line| line["kind"] == "train");
        lines.filter(|line| line["step"].as_u64() <= Some(100)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(training(&whole), training(&run));
}

#[test]
fn what_may_not_change_is_refused_and_named() {
    let run = Scratch::new("refused");
    begin(&job(1), &run.0, 1, Some(5));
    let from = checkpoint::load_newest(&run.0, &mut |_| ()).unwrap().unwrap();
    let with = |change: &dyn Fn(&mut Job)| {
        let mut job = job(1);
        change(&mut job);
        job
    };
    type Change<'a> = &'a dyn Fn(&mut Job);
    let allowed: [Change; 4] = [
        &|job| job.recipe.epochs = 7,
        &|job| job.max_steps = None,
        &|job| job.workers = 9,
        &|job| job.checkpoints.keep = 5,
    ];
    let stop = Stop::new();
    let check = |change: Change, rate| with(change).check(&from, rate, &mut Silent, &stop);
    allowed.iter().for_each(|change| assert!(check(change, false).unwrap().is_some()));
    let refused: [(Change, &str); 8] = [
        (&|job| job.seed = 12, "  seed: was 11, now 12"),
        (&|job| job.recipe.batch = 9, "  recipe.batch: was 8, now 9"),
        (&|job| job.recipe.momentum = 0.5, "  recipe.momentum: was 0.9, now 0.5"),
        (&|job| job.recipe.rate = 1.0, "must be given explicitly"),
        (
            &|job| job.spec = job.spec.clone().with_classes(9).unwrap(),
            "model.rows[10].linear.outputs",
        ),
        (&|job| job.statistics.mean[7] += 1.0, "data.mean: was "),
        (&|job| job.train = Arc::new(Shapes::train(Shapes::SEED, 18, 99)), "data.train: was "),
        (&|job| job.validation = Arc::clone(&job.train), "data.validation: was "),
    ];
    for (change, expected) in refused {
        let error = check(change, false).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("What may change"), "{error}");
    }
    check(&|job| job.recipe.rate = 1.0, true).unwrap();

    // Another decoder alone is no difference; where pixels differ, it may be why.
    let mut older = from.clone();
    older.identity.insert("data.decoder", 1);
    let mut silent = Silent;
    let mut check_older = |change: Change| with(change).check(&older, false, &mut silent, &stop);
    assert!(check_older(&|_| ()).unwrap().is_some());
    let error = check_older(&|job| job.statistics.mean[7] += 1.0).unwrap_err().to_string();
    assert!(error.contains("decoder version 1 then, 2 now"), "{error}");
    let error = check_older(&|job| job.seed = 12).unwrap_err().to_string();
    assert!(!error.contains("decoder version"), "{error}");

    // A checkpoint of another network is rejected even without an identity check.
    let other = Job { spec: Spec::image("other", 16, 16, 3).linear("fc1", 10), ..job(1) };
    let mut folder = RunFolder::open(&run.0).unwrap();
    let plan = other.plan(Target::Cpu { threads: 1 }).unwrap();
    let (mut silent, stop) = (Silent, Stop::new());
    let session = Session::new(&other, &mut folder, &mut silent, &stop);
    let error =
        session.resume(Some(from), |start| plan.open_boxed(Device::cpu(1), start)).unwrap_err();
    assert!(error.to_string().contains("there is no tensor `fc1.weight`"), "{error}");
}
