//! The messages of devices: their number of bytes, and their format, which changes results. The
//! number of devices and the communicator do not.

extern crate train as alexnet_train; // for the fixtures that `train` shares

mod fixtures;

use alexnet_parallel::data::ReplicaPlan;
use alexnet_parallel::rank::{self, Rank};
use alexnet_parallel::towers::TowerPlan;
use alexnet_parallel::{DevicePlan, Engine, Result, Sharding, plan};
use comm::{Comm, Local, Traffic};
use cuda_on_cpu::Behaviour;
use data::Batch;
use fixtures::{every_row, scaled};
use layers::{Spec, towers};
use random::{Purpose, Stream};
use std::time::Duration;
use tensor::{Choice, Device, Target};
use train::recipe::{Input, Mean, Recipe, Wire};
use train::recipes;
use train::schedule::ScheduleState;

const SIDE: usize = 16;
const CLASSES: usize = 6;
const IMAGES: usize = 8;
const SHARDS: usize = 8;
const STEPS: u64 = 30;
const INPUT: (Mean, [usize; 2]) = (Mean::Color, [SIDE; 2]);
const TIMEOUT: Duration = Duration::from_secs(60);

fn spec() -> Spec {
    every_row(SIDE, CLASSES)
}

fn recipe() -> Recipe {
    let input = Input { side: Some(SIDE), ..Input::new(Mean::Color, 1.0 / 64.0) };
    scaled(Recipe { batch: IMAGES, rate: 0.01, input, ..recipes::paper() })
}

fn batch(side: usize, images: usize, number: u64) -> Batch {
    let mut draws = Stream::new(5, Purpose::Test, number as u32, 0);
    let labels: Vec<u32> = (0..images as u32).map(|image| image % CLASSES as u32).collect();
    let pixels = labels.iter().flat_map(|&label| {
        (0..side * side * 3).map(|_| (40 * label + draws.below(40)) as u8).collect::<Vec<_>>()
    });
    fixtures::batch(pixels.collect(), [0, 0, 1], [1.0, 0.0, 3.0, 0.0], labels)
}

/// A rank's losses and parameters (as bits), and its traffic in the last step.
#[derive(Debug, PartialEq)]
struct Learned {
    losses: Vec<f64>,
    parameters: Vec<u32>,
    sent: Traffic,
}

fn learn(mut step: Box<dyn Rank>, steps: u64, batch: impl Fn(u64) -> Batch) -> Result<Learned> {
    fixtures::prepare(&mut *step, &recipe(), 120.0);
    let (mut losses, mut sent) = (Vec::new(), Traffic::default());
    for number in 1..=steps {
        let before = step.traffic();
        losses.push(step.train(&batch(number), number, None, None)?.loss);
        sent = step.traffic().since(before);
    }
    let parameters =
        step.net().device.download::<f32>(step.net().plan.network.parameters.values)?;
    Ok(Learned { losses, parameters: parameters.iter().map(|x| x.to_bits()).collect(), sent })
}

/// Trains replicas that share every batch and communicate through `ranks`.
fn replicas_on(
    devices: Vec<Device>,
    ranks: Vec<Box<dyn Comm>>,
    wire: Wire,
    count: u64,
) -> Vec<Learned> {
    let world = devices.len();
    let each = devices.into_iter().zip(ranks).enumerate();
    let steps = each.map(|(rank, (device, comm))| {
        let sharding = Sharding { wire, ..Sharding::new(IMAGES, SHARDS, (rank, world))? };
        let plan = ReplicaPlan::new(&spec(), IMAGES, sharding, INPUT, device.target())?;
        Ok(Box::new(plan.open(device, comm)?) as Box<dyn Rank>)
    });
    let steps = steps.collect::<Result<_>>().unwrap();
    let learn = |_, step| learn(step, count, |number| batch(SIDE, IMAGES, number));
    rank::run(steps, learn).unwrap()
}

fn local(world: usize) -> Vec<Box<dyn Comm>> {
    Local::world(world, TIMEOUT).into_iter().map(|comm| Box::new(comm) as _).collect()
}

fn on_cpus(world: usize, wire: Wire) -> Vec<Learned> {
    let devices = (0..world).map(|rank| Device::cpu(1 + rank % 2)).collect();
    replicas_on(devices, local(world), wire, STEPS)
}

#[test]
fn rounded_gradients_have_one_sum_on_any_number_of_devices() {
    let [plain, one] = [Wire::F32, Wire::Bf16].map(|wire| on_cpus(1, wire).remove(0));
    assert!(one.parameters != plain.parameters, "rounding shows");
    for (rounded, exact) in one.losses.iter().zip(&plain.losses) {
        assert!((rounded / exact - 1.0).abs() < 0.02, "{:?} {:?}", one.losses, plain.losses);
    }
    let [first, last] = [0, STEPS as usize - 1].map(|at| one.losses[at]);
    assert!(last < 0.9 * first, "it learns: {:?}", one.losses);
    for world in [2, 4, 8] {
        for (rank, learned) in on_cpus(world, Wire::Bf16).iter().enumerate() {
            assert!(learned.parameters == one.parameters, "rank {rank} of {world}");
            assert_eq!(learned.losses, one.losses, "rank {rank} of {world}");
        }
    }
}

/// Statistics are not gradients: their sums are the same with and without rounding.
#[test]
fn running_statistics_are_not_rounded() {
    let target = Target::Cpu { threads: 1 };
    let plan = train::plan::SingleDevicePlan::new(&spec(), IMAGES, INPUT, target).unwrap();
    let entries = &plan.parameters().entries;
    let of = |learned: &Learned, wanted: bool| -> Vec<u32> {
        let entries = entries.iter().filter(|entry| entry.role.is_statistic() == wanted);
        entries.flat_map(|e| learned.parameters[e.start..][..e.len()].to_vec()).collect()
    };
    let after_one_step = |world, wire| {
        let devices = (0..world).map(|_| Device::cpu(1)).collect();
        replicas_on(devices, local(world), wire, 1).remove(0)
    };
    let exact = after_one_step(1, Wire::F32);
    assert_eq!(of(&exact, true).len(), 16, "a mean and a variance of eight channels");
    for world in [1, 2, 4, 8] {
        let rounded = after_one_step(world, Wire::Bf16);
        assert!(of(&rounded, true) == of(&exact, true), "{world} devices");
        assert!(of(&rounded, false) != of(&exact, false), "{world} devices: gradients are rounded");
    }
}

/// All ranks but one send each gradient once to its sum; each new value is sent as often.
#[test]
fn rounding_halves_the_bytes_of_gradients() {
    for world in [2, 4] {
        let [exact, rounded] = [Wire::F32, Wire::Bf16].map(|wire| on_cpus(world, wire));
        let bytes = 4 * (world - 1) as u64 * exact[0].parameters.len() as u64;
        let sent = |all: Vec<Learned>| all.into_iter().map(|one| one.sent).reduce(Traffic::and);
        let [exact, rounded] = [exact, rounded].map(|all| sent(all).unwrap());
        assert_eq!(exact.messages, rounded.messages);
        // Each rank also sends its tallies to each other.
        let tallies = exact.bytes - 2 * bytes;
        assert!((1..2000).contains(&tallies), "{tallies}");
        // A mean and a variance, each on a cache line of 16 floats, are not halved.
        let statistics = 2 * 16 * 2 * (world - 1) as u64;
        let odd = rounded.bytes - tallies - bytes - bytes / 2 - statistics;
        assert!(odd < 2 * exact.messages, "{odd}: the last four bytes may be half full");
    }
}

/// The paper's two GPUs send what `describe` prints: 30.0 MB in each direction at batch 128.
#[test]
fn two_towers_of_the_source_send_the_computed_bytes() {
    let spec = models::find("alexnet-source").unwrap();
    let [side, ..] = spec.input;
    let images = 1;
    let towers = towers::split(&spec, 2).unwrap();
    let computed = towers.bytes(images);
    assert_eq!(format!("{:.1}", towers.bytes(128) as f64 / 1e6), "30.0");
    assert_eq!(128 * computed, towers.bytes(128));
    let (input, targets) = ((Mean::Color, [side; 2]), [Target::Cpu { threads: 1 }; 2]);
    let plans = TowerPlan::each(&towers, images, input, &targets).unwrap();
    let plans = plans.into_iter().map(|plan| DevicePlan::Tower(Box::new(plan))).collect();
    let mut devices = vec![Device::cpu(1), Device::cpu(1)];
    let steps = plan::ranks(plans, &mut devices, Engine::Host, TIMEOUT).unwrap();
    let sent = rank::run(steps, |_, mut step| {
        // All weights are zero: the sizes of messages do not depend on values.
        let setting = recipe();
        let setting = setting.setting_of_epoch(&ScheduleState::default(), 1);
        step.net_mut().set_rates(&recipe(), &setting)?;
        step.train(&batch(side, images, 1), 1, None, None)?;
        Ok(step.traffic())
    });
    let sent = sent.unwrap().into_iter().reduce(Traffic::and).unwrap();
    assert_eq!(sent.bytes as usize, 2 * computed, "forward and backward");
}

/// NCCL only sends here and sums nothing, so results are bit-identical to those through the host.
#[test]
fn replicas_are_bit_identical_through_nccl_and_through_the_host() {
    let Some(stand_in) = testkit::stand_in_in_use() else { return };
    // Once loaded by its path, the dynamic linker also returns it for NCCL's file name.
    let _loaded = cuda_on_cpu::Nccl::load().unwrap();
    stand_in.behave(Behaviour { devices: 4, ..Behaviour::default() });
    let gpus = |world| -> Vec<Device> {
        (0..world).map(|gpu| Device::open(Choice::Cuda(gpu), 0).unwrap()).collect()
    };
    let mut devices = gpus(2);
    let ranks = comm::Nccl::world(&mut devices, TIMEOUT).unwrap();
    let ranks = ranks.into_iter().map(|comm| Box::new(comm) as Box<dyn Comm>).collect();
    let by_nccl = replicas_on(devices, ranks, Wire::Bf16, 2);
    assert!(by_nccl == replicas_on(gpus(2), local(2), Wire::Bf16, 2));
}

/// Two towers sum two values at a time, which have only one order.
#[test]
fn towers_are_bit_identical_through_nccl_and_through_the_host() {
    let Some(stand_in) = testkit::stand_in_in_use() else { return };
    let _loaded = cuda_on_cpu::Nccl::load().unwrap();
    stand_in.behave(Behaviour { devices: 2, ..Behaviour::default() });
    let job = fixtures::two_towers(1);
    let side = job.spec.input[0];
    let learned = |by_nccl: bool| {
        let mut devices: Vec<Device> =
            (0..2).map(|gpu| Device::open(Choice::Cuda(gpu), 0).unwrap()).collect();
        let ranks = if by_nccl {
            let ranks = comm::Nccl::world(&mut devices, TIMEOUT).unwrap();
            ranks.into_iter().map(|comm| Box::new(comm) as Box<dyn Comm>).collect()
        } else {
            local(2)
        };
        let towers = || towers::split(&job.spec, 2).unwrap();
        let input = (Mean::Color, [side; 2]);
        let plans = TowerPlan::each(&towers(), 2, input, &[Target::Cuda; 2]).unwrap();
        let each = plans.into_iter().zip(devices).zip(ranks);
        let steps = each.map(|((plan, device), comm)| {
            Box::new(plan.open(device, comm).unwrap()) as Box<dyn Rank>
        });
        let learn = |_, step| learn(step, 2, |number| batch(side, 2, number));
        rank::run(steps.collect(), learn).unwrap()
    };
    let (nccl, host) = (learned(true), learned(false));
    assert!(host[0].losses.iter().all(|loss| loss.is_finite()));
    assert_eq!(nccl, host);
}
