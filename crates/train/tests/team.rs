//! A run on several devices, in towers or with a part of every batch each, is the run on one: its
//! losses, its checkpoints, its weights.

mod fixtures;

use alexnet_train::checkpoint;
use alexnet_train::folder::RunFolder;
use alexnet_train::observe::Silent;
use alexnet_train::recipe::Optimizer;
use alexnet_train::run::{Job, Outcome, Session};
use alexnet_train::team::Team;
use alexnet_train::{Result, Stop};
use fixtures::{STEPS, Scratch, StopsAfter, bits, losses, two_towers as job};
use layers::{Bare, BatchNorm, Row, towers};
use std::path::Path;
use std::time::Duration;
use tensor::{Device, Target};

/// What a run computes on.
#[derive(Clone, Copy)]
enum On {
    OneDevice,
    Towers,
    Replicas(usize),
    Hybrid(usize),
}

fn team(job: &Job, on: On) -> Result<Team> {
    match on {
        On::OneDevice => Ok(job.plan(Target::Cpu { threads: 1 })?.open(Device::cpu(1))?.into()),
        On::Replicas(world) => {
            let plan = |rank| {
                job.blueprint().plan_replica((rank, world), Target::Cpu { threads: 1 + rank % 2 })
            };
            let plans = (0..world).map(plan).collect::<Result<_>>()?;
            let devices = (0..world).map(|rank| Device::cpu(1 + rank % 2)).collect();
            let patience = Duration::from_secs(20);
            Ok(Team::of_replicas(
                alexnet_train::replicas::open(plans, devices, patience)?,
                patience,
            ))
        }
        On::Hybrid(1) => {
            let plan = job.blueprint().plan_hybrid((0, 1), Target::Cpu { threads: 2 })?;
            Ok(plan.open(Device::cpu(2))?.into())
        }
        On::Hybrid(world) => {
            let plan =
                |rank| job.blueprint().plan_hybrid((rank, world), Target::Cpu { threads: 1 });
            let plans = (0..world).map(plan).collect::<Result<_>>()?;
            let devices = (0..world).map(|_| Device::cpu(1)).collect();
            let patience = Duration::from_secs(20);
            let steps = alexnet_train::replicas::open(plans, devices, patience)?;
            Team::of_parts(&job.spec, steps, patience)
        }
        On::Towers => {
            let towers = towers::split(&job.spec, 2).unwrap();
            let plans = job
                .blueprint()
                .plan_towers(&towers, &[1, 2].map(|threads| Target::Cpu { threads }))?;
            let devices = vec![Device::cpu(1), Device::cpu(2)];
            let patience = Duration::from_secs(20);
            let steps = alexnet_train::towers::open(towers, plans, devices, patience)?;
            Team::of_parts(&job.spec, steps, patience)
        }
    }
}

/// Begins a run, or goes on with it, until some step.
fn go(job: &Job, path: &Path, on: On, until: u64) -> Outcome {
    let stop = Stop::new();
    let mut observer = StopsAfter(until, stop.clone());
    let open = || team(job, on);
    if !path.exists() {
        let mut folder = RunFolder::create(path).unwrap();
        let session = Session::new(job, &mut folder, &mut observer, &stop);
        return session.start(open).unwrap();
    }
    let mut folder = RunFolder::open(path).unwrap();
    let from = checkpoint::load_newest(path, &mut |_| ()).unwrap();
    let identity = from.as_ref().map(|from| {
        let identity = job.check(from, false, &mut Silent, &stop).unwrap();
        identity.expect("nobody asks for a stop")
    });
    let session = Session::new(job, &mut folder, &mut observer, &stop).with_identity(identity);
    session.resume(from, open).unwrap()
}

#[test]
fn towers_train_and_go_on_to_the_bits_of_one_device() {
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
fn one_two_and_four_replicas_come_to_the_same_bits() {
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
fn one_two_and_four_ranks_that_share_units_come_to_the_same_bits() {
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

/// Running statistics go with the weights: among shards, between towers, into checkpoints and back.
#[test]
fn statistics_and_slopes_are_shared_out_like_weights() {
    let normalised = |shards| {
        let mut job = Job { max_steps: Some(16), ..job(shards) };
        let at = |name: &str| {
            let is_it = |row: &Row| matches!(row, Row::Conv(conv) if conv.name == name);
            job.spec.rows.iter().position(is_it).unwrap() + 1
        };
        let (second, third) = (at("conv2"), at("conv3"));
        job.spec.rows[third] = Row::Prelu(Bare {});
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

/// Where nothing is drawn batch by batch, shards differ from the whole in the sums' order alone.
#[test]
fn shards_learn_what_the_whole_batch_does() {
    let losses = [1, 2, 8].map(|shards| {
        let mut job = Job { max_steps: Some(20), ..job(shards) };
        job.spec.rows.retain(|row| !matches!(row, Row::Dropout(_)));
        let run = Scratch::new("sums");
        go(&job, &run.0, On::OneDevice, 20);
        losses(&bits(&run.0).1)
    });
    for (step, whole) in losses[0].iter().enumerate() {
        for cut in [losses[1][step], losses[2][step]] {
            assert!((cut - whole).abs() < 1e-4 * whole, "step {step}: {whole}, cut {cut}");
        }
    }
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let told = |shards, world| match job(shards)
        .blueprint()
        .plan_replica((0, world), Target::Cpu { threads: 1 })
    {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{shards} shards among {world}"),
    };
    assert!(told(4, 8).contains("8 ranks cannot share 4 micro-shards"));
    assert!(told(16, 2).contains("--batch-size 16"));
    let towers = towers::split(&job(1).spec, 2).unwrap();
    let error = job(2)
        .blueprint()
        .plan_towers(&towers, &[Target::Cpu { threads: 1 }; 2])
        .unwrap_err()
        .to_string();
    assert!(error.contains("towers see whole batches"), "{error}");
    let mut adams = job(4);
    adams.recipe.optimizer = Optimizer::Adam;
    let told = adams
        .blueprint()
        .plan_replica((0, 2), Target::Cpu { threads: 1 })
        .err()
        .unwrap()
        .to_string();
    assert!(told.contains("Adam trains on one device"), "{told}");
    let told =
        adams.blueprint().plan_towers(&towers, &[Target::Cpu { threads: 1 }; 2]).err().unwrap();
    assert!(told.to_string().contains("Adam trains on one device"), "{told}");
}
