//! A step on several devices allocates nothing. Alone in this file, because allocations of all
//! threads are counted.

mod fixtures;

use alexnet_train::recipe::Mean;
use alexnet_train::replicas::{self, Cut};
use alexnet_train::schedule::State;
use alexnet_train::step::{Plan, Step};
use data::Batch;
use layers::{Lrn, Mode, Row, Spec, towers};
use std::sync::Barrier;
use std::time::Duration;
use tensor::{Device, Target};

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

const IMAGES: usize = 8;
const INPUT: (Mean, [usize; 2]) = (Mean::Color, [64; 2]);
const TARGET: Target = Target::Cpu { threads: 1 };
const PATIENCE: Duration = Duration::from_secs(20);

fn cpus() -> Vec<Device> {
    vec![Device::cpu(1), Device::cpu(1)]
}

fn in_towers(spec: &Spec) -> Vec<Step> {
    let mut spec = spec.clone();
    for row in &mut spec.rows {
        if let Row::Lrn(lrn) = row {
            *lrn = Lrn { towers: 2, ..*lrn };
        }
    }
    let towers = towers::split(&spec, 2).unwrap();
    let plans =
        alexnet_train::towers::plan(&towers, IMAGES, Mode::Train, INPUT, &[TARGET; 2]).unwrap();
    alexnet_train::towers::open(towers, plans, cpus(), PATIENCE).unwrap()
}

fn sharing_units(spec: &Spec) -> Vec<Step> {
    let plan = |rank| {
        let cut = Cut::new(IMAGES, 4, (rank, 2)).unwrap();
        Plan::of_hybrid(spec, IMAGES, cut, INPUT, TARGET).unwrap()
    };
    replicas::open(vec![plan(0), plan(1)], cpus(), PATIENCE).unwrap()
}

/// What two devices allocate in some steps after the first.
fn allocations(steps: Vec<Step>, batch: &Batch) -> Vec<usize> {
    let recipe = alexnet_train::recipes::find("paper-64").unwrap();
    let together = Barrier::new(2);
    let during = alexnet_train::towers::run(steps, |rank, mut step| {
        step.initialize(&recipe, 3).unwrap();
        step.set_input(&[128.0; 3], recipe.input.scale).unwrap();
        step.set_rates(&recipe, &recipe.schedule.setting(&State::default(), 1)).unwrap();
        (1..4).for_each(|number| _ = step.train(batch, number).unwrap());
        together.wait();
        let mut steps = || {
            together.wait();
            (4..9).for_each(|number| _ = step.train(batch, number).unwrap());
            step.test(batch).unwrap();
            together.wait();
        };
        let counted = match rank {
            0 => testkit::allocations_during(steps),
            _ => {
                steps();
                0
            }
        };
        together.wait(); // nothing is dropped while allocations are counted
        Ok(counted)
    });
    during.unwrap()
}

#[test]
fn a_step_on_two_devices_allocates_nothing() {
    let spec = models::find("alexnet-64").unwrap();
    let pixels = (0..IMAGES * 64 * 64 * 3).map(|i| (i * i % 251) as u8).collect();
    let labels = (0..IMAGES as u32).collect();
    let batch = fixtures::batch(pixels, [1, 2, 1], [1.0, 0.0, 3.0, 0.0], labels);
    assert_eq!(allocations(in_towers(&spec), &batch), [0, 0], "in towers");
    assert_eq!(allocations(sharing_units(&spec), &batch), [0, 0], "hybrid");
}
