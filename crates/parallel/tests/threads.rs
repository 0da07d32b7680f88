//! Runs on several devices of one process are bit-identical to those on one: losses, checkpoints,
//! weights.

extern crate layers as alexnet_layers; // for the layers that `layers` shares
extern crate train as alexnet_train; // for the fixtures that `train` shares

mod fixtures;
#[path = "../../layers/tests/custom/mod.rs"]
mod own;

use alexnet_parallel::{DevicePlan, Engine, plan};
use evaluate::Stop;
use evaluate::observe::Silent;
use fixtures::{STEPS, Scratch, StopsAfter, bits, losses, two_towers as job, varied};
use layers::{BatchNorm, Custom, NoOptions, Row, custom, towers};
use own::{ChannelScale, Swish};
use std::path::Path;
use std::time::Duration;
use tensor::{Device, Target};
use train::Result;
use train::checkpoint;
use train::executor::Executor;
use train::folder::RunFolder;
use train::optimizer::Ema;
use train::recipe::{Layer, Optimizer};
use train::run::{Job, Outcome, Session};
use train::schedule::{Per, Schedule, Warmup};
use train::start::Start;

/// The devices of a run.
#[derive(Clone, Copy)]
enum On {
    OneDevice,
    Towers,
    Replicas(usize),
    Hybrid(usize),
}

fn open(job: &Job, on: On, start: &Start) -> Result<Box<dyn Executor>> {
    let blueprint = job.blueprint();
    let cpus = |threads: &[usize]| -> Vec<Device> {
        threads.iter().map(|&threads| Device::cpu(threads)).collect()
    };
    let (plans, devices): (Vec<DevicePlan>, Vec<Device>) = match on {
        On::OneDevice => {
            let plan = plan::single(&blueprint, Target::Cpu { threads: 1 })?;
            return plan.open(Device::cpu(1), start);
        }
        On::Hybrid(1) => {
            let plan = plan::hybrid(&blueprint, (0, 1), Target::Cpu { threads: 2 })?;
            return plan.open(Device::cpu(2), start);
        }
        On::Replicas(world) => {
            let threads: Vec<usize> = (0..world).map(|rank| 1 + rank % 2).collect();
            let plan = |rank: usize| {
                let target = Target::Cpu { threads: threads[rank] };
                plan::replica(&blueprint, (rank, world), target)
            };
            ((0..world).map(plan).collect::<Result<_>>()?, cpus(&threads))
        }
        On::Hybrid(world) => {
            let target = Target::Cpu { threads: 1 };
            let plan = |rank| plan::hybrid(&blueprint, (rank, world), target);
            ((0..world).map(plan).collect::<Result<_>>()?, cpus(&vec![1; world]))
        }
        On::Towers => {
            let towers = towers::split(&job.spec, 2).unwrap();
            let targets = [1, 2].map(|threads| Target::Cpu { threads });
            (plan::towers(&blueprint, &towers, &targets)?, cpus(&[1, 2]))
        }
    };
    Ok(Box::new(plan::open_threads(
        &job.spec,
        plans,
        devices,
        Engine::Host,
        Duration::from_secs(20),
        start,
    )?))
}

/// Starts or resumes a run, until a step.
fn go(job: &Job, path: &Path, on: On, until: u64) -> Outcome {
    let stop = Stop::new();
    let mut observer = StopsAfter(until, stop.clone());
    let open = |start: &Start| open(job, on, start);
    if !path.exists() {
        let mut folder = RunFolder::create(path).unwrap();
        let session = Session::new(job, &mut folder, &mut observer, &stop);
        return session.start(open).unwrap();
    }
    let mut folder = RunFolder::open(path).unwrap();
    let from = checkpoint::load_newest(path, &mut |_| ()).unwrap();
    let identity = from.as_ref().map(|from| {
        let identity = job.check(from, false, &mut Silent, &stop).unwrap();
        identity.expect("no stop is requested")
    });
    let session = Session::new(job, &mut folder, &mut observer, &stop).with_identity(identity);
    session.resume(from, open).unwrap()
}

#[test]
fn towers_are_bit_identical_to_one_device() {
    let whole = Scratch::new("whole");
    let job = job(1);
    go(&job, &whole.0, On::OneDevice, STEPS);
    let expected = bits(&whole.0);
    let losses = losses(&expected.1);
    assert!(losses[49] < 0.9 * losses[0], "it learns: {losses:?}");
    let validations = expected.1.iter().filter(|line| line["kind"] == "validation").count();
    assert!(validations >= 3, "{validations}");

    use On::{OneDevice, Towers};
    let ways =
        [("towers", [Towers; 2]), ("there", [OneDevice, Towers]), ("back", [Towers, OneDevice])];
    for (name, [first, then]) in ways {
        let run = Scratch::new(name);
        assert_eq!(go(&job, &run.0, first, 17).steps, 17);
        assert_eq!(go(&job, &run.0, then, STEPS).resumed_at, 17);
        assert!(bits(&run.0) == expected, "{name}");
    }
}

#[test]
fn one_two_and_four_replicas_are_bit_identical() {
    let (whole, job) = (Scratch::new("shards"), job(4));
    go(&job, &whole.0, On::OneDevice, STEPS);
    let expected = bits(&whole.0);
    let losses = losses(&expected.1);
    assert!(losses[49] < 0.9 * losses[0], "it learns: {losses:?}");
    for world in [2, 4] {
        let run = Scratch::new("replicas");
        go(&job, &run.0, On::Replicas(world), STEPS);
        assert!(bits(&run.0) == expected, "{world} replicas");
    }
    // On four, on one, on two.
    let run = Scratch::new("more-or-fewer");
    go(&job, &run.0, On::Replicas(4), 11);
    go(&job, &run.0, On::OneDevice, 30);
    assert_eq!(go(&job, &run.0, On::Replicas(2), STEPS).resumed_at, 30);
    assert!(bits(&run.0) == expected);
}

#[test]
fn one_two_and_four_hybrid_ranks_are_bit_identical() {
    let (whole, job) = (Scratch::new("units"), job(4));
    go(&job, &whole.0, On::Hybrid(1), STEPS);
    let expected = bits(&whole.0);
    let losses = losses(&expected.1);
    assert!(losses[49] < 0.9 * losses[0], "it learns: {losses:?}");
    for world in [2, 4] {
        let run = Scratch::new("sharing");
        go(&job, &run.0, On::Hybrid(world), STEPS);
        assert!(bits(&run.0) == expected, "{world} ranks");
    }
    // On four, on one, on two.
    let run = Scratch::new("sharing-goes-on");
    go(&job, &run.0, On::Hybrid(4), 11);
    go(&job, &run.0, On::Hybrid(1), 30);
    assert_eq!(go(&job, &run.0, On::Hybrid(2), STEPS).resumed_at, 30);
    assert!(bits(&run.0) == expected);
}

/// Mixed pairs reach across micro-shards, and class weights are normalised over the whole batch: on
/// any devices, and resumed on others in the middle of an epoch.
#[test]
fn dense_targets_are_bit_identical_on_any_devices() {
    use On::{Hybrid, OneDevice, Replicas, Towers};
    const UNTIL: u64 = 14; // an epoch has 13 batches, the last of them short
    for mixed in [false, true] {
        let ways = [
            (4, OneDevice, [Replicas(4), Replicas(2)]),
            (4, Hybrid(1), [Hybrid(4), Hybrid(2)]),
            (1, OneDevice, [Towers, OneDevice]),
        ];
        for (shards, whole, [first, then]) in ways {
            let mut job = varied(shards, mixed);
            job.max_steps = Some(UNTIL);
            let (expected, run) = (Scratch::new("dense"), Scratch::new("dense-resumed"));
            go(&job, &expected.0, whole, UNTIL);
            go(&job, &run.0, first, 6);
            assert_eq!(go(&job, &run.0, then, UNTIL).resumed_at, 6);
            assert!(bits(&run.0) == bits(&expected.0), "{shards} shards, mixed {mixed}");
        }
    }
}

/// Statistics go with the weights: among shards, between towers, into checkpoints and back.
#[test]
fn statistics_and_slopes_are_distributed_like_weights() {
    let normalised = |shards| {
        let mut job = Job { max_steps: Some(16), ..job(shards) };
        let at = |name: &str| {
            let is_it = |row: &Row| matches!(row, Row::Conv(conv) if conv.name == name);
            job.spec.rows.iter().position(is_it).unwrap() + 1
        };
        let (second, third) = (at("conv2"), at("conv3"));
        job.spec.rows[third] = Row::Prelu(NoOptions {});
        job.spec.rows.insert(second, Row::BatchNorm(BatchNorm::default()));
        job
    };
    use On::{OneDevice, Replicas, Towers};
    for (shards, ways) in [(1, [Towers, OneDevice]), (4, [Replicas(4), Replicas(2)])] {
        let (whole, job) = (Scratch::new("norms-whole"), normalised(shards));
        go(&job, &whole.0, OneDevice, 16);
        let run = Scratch::new("norms");
        go(&job, &run.0, ways[0], 7);
        assert_eq!(go(&job, &run.0, ways[1], 16).resumed_at, 7);
        assert!(bits(&run.0) == bits(&whole.0), "{shards} shards");
    }
}

/// Layers of a program's own, one of them with a parameter: on micro-shards and replicas.
#[test]
fn custom_layers_are_bit_identical_on_any_number_of_replicas() {
    custom::register::<Swish>("swish");
    custom::register::<ChannelScale>("channel_scale");
    let mut job = Job { max_steps: Some(12), ..job(4) };
    let is_relu = |row: &Row| matches!(row, Row::Relu(_));
    let first = job.spec.rows.iter().position(is_relu).unwrap();
    job.spec.rows[first] = Row::Custom(Custom::new(Swish { beta: 1.5 }));
    job.spec.rows.insert(first, Row::Custom(Custom::new(ChannelScale {})));
    let (whole, run) = (Scratch::new("custom-whole"), Scratch::new("custom"));
    go(&job, &whole.0, On::OneDevice, 12);
    go(&job, &run.0, On::Replicas(4), 7);
    assert_eq!(go(&job, &run.0, On::Replicas(2), 12).resumed_at, 7);
    assert!(bits(&run.0) == bits(&whole.0));
    let towers = towers::split(&job.spec, 2).unwrap_err().to_string();
    assert!(towers.contains("custom layers cannot be divided into towers"), "{towers}");
}

/// Adam's second moments, clipped gradients, averaged weights, and rates that change before every
/// step: the same on any number of devices, and in a run that changes from one to another.
fn updates_are_bit_identical(name: &str, change: impl Fn(&mut Job)) {
    const END: u64 = 18;
    let changed = |shards| {
        let mut job = Job { max_steps: Some(END), ..job(shards) };
        change(&mut job);
        job.recipe.epochs = 2;
        job.recipe.check().unwrap();
        job
    };
    use On::{Hybrid, OneDevice, Replicas, Towers};
    let ways: [(usize, On, &[On]); 3] = [
        (1, OneDevice, &[Towers]),
        (4, OneDevice, &[Replicas(2), Replicas(4)]),
        (4, Hybrid(1), &[Hybrid(2), Hybrid(4)]),
    ];
    for (at, (shards, alone, together)) in ways.into_iter().enumerate() {
        let (whole, job) = (Scratch::new(&format!("{name}-whole-{at}")), changed(shards));
        go(&job, &whole.0, alone, END);
        let expected = bits(&whole.0);
        let losses = losses(&expected.1);
        assert!(losses.iter().all(|loss| loss.is_finite()) && losses[17] != losses[0]);
        for (idx, &on) in together.iter().enumerate() {
            let run = Scratch::new(&format!("{name}-{at}-{idx}"));
            // The second of two ways begins on one device.
            go(&job, &run.0, if idx == 0 { on } else { alone }, 7);
            assert_eq!(go(&job, &run.0, on, END).resumed_at, 7);
            assert!(bits(&run.0) == expected, "{name}: {at}, {idx}");
        }
    }
}

#[test]
fn adamw_with_clipping_and_averages_is_bit_identical() {
    updates_are_bit_identical("adamw", |job| {
        let recipe = &mut job.recipe;
        recipe.optimizer = Optimizer::AdamW;
        recipe.rate = 1e-3;
        recipe.clip_norm = Some(0.5);
        recipe.ema = Some(Ema { decay: 0.9, every: 2, warmup: true });
        recipe.schedule = Schedule::Cosine { end: 0.0, per: Per::Step };
        recipe.warmup = Some(Warmup { epochs: None, steps: Some(4), start: 0.1 });
    });
}

#[test]
fn nesterov_with_clipping_is_bit_identical() {
    updates_are_bit_identical("nesterov", |job| {
        let recipe = &mut job.recipe;
        recipe.optimizer = Optimizer::SgdPytorch;
        recipe.nesterov = true;
        recipe.rate = 1e-3;
        recipe.clip_norm = Some(2.0);
        recipe.clip_value = Some(0.25);
    });
}

/// Adam with a normalisation as all that is trained in the first epoch, and everything in the second.
#[test]
fn a_normalisation_and_layers_that_begin_later_are_bit_identical() {
    updates_are_bit_identical("later", |job| {
        let is_second = |row: &Row| matches!(row, Row::Conv(conv) if conv.name == "conv2");
        let second = job.spec.rows.iter().position(is_second).unwrap();
        job.spec.rows.insert(second + 1, Row::BatchNorm(BatchNorm::default()));
        let recipe = &mut job.recipe;
        (recipe.optimizer, recipe.rate) = (Optimizer::Adam, 1e-3);
        recipe.ema = Some(Ema { decay: 0.9, every: 3, warmup: false });
        let later = Layer { train_from: Some(2), ..Layer::default() };
        for pattern in ["conv*", "fc*"] {
            recipe.layers.insert(pattern.to_string(), later);
        }
    });
}

/// Without dropout, shards differ from the whole batch only in the order of sums.
#[test]
fn shards_are_close_to_the_whole_batch() {
    let losses = [1, 2, 8].map(|shards| {
        let mut job = Job { max_steps: Some(20), ..job(shards) };
        job.spec.rows.retain(|row| !matches!(row, Row::Dropout(_)));
        let run = Scratch::new("sums");
        go(&job, &run.0, On::OneDevice, 20);
        losses(&bits(&run.0).1)
    });
    for (step, whole) in losses[0].iter().enumerate() {
        for split in [losses[1][step], losses[2][step]] {
            assert!((split - whole).abs() < 1e-4 * whole, "step {step}: {whole}, split {split}");
        }
    }
}

#[test]
fn batches_that_cannot_be_split_are_refused() {
    let (target, whole) = (Target::Cpu { threads: 1 }, job(1));
    let error = |shards, world| match plan::replica(&job(shards).blueprint(), (0, world), target) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{shards} shards among {world}"),
    };
    assert!(error(4, 8).contains("8 ranks cannot share 4 micro-shards"));
    assert!(error(16, 2).contains("recipe.batch = 16"));
    let towers = towers::split(&whole.spec, 2).unwrap();
    let error = |job: &Job| {
        plan::towers(&job.blueprint(), &towers, &[target; 2]).err().unwrap().to_string()
    };
    assert!(error(&job(2)).contains("towers process whole batches"), "{}", error(&job(2)));
    let alone = job(4).plan(target).err().unwrap().to_string();
    assert!(alone.contains("recipe.shards is 4"), "{alone}");
}
