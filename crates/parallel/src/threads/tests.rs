use super::*;
use crate::hybrid::HybridPlan;
use crate::towers::TowerPlan;
use crate::{Cut, Engine, Plan, plan};
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
const PATIENCE: Duration = Duration::from_millis(500);

fn start() -> Start {
    let mut recipe = recipes::paper();
    recipe.input.scale = 1.0 / 64.0;
    Start::fresh(&recipe, 3, Values { shape: vec![3], values: vec![120.0; 3] })
}

fn set_rates(executor: &mut dyn Executor) {
    let recipe = recipes::paper();
    executor.set_rates(&recipe, &recipe.schedule.setting(&Default::default(), 1)).unwrap();
}

fn open(plans: Vec<Plan>) -> Threads {
    let devices = plans.iter().map(|_| Device::cpu(1)).collect();
    let how = (Engine::Host, PATIENCE);
    let mut threads = plan::open_threads(&spec(), plans, devices, how, &start()).unwrap();
    set_rates(&mut threads);
    threads
}

/// Two towers that wait for each other for half a second.
fn in_towers() -> Threads {
    let towers = towers::split(&spec(), 2).unwrap();
    let plans = TowerPlan::each(&towers, IMAGES, INPUT, &[TARGET; 2]).unwrap();
    open(plans.into_iter().map(|plan| Plan::Tower(Box::new(plan))).collect())
}

fn alone() -> Box<dyn Executor> {
    let plan = train::plan::Plan::new(&spec(), IMAGES, INPUT, TARGET).unwrap();
    let mut alone = plan.open_boxed(Device::cpu(1), &start()).unwrap();
    set_rates(&mut *alone);
    alone
}

/// The plan of a device that shares units.
fn sharing(rank: usize, world: usize) -> Plan {
    let cut = Cut::new(IMAGES, 2, (rank, world)).unwrap();
    Plan::Hybrid(Box::new(HybridPlan::new(&spec(), IMAGES, cut, INPUT, TARGET).unwrap()))
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
        epoch: 0,
        position: 0,
    }
}

#[test]
fn threads_answer_as_one_device_does() {
    answer_alike(in_towers(), alone(), 1e-9);
    answer_alike(two_sharing(), one_sharing(), 1e-6); // what replicas tell each other is floats
}

fn answer_alike(mut crew: Threads, mut alone: Box<dyn Executor>, tolerance: f64) {
    assert_eq!(crew.parameters(), alone.parameters());
    let shape = crew.batch_shape();
    assert_eq!((shape.images, shape.classes), (IMAGES, 3));
    let mut looks = [crew.new_stats(), alone.new_stats()];
    for step in 1..4 {
        let (mut one, mut other) = (batch(), batch());
        let request = || StepRequest::plain(step);
        let tallies = [crew.train(&mut one, request()), alone.train(&mut other, request())];
        let [ours, theirs] = tallies.map(|done| done.unwrap().tally);
        assert_eq!(ours, theirs);
        assert_eq!(one, batch(), "the batch is as it was");
    }
    let both: [&mut dyn Executor; 2] = [&mut crew, &mut *alone];
    let tallies: Vec<Tally> = both
        .into_iter()
        .zip(&mut looks)
        .map(|(executor, stats)| {
            let request = StepRequest { stats: Some(stats), ..StepRequest::plain(4) };
            executor.train(&mut batch(), request).unwrap().tally
        })
        .collect();
    assert_eq!(tallies[0], tallies[1]);
    for (one, other) in looks[0].layers.iter().zip(&looks[1].layers) {
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

    assert_eq!(crew.test(&mut batch()).unwrap(), alone.test(&mut batch()).unwrap());
    let mut rows = [[0.0; 3 * IMAGES]; 2];
    crew.probabilities(&mut rows[0]).unwrap();
    alone.probabilities(&mut rows[1]).unwrap();
    assert_eq!(rows[0], rows[1]);
    assert!(rows[0][0] > 0.0);

    let mut blocks = [const { Vec::new() }; 4];
    let [values, v, others, theirs] = &mut blocks;
    crew.snapshot(values, v).unwrap();
    alone.snapshot(others, theirs).unwrap();
    for entry in crew.parameters() {
        let range = entry.start..entry.start + entry.len();
        assert!(values[range.clone()] == others[range.clone()], "{}", entry.name);
        assert!(v[range.clone()] == theirs[range], "the velocity of {}", entry.name);
    }
}

/// What a crew says when one of its devices does `work` instead of a step.
fn told(work: impl Fn() -> Result<()> + Clone + Send + Sync + 'static) -> String {
    let sentence = told_by(in_towers(), work.clone());
    assert_eq!(told_by(two_sharing(), work), sentence);
    sentence
}

fn told_by(mut crew: Threads, work: impl Fn() -> Result<()> + Send + Sync + 'static) -> String {
    let batch = batch();
    let error = crew.each(move |member| match member.number {
        1 => work(),
        _ => member.rank.train(&batch, 1, None, None).map(drop),
    });
    let again = crew.train(&mut self::batch(), StepRequest::plain(2)).unwrap_err();
    assert!(matches!(again, train::Error::Executor(_)), "{again}");
    error.unwrap_err().to_string()
}

#[test]
fn a_device_that_hangs_is_named_and_left_behind() {
    let began = std::time::Instant::now();
    let sentence = told(|| {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    assert_eq!(sentence, "rank 1 has not answered for 0.5 s: all ranks stop");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_device_that_fails_or_panics_is_named() {
    assert_eq!(told(|| Err(train::Error::Recipe("planned".to_string()).into())), "planned");
    let panic = || std::panic::resume_unwind(Box::new("planned")); // prints nothing: that is slow
    assert_eq!(told(panic), "rank 1 panicked: all ranks stop");
}

/// No rank waits for another: only whoever gives the orders can notice.
#[test]
fn a_device_that_hangs_alone_is_noticed() {
    let mut crew = in_towers();
    let error = crew.each(|member| {
        std::thread::sleep(Duration::from_secs(20 * member.number as u64));
        Ok(())
    });
    let sentence = error.unwrap_err().to_string();
    assert_eq!(sentence, "rank 1 has not answered for 1 s: all ranks stop");
    assert_eq!(Local::PATIENCE, Duration::from_secs(30), "as long as any step takes");
}
