//! Running statistics of batches in micro-shards.

extern crate train as alexnet_train; // for the fixtures that `train` shares

mod fixtures;

use alexnet_parallel::Sharding;
use alexnet_parallel::data::ReplicaPlan;
use alexnet_parallel::rank::Rank;
use comm::{Comm, Local};
use data::IGNORED;
use fixtures::scaled;
use layers::Spec;
use tensor::{Device, Target};
use train::recipe::{Mean, Recipe};
use train::recipes;

/// The communicator of a world of one.
fn alone() -> Box<dyn Comm> {
    Box::new(Local::world(1, Local::TIMEOUT).remove(0))
}

const SIDE: usize = 20;
const CLASSES: usize = 4;

/// Eight images in two shards, of which five have labels: four of the first and one of the second.
/// Each shard is normalised separately; running statistics move a tenth of the way to the average,
/// in which shards are weighted by their labelled images.
#[test]
fn running_statistics_weight_shards_by_their_images() {
    let spec = Spec::image("normalised", SIDE, SIDE, 3).batch_norm().linear("fc1", CLASSES);
    let sharding = Sharding::new(8, 2, (0, 1)).unwrap();
    let target = Target::Cpu { threads: 1 };
    let plan = ReplicaPlan::new(&spec, 8, sharding, (Mean::Color, [SIDE; 2]), target).unwrap();
    let mut rank: Box<dyn Rank> = Box::new(plan.open(Device::cpu(1), alone()).unwrap());
    let mut recipe = scaled(Recipe { batch: 8, rate: 0.01, ..recipes::paper() });
    recipe.input.scale = (1.0 / 64.0).into();
    fixtures::prepare(&mut *rank, &recipe, 128.0);
    let shades: Vec<u8> =
        (0..8).map(|image| if image < 5 { 128 + 16 * image } else { 0 }).collect();
    let pixels = shades.iter().flat_map(|&shade| vec![shade; SIDE * SIDE * 3]).collect();
    let labels = vec![0, 1, 2, 3, 0, IGNORED, IGNORED, IGNORED];
    let batch = fixtures::batch(pixels, [0; 3], [1.0, 0.0, 0.0, 0.0], labels);
    rank.train(&batch, 1, None, None).unwrap();
    let parameters = &rank.net().plan.network.parameters;
    let value = |name: &str| {
        let idx = parameters.entries.iter().position(|entry| entry.name == name).unwrap();
        rank.net().device.download::<f32>(parameters.value(idx)).unwrap()[0]
    };
    // Shades are 0, 1/4, 1/2, 3/4 in the first shard, all pixels alike, and 1 in the second.
    let mean = 0.1 * (0.8 * 0.375 + 0.2 * 1.0);
    let pixels = (4 * SIDE * SIDE) as f32;
    let variance = 0.9 + 0.1 * 0.8 * (5.0 / 64.0) * pixels / (pixels - 1.0);
    let seen = [value("batch_norm.mean"), value("batch_norm.variance")];
    testkit::close(&seen, &[mean, variance], 1e-6);
}
