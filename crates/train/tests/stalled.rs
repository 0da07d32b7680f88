//! A disk that does not answer is reported to the observer, and a run that waits for it can be
//! stopped.

mod fixtures;

use alexnet_train::checkpoint::{self, Policy};
use alexnet_train::folder::RunFolder;
use alexnet_train::recipe::{Mean, Recipe};
use alexnet_train::run::{Job, Outcome, Session};
use alexnet_train::{plan, recipes};
use data::{Loader, LoaderPlan, ReadBuffer, ReadTimeouts, Shapes, Source, StalledRead, Statistics};
use evaluate::Stop;
use evaluate::evaluate;
use evaluate::observe::{Observer, Silent};
use layers::Spec;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tensor::{Device, Target};

/// Shapes, of which number 21 lies behind a gate.
struct Gated {
    shapes: Shapes,
    open: AtomicBool,
    /// Hears when a reader stands before the gate.
    arrived: Mutex<Sender<()>>,
}

impl Gated {
    fn new(arrived: Sender<()>, count: u32) -> Arc<Gated> {
        let shapes = Shapes::train(Shapes::SEED, 18, count);
        Arc::new(Gated { shapes, open: AtomicBool::new(false), arrived: Mutex::new(arrived) })
    }
}

impl Source for Gated {
    fn classes(&self) -> &[String] {
        self.shapes.classes()
    }

    fn size(&self) -> (usize, usize) {
        self.shapes.size()
    }

    fn len(&self) -> usize {
        self.shapes.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.shapes.label(index)
    }

    fn name(&self, index: usize) -> String {
        format!("slow/{index}.jpg")
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> data::Result<&'a [u8]> {
        if index == 21 && !self.open.load(Ordering::SeqCst) {
            let _ = self.arrived.lock().unwrap().send(());
            while !self.open.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.shapes.read(index, buffer)
    }
}

fn linear() -> (Spec, Recipe) {
    let spec = Spec::image("linear", 16, 16, 3).linear("fc1", 10);
    (spec, Recipe { batch: 16, rate: 1e-6, epochs: 2, ..recipes::paper() })
}

/// Opens the gate as soon as the stall is reported.
struct Porter {
    source: Arc<Gated>,
    heard: Vec<StalledRead>,
    notes: Vec<String>,
}

impl Observer for Porter {
    fn stalled(&mut self, stalled: &StalledRead) {
        self.heard.push(stalled.clone());
        self.note(&stalled.to_string());
        self.source.open.store(true, Ordering::SeqCst);
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

#[test]
fn a_test_tells_of_the_file_it_waits_for() {
    let (spec, recipe) = linear();
    let (input, target) = ((Mean::Image, [18, 18]), Target::Cpu { threads: 1 });
    let plan = plan::SingleDevicePlan::new(&spec, 16, input, target).unwrap();
    let start = fixtures::fresh_with(&recipe, 0, vec![128.0; 18 * 18 * 3]);
    let step = plan.open(Device::cpu(1), &start).unwrap();
    let source = Gated::new(channel().0, 64);
    let mut loader = Loader::new(source.clone(), LoaderPlan::testing(16, (16, 16)), 1, 0);
    let notice = Duration::from_millis(100);
    loader.set_timeouts(ReadTimeouts { notice, ..ReadTimeouts::default() });
    let mut porter = Porter { source, heard: Vec::new(), notes: Vec::new() };
    let tally = step.enter(|mut step| evaluate(&mut step, &mut loader, &Stop::new(), &mut porter));
    assert_eq!(tally.unwrap().unwrap().images, 64.0);
    let [heard] = &porter.heard[..] else { panic!("{:?}", porter.heard) };
    assert!(heard.name == "slow/21.jpg" && heard.waited >= notice, "{heard:?}");
    assert!(porter.notes[0].contains("slow/21.jpg: no answer for 0 s, still waiting"));
}

fn job(train: Arc<dyn Source>) -> Job {
    let (spec, recipe) = linear();
    let shapes = Arc::new(Shapes::train(Shapes::SEED, 18, 64));
    Job {
        spec,
        recipe,
        seed: 0,
        statistics: Statistics::of(&*shapes).unwrap(),
        train,
        validation: shapes,
        workers: 2,
        init: None,
        max_steps: None,
        class_names: Vec::new(),
        validate_every: 1,
        checkpoints: Policy::default(),
    }
}

fn folder(name: &str) -> RunFolder {
    let runs = std::env::temp_dir().join(format!("alexnet-stalled-{name}-{}", std::process::id()));
    RunFolder::create_under(&runs, "linear").unwrap()
}

/// Asks for a stop as soon as a reader stands before the gate.
fn stops(waits: Receiver<()>, stop: &Stop) -> JoinHandle<()> {
    let signal = stop.clone();
    std::thread::spawn(move || {
        waits.recv_timeout(Duration::from_secs(30)).unwrap();
        signal.request(2);
    })
}

/// A run on `source`, which is stopped as soon as a reader stands before the gate.
fn stopped_at_the_gate(source: &Arc<Gated>, waits: Receiver<()>, name: &str) -> (Outcome, PathBuf) {
    let (job, mut folder, stop) = (job(source.clone()), folder(name), Stop::new());
    let hand = stops(waits, &stop);
    let plan = job.plan(Target::Cpu { threads: 1 }).unwrap();
    let mut silent = Silent;
    let session = Session::new(&job, &mut folder, &mut silent, &stop);
    let outcome = session.start(|start| plan.open_boxed(Device::cpu(1), start)).unwrap();
    hand.join().unwrap();
    source.open.store(true, Ordering::SeqCst);
    (outcome, folder.path().to_path_buf())
}

#[test]
fn a_run_that_waits_for_a_disk_can_be_stopped() {
    let (arrived, waits) = channel();
    // The run's fingerprint looks at every other image: not at the one behind the gate.
    let source = Gated::new(arrived, 128);
    let (outcome, run) = stopped_at_the_gate(&source, waits, "loading");
    assert_eq!(outcome.signal(), Some(2));
    assert!(outcome.steps < 8, "{outcome:?}");
    assert!(run.join("weights.safetensors").exists(), "what was learned is kept");
    std::fs::remove_dir_all(run.parent().unwrap()).unwrap();
}

#[test]
fn so_can_one_that_waits_before_its_first_step() {
    let (arrived, waits) = channel();
    let source = Gated::new(arrived, 64); // the fingerprint looks at all of them
    let (outcome, run) = stopped_at_the_gate(&source, waits, "fingerprint");
    assert_eq!((outcome.signal(), outcome.steps), (Some(2), 0));
    let status = std::fs::read_to_string(run.join("run.json")).unwrap();
    assert!(status.contains("\"interrupted\""), "{status}");
    std::fs::remove_dir_all(run.parent().unwrap()).unwrap();
}

#[test]
fn so_can_the_check_before_a_run_goes_on() {
    let mut folder = folder("check");
    let path = folder.path().to_path_buf();
    let (arrived, waits) = channel();
    let source = Gated::new(arrived, 64);
    source.open.store(true, Ordering::SeqCst);
    let job = job(source.clone());
    let plan = job.plan(Target::Cpu { threads: 1 }).unwrap();
    let (mut silent, stop) = (Silent, Stop::new());
    let session = Session::new(&job, &mut folder, &mut silent, &stop);
    session.start(|start| plan.open_boxed(Device::cpu(1), start)).unwrap();
    let from = checkpoint::load_newest(&path, &mut |_| ()).unwrap().unwrap();

    source.open.store(false, Ordering::SeqCst);
    let stop = Stop::new();
    let hand = stops(waits, &stop);
    assert_eq!(job.check(&from, false, &mut Silent, &stop).unwrap(), None);
    hand.join().unwrap();
    source.open.store(true, Ordering::SeqCst);
    let identity = job.check(&from, false, &mut Silent, &Stop::new()).unwrap();
    assert_eq!(identity.as_ref(), Some(&from.identity));
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}
