//! A step in towers allocates nothing. Alone in this file, because allocations of all threads are
//! counted.

mod fixtures;

use layers::{Lrn, Mode, Row, towers};
use std::sync::Barrier;
use std::time::Duration;
use tensor::Device;
use train::recipe::Mean;
use train::schedule::State;

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

#[test]
fn a_step_in_towers_allocates_nothing() {
    let mut spec = models::find("alexnet-64").unwrap();
    for row in &mut spec.rows {
        if let Row::Lrn(lrn) = row {
            *lrn = Lrn { towers: 2, ..*lrn };
        }
    }
    let recipe = train::recipes::find("paper-64").unwrap();
    let images = 6;
    let towers = towers::split(&spec, 2).unwrap();
    let input = (Mean::Color, [64; 2]);
    let targets = [tensor::Target::Cpu { threads: 1 }; 2];
    let plans = train::towers::plan(&towers, images, Mode::Train, input, &targets).unwrap();
    let devices = vec![Device::cpu(1), Device::cpu(1)];
    let steps = train::towers::open(towers, plans, devices, Duration::from_secs(20)).unwrap();
    let pixels = (0..images * 64 * 64 * 3).map(|i| (i * i % 251) as u8).collect();
    let labels = (0..images as u32).collect();
    let batch = fixtures::batch(pixels, [1, 2, 1], [1.0, 0.0, 3.0, 0.0], labels);
    let together = Barrier::new(2);
    let during = train::towers::run(steps, |tower, mut step| {
        step.initialize(&recipe, 3).unwrap();
        step.set_input(&[128.0; 3], recipe.input.scale).unwrap();
        step.set_rates(&recipe, &recipe.schedule.setting(&State::default(), 1)).unwrap();
        (1..4).for_each(|number| _ = step.train(&batch, number).unwrap());
        together.wait();
        let mut steps = || {
            together.wait();
            (4..9).for_each(|number| _ = step.train(&batch, number).unwrap());
            step.test(&batch).unwrap();
            together.wait();
        };
        let counted = match tower {
            0 => testkit::allocations_during(steps),
            _ => {
                steps();
                0
            }
        };
        together.wait(); // nothing is dropped while allocations are counted
        Ok(counted)
    });
    assert_eq!(during.unwrap(), [0, 0]);
}
