//! A step on a GPU allocates nothing, on the host or on the GPU. Alone in this file, because
//! allocations of all threads are counted.

mod fixtures;

use alexnet_train::executor::Executor;
use alexnet_train::plan::SingleDevicePlan;
use alexnet_train::recipe::Mean;
use alexnet_train::recipes;
use alexnet_train::schedule::ScheduleState;
use alexnet_train::stats::LayerStats;
use fixtures::{Learn, every_row};
use testkit::{own_gpu, stand_in_in_use};

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

#[test]
fn a_step_on_a_gpu_allocates_nothing() {
    let Some(mut device) = own_gpu() else { return };
    let spec = every_row(12, 4);
    let (recipe, images) = (recipes::paper(), 3);
    let plan = SingleDevicePlan::new(&spec, images, (Mean::Color, [12; 2]), device.target());
    let plan = plan.unwrap();
    plan.check(&mut device).unwrap();
    let start = fixtures::fresh_with(&recipe, 3, vec![128.0; 3]);
    let mut step = plan.open(device, &start).unwrap();
    step.set_rates(&recipe, &recipe.setting_of_epoch(&ScheduleState::default(), 1)).unwrap();
    let pixels = (0..images * 12 * 12 * 3).map(|i| (i * i % 251) as u8).collect();
    let batch = fixtures::batch(pixels, [0; 3], [1.0, 0.0, 3.0, 0.0], vec![0, 1, 2]);
    step.learn(&batch, 1).unwrap(); // recorded
    step.test_on(&batch).unwrap();
    let taken = stand_in_in_use().map(|stand_in| stand_in.counts()[0]);
    let during = testkit::allocations_during(|| {
        (2..6).for_each(|number| _ = step.learn(&batch, number).unwrap());
        step.test_on(&batch).unwrap();
    });
    assert_eq!(during, 0);
    let mut look = LayerStats::new(step.network());
    let during = testkit::allocations_during(|| {
        step.learn_with(&batch, 6, &mut look).unwrap();
    });
    assert_eq!(during, 0, "a closer look allocates");
    assert_eq!(stand_in_in_use().map(|stand_in| stand_in.counts()[0]), taken, "on the GPU");
}
