//! The learning-rate range test against a direct computation.

mod fixtures;

use alexnet_train::executor::Executor;
use alexnet_train::recipe::{Augment, Input, Mean, Recipe};
use alexnet_train::recipes;
use alexnet_train::run::{Job, RangeCurve, RangeEnd, RangeTest};
use alexnet_train::schedule::Setting;
use data::{Loader, Shapes, Statistics};
use evaluate::observe::{Observer, Silent, StepReport};
use evaluate::{Stop, next_batch};
use fixtures::{Learn, StopsAfter, scaled};
use layers::{Spec, window};
use std::ops::ControlFlow;
use std::sync::Arc;
use tensor::{Device, Target};

const TEST: RangeTest =
    RangeTest { min: 1e-5, max: 10.0, steps: 60, smoothing: 0.9, divergence: 1.3 };

fn job(workers: usize) -> Job {
    let images = Arc::new(Shapes::train(Shapes::SEED, 18, 100));
    let recipe = scaled(Recipe {
        batch: 8,
        input: Input { side: Some(18), ..Input::new(Mean::Image, 1.0 / 64.0) },
        augment: Augment { crop: true, mirror: true, color: 0.1, ..Augment::NONE },
        ..recipes::paper()
    });
    let spec = Spec::image("tiny", 16, 16, 3)
        .conv("conv1", 8, window(5).pad(2).stride(2))
        .relu()
        .linear("fc2", 24)
        .relu()
        .dropout(0.5)
        .linear("fc3", 10);
    let statistics = Statistics::of(&*images).unwrap();
    Job { seed: 7, workers, ..Job::new(spec, recipe, images.clone(), images, statistics) }
}

fn run(job: &Job, threads: usize, observer: &mut dyn Observer, stop: &Stop) -> RangeCurve {
    let plan = job.plan(Target::Cpu { threads }).unwrap();
    let executor = plan.open_boxed(Device::cpu(threads), &job.start(None).unwrap()).unwrap();
    TEST.run(job, executor, observer, stop).unwrap()
}

#[test]
fn it_is_training_with_a_rising_rate() {
    let job = job(1);
    let curve = run(&job, 1, &mut Silent, &Stop::new());
    assert_eq!(curve.end, RangeEnd::Diverged, "{curve:?}");
    assert!((20..60).contains(&curve.points.len()), "{}", curve.points.len());

    let layout = job.plan(Target::Cpu { threads: 1 }).unwrap();
    let plan = job.recipe.augment.plan(job.recipe.batch, (16, 16), job.seed);
    let mut images = Loader::new(Arc::clone(&job.train), plan, 1, 0);
    images.set_color(job.recipe.augment.color_shift(&job.statistics));
    let mut step = layout.open(Device::cpu(1), &job.start(None).unwrap()).unwrap();
    let mut losses = Vec::new();
    for (idx, point) in curve.points.iter().enumerate() {
        let rate = (1e-5f64.ln() + (10f64 / 1e-5).ln() * idx as f64 / 59.0).exp();
        assert!((point.rate / rate - 1.0).abs() < 1e-12, "{point:?}: {rate}");
        let recipe = Recipe { rate: point.rate, ..job.recipe.clone() };
        step.set_rates(&recipe, &Setting::everywhere(1.0)).unwrap();
        let batch = next_batch(&mut images, &mut Silent, &Stop::new()).unwrap().unwrap();
        losses.push(step.learn(&batch, idx as u64 + 1).unwrap().score().loss);
        assert_eq!(point.loss, losses[idx], "step {idx}");
        // The running mean as a sum with geometric weights.
        let weight = |past: usize| 0.9f64.powi((idx - past) as i32);
        let sum: f64 = (0..=idx).map(|past| weight(past) * losses[past]).sum();
        let mean = sum / (0..=idx).map(weight).sum::<f64>();
        assert!((point.smoothed - mean).abs() < 1e-9 * mean, "{point:?}: {mean}");
    }
    let lowest = |points: &[alexnet_train::run::RangePoint]| {
        points.iter().map(|point| point.smoothed).fold(f64::INFINITY, f64::min)
    };
    let (last, before) = curve.points.split_last().unwrap();
    let is_far = last.smoothed > TEST.divergence * lowest(before);
    assert!(is_far, "ended at {last:?}");
    assert!(before.windows(2).all(|two| two[1].smoothed <= TEST.divergence * lowest(before)));
    // The suggestion learns: it lies where the loss falls.
    let steepest = curve.steepest().unwrap();
    assert!(1e-5 < steepest && steepest <= curve.minimum().unwrap().rate, "{steepest}");
}

#[test]
fn it_has_the_same_bits_for_any_number_of_threads_and_workers() {
    let expected = run(&job(1), 1, &mut Silent, &Stop::new());
    assert_eq!(run(&job(0), 2, &mut Silent, &Stop::new()), expected);
    assert_eq!(run(&job(3), 4, &mut Silent, &Stop::new()), expected);
}

/// Gradients whose norm is not finite end the test as a loss does that is not.
#[test]
fn it_ends_where_clipped_gradients_are_not_finite() {
    let mut job = job(1);
    job.recipe.clip_norm = Some(1.0);
    let test = RangeTest { max: 1e30, divergence: f64::INFINITY, ..TEST };
    let plan = job.plan(Target::Cpu { threads: 1 }).unwrap();
    let executor = plan.open_boxed(Device::cpu(1), &job.start(None).unwrap()).unwrap();
    let curve = test.run(&job, executor, &mut Silent, &Stop::new()).unwrap();
    assert_eq!(curve.end, RangeEnd::Diverged, "{curve:?}");
    assert!(curve.points.len() > 10, "{curve:?}");
}

/// Collects what is reported, and has enough at a step.
struct Reports(Vec<StepReport>, usize);

impl Observer for Reports {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0.push(*report);
        if self.0.len() >= self.1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn it_stops_on_request_with_what_it_has() {
    let job = job(1);
    let whole = run(&job, 1, &mut Silent, &Stop::new());
    let mut reports = Reports(Vec::new(), 7);
    let curve = run(&job, 1, &mut reports, &Stop::new());
    assert_eq!(curve.end, RangeEnd::Stopped);
    assert_eq!(curve.points, whole.points[..7]);
    let StepReport { step, steps, loss, rate, .. } = reports.0[6];
    let point = whole.points[6];
    assert_eq!((step, steps, loss, rate), (7, 60, point.smoothed, point.rate));
    let stop = Stop::new();
    let curve = run(&job, 1, &mut StopsAfter(5, stop.clone()), &stop);
    assert_eq!((curve.end, curve.points.len()), (RangeEnd::Stopped, 5));
}
