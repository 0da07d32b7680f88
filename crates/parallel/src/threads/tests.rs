use super::*;
use crate::hybrid::HybridPlan;
use crate::towers::TowerPlan;
use crate::{DevicePlan, Engine, Sharding, plan};
use comm::Local;
use layers::{Lrn, Spec, towers, window};
use tensor::{Device, Target};
use train::recipe::Mean;
use train::recipes;
use weights::Values;

const IMAGES: usize = 4;

fn spec() -> Spec {
    let spec = Spec::image("two-towers", 12, 12, 3)
        .conv("conv1", 32, window(3).stride(2))
        .relu()
        .lrn_with(Lrn { towers: 2, ..Lrn::default() })
        .conv("conv2", 32, window(3).pad(1).groups(2))
        .relu()
        .linear("fc3", 12)
        .relu()
        .linear("fc4", 3);
    towers::on_one_device(&spec, 2).unwrap()
}

const TARGET: Target = Target::Cpu { threads: 1 };
const INPUT: (Mean, [usize; 2]) = (Mean::Color, [12; 2]);
const TIMEOUT: Duration = Duration::from_millis(500);

fn start() -> Start {
    let mut recipe = recipes::paper();
    recipe.input.scale = (1.0 / 64.0).into();
    Start::fresh(&recipe, 3, Values { shape: vec![3], values: vec![120.0; 3] })
}

fn set_rates(executor: &mut dyn Executor) {
    let recipe = recipes::paper();
    executor.set_rates(&recipe, &recipe.setting_of_epoch(&Default::default(), 1)).unwrap();
}

fn open(plans: Vec<DevicePlan>) -> Threads {
    let devices = plans.iter().map(|_| Device::cpu(1)).collect();
    let mut threads =
        plan::open_threads(&spec(), plans, devices, Engine::Host, TIMEOUT, &start()).unwrap();
    set_rates(&mut threads);
    threads
}

/// Two towers, with a timeout of half a second.
fn in_towers() -> Threads {
    let towers = towers::split(&spec(), 2).unwrap();
    let plans = TowerPlan::each(&towers, IMAGES, INPUT, &[TARGET; 2]).unwrap();
    open(plans.into_iter().map(|plan| DevicePlan::Tower(Box::new(plan))).collect())
}

fn alone() -> Box<dyn Executor> {
    let plan = train::plan::SingleDevicePlan::new(&spec(), IMAGES, INPUT, TARGET).unwrap();
    let mut alone = plan.open_boxed(Device::cpu(1), &start()).unwrap();
    set_rates(&mut *alone);
    alone
}

/// The plan of a device that shares units.
fn sharing(rank: usize, world: usize) -> DevicePlan {
    let sharding = Sharding::new(IMAGES, 2, (rank, world)).unwrap();
    DevicePlan::Hybrid(Box::new(HybridPlan::new(&spec(), IMAGES, sharding, INPUT, TARGET).unwrap()))
}

fn two_sharing() -> Threads {
    open(vec![sharing(0, 2), sharing(1, 2)])
}

fn one_sharing() -> Box<dyn Executor> {
    let mut alone = sharing(0, 1).open(Device::cpu(1), &start()).unwrap();
    set_rates(&mut *alone);
    alone
}

fn batch() -> Batch {
    Batch {
        pixels: (0..IMAGES * 12 * 12 * 3).map(|i| (i * i % 251) as u8).collect(),
        views: vec![[0, 0, 1]; IMAGES],
        tints: vec![[1.0, 0.0, 3.0, 0.0]; IMAGES],
        labels: (0..IMAGES as u32).map(|image| image % 3).collect(),
        samples: (0..IMAGES as u32).collect(),
        images: IMAGES,
        ..Batch::default()
    }
}

#[test]
fn threads_give_the_results_of_one_device() {
    compare(in_towers(), alone(), 1e-9);
    compare(two_sharing(), one_sharing(), 1e-6); // their norms are exchanged as f32
}

fn compare(mut threads: Threads, mut alone: Box<dyn Executor>, tolerance: f64) {
    assert_eq!(threads.parameters(), alone.parameters());
    let shape = threads.batch_shape();
    assert_eq!((shape.images, shape.classes), (IMAGES, 3));
    let mut stats = [threads.new_stats(), alone.new_stats()];
    for step in 1..4 {
        let (mut one, mut other) = (batch(), batch());
        let request = || StepRequest::plain(step);
        let tallies = [threads.train(&mut one, request()), alone.train(&mut other, request())];
        let [ours, theirs] = tallies.map(|done| done.unwrap().tally);
        assert_eq!(ours, theirs);
        assert_eq!(one, batch(), "the batch is unchanged");
    }
    let both: [&mut dyn Executor; 2] = [&mut threads, &mut *alone];
    let tallies: Vec<Tally> = both
        .into_iter()
        .zip(&mut stats)
        .map(|(executor, stats)| {
            let request = StepRequest { stats: Some(stats), ..StepRequest::plain(4) };
            executor.train(&mut batch(), request).unwrap().tally
        })
        .collect();
    assert_eq!(tallies[0], tallies[1]);
    for (one, other) in stats[0].layers.iter().zip(&stats[1].layers) {
        let near = |a: f64, b: f64| {
            assert!((a - b).abs() <= tolerance * b.abs(), "{one:?} {other:?}");
        };
        assert_eq!(one.name, other.name);
        near(one.weight_norm, other.weight_norm);
        near(one.gradient_norm, other.gradient_norm);
        near(one.update_ratio, other.update_ratio);
        assert_eq!(one.dead_relus.is_some(), other.dead_relus.is_some(), "{one:?} {other:?}");
        near(one.dead_relus.unwrap_or(1.0), other.dead_relus.unwrap_or(1.0));
    }

    assert_eq!(threads.test(&mut batch()).unwrap(), alone.test(&mut batch()).unwrap());
    let mut rows = [[0.0; 3 * IMAGES]; 2];
    threads.probabilities(&mut rows[0]).unwrap();
    alone.probabilities(&mut rows[1]).unwrap();
    assert_eq!(rows[0], rows[1]);
    assert!(rows[0][0] > 0.0);

    let mut blocks = [const { Vec::new() }; 4];
    let [values, v, others, theirs] = &mut blocks;
    threads.snapshot(values, v).unwrap();
    alone.snapshot(others, theirs).unwrap();
    for entry in threads.parameters() {
        let range = entry.start..entry.start + entry.len();
        assert!(values[range.clone()] == others[range.clone()], "{}", entry.name);
        assert!(v[range.clone()] == theirs[range], "the velocity of {}", entry.name);
    }
}

/// The error, in both modes, if one of two devices does `work` instead of a step.
fn error_of_both(work: impl Fn() -> Result<()> + Clone + Send + Sync + 'static) -> String {
    let sentence = error_of(in_towers(), work.clone());
    assert_eq!(error_of(two_sharing(), work), sentence);
    sentence
}

fn error_of(mut threads: Threads, work: impl Fn() -> Result<()> + Send + Sync + 'static) -> String {
    let batch = batch();
    let error = threads.each(move |worker| match worker.number {
        1 => work(),
        _ => worker.rank.train(&batch, 1, None, None).map(drop),
    });
    let again = threads.train(&mut self::batch(), StepRequest::plain(2)).unwrap_err();
    assert!(matches!(again, train::Error::Executor(_)), "{again}");
    error.unwrap_err().to_string()
}

#[test]
fn a_device_that_hangs_is_named_and_left_behind() {
    let began = std::time::Instant::now();
    let sentence = error_of_both(|| {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    assert_eq!(sentence, "rank 1 has not answered for 0.5 s: all ranks stop");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_device_that_fails_or_panics_is_named() {
    assert_eq!(
        error_of_both(|| Err(train::Error::Recipe("planned".to_string()).into())),
        "planned"
    );
    let panic = || std::panic::resume_unwind(Box::new("planned")); // prints nothing: that is slow
    assert_eq!(error_of_both(panic), "rank 1 panicked: all ranks stop");
}

/// No rank waits for another, so only the sender of commands can notice.
#[test]
fn a_device_that_hangs_alone_is_noticed() {
    let mut threads = in_towers();
    let error = threads.each(|worker| {
        std::thread::sleep(Duration::from_secs(20 * worker.number as u64));
        Ok(())
    });
    let sentence = error.unwrap_err().to_string();
    assert_eq!(sentence, "rank 1 has not answered for 1 s: all ranks stop");
    assert_eq!(Local::TIMEOUT, Duration::from_secs(30), "longer than any step");
}
