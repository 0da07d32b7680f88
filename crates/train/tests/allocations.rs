//! A step allocates nothing. Alone in this file, because allocations of all threads are counted.

mod fixtures;

use alexnet_train::executor::Executor;
use alexnet_train::plan::SingleDevicePlan;
use alexnet_train::recipe::Mean;
use alexnet_train::schedule::ScheduleState;
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
}

fn allocates_nothing(plan: SingleDevicePlan) {
    let (images, stored) = (IMAGES, STORED);
    let recipe = alexnet_train::recipes::find("paper-64").unwrap();
    let start = fixtures::fresh_with(&recipe, 3, vec![128.0; stored * stored * 3]);
    let mut step = plan.open(Device::cpu(3), &start).unwrap();
    step.set_rates(&recipe, &recipe.schedule.setting(&ScheduleState::default(), 1)).unwrap();
    let pixels = (0..images * 64 * 64 * 3).map(|i| (i * i % 251) as u8).collect();
    let labels = (0..images as u32).collect();
    let batch = fixtures::batch(pixels, [1, 2, 1], [1.0, 0.0, 3.0, 0.0], labels);
    step.enter(|mut step| {
        (1..4).for_each(|number| _ = step.learn(&batch, number).unwrap()); // threads wake up
        let during = testkit::allocations_during(|| {
            (4..9).for_each(|number| _ = step.learn(&batch, number).unwrap());
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
