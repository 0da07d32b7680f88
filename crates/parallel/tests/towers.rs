//! Towers on several devices are bit-identical to the same network on one.

extern crate train as alexnet_train; // for the fixtures that `train` shares

mod fixtures;

use alexnet_parallel::rank::{self, Rank};
use alexnet_parallel::towers::TowerPlan;
use alexnet_parallel::{DevicePlan, Engine, Result, plan};
use data::Batch;
use fixtures::scaled;
use kernels::conv;
use layers::towers::{self, NamedValues};
use layers::{Lrn, Row, Spec, window};
use random::{Purpose, Stream};
use std::time::Duration;
use tensor::{Device, Target};
use train::executor::{Executor, StepRequest};
use train::plan::SingleDevicePlan;
use train::recipe::{Input, Mean, Recipe};
use train::recipes;
use train::schedule::ScheduleState;
use train::step::SingleDevice;

const IMAGES: usize = 5;
const SIDE: usize = 24;
const CLASSES: usize = 6;
const TIMEOUT: Duration = Duration::from_secs(20);

/// A small version of the 2012 source's network, with every kind of row that towers support.
fn spec() -> Spec {
    let overlap = window(3).stride(2);
    let across = Lrn { divide_alpha: true, towers: 2, ..Lrn::default() };
    let within = Lrn { alpha: 1e-3, k: 1.0, within_channel: true, towers: 1, ..across };
    Spec::image("two-towers", SIDE, SIDE, 3)
        .conv("conv1", 32, window(5).stride(2).overhang(3))
        .lrn_with(across)
        .pool(overlap)
        .relu()
        .conv("conv2", 48, window(3).pad(1).groups(2))
        .relu()
        .lrn_with(across)
        .lrn_with(within)
        .conv("conv3", 64, window(3).pad(1))
        .relu()
        .conv("conv4", 48, window(3).pad(1).groups(2))
        .pool(overlap)
        .relu()
        .linear("fc5", 36)
        .relu()
        .dropout(0.5)
        .linear("fc6", 22)
        .relu()
        .inverted_dropout(0.3)
        .linear("fc7", CLASSES)
}

fn recipe() -> Recipe {
    let mut recipe = Recipe { batch: IMAGES, rate: 0.003, ..recipes::paper() };
    recipe.input = Input { side: Some(SIDE), ..Input::new(Mean::Color, 1.0 / 64.0) };
    scaled(recipe)
}

fn batch(images: usize, number: u64) -> Batch {
    let mut draws = Stream::new(5, Purpose::Test, number as u32, 0);
    let labels: Vec<u32> = (0..images as u32).map(|image| image % CLASSES as u32).collect();
    let pixels = labels.iter().flat_map(|&label| {
        (0..SIDE * SIDE * 3).map(|_| (40 * label + draws.below(40)) as u8).collect::<Vec<_>>()
    });
    fixtures::batch(pixels.collect(), [0, 0, 1], [1.0, 0.0, 3.0, 0.0], labels)
}

fn prepare(rank: &mut dyn Rank) {
    fixtures::prepare(rank, &recipe(), 120.0);
}

/// The losses of `steps` steps and of a test, as bits; and all parameters.
fn learn(mut step: Box<dyn Rank>, steps: u64) -> Result<(Vec<u64>, Vec<NamedValues>)> {
    prepare(&mut *step);
    let images = step.images();
    let mut losses = Vec::new();
    for number in 1..=steps {
        losses.push(step.train(&batch(images, number), number, None, None)?.loss.to_bits());
    }
    losses.push(step.test(&batch(images, 0), None)?.loss.to_bits());
    let parameters = &step.net().plan.network.parameters;
    let entries = parameters.entries.iter().enumerate();
    let learned = entries.map(|(idx, entry)| {
        Ok((entry.name.clone(), step.net().device.download(parameters.value(idx))?))
    });
    Ok((losses, learned.collect::<Result<_>>()?))
}

fn one_device(spec: &Spec, images: usize, steps: u64) -> (Vec<u64>, Vec<NamedValues>) {
    let (input, target) = ((Mean::Color, [SIDE; 2]), Target::Cpu { threads: 2 });
    let plan = SingleDevicePlan::new(spec, images, input, target).unwrap();
    let recipe = recipe();
    let mut step: SingleDevice =
        plan.open(Device::cpu(2), &fixtures::fresh(&recipe, 120.0)).unwrap();
    step.set_rates(&recipe, &recipe.setting_of_epoch(&ScheduleState::default(), 1)).unwrap();
    let mut losses = Vec::new();
    for number in 1..=steps {
        let done = step.train_on(&batch(images, number), StepRequest::plain(number)).unwrap();
        losses.push(done.tally.loss.to_bits());
    }
    losses.push(step.test_on(&batch(images, 0)).unwrap().loss.to_bits());
    let parameters = &step.network().parameters;
    let entries = parameters.entries.iter().enumerate();
    let learned = entries.map(|(idx, entry)| {
        (entry.name.clone(), step.device().download(parameters.value(idx)).unwrap())
    });
    (losses, learned.collect())
}

fn open(spec: &Spec, images: usize, count: usize) -> Vec<Box<dyn Rank>> {
    let towers = towers::split(spec, count).unwrap();
    let input = (Mean::Color, [SIDE; 2]);
    let targets = vec![Target::Cpu { threads: 1 }; count];
    let plans = TowerPlan::each(&towers, images, input, &targets).unwrap();
    let mut devices = (0..count).map(|_| Device::cpu(1)).collect();
    let plans = plans.into_iter().map(|plan| DevicePlan::Tower(Box::new(plan))).collect();
    plan::ranks(plans, &mut devices, Engine::Host, TIMEOUT).unwrap()
}

fn bits(parameters: &[NamedValues]) -> Vec<(&str, Vec<u32>)> {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
    parameters.iter().map(|(name, values)| (name.as_str(), bits(values))).collect()
}

/// Trains on one device and on one device per tower, compares bits, and returns the losses.
fn same_bits(spec: &Spec, count: usize, images: usize, steps: u64) -> Vec<f64> {
    let whole = towers::on_one_device(spec, count).unwrap();
    let (losses, learned) = one_device(&whole, images, steps);
    let made = rank::run(open(spec, images, count), |_, step| learn(step, steps)).unwrap();
    assert_eq!(made[0].0, losses);
    let parts: Vec<_> = made.into_iter().map(|(_, learned)| learned).collect();
    let merged = towers::split(spec, count).unwrap().merge(&parts).unwrap();
    for (merged, learned) in bits(&merged).iter().zip(bits(&learned)) {
        assert!(*merged == learned, "{} differs", learned.0);
    }
    assert_eq!(merged.len(), learned.len());
    losses.into_iter().map(f64::from_bits).collect()
}

#[test]
fn two_devices_are_bit_identical_to_one() {
    let losses = same_bits(&spec(), 2, IMAGES, 50);
    assert!(losses[49] < 0.7 * losses[0], "it learns: {losses:?}");
}

#[test]
fn four_devices_are_bit_identical_to_one() {
    let mut spec = spec();
    for row in &mut spec.rows {
        match row {
            Row::Conv(conv) if conv.groups == 2 => conv.groups = 4,
            Row::Lrn(lrn) if !lrn.within_channel => lrn.towers = 4,
            Row::Linear(linear) if linear.name == "fc6" => linear.outputs = 20,
            _ => {}
        }
    }
    // With fewer than twelve channels per tower, a layer with groups sums the gradient of its
    // filters in another order than a layer without.
    let Row::Conv(conv1) = &mut spec.rows[0] else { unreachable!() };
    conv1.filters = 48;
    same_bits(&spec, 4, IMAGES, 5);
}

/// Layers wide enough for Winograd's algorithm, which one device and two must both use.
#[test]
fn winograd_is_bit_identical() {
    let spec = Spec::image("wide", SIDE, SIDE, 3)
        .conv("conv1", 128, window(3).stride(2).pad(1))
        .relu()
        .conv("conv2", 256, window(3).pad(1).groups(2))
        .relu()
        .conv("conv3", 256, window(3).pad(1))
        .relu()
        .pool(window(3).stride(2))
        .linear("fc4", CLASSES);
    let half = conv::Geometry {
        images: IMAGES,
        height: SIDE / 2,
        width: SIDE / 2,
        channels: 256,
        filters: 128,
        window: (3, 3),
        stride: 1,
        pad: conv::Pad::same(1),
        groups: 1,
        relu: true,
        algorithm: conv::Algorithm::Fastest,
    };
    assert_eq!(half.resolved().algorithm, conv::Algorithm::Winograd);
    same_bits(&spec, 2, IMAGES, 3);
}

/// More images than the special code of linear layers for small batches supports.
const MANY: usize = 12;

#[test]
fn large_batches_are_bit_identical() {
    same_bits(&spec(), 2, MANY, 3);
}

/// The algorithm of a first layer like conv1, whose stride is folded away.
fn algorithm_of_conv1(filters: usize) -> conv::Algorithm {
    let geometry = conv::Geometry {
        images: MANY,
        height: SIDE,
        width: SIDE,
        channels: 3,
        filters,
        window: (10, 10),
        stride: 2,
        pad: conv::Pad::same(4),
        groups: 1,
        relu: true,
        algorithm: conv::Algorithm::Fastest,
    };
    geometry.resolved().algorithm
}

/// A stride that is folded away for all filters, but not for half of them; and for both. Fused rows
/// at the exchange write gradients over activations.
#[test]
fn a_folded_stride_is_bit_identical() {
    use conv::Algorithm::{Direct, Winograd};
    for (filters, algorithms) in [(256, [Winograd, Direct]), (512, [Winograd, Winograd])] {
        assert_eq!([filters, filters / 2].map(algorithm_of_conv1), algorithms);
        let spec = Spec::image("folded", SIDE, SIDE, 3)
            .conv("conv1", filters, window(10).stride(2).pad(4))
            .relu()
            .lrn_with(Lrn { towers: 2, ..Lrn::default() })
            .pool(window(3).stride(2))
            .conv("conv2", 48, window(3).pad(1).groups(2))
            .relu()
            .pool(window(3).stride(2))
            .conv("conv3", 32, window(3).pad(1))
            .relu()
            .average_pool(window(2))
            .linear("fc4", 20)
            .relu()
            .linear("fc5", CLASSES);
        same_bits(&spec, 2, MANY, 3);
    }
}

/// One device cannot fold a stride away in a layer with groups; a tower, which has one of the
/// groups, must not do so either.
#[test]
fn a_stride_with_groups_is_bit_identical() {
    let half = conv::Geometry {
        images: MANY,
        height: SIDE,
        width: SIDE,
        channels: 16,
        filters: 64,
        window: (6, 6),
        stride: 2,
        pad: conv::Pad::same(2),
        groups: 1,
        relu: true,
        algorithm: conv::Algorithm::Fastest,
    };
    assert_eq!(half.resolved().algorithm, conv::Algorithm::Winograd);
    let spec = Spec::image("grouped", SIDE, SIDE, 3)
        .conv("conv1", 32, window(3).pad(1))
        .relu()
        .conv("conv2", 128, window(6).stride(2).pad(2).groups(2))
        .relu()
        .pool(window(3).stride(2))
        .linear("fc3", CLASSES);
    same_bits(&spec, 2, MANY, 3);
}

/// The same network without towers differs only in the order of sums.
#[test]
fn one_device_that_sums_without_towers_is_close() {
    let (plain, weights) = one_device(&spec(), IMAGES, 3);
    let (towers, in_order) = one_device(&towers::on_one_device(&spec(), 2).unwrap(), IMAGES, 3);
    assert!(bits(&weights) != bits(&in_order), "the order changes the bits");
    assert_eq!(plain[0], towers[0], "the forward pass is the same");
    for (plain, towers) in plain.iter().zip(&towers) {
        let (plain, towers) = (f64::from_bits(*plain), f64::from_bits(*towers));
        assert!((plain - towers).abs() < 1e-4 * plain, "{plain} {towers}");
    }
}

#[test]
fn the_error_of_the_tower_that_fails_is_returned() {
    let ended = rank::run(open(&spec(), IMAGES, 2), |tower, mut step| {
        prepare(&mut *step);
        for number in 1..100 {
            if (tower, number) == (1, 4) {
                return Err(train::Error::Recipe("planned".to_string()).into());
            }
            step.train(&batch(IMAGES, number), number, None, None)?;
        }
        Ok(())
    });
    assert_eq!(ended.unwrap_err().to_string(), "planned");
}

#[test]
fn a_tower_that_ends_early_is_named() {
    let ended = rank::run(open(&spec(), IMAGES, 2), |tower, mut step| {
        prepare(&mut *step);
        if tower == 1 {
            return Ok(());
        }
        step.train(&batch(IMAGES, 1), 1, None, None).map(drop)
    });
    let sentence = ended.unwrap_err().to_string();
    assert_eq!(sentence, "rank 1 ended before the others: all ranks stop");
}
