//! Training from batches in pinned memory is bit-identical to training from ordinary memory, also
//! where only some batches are pinned, and where a run is resumed.

mod fixtures;

use alexnet_train::checkpoint::{self, Policy};
use alexnet_train::folder::RunFolder;
use alexnet_train::recipe::{Augment, Recipe};
use alexnet_train::recipes;
use alexnet_train::run::{Job, Session};
use cuda_on_cpu::Behaviour;
use data::{Shapes, Statistics};
use evaluate::Stop;
use evaluate::observe::{Observer, StepReport};
use fixtures::{Scratch, bits};
use layers::{Spec, window};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tensor::Target;
use testkit::{own_gpu, stand_in_in_use};

/// Collects notes, and stops after a step.
struct Notes {
    notes: Vec<String>,
    last_step: u64,
    stop: Stop,
}

impl Observer for Notes {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        if report.step == self.last_step {
            self.stop.request(15);
        }
        ControlFlow::Continue(())
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_string());
    }
}

fn job(workers: usize) -> Job {
    let images = Arc::new(Shapes::train(Shapes::SEED, 18, 40));
    let augment = Augment { crop: true, mirror: true, ..Augment::NONE };
    let spec = Spec::image("tiny", 16, 16, 3).pool(window(4).stride(4)).linear("fc1", 10);
    Job {
        spec,
        recipe: Recipe { batch: 8, epochs: 3, rate: 1e-3, augment, ..recipes::paper() },
        seed: 11,
        statistics: Statistics::of(&*images).unwrap(),
        train: images,
        validation: Arc::new(Shapes::train(Shapes::SEED + 1, 18, 10)),
        workers,
        init: None,
        max_steps: Some(12),
        class_names: Vec::new(),
        validate_every: 1,
        checkpoints: Policy::default(),
    }
}

/// The notes of a run on a GPU, which begins or is resumed; after step `last_step` it stops.
fn run(job: &Job, path: &Path, last_step: u64, behaviour: Behaviour) -> Vec<String> {
    let stop = Stop::new();
    let mut observer = Notes { notes: Vec::new(), last_step, stop: stop.clone() };
    let is_new = !path.exists();
    let mut folder = if is_new { RunFolder::create(path) } else { RunFolder::open(path) }.unwrap();
    let session = Session::new(job, &mut folder, &mut observer, &stop);
    let plan = job.plan(Target::Cuda).unwrap();
    let open = |start: &_| {
        let executor = plan.open_boxed(own_gpu().unwrap(), start);
        if let Some(stand_in) = stand_in_in_use() {
            stand_in.behave(behaviour); // pinned memory of batches is allocated next
        }
        executor
    };
    let outcome = if is_new {
        session.start(open)
    } else {
        session.resume(checkpoint::load_newest(path, &mut |_| ()).unwrap(), open)
    };
    outcome.unwrap();
    observer.notes.retain(|note| note.contains("pinned memory"));
    observer.notes
}

#[test]
fn pinned_batches_change_no_bit() {
    let Some(_) = own_gpu() else { return };
    let scratch = Scratch::new("pinned");
    let mut first = None;
    for (workers, failing) in [(1, None), (1, Some(1)), (3, None), (3, Some(3))] {
        for early_copies in [false, true] {
            let path = scratch.0.join(format!("{workers} {failing:?} {early_copies}"));
            let behaviour =
                Behaviour { early_copies, failing_allocation: failing, ..Behaviour::default() };
            let notes = run(&job(workers), &path, u64::MAX, behaviour);
            let pinned = failing.map_or(workers + 2, |failing| failing as usize - 1);
            let [note] = &notes[..] else { panic!("{notes:?}") };
            if stand_in_in_use().is_some() {
                assert!(note.starts_with(&format!("{pinned} batches of images in ")), "{note}");
                assert_eq!(note.contains("others in ordinary memory"), failing.is_some(), "{note}");
            }
            let found = bits(&path);
            assert_eq!(*first.get_or_insert_with(|| found.clone()), found, "{}", path.display());
        }
    }
}

#[test]
fn a_run_with_pinned_batches_is_resumed_exactly() {
    let Some(_) = own_gpu() else { return };
    let scratch = Scratch::new("pinned-resumed");
    let (whole, parts) = (scratch.0.join("whole"), scratch.0.join("parts"));
    run(&job(2), &whole, u64::MAX, Behaviour::default());
    run(&job(3), &parts, 4, Behaviour::default());
    run(&job(1), &parts, u64::MAX, Behaviour::default());
    assert_eq!(bits(&parts), bits(&whole));
}
