use super::*;
use crate::recipe::Mean;
use crate::recipes;
use crate::replicas::Cut;
use crate::step::Plan;
use comm::Local;
use layers::{Lrn, Mode, towers, window};
use tensor::{Device, Target};

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

/// Two towers that wait for each other for half a second.
fn team() -> Team {
    let towers = towers::split(&spec(), 2).unwrap();
    let input = (Mean::Color, [12; 2]);
    let plans =
        crate::towers::plan(&towers, IMAGES, Mode::Train, input, &[Target::Cpu { threads: 1 }; 2])
            .unwrap();
    let devices = vec![Device::cpu(1), Device::cpu(1)];
    let patience = Duration::from_millis(500);
    let steps = crate::towers::open(towers, plans, devices, patience).unwrap();
    let mut team = Team::of_parts(&spec(), steps, patience).unwrap();
    prepare(&mut team);
    team
}

fn alone() -> Team {
    let input = (Mean::Color, [12; 2]);
    let plan = Plan::new(&spec(), IMAGES, Mode::Train, input, Target::Cpu { threads: 1 }).unwrap();
    let mut team = plan.open(Device::cpu(1)).unwrap().into();
    prepare(&mut team);
    team
}

/// One or two devices that share units.
fn sharing(world: usize) -> Team {
    let target = Target::Cpu { threads: 1 };
    let plan = |rank| {
        let cut = Cut::new(IMAGES, 2, (rank, world)).unwrap();
        Plan::of_hybrid(&spec(), IMAGES, cut, (Mean::Color, [12; 2]), target).unwrap()
    };
    let (devices, patience) = ((0..world).map(|_| Device::cpu(1)), Duration::from_millis(500));
    let plans = (0..world).map(plan).collect();
    let mut steps = crate::replicas::open(plans, devices.collect(), patience).unwrap();
    let mut team = match world {
        1 => steps.remove(0).into(),
        _ => Team::of_parts(&spec(), steps, patience).unwrap(),
    };
    prepare(&mut team);
    team
}

fn prepare(team: &mut Team) {
    let recipe = recipes::paper();
    team.initialize(&recipe, 3).unwrap();
    team.set_input(&[120.0; 3], 1.0 / 64.0).unwrap();
    let setting = recipe.schedule.setting(&Default::default(), 1);
    team.set_rates(&recipe, &setting).unwrap();
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
fn a_crew_answers_as_one_device_does() {
    answer_alike(team(), alone(), 1e-9);
    answer_alike(sharing(2), sharing(1), 1e-6); // what replicas tell each other is floats
}

fn answer_alike(mut crew: Team, mut alone: Team, tolerance: f64) {
    assert_eq!(crew.entries(), alone.entries());
    assert_eq!((crew.images(), crew.classes()), (IMAGES, 3));
    let mut looks = [crew.look(), alone.look()];
    for step in 1..4 {
        let (mut one, mut other) = (batch(), batch());
        assert_eq!(crew.train(&mut one, step).unwrap(), alone.train(&mut other, step).unwrap());
        assert_eq!(one, batch(), "the batch is as it was");
    }
    let both = [&mut crew, &mut alone].into_iter().zip(&mut looks);
    let tallies: Vec<Tally> =
        both.map(|(team, look)| team.train_and_look(&mut batch(), 4, look).unwrap()).collect();
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
    for entry in crew.entries() {
        let range = entry.start..entry.start + entry.len();
        assert!(values[range.clone()] == others[range.clone()], "{}", entry.name);
        assert!(v[range.clone()] == theirs[range], "the velocity of {}", entry.name);
    }
}

/// What a crew says when one of its devices does `work` instead of a step.
fn told(work: impl Fn() -> Result<()> + Clone + Send + Sync + 'static) -> String {
    let sentence = told_by(team(), work.clone());
    assert_eq!(told_by(sharing(2), work), sentence);
    sentence
}

fn told_by(team: Team, work: impl Fn() -> Result<()> + Send + Sync + 'static) -> String {
    let Team::Crew(mut crew) = team else { unreachable!() };
    let batch = batch();
    let error = crew.each(move |member| match member.rank {
        1 => work(),
        _ => member.step.train(&batch, 1).map(drop),
    });
    let again = crew.train(&mut self::batch(), 2).unwrap_err();
    assert!(matches!(again, Error::Comm(_)), "{again}");
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
    assert_eq!(told(|| Err(Error::Recipe("planned".to_string()))), "planned");
    let panic = || std::panic::resume_unwind(Box::new("planned")); // prints nothing: that is slow
    assert_eq!(told(panic), "rank 1 panicked: all ranks stop");
}

/// No rank waits for another: only whoever gives the orders can notice.
#[test]
fn a_device_that_hangs_alone_is_noticed() {
    let Team::Crew(mut crew) = team() else { unreachable!() };
    let error = crew.each(|member| {
        std::thread::sleep(Duration::from_secs(20 * member.rank as u64));
        Ok(())
    });
    let sentence = error.unwrap_err().to_string();
    assert_eq!(sentence, "rank 1 has not answered for 1 s: all ranks stop");
    assert_eq!(Local::PATIENCE, Duration::from_secs(30), "as long as any step takes");
}
