//! A step learns, leaves out what has no label, and stops where numbers end.

mod fixtures;

use alexnet_train::Error;
use alexnet_train::device_network::whole;
use alexnet_train::executor::Executor;
use alexnet_train::optimizer::{Ema, UpdateRule};
use alexnet_train::plan::SingleDevicePlan;
use alexnet_train::recipe::{Initializer, Input, Layer, Mean, Optimizer, Recipe};
use alexnet_train::recipes;
use alexnet_train::schedule::ScheduleState;
use alexnet_train::stats::LayerStats;
use alexnet_train::step::SingleDevice;
use data::{Batch, IGNORED};
use fixtures::{Learn, every_row, scaled};
use inference::InferencePlan;
use random::{Purpose, Stream};
use tensor::{Device, Target};

const IMAGES: usize = 6;
const SIDE: usize = 20;
const STORED: usize = 24;
const CLASSES: usize = 4;

fn recipe(rate: f64) -> Recipe {
    let mut recipe = Recipe { batch: IMAGES, rate, ..recipes::paper() };
    recipe.input = Input { side: Some(STORED), ..Input::new(Mean::Image, 1.0 / 64.0) };
    scaled(recipe)
}

/// A batch whose classes differ in brightness.
fn batch() -> Batch {
    let mut draws = Stream::new(5, Purpose::Test, 0, 0);
    let labels: Vec<u32> = (0..IMAGES as u32).map(|image| image % CLASSES as u32).collect();
    let pixels = labels.iter().flat_map(|&label| {
        (0..SIDE * SIDE * 3).map(|_| (60 * label + draws.below(40)) as u8).collect::<Vec<_>>()
    });
    fixtures::batch(pixels.collect(), [1, 2, 0], [1.0, 0.0, 0.0, 0.0], labels)
}

fn step(rate: f64) -> SingleDevice {
    let recipe = recipe(rate);
    let plan = SingleDevicePlan::new(
        &every_row(SIDE, CLASSES),
        IMAGES,
        (Mean::Image, [STORED; 2]),
        Target::Cpu { threads: 2 },
    )
    .unwrap();
    let start = fixtures::fresh_with(&recipe, 3, vec![128.0; STORED * STORED * 3]);
    let mut step = plan.open(Device::cpu(2), &start).unwrap();
    let state = ScheduleState::default();
    step.set_rates(&recipe, &recipe.setting_of_epoch(&state, 1)).unwrap();
    step
}

#[test]
fn steps_learn() {
    let (mut step, batch) = (step(0.01), batch());
    let first = step.learn(&batch, 1).unwrap().score();
    assert_eq!(first.images, IMAGES as u64);
    assert!((first.loss - (CLASSES as f64).ln()).abs() < 1.5, "{first:?}");
    for number in 2..200 {
        step.learn(&batch, number).unwrap();
    }
    let last = step.test_on(&batch).unwrap().score();
    assert!(last.loss < 0.2 * first.loss && last.top1_error == 0.0, "{last:?}");
}

#[test]
fn rows_without_a_label_take_no_part() {
    let mut short = batch();
    short.labels[4..].fill(IGNORED);
    let mut other = short.clone();
    other.pixels[4 * SIDE * SIDE * 3..].fill(77);
    let (mut a, mut b) = (step(0.01), step(0.01));
    for number in 1..4 {
        let (a, b) = (a.learn(&short, number).unwrap(), b.learn(&other, number).unwrap());
        assert_eq!(a.images, 4.0);
        assert_eq!(a, b);
    }
}

fn divergence(result: Result<(), Error>) -> (u64, String, String) {
    match result {
        Err(Error::Diverged { step, tensor, hint, .. }) => (step, tensor, hint),
        other => panic!("{other:?}"),
    }
}

fn train_until_it_fails(step: &mut SingleDevice, batch: &Batch) -> Result<(), Error> {
    (1..100).try_for_each(|number| step.learn(batch, number).map(drop))
}

#[test]
fn a_rate_that_is_too_high_is_named() {
    let mut step = step(1e18);
    let (number, tensor, hint) = divergence(train_until_it_fails(&mut step, &batch()));
    assert!(number < 20, "{number}");
    assert!(["conv", "lrn", "fc"].iter().any(|row| tensor.contains(row)), "{tensor}");
    assert!(hint.contains("The learning rate of 1000000000000000000"), "{hint}");
    assert!(hint.ends_with("Try 100000000000000000"), "{hint}");
}

#[test]
fn the_first_tensor_that_is_not_finite_is_named() {
    let (mut step, batch) = (step(0.01), batch());
    let mut mean = vec![128.0; STORED * STORED * 3];
    mean[STORED * 3 * 5 + 30] = f32::NAN;
    step.net_mut().set_input(&mean, 1.0.into()).unwrap();
    let (number, tensor, hint) = divergence(train_until_it_fails(&mut step, &batch));
    assert_eq!((number, tensor.as_str()), (1, "the preprocessed images"));
    assert!(!hint.contains("--lr"), "{hint}");
}

#[test]
fn the_plan_says_what_it_takes() {
    let (spec, mean) = (every_row(SIDE, CLASSES), (Mean::Image, [STORED; 2]));
    let target = Target::Cpu { threads: 1 };
    let plan = |images| SingleDevicePlan::new(&spec, images, mean, target).unwrap();
    let (parameters, train) = (plan(IMAGES).parameters().values, plan(IMAGES).memory());
    assert_eq!(train.parameters, 3 * parameters.range().len());
    assert_eq!(train.total, train.parameters + train.activations);
    let infer = InferencePlan::new(&spec, IMAGES, mean, target).unwrap().bytes();
    assert!(infer - parameters.range().len() < train.activations);
    assert!(plan(2 * IMAGES).memory().activations > train.activations);
    assert!(train.parts().starts_with("weights, gradients, velocities "), "{}", train.parts());
    let ema = Some(Ema { decay: 0.9, every: 1, warmup: false });
    let rule = UpdateRule { ema, ..UpdateRule::default() };
    let averaged =
        SingleDevicePlan::with_rule(&spec, IMAGES, mean, target, &rule).unwrap().memory();
    assert_eq!(averaged.parameters, 4 * parameters.range().len());
    let parts = averaged.parts();
    assert!(parts.starts_with("weights, gradients, velocities, averages "), "{parts}");
}

#[test]
fn a_closer_look_changes_nothing_and_sees_what_is_there() {
    let (mut plain, mut looking, batch) = (step(0.01), step(0.01), batch());
    let mut look = LayerStats::new(looking.network());
    for number in 1..4 {
        let seen = looking.learn_with(&batch, number, &mut look).unwrap();
        assert_eq!(seen, plain.learn(&batch, number).unwrap());
    }
    let names: Vec<&str> = look.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["conv1", "conv2", "fc3", "fc4"]);
    let (network, device) = (looking.network(), looking.device());
    let norm = |slot| {
        let values = device.download::<f32>(slot).unwrap();
        values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    // Between conv2 and fc3 are what normalises and slopes.
    for (layer, idx) in look.layers.iter().zip([0, 2, 11, 13]) {
        let weight = norm(network.parameters.value(idx));
        let ratio = norm(network.velocity(idx)) / weight;
        let gradient = norm(network.gradient(idx));
        for (seen, expected) in [
            (layer.weight_norm, weight),
            (layer.gradient_norm, gradient),
            (layer.update_ratio, ratio),
        ] {
            assert!((seen - expected).abs() <= 1e-9 * expected, "{seen} and {expected}");
        }
    }
    assert_eq!(look.not_finite(), None);
    // A tanh follows conv2, and nothing fc4.
    let dead: Vec<bool> = look.layers.iter().map(|layer| layer.dead_relus.is_some()).collect();
    assert_eq!(dead, [true, false, true, false]);
}

/// The ratio that a look tells is that of what the weights did.
#[test]
fn an_update_by_adam_is_seen_as_it_was() {
    let recipe = Recipe { optimizer: Optimizer::Adam, ..recipe(1e-3) };
    let target = Target::Cpu { threads: 1 };
    let input = (Mean::Image, [STORED; 2]);
    let plan =
        SingleDevicePlan::with_adam(&every_row(SIDE, CLASSES), IMAGES, input, target).unwrap();
    let start = fixtures::fresh_with(&recipe, 3, vec![128.0; STORED * STORED * 3]);
    let mut step = plan.open(Device::cpu(1), &start).unwrap();
    step.set_rates(&recipe, &recipe.setting_of_epoch(&ScheduleState::default(), 1)).unwrap();
    let first = step.learn(&batch(), 1).unwrap().loss;
    let weights = |step: &SingleDevice| {
        let slot = step.network().parameters.value(0);
        step.device().download::<f32>(slot).unwrap()
    };
    let before = weights(&step);
    let mut look = LayerStats::new(step.network());
    step.learn_with(&batch(), 2, &mut look).unwrap();
    let norm = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    let after = weights(&step);
    let update = norm(&mut before.iter().zip(&after).map(|(before, after)| after - before));
    let ratio = update / norm(&mut after.iter().copied());
    let seen = look.layers[0].update_ratio;
    assert!((seen - ratio).abs() < 1e-3 * ratio, "{seen} and {ratio}");
    // About the rate, for each weight.
    assert!(update > 0.5e-3 * (after.len() as f64).sqrt() && seen < 0.1, "{update}");
    let last = (3..60).map(|number| step.learn(&batch(), number).unwrap().loss).last();
    assert!(last.unwrap() < 0.8 * first, "{first}, then {last:?}");
}

/// Adam's bias correction counts, also if no weight is trained: the first step moves a parameter by
/// its rate.
#[test]
fn adam_corrects_its_moments_if_only_a_normalisation_is_trained() {
    let mut recipe = Recipe { optimizer: Optimizer::Adam, ..recipe(1e-3) };
    let target = Target::Cpu { threads: 1 };
    let rate = |rate| Layer { rate: Some(rate), ..Layer::default() };
    for (name, rate) in [("*", rate(0.0)), ("batch_norm*", rate(1.0))] {
        let weights = recipe.layers.get("*").and_then(|layer| layer.weights);
        recipe.layers.insert(name.to_string(), Layer { weights, ..rate });
    }
    let input = (Mean::Image, [STORED; 2]);
    let plan =
        SingleDevicePlan::with_adam(&every_row(SIDE, CLASSES), IMAGES, input, target).unwrap();
    let start = fixtures::fresh_with(&recipe, 3, vec![128.0; STORED * STORED * 3]);
    let mut step = plan.open(Device::cpu(1), &start).unwrap();
    step.set_rates(&recipe, &recipe.setting_of_epoch(&ScheduleState::default(), 1)).unwrap();
    step.learn(&batch(), 1).unwrap();
    let entries = &step.network().parameters.entries;
    let is_shift = |name: &str| name.starts_with("batch_norm") && name.ends_with(".shift");
    let idx = entries.iter().position(|entry| is_shift(&entry.name)).unwrap();
    let slot = step.network().parameters.value(idx);
    let shifts = step.device().download::<f32>(slot).unwrap(); // zero before
    let moved = shifts.iter().map(|shift| shift.abs()).fold(0.0, f32::max);
    assert!((0.9e-3..1.1e-3).contains(&moved), "{}: {moved}", entries[idx].name);
}

#[test]
fn dead_units_are_counted() {
    let mut recipe = recipe(0.0);
    let dead = Layer { biases: Some(Initializer::Constant(-1e9)), ..Layer::default() };
    recipe.layers.insert("fc3".to_string(), dead);
    let mut step = step(0.0);
    let mean = vec![128.0; STORED * STORED * 3];
    let start = fixtures::fresh_with(&recipe, 3, mean);
    step.net_mut().start(&start, &whole).unwrap();
    let mut look = LayerStats::new(step.network());
    step.learn_with(&batch(), 1, &mut look).unwrap();
    assert_eq!(look.layers[2].dead_relus, Some(1.0));
    assert!(look.layers[0].dead_relus.unwrap() < 1.0);
    assert_eq!(look.layers[2].gradient_norm, 0.0);
    assert_eq!(look.layers[2].update_ratio, 0.0);
}
