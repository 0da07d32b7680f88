//! Hybrid parallelism: results are bit-identical for any number of ranks.

extern crate train as alexnet_train; // for the fixtures that `train` shares

mod fixtures;

use alexnet_parallel::data::ReplicaPlan;
use alexnet_parallel::hybrid::HybridPlan;
use alexnet_parallel::rank::{self, Rank};
use alexnet_parallel::{DevicePlan, Engine, Result, Sharding, plan};
use data::{Batch, IGNORED};
use fixtures::scaled;
use layers::{BatchNorm, Row, Spec, window};
use random::{Purpose, Stream};
use std::time::Duration;
use tensor::{Device, Target};
use testkit::own_gpu;
use train::recipe::{Input, Mean, Recipe};
use train::recipes;

const IMAGES: usize = 16;
const SHARDS: usize = 8;
const SIDE: usize = 12;
const CLASSES: usize = 10;

/// Every kind of row between linear layers, and numbers of units that blocks cannot share evenly.
fn spec() -> Spec {
    Spec::image("hybrid", SIDE, SIDE, 3)
        .conv("conv1", 8, window(3).stride(2))
        .relu()
        .conv("conv2", 12, window(3).pad(1).groups(2))
        .prelu()
        .pool(window(3).stride(2))
        .dropout(0.1)
        .linear("fc3", 30)
        .relu()
        .dropout(0.3)
        .linear("fc4", 21)
        .prelu()
        .inverted_dropout(0.2)
        .linear("fc5", CLASSES)
}

fn recipe() -> Recipe {
    let mut recipe = Recipe { batch: IMAGES, rate: 0.003, ..recipes::paper() };
    recipe.input = Input { side: Some(SIDE), ..Input::new(Mean::Color, 1.0 / 64.0) };
    scaled(recipe)
}

/// Some images have no label, so that micro-shards have different weights.
fn batch(number: u64) -> Batch {
    let mut draws = Stream::new(5, Purpose::Test, number as u32, 0);
    let mut labels: Vec<u32> = (0..IMAGES as u32).map(|image| image % CLASSES as u32).collect();
    let pixels = labels.iter().flat_map(|&label| {
        (0..SIDE * SIDE * 3).map(|_| (20 * label + draws.below(40)) as u8).collect::<Vec<_>>()
    });
    let pixels = pixels.collect();
    if number.is_multiple_of(3) {
        labels[4..7].fill(IGNORED);
    }
    fixtures::batch(pixels, [0, 0, 1], [1.0, 0.0, 3.0, 0.0], labels)
}

/// Plans a rank.
type Planned = fn(&Spec, Sharding, Target) -> Result<DevicePlan>;

fn of_hybrid(spec: &Spec, sharding: Sharding, target: Target) -> Result<DevicePlan> {
    let input = (Mean::Color, [SIDE; 2]);
    Ok(DevicePlan::Hybrid(Box::new(HybridPlan::new(spec, IMAGES, sharding, input, target)?)))
}

fn of_replica(spec: &Spec, sharding: Sharding, target: Target) -> Result<DevicePlan> {
    let input = (Mean::Color, [SIDE; 2]);
    Ok(DevicePlan::Replica(Box::new(ReplicaPlan::new(spec, IMAGES, sharding, input, target)?)))
}

fn open(plan: Planned, shards: usize, mut devices: Vec<Device>) -> Vec<Box<dyn Rank>> {
    let world = devices.len();
    let plans = devices.iter().enumerate().map(|(rank, device)| {
        let sharding = Sharding::new(IMAGES, shards, (rank, world)).unwrap();
        plan(&spec(), sharding, device.target()).unwrap()
    });
    plan::ranks(plans.collect(), &mut devices, Engine::Host, Duration::from_secs(20)).unwrap()
}

fn cpus(world: usize) -> Vec<Device> {
    (0..world).map(|rank| Device::cpu(1 + rank % 2)).collect()
}

fn prepare(rank: &mut dyn Rank) {
    fixtures::prepare(rank, &recipe(), 120.0);
}

/// A parameter's name, and the values that a rank holds.
type Named = (String, Vec<f32>);

/// The losses of `count` steps and of a test, and all parameters.
fn learn(steps: Vec<Box<dyn Rank>>, count: u64) -> (Vec<f64>, Vec<Named>) {
    let made = rank::run(steps, |_, mut step| {
        prepare(&mut *step);
        let mut losses = Vec::new();
        for number in 1..=count {
            losses.push(step.train(&batch(number), number, None, None)?.score().loss);
        }
        losses.push(step.test(&batch(0), None)?.score().loss);
        let parameters = &step.net().plan.network.parameters;
        let entries = parameters.entries.iter().enumerate();
        let learned = entries.map(|(idx, entry)| {
            Ok((entry.name.clone(), step.net().device.download(parameters.value(idx))?))
        });
        Ok((losses, learned.collect::<Result<Vec<Named>>>()?))
    });
    let mut made = made.unwrap();
    let (losses, mut whole) = made.remove(0);
    for (others, parts) in made {
        assert_eq!(others, losses, "every rank has those of the whole batch");
        for ((name, whole), (_, part)) in whole.iter_mut().zip(parts) {
            if name.starts_with("fc") || name == "prelu4.slope" {
                whole.extend(part) // the next units
            } else {
                assert!(*whole == part, "{name} is not the same on all ranks")
            }
        }
    }
    (losses, whole)
}

#[test]
fn one_two_four_and_eight_ranks_are_bit_identical() {
    let (losses, learned) = learn(open(of_hybrid, SHARDS, cpus(1)), 50);
    assert!(losses[50] < 0.85 * losses[0], "it learns: {losses:?}");
    for (world, steps) in [(2, 50), (4, 50), (8, 50)] {
        let (others, theirs) = learn(open(of_hybrid, SHARDS, cpus(world)), steps);
        assert_eq!(others, losses, "{world} ranks");
        for ((name, one), (_, other)) in learned.iter().zip(&theirs) {
            assert!(one == other, "{name} on {world} ranks");
        }
    }
}

/// Only the order of some sums differs from data parallelism.
#[test]
fn results_are_close_to_those_of_replicas() {
    for (shards, world) in [(8, 2), (2, 2), (1, 1)] {
        let (losses, learned) = learn(open(of_hybrid, shards, cpus(world)), 5);
        let (others, theirs) = learn(open(of_replica, shards, cpus(1)), 5);
        for (one, other) in losses.iter().zip(&others) {
            assert!((one - other).abs() < 1e-5 * other, "{losses:?} {others:?}");
        }
        for ((name, one), (_, other)) in learned.iter().zip(&theirs) {
            let max = other.iter().fold(0.0f32, |max, x| max.max(x.abs()));
            let apart = one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart <= 2e-5 * max, "{name} of {shards} shards: {apart} of {max}");
        }
    }
}

/// One rank on a GPU, or its stand-in, and one on the CPU.
#[test]
fn a_gpu_may_be_one_of_the_ranks() {
    let Some(gpu) = own_gpu() else { return };
    let (losses, _) = learn(open(of_hybrid, 2, vec![gpu, Device::cpu(1)]), 2);
    let (cpus, _) = learn(open(of_hybrid, 2, cpus(2)), 2);
    for (gpu, cpu) in losses.iter().zip(&cpus) {
        assert!((gpu - cpu).abs() < 2e-4 * cpu, "{losses:?} {cpus:?}");
    }
}

#[test]
fn the_error_of_the_rank_that_fails_is_returned() {
    let ended = rank::run(open(of_hybrid, SHARDS, cpus(4)), |rank, mut step| {
        prepare(&mut *step);
        for number in 1..100 {
            if (rank, number) == (2, 4) {
                return Err(train::Error::Recipe("planned".to_string()).into());
            }
            step.train(&batch(number), number, None, None)?;
        }
        Ok(())
    });
    assert_eq!(ended.unwrap_err().to_string(), "planned");
}

#[test]
fn a_rank_that_ends_early_is_named() {
    let ended = rank::run(open(of_hybrid, SHARDS, cpus(2)), |rank, mut step| {
        prepare(&mut *step);
        if rank == 1 {
            return Ok(());
        }
        step.train(&batch(1), 1, None, None).map(drop)
    });
    let sentence = ended.unwrap_err().to_string();
    assert_eq!(sentence, "rank 1 ended before the others: all ranks stop");
}

#[test]
fn networks_that_cannot_be_split_are_refused() {
    let error = |spec: &Spec, shards| {
        let sharding = Sharding::new(32, shards, (0, 1)).unwrap();
        let target = Target::Cpu { threads: 1 };
        let plan = HybridPlan::new(spec, 32, sharding, (Mean::Color, [SIDE; 2]), target);
        plan.err().map_or_else(String::new, |error| error.to_string())
    };
    assert_eq!(error(&spec(), 8), "");
    let sentence = error(&spec(), 16);
    assert!(
        sentence.contains("`fc5`: its 10 units cannot be divided into 16 blocks"),
        "{sentence}"
    );
    let flat = Spec::image("flat", SIDE, SIDE, 3).linear("fc1", 20).relu().linear("fc2", 10);
    let sentence = error(&flat, 2);
    assert!(
        sentence.contains("`fc1`: no layer before the first linear row has parameters"),
        "{sentence}"
    );
    let mut normalised = spec();
    normalised.rows.insert(8, Row::BatchNorm(BatchNorm::default()));
    let sentence = error(&normalised, 2);
    assert!(
        sentence.contains("`batch_norm3`: hybrid parallelism cannot divide this row"),
        "{sentence}"
    );
    let pooled = Spec::image("flat", SIDE, SIDE, 3).pool(window(2)).linear("fc1", 20);
    assert!(error(&pooled, 2).contains("hybrid parallelism does not apply"));
}
