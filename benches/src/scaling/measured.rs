//! `cargo xtask bench --scaling --measure`: compares the model with this machine, whose two devices
//! are a thread each of one process.
//!
//! The parameters of the model are measured first: peak rates; a short and a long message between
//! two ranks, in both directions at once; and a step of each device while the other one runs an
//! independent step, which includes the effect of shared caches and bandwidth. Then steps in the
//! parallel modes are measured and compared with the model.

use super::{Cluster, CostModel, Link, Parallelism};
use crate::step::noise_batch;
use crate::{Step, median, peaks};
use comm::{Comm, Local};
use layers::Spec;
use layers::towers;
use parallel::data::ReplicaPlan;
use parallel::hybrid::HybridPlan;
use parallel::threads::Threads;
use parallel::towers::TowerPlan;
use parallel::{DevicePlan, Engine, Sharding};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;
use tensor::{DType, Device, Planner, Shape};
use train::executor::{Executor, StepRequest};
use train::recipe::{Mean, Recipe};
use train::schedule::ScheduleState;
use train::start::Start;
use weights::Values;

/// A mode's predicted and measured step time.
#[derive(Clone, Copy, Debug)]
pub struct ModeComparison {
    /// The mode.
    pub mode: Parallelism,
    /// Predicted seconds.
    pub predicted: f64,
    /// Measured seconds, the median.
    pub measured: f64,
}

/// The measured parameters and step times.
#[derive(Clone, Debug)]
pub struct Measurements {
    /// The parameters of this machine.
    pub cluster: Cluster,
    /// Seconds of a step of one device.
    pub alone: f64,
    /// The modes that the network allows.
    pub modes: Vec<ModeComparison>,
}

const DEVICES: usize = 2;
/// Floats of a message that is limited by bandwidth: 16 MiB.
const LONG: usize = 1 << 22;

/// Measures steps with `images` images per device.
///
/// # Errors
/// If the network does not fit together, or into memory; if it diverges.
pub fn measure(
    spec: &Spec,
    recipe: &Recipe,
    images: usize,
    steps: usize,
) -> train::Result<Measurements> {
    let peaks = peaks::measure(DEVICES);
    let exchange = |floats, rounds| exchange(floats, rounds).map_err(parallel::Error::from);
    let alpha = exchange(1, 2000)?;
    let inside = Link { alpha, beta: (4 * LONG) as f64 / (exchange(LONG, 20)? - alpha) };
    let peak = Cluster {
        flops: peaks.flops / DEVICES as f64,
        bytes: peaks.bytes / DEVICES as f64,
        reached: 1.0,
        per_host: DEVICES,
        inside,
        between: inside,
    };
    let network = CostModel::new(spec)?;
    let alone = side_by_side(spec, recipe, images, steps);
    let floor = network
        .step(&peak, Parallelism::Data, 1, images as f64)
        .expect("data parallelism on one device");
    let cluster = Cluster { reached: floor / alone, ..peak };

    let mut modes = Vec::new();
    for mode in Parallelism::ALL {
        let Some(predicted) = network.step(&cluster, mode, DEVICES, images as f64) else {
            continue;
        };
        let measured = together(spec, recipe, mode, images, steps)?;
        modes.push(ModeComparison { mode, predicted, measured });
    }
    Ok(Measurements { cluster, alone, modes })
}

/// Seconds of two simultaneous messages, one in each direction.
fn exchange(floats: usize, rounds: usize) -> comm::Result<f64> {
    let side = |mut comm: Local| {
        let mut planner = Planner::new();
        let [out, into] = [(); 2].map(|()| planner.claim(DType::F32, Shape::from([floats])));
        let (mut device, other) = (Device::cpu(1), 1 - comm.rank());
        device.reserve(planner.total())?;
        device.upload(out, &vec![1.0f32; floats])?;
        let mut once = || {
            let began = Instant::now();
            let sent = comm.send(&mut device, out, other)?;
            let received = comm.recv(&mut device, into, other)?;
            comm.wait(&mut device, received)?;
            comm.wait(&mut device, sent)?;
            Ok(began.elapsed().as_secs_f64())
        };
        (0..rounds).map(|_| once()).collect::<comm::Result<Vec<f64>>>().map(median)
    };
    thread::scope(|scope| {
        let ranks = Local::world(DEVICES, Local::TIMEOUT).into_iter();
        let threads: Vec<_> = ranks.map(|comm| scope.spawn(move || side(comm))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).next_back()
    })
    .expect("two sides")
}

/// Seconds of a step of one device, while the other runs an independent step.
fn side_by_side(spec: &Spec, recipe: &Recipe, images: usize, steps: usize) -> f64 {
    let barrier = &Barrier::new(DEVICES);
    let side = || {
        Step::plan(spec, recipe, crate::StepMode::Train, images, 1).enter(|mut step| {
            let mut once = || {
                barrier.wait();
                let began = Instant::now();
                step.run();
                began.elapsed().as_secs_f64()
            };
            once();
            median((0..steps).map(|_| once()).collect())
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..DEVICES).map(|_| scope.spawn(side)).collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        times.sum::<f64>() / DEVICES as f64
    })
}

/// Seconds of a step of both devices in a parallel mode.
fn together(
    spec: &Spec,
    recipe: &Recipe,
    mode: Parallelism,
    images: usize,
    steps: usize,
) -> train::Result<f64> {
    let mut devices = open(spec, recipe, mode, DEVICES * images)?;
    devices.set_rates(recipe, &recipe.setting_of_epoch(&ScheduleState::default(), 1))?;
    let mut batch = noise_batch(spec, DEVICES * images)?;
    let mut times = Vec::new();
    for step in 0..=steps {
        let began = Instant::now();
        devices.train(&mut batch, StepRequest::plain(step as u64 + 1))?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(median(times.split_off(1)))
}

/// Opens a device with one thread for each rank.
fn open(spec: &Spec, recipe: &Recipe, mode: Parallelism, batch: usize) -> train::Result<Threads> {
    let devices: Vec<Device> = (0..DEVICES).map(|_| Device::cpu(1)).collect();
    let targets: Vec<_> = devices.iter().map(Device::target).collect();
    let input = (Mean::Color, [spec.input[0], spec.input[1]]);
    let sharding = |rank| Sharding::new(batch, DEVICES, (rank, DEVICES));
    let ranks = || targets.iter().enumerate();
    let plans: Vec<DevicePlan> = match mode {
        Parallelism::Data => ranks()
            .map(|(rank, &target)| {
                let plan = ReplicaPlan::new(spec, batch, sharding(rank)?, input, target)?;
                Ok(DevicePlan::Replica(Box::new(plan)))
            })
            .collect::<train::Result<_>>()?,
        Parallelism::Hybrid => ranks()
            .map(|(rank, &target)| {
                let plan = HybridPlan::new(spec, batch, sharding(rank)?, input, target)?;
                Ok(DevicePlan::Hybrid(Box::new(plan)))
            })
            .collect::<train::Result<_>>()?,
        Parallelism::Towers => {
            let towers = towers::split(spec, DEVICES)?;
            let each = TowerPlan::each(&towers, batch, input, &targets)?;
            each.into_iter().map(|plan| DevicePlan::Tower(Box::new(plan))).collect()
        }
    };
    let mean = Values { shape: vec![3], values: vec![127.5; 3] };
    let start = Start::fresh(recipe, 0, mean);
    parallel::plan::open_threads(spec, plans, devices, Engine::Host, Local::TIMEOUT, &start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::window;

    /// Steps run and train in every mode.
    #[test]
    fn every_mode_runs_steps() {
        let spec = Spec::image("small", 9, 9, 3)
            .conv("conv1", 32, window(3).pad(1))
            .relu()
            .conv("conv2", 32, window(3).pad(1).groups(2))
            .relu()
            .pool(window(3).stride(2))
            .linear("fc3", 16)
            .linear("fc4", 4);
        let recipe = train::recipes::cifar_19pct();
        for mode in Parallelism::ALL {
            let seconds = together(&spec, &recipe, mode, 4, 2).unwrap();
            assert!(seconds > 0.0 && seconds < 5.0, "{mode:?}: {seconds} s");
        }
        assert!(side_by_side(&spec, &recipe, 4, 2) > 0.0);
        assert!(exchange(1, 5).unwrap() < exchange(LONG, 3).unwrap());
    }
}
