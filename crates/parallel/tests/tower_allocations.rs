//! A step on several devices allocates nothing. Alone in this file, because allocations of all
//! threads are counted.

extern crate train as alexnet_train; // for the fixtures that `train` shares

mod fixtures;

use alexnet_parallel::hybrid::HybridPlan;
use alexnet_parallel::rank::{self, Rank};
use alexnet_parallel::towers::TowerPlan;
use alexnet_parallel::{DevicePlan, Engine, Sharding, plan};
use data::Batch;
use layers::{Lrn, Row, Spec, towers};
use std::sync::Barrier;
use std::time::Duration;
use tensor::{Device, Target};
use train::optimizer::{Ema, UpdateRule};
use train::recipe::{Mean, Optimizer, Recipe};

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

const IMAGES: usize = 8;
const INPUT: (Mean, [usize; 2]) = (Mean::Color, [64; 2]);
const TARGET: Target = Target::Cpu { threads: 1 };
const TIMEOUT: Duration = Duration::from_secs(20);

fn cpus() -> Vec<Device> {
    vec![Device::cpu(1), Device::cpu(1)]
}

fn in_towers(spec: &Spec, rule: &UpdateRule) -> Vec<Box<dyn Rank>> {
    let mut spec = spec.clone();
    for row in &mut spec.rows {
        if let Row::Lrn(lrn) = row {
            *lrn = Lrn { towers: 2, ..*lrn };
        }
    }
    let towers = towers::split(&spec, 2).unwrap();
    let plans = TowerPlan::each_with_rule(&towers, IMAGES, INPUT, &[TARGET; 2], rule).unwrap();
    let plans = plans.into_iter().map(|plan| DevicePlan::Tower(Box::new(plan))).collect();
    plan::ranks(plans, &mut cpus(), Engine::Host, TIMEOUT).unwrap()
}

fn sharing_units(spec: &Spec, rule: &UpdateRule) -> Vec<Box<dyn Rank>> {
    let plan = |rank| {
        let sharding = Sharding::new(IMAGES, 4, (rank, 2)).unwrap();
        let plan = HybridPlan::with_rule(spec, IMAGES, sharding, INPUT, TARGET, rule);
        DevicePlan::Hybrid(Box::new(plan.unwrap()))
    };
    plan::ranks(vec![plan(0), plan(1)], &mut cpus(), Engine::Host, TIMEOUT).unwrap()
}

/// The allocations of two devices in steps after the first ones.
fn allocations(steps: Vec<Box<dyn Rank>>, rule: &UpdateRule, batch: &Batch) -> Vec<usize> {
    let &UpdateRule { optimizer, nesterov, clip_norm, clip_value, ema } = rule;
    let recipe = train::recipes::find("paper-64").unwrap();
    let recipe = Recipe { optimizer, nesterov, clip_norm, clip_value, ema, ..recipe };
    let together = Barrier::new(2);
    let during = rank::run(steps, |rank, mut step| {
        fixtures::prepare(&mut *step, &recipe, 128.0);
        (1..4).for_each(|number| _ = step.train(batch, number, None, None).unwrap());
        together.wait();
        let mut steps = || {
            together.wait();
            (4..9).for_each(|number| _ = step.train(batch, number, None, None).unwrap());
            step.test(batch, None).unwrap();
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
    let later = UpdateRule {
        optimizer: Optimizer::AdamW,
        nesterov: false,
        clip_norm: Some(1e-3),
        clip_value: Some(1.0),
        ema: Some(Ema { decay: 0.9, every: 2, warmup: true }),
    };
    for rule in [UpdateRule::default(), later] {
        assert_eq!(
            allocations(in_towers(&spec, &rule), &rule, &batch),
            [0, 0],
            "in towers: {rule:?}"
        );
        assert_eq!(
            allocations(sharing_units(&spec, &rule), &rule, &batch),
            [0, 0],
            "hybrid: {rule:?}"
        );
    }
}
