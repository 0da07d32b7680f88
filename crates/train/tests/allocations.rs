//! A step allocates nothing. Alone in this file, because allocations of all threads are counted.

mod fixtures;

use alexnet_train::executor::Executor;
use alexnet_train::optimizer::{Ema, UpdateRule};
use alexnet_train::plan::SingleDevicePlan;
use alexnet_train::recipe::{Layer, Mean, Optimizer};
use alexnet_train::schedule::{Per, Position, Schedule, ScheduleState};
use alexnet_train::stats::LayerStats;
use evaluate::FrameInput;
use fixtures::Learn;
use tensor::{Device, Target};

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

const IMAGES: usize = 6;
const STORED: usize = 72;

/// The network with every ImageNet-sized trait in small: towers, normalisation, overlapping pools,
/// dropout.
#[test]
fn a_step_allocates_nothing() {
    let (spec, target) = (models::find("alexnet-64").unwrap(), Target::Cpu { threads: 3 });
    let input = (Mean::Image, [STORED; 2]);
    allocates_nothing(SingleDevicePlan::new(&spec, IMAGES, input, target).unwrap());
    let dense = FrameInput { dense_targets: true, ..input.into() };
    allocates_nothing(SingleDevicePlan::new(&spec, IMAGES, dense, target).unwrap());
    // What came after the paper, too.
    let spec = fixtures::every_row(64, 10);
    allocates_nothing(SingleDevicePlan::with_adam(&spec, IMAGES, input, target).unwrap());
    let rule = UpdateRule {
        optimizer: Optimizer::SgdPytorch,
        nesterov: true,
        clip_norm: Some(1e-3),
        clip_value: Some(1.0),
        ema: Some(Ema { decay: 0.9, every: 2, warmup: true }),
    };
    let plan = |rule| SingleDevicePlan::with_rule(&spec, IMAGES, input, target, rule).unwrap();
    allocates_nothing(plan(&rule));
    allocates_nothing(plan(&UpdateRule { optimizer: Optimizer::AdamW, nesterov: false, ..rule }));
}

fn allocates_nothing(plan: SingleDevicePlan) {
    let (images, stored) = (IMAGES, STORED);
    let mut recipe = alexnet_train::recipes::find("paper-64").unwrap();
    recipe.schedule = Schedule::Cosine { end: 0.0, per: Per::Step };
    let rule = *plan.optimizer.rule();
    (recipe.optimizer, recipe.nesterov) = (rule.optimizer, rule.nesterov);
    (recipe.clip_norm, recipe.clip_value, recipe.ema) = (rule.clip_norm, rule.clip_value, rule.ema);
    recipe.layers.insert("conv*".to_string(), Layer { train_from: Some(1), ..Layer::default() });
    let start = fixtures::fresh_with(&recipe, 3, vec![128.0; stored * stored * 3]);
    let mut step = plan.open(Device::cpu(3), &start).unwrap();
    step.set_rates(&recipe, &recipe.setting_of_epoch(&ScheduleState::default(), 1)).unwrap();
    let pixels = (0..images * 64 * 64 * 3).map(|i| (i * i % 251) as u8).collect();
    let labels = (0..images as u32).collect();
    let batch = fixtures::batch(pixels, [1, 2, 1], [1.0, 0.0, 3.0, 0.0], labels);
    step.enter(|mut step| {
        (1..4).for_each(|number| _ = step.learn(&batch, number).unwrap()); // threads wake up
        let during = testkit::allocations_during(|| {
            for number in 4..9 {
                let at = Position { epoch: 1, batch: number as usize, batches: 100 };
                step.set_rates(&recipe, &recipe.setting(&ScheduleState::default(), at)).unwrap();
                step.learn(&batch, number).unwrap();
            }
            step.test_on(&batch).unwrap();
        });
        assert_eq!(during, 0);
        let mut look = LayerStats::new(step.network());
        let during = testkit::allocations_during(|| {
            step.learn_with(&batch, 9, &mut look).unwrap();
        });
        assert_eq!(during, 0, "a closer look allocates");
        // The counter counts.
        assert_ne!(testkit::allocations_during(|| drop(vec![0u8; 100])), 0);
    });
}
