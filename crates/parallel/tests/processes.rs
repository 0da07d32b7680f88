//! Ranks that each run the training loop, as processes do; here they are threads. Runs of several
//! are bit-identical to those of one, any rank may receive a stop request, and only rank 0 writes.

extern crate train as alexnet_train; // for the fixtures that `train` shares

mod fixtures;

use alexnet_parallel::{DevicePlan, ProcessLink, plan};
use comm::Local;
use evaluate::Stop;
use evaluate::observe::{Observer, Silent, StepReport};
use fixtures::{STEPS, Scratch, bits, losses, two_towers, varied};
use layers::towers;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
use std::{fs, panic, thread};
use tensor::{Device, Target};
use train::checkpoint::{self, Policy};
use train::early_stopping::EarlyStopping;
use train::executor::Executor;
use train::folder::RunFolder;
use train::optimizer::Ema;
use train::recipe::{Optimizer, Recipe};
use train::run::{End, Job, Outcome, Session};
use train::start::Start;
use train::{Error, Result};

const TARGET: Target = Target::Cpu { threads: 1 };

#[derive(Clone, Copy)]
enum How {
    Data,
    Towers,
    Hybrid,
}

/// A request to a rank after a step.
#[derive(Clone, Copy)]
struct Ask {
    rank: usize,
    step: u64,
    what: fn(&Stop) -> ControlFlow<()>,
}

const INTERRUPT: fn(&Stop) -> ControlFlow<()> = |stop| {
    stop.request(2);
    ControlFlow::Continue(())
};

/// The observer of a rank's process, which makes the request.
struct Process {
    rank: usize,
    asked: Stop,
    ask: Option<Ask>,
}

impl Observer for Process {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let due = |ask: &Ask| (ask.rank, ask.step) == (self.rank, report.step);
        self.ask.filter(due).map_or(ControlFlow::Continue(()), |ask| (ask.what)(&self.asked))
    }
}

fn open(
    job: &Job,
    how: How,
    comm: Local,
    stops: (&Stop, &Stop),
    start: &Start,
) -> Result<Box<dyn Executor>> {
    use comm::Comm;
    let (rank, world) = (comm.rank(), comm.world());
    let threads = 1 + rank % 2;
    let (device, target, blueprint) =
        (Device::cpu(threads), Target::Cpu { threads }, job.blueprint());
    let plan = match how {
        How::Data => plan::replica(&blueprint, (rank, world), target)?,
        How::Hybrid => plan::hybrid(&blueprint, (rank, world), target)?,
        How::Towers => {
            let towers = towers::split(&job.spec, world)?;
            plan::towers(&blueprint, &towers, &vec![target; world])?.remove(rank)
        }
    };
    let (requested, agreed) = (stops.0.clone(), stops.1.clone());
    let link = ProcessLink { comm: Box::new(comm), requested, agreed };
    Ok(Box::new(plan::open_process(&job.spec, plan, device, link, start)?))
}

/// Starts or resumes a run on `world` ranks, of which only rank 0 has the folder. Returns the
/// outcomes; `None` for a rank that panicked.
fn go(
    job: &Job,
    path: &Path,
    how: How,
    world: usize,
    ask: Option<Ask>,
) -> Vec<Option<Result<Outcome>>> {
    let timeout = Duration::from_secs(20);
    let from = path.exists().then(|| checkpoint::load_newest(path, &mut |_| ()).unwrap().unwrap());
    let run = |(rank, comm): (usize, Local), from: Option<checkpoint::Checkpoint>| {
        let (asked, agreed) = (Stop::new(), Stop::new());
        let mut folder = match (rank, &from) {
            (0, None) => RunFolder::create(path)?,
            (0, Some(_)) => RunFolder::open(path)?,
            _ => RunFolder::nowhere(),
        };
        let mut observer = Process { rank, asked: asked.clone(), ask };
        let identity = job.identity(&mut Silent, &agreed)?.unwrap();
        let open = |start: &Start| open(job, how, comm, (&asked, &agreed), start);
        let session = Session::new(job, &mut folder, &mut observer, &agreed);
        let session = session.with_identity(Some(identity));
        match from {
            None => session.start(open),
            Some(from) => session.resume(Some(from), open),
        }
    };
    let ranks = Local::world(world, timeout).into_iter().enumerate();
    thread::scope(|scope| {
        let run = &run;
        let start = |rank| {
            let from = from.clone();
            scope.spawn(move || run(rank, from))
        };
        let threads: Vec<_> = ranks.map(start).collect();
        threads.into_iter().map(|thread| thread.join().ok()).collect()
    })
}

fn well(outcomes: Vec<Option<Result<Outcome>>>) -> Vec<Outcome> {
    outcomes.into_iter().map(|ended| ended.unwrap().unwrap()).collect()
}

fn alone(job: &Job, path: &Path) {
    alone_with(job, path, plan::single(&job.blueprint(), TARGET).unwrap());
}

fn alone_with(job: &Job, path: &Path, plan: DevicePlan) {
    let stop = Stop::new();
    let mut folder = RunFolder::create(path).unwrap();
    let mut silent = Silent;
    let session = Session::new(job, &mut folder, &mut silent, &stop);
    session.start(|start| plan.open(Device::cpu(1), start)).unwrap();
}

#[test]
fn replicas_in_two_and_four_processes_are_bit_identical_to_one() {
    let (whole, job) = (Scratch::new("ranks-whole"), two_towers(4));
    alone(&job, &whole.0);
    let expected = bits(&whole.0);
    let losses = losses(&expected.1);
    assert!(losses[49] < 0.9 * losses[0], "it learns: {losses:?}");
    for world in [2, 4] {
        let run = Scratch::new("ranks");
        let outcomes = well(go(&job, &run.0, How::Data, world, None));
        assert!(outcomes.iter().all(|outcome| outcome.steps == STEPS));
        assert!(bits(&run.0) == expected, "{world} ranks");
    }
}

#[test]
fn all_stop_at_the_same_step_and_resume_with_more_or_fewer_processes() {
    let (whole, run, job) = (Scratch::new("stop-whole"), Scratch::new("stop"), two_towers(4));
    alone(&job, &whole.0);
    let stopped =
        well(go(&job, &run.0, How::Data, 4, Some(Ask { rank: 3, step: 17, what: INTERRUPT })));
    let steps = stopped[0].steps;
    assert!((17..20).contains(&steps), "{steps}");
    assert!(stopped.iter().all(|end| (end.steps, end.signal()) == (steps, Some(2))), "{stopped:?}");
    let stopped =
        well(go(&job, &run.0, How::Data, 2, Some(Ask { rank: 0, step: 30, what: INTERRUPT })));
    assert_eq!((stopped[0].resumed_at, stopped[1].signal()), (steps, Some(2)));
    well(go(&job, &run.0, How::Data, 4, None));
    assert!(bits(&run.0) == bits(&whole.0));
}

/// An observer of any process ends the run in all of them.
#[test]
fn any_observer_ends_all_processes_at_the_same_step() {
    let job = two_towers(4);
    for (how, world, rank) in [(How::Data, 4, 2), (How::Hybrid, 2, 1)] {
        let whole = Scratch::new("enough-whole");
        let plan = match how {
            How::Hybrid => plan::hybrid(&job.blueprint(), (0, 1), TARGET),
            How::Data | How::Towers => plan::single(&job.blueprint(), TARGET),
        };
        alone_with(&job, &whole.0, plan.unwrap());
        let run = Scratch::new("enough");
        let ask = Ask { rank, step: 17, what: |_| ControlFlow::Break(()) };
        let ends = well(go(&job, &run.0, how, world, Some(ask)));
        assert!(ends.iter().all(|end| (end.steps, end.end) == (18, End::StoppedEarly)), "{ends:?}");
        let status = fs::read_to_string(run.0.join("run.json")).unwrap();
        assert!(status.contains("\"stopped-early\""), "{status}");
        let ends = well(go(&job, &run.0, how, world, None));
        assert!(ends.iter().all(|end| end.end == End::Finished), "{ends:?}");
        assert!(bits(&run.0) == bits(&whole.0));
    }
}

/// All ranks end after the same validation, also if they are interrupted before.
#[test]
fn early_stopping_ends_all_processes_with_the_weights_of_one() {
    let rule = EarlyStopping { patience: 2, threshold: 1.0, ..EarlyStopping::default() };
    for (shards, how, world) in [(4, How::Data, 2), (1, How::Towers, 2)] {
        let mut job = two_towers(shards);
        job.recipe.early_stopping = Some(rule); // no error falls by more than 1
        let (whole, run) = (Scratch::new("early-one"), Scratch::new("early-two"));
        alone(&job, &whole.0);
        let ask = Ask { rank: 1, step: 20, what: INTERRUPT };
        assert_eq!(well(go(&job, &run.0, how, world, Some(ask)))[0].signal(), Some(2));
        let ends = well(go(&job, &run.0, how, world, None));
        for end in &ends {
            assert_eq!((end.end, end.steps), (End::Finished, 3 * 13));
            assert!(end.best_weights.is_some_and(|best| best.stopped), "{end:?}");
            assert_eq!(end.best_weights, ends[0].best_weights);
        }
        assert!(bits(&run.0) == bits(&whole.0));
    }
}

/// Adam's moments, the norm of clipped gradients and averages, also in a run that is interrupted.
#[test]
fn updates_in_two_processes_are_bit_identical_to_one() {
    let ask = Some(Ask { rank: 1, step: 7, what: INTERRUPT });
    for (shards, how) in [(4, How::Data), (1, How::Towers), (4, How::Hybrid)] {
        let mut job = two_towers(shards);
        job.max_steps = Some(18);
        job.recipe = Recipe {
            optimizer: Optimizer::AdamW,
            rate: 1e-3,
            clip_norm: Some(0.5),
            ema: Some(Ema { decay: 0.9, every: 2, warmup: true }),
            ..job.recipe
        };
        let (whole, run) = (Scratch::new("updates-one"), Scratch::new("updates-two"));
        let plan = match how {
            How::Hybrid => plan::hybrid(&job.blueprint(), (0, 1), TARGET),
            How::Data | How::Towers => plan::single(&job.blueprint(), TARGET),
        };
        alone_with(&job, &whole.0, plan.unwrap());
        assert_eq!(well(go(&job, &run.0, how, 2, ask))[0].signal(), Some(2));
        assert!(well(go(&job, &run.0, how, 2, None)).iter().all(|end| end.steps == 18));
        assert!(bits(&run.0) == bits(&whole.0), "{shards} shards");
    }
}

/// Each process holds only its units of the linear layers.
#[test]
fn hybrid_in_two_and_four_processes_is_bit_identical_to_one() {
    let (whole, run, job) = (Scratch::new("units-whole"), Scratch::new("units"), two_towers(4));
    alone_with(&job, &whole.0, plan::hybrid(&job.blueprint(), (0, 1), TARGET).unwrap());
    let ask = |rank, step| Some(Ask { rank, step, what: INTERRUPT });
    let stopped = well(go(&job, &run.0, How::Hybrid, 4, ask(3, 17)));
    assert!(stopped.iter().all(|end| end.signal() == Some(2)), "{stopped:?}");
    well(go(&job, &run.0, How::Hybrid, 2, ask(0, 30)));
    well(go(&job, &run.0, How::Hybrid, 4, None));
    assert!(bits(&run.0) == bits(&whole.0));
}

#[test]
fn towers_are_bit_identical_to_one_process_and_record_all_layers() {
    let (whole, run, job) = (Scratch::new("ranks-one"), Scratch::new("ranks-two"), two_towers(1));
    alone(&job, &whole.0);
    let stopped =
        well(go(&job, &run.0, How::Towers, 2, Some(Ask { rank: 1, step: 9, what: INTERRUPT })));
    assert_eq!(stopped[0].signal(), Some(2));
    let ended = well(go(&job, &run.0, How::Towers, 2, None));
    assert!(bits(&run.0) == bits(&whole.0));
    // The second tower has no classifier, and receives the tallies of the first.
    assert_eq!(ended[0].validation, ended[1].validation);
    let layers = |path: &Path| {
        let text = fs::read_to_string(path.join("metrics.jsonl")).unwrap();
        let line = text.lines().find(|line| line.contains("\"layers\"")).unwrap().to_string();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["layers"].clone()
    };
    let [one, two] = [&whole, &run].map(|scratch| layers(&scratch.0));
    for (one, two) in one.as_array().unwrap().iter().zip(two.as_array().unwrap()) {
        assert_eq!(one["name"], two["name"]);
        for number in ["weight_norm", "gradient_norm", "update_ratio"] {
            let [a, b] = [one, two].map(|layer| layer[number].as_f64().unwrap());
            assert!((a - b).abs() <= 1e-9 * a.abs(), "{number}: {one} {two}");
        }
    }
}

#[test]
fn any_rank_may_request_a_checkpoint_and_the_clock_of_rank_0_counts() {
    let names = |run: &Scratch| {
        let list = weights::run::list(&run.0).unwrap();
        list.into_iter().map(|(step, _)| step).collect::<Vec<_>>()
    };
    let keep = Policy { keep: 99, every: None };
    let job = Job { checkpoints: keep, max_steps: Some(12), ..two_towers(2) };
    let run = Scratch::new("asked");
    let what = |stop: &Stop| {
        stop.request_checkpoint();
        ControlFlow::Continue(())
    };
    let ask = Ask { rank: 1, step: 5, what };
    well(go(&job, &run.0, How::Data, 2, Some(ask)));
    let saved = names(&run);
    assert!(saved.len() == 2 && (5..8).contains(&saved[1]) && saved[0] == 12, "{saved:?}");

    let every = Policy { keep: 99, every: Some(4) };
    let job = Job { checkpoints: every, ..job };
    let run = Scratch::new("every");
    well(go(&job, &run.0, How::Data, 2, None));
    let saved = names(&run);
    // A checkpoint that is due while the last is being written is written a little later.
    assert!(saved[0] == 12 && saved.len() >= 2, "{saved:?}");
}

#[test]
fn a_rank_that_panics_is_named_and_the_run_can_be_resumed_with_fewer() {
    let every = Policy { keep: 9, every: Some(3) };
    let job = Job { checkpoints: every, ..two_towers(4) };
    let (whole, run) = (Scratch::new("dies-whole"), Scratch::new("dies"));
    // Unlike `panic!`, this prints nothing.
    let die = Ask { rank: 3, step: 20, what: |_| panic::resume_unwind(Box::new("planned")) };
    let ended = go(&job, &run.0, How::Data, 4, Some(die));
    assert!(ended[3].is_none());
    for ended in &ended[..3] {
        let Some(Err(Error::Executor(error))) = ended else { panic!("{ended:?}") };
        assert_eq!(error.to_string(), "rank 3 panicked: all ranks stop");
    }
    let left = checkpoint::load_newest(&run.0, &mut |_| ()).unwrap().unwrap();
    assert!((3..=20).contains(&left.progress.step), "{}", left.progress.step);
    well(go(&job, &run.0, How::Data, 2, None));
    alone(&job, &whole.0);
    assert!(bits(&run.0) == bits(&whole.0));
}

/// Targets are dense: the weights of the whole batch normalise the loss, or pairs reach across the
/// ranks' parts.
#[test]
fn dense_targets_in_two_processes_are_bit_identical_to_one_after_an_interruption() {
    for mixed in [false, true] {
        let job = varied(4, mixed);
        for how in [How::Data, How::Hybrid] {
            let (whole, run) = (Scratch::new("dense-one"), Scratch::new("dense-two"));
            let plan = match how {
                How::Hybrid => plan::hybrid(&job.blueprint(), (0, 1), TARGET),
                How::Data | How::Towers => plan::single(&job.blueprint(), TARGET),
            };
            alone_with(&job, &whole.0, plan.unwrap());
            let ask = Ask { rank: 1, step: 17, what: INTERRUPT };
            let stopped = well(go(&job, &run.0, how, 2, Some(ask)));
            assert!(stopped.iter().all(|end| end.signal() == Some(2)), "{stopped:?}");
            well(go(&job, &run.0, how, 2, None));
            assert!(bits(&run.0) == bits(&whole.0), "mixed: {mixed}");
        }
    }
}
