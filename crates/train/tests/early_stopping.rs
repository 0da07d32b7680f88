//! A run that stops early ends where its validations say, with the weights of the best one, also if
//! it was interrupted on the way.

mod fixtures;

use alexnet_train::checkpoint::{self, Checkpoint};
use alexnet_train::early_stopping::{BestWeights, EarlyStopping, Metric};
use alexnet_train::folder::{RunFolder, Status};
use alexnet_train::optimizer::Ema;
use alexnet_train::recipe::{Augment, Input, Mean, Recipe};
use alexnet_train::recipes;
use alexnet_train::run::{End, Job, Outcome, Session};
use alexnet_train::{Error, Result};
use data::{Shapes, Statistics};
use evaluate::Stop;
use evaluate::observe::Silent;
use fixtures::{Scratch, StopsAfter, bits, scaled};
use layers::{Spec, window};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tensor::{Device, Target};
use weights::Weights;

/// Batches of an epoch.
const BATCHES: u64 = 8;
/// Epochs of a run that does not stop early.
const EPOCHS: u32 = 24;

/// A network that soon overfits its few images.
fn job(rule: Option<EarlyStopping>) -> Job {
    let images = Arc::new(Shapes::train(Shapes::SEED, 18, 8 * BATCHES as u32));
    let recipe = scaled(Recipe {
        batch: 8,
        epochs: EPOCHS,
        rate: 0.002,
        input: Input { side: Some(18), ..Input::new(Mean::Image, 1.0 / 64.0) },
        augment: Augment { crop: true, mirror: true, ..Augment::NONE },
        early_stopping: rule,
        ..recipes::paper()
    });
    let spec = Spec::image("tiny", 16, 16, 3)
        .conv("conv1", 8, window(5).pad(2).stride(2))
        .relu()
        .linear("fc2", 24)
        .relu()
        .dropout(0.5)
        .linear("fc3", 10);
    let validation = Arc::new(Shapes::train(Shapes::SEED + 1, 18, 60));
    let statistics = Statistics::of(&*images).unwrap();
    Job { seed: 6, workers: 1, ..Job::new(spec, recipe, images, validation, statistics) }
}

fn rule(patience: u32, metric: Metric) -> Option<EarlyStopping> {
    Some(EarlyStopping { patience, threshold: 0.0, metric })
}

fn go(job: &Job, path: &Path, stop_after: Option<u64>) -> Result<Outcome> {
    let plan = job.plan(Target::Cpu { threads: 1 }).unwrap();
    let stop = Stop::new();
    let mut observer = StopsAfter(stop_after.unwrap_or(u64::MAX), stop.clone());
    if !path.exists() {
        let mut folder = RunFolder::create(path).unwrap();
        let session = Session::new(job, &mut folder, &mut observer, &stop);
        return session.start(|start| plan.open_boxed(Device::cpu(1), start));
    }
    let mut folder = RunFolder::open(path).unwrap();
    let from = checkpoint::load_newest(path, &mut |_| ()).unwrap();
    from.iter().for_each(|from| _ = job.check(from, false, &mut Silent, &stop).unwrap());
    let session = Session::new(job, &mut folder, &mut observer, &stop);
    session.resume(from, |start| plan.open_boxed(Device::cpu(1), start))
}

fn status(run: &Path) -> Status {
    serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap()
}

/// The values of all validations of a run.
fn values(run: &Path, name: &str) -> Vec<f64> {
    let lines = bits(run).1;
    let validations = lines.iter().filter(|line| line["kind"] == "validation");
    validations.map(|line| line[name].as_f64().unwrap()).collect()
}

/// The epochs, counted from one, of the best validation and of the one that ends a run: computed
/// from all validations at once.
fn expected_end(values: &[f64], patience: usize) -> (usize, usize) {
    let best_of = |values: &[f64]| {
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        1 + values.iter().position(|&value| value == lowest).unwrap()
    };
    let over = |&end: &usize| end - best_of(&values[..end]) >= patience;
    let end = (1..=values.len()).find(over).expect("the run stops early");
    (best_of(&values[..end]), end)
}

/// The weights of a run of so many epochs without early stopping.
fn weights_after(epochs: usize) -> Vec<u8> {
    let run = Scratch::new("after");
    go(&Job { max_steps: Some(epochs as u64 * BATCHES), ..job(None) }, &run.0, None).unwrap();
    bits(&run.0).0
}

#[test]
fn it_ends_after_its_patience_with_the_weights_of_the_best_validation() {
    let whole = Scratch::new("early-whole");
    go(&job(None), &whole.0, None).unwrap();
    for (metric, name) in [(Metric::Error, "top1_error"), (Metric::Loss, "loss")] {
        let all = values(&whole.0, name);
        assert_eq!(all.len(), EPOCHS as usize);
        let (best, end) = expected_end(&all, 3);
        assert!(1 < best && end < EPOCHS as usize, "{name}: {best}, {end}: {all:?}");

        let run = Scratch::new("early");
        let outcome = go(&job(rule(3, metric)), &run.0, None).unwrap();
        assert_eq!((outcome.end, outcome.steps), (End::Finished, end as u64 * BATCHES));
        assert_eq!(values(&run.0, name), all[..end], "nothing else changes");
        let BestWeights { validated, stopped, stale, .. } = outcome.best_weights.unwrap();
        assert_eq!((validated.epoch as usize, validated.step), (best, best as u64 * BATCHES));
        assert_eq!((validated.value, stopped, stale), (all[best - 1], true, 3));
        assert_eq!(status(&run.0).early_stopping, outcome.best_weights);
        assert!(bits(&run.0).0 == weights_after(best), "{name}: the weights are another epoch's");

        let text = outcome.to_text(&run.0);
        assert!(text.contains("stopped early: the validation's"), "{text}");
        assert!(text.contains(&format!("after epoch {best} (step {})", validated.step)), "{text}");
        let json = outcome.to_json(&run.0);
        assert_eq!(json["early_stopping"]["epoch"], best);
        assert_eq!(json["early_stopping"]["stopped"], true);
    }
}

#[test]
fn interrupted_anywhere_it_comes_to_the_same_bits() {
    comes_to_the_same_bits(&job(rule(3, Metric::Error)), "weights");
}

/// The weights of the best validation are averages.
#[test]
fn interrupted_anywhere_averages_come_to_the_same_bits() {
    let mut job = job(rule(3, Metric::Error));
    job.recipe.ema = Some(Ema { decay: 0.5, every: 3, warmup: false });
    comes_to_the_same_bits(&job, "averages");
}

fn comes_to_the_same_bits(job: &Job, name: &str) {
    let whole = Scratch::new(&format!("early-whole-{name}"));
    let outcome = go(job, &whole.0, None).unwrap();
    let expected = bits(&whole.0);
    let best = outcome.best_weights.unwrap().validated.step;
    // At, before and after the best validation; in the middle of an epoch; just before the end.
    let points =
        [3, BATCHES, best - 1, best, best + 1, best + BATCHES, best + BATCHES + 3, outcome.steps];
    for (number, point) in points.into_iter().enumerate() {
        let run = Scratch::new(&format!("early-point-{name}"));
        assert_eq!(go(job, &run.0, Some(point)).unwrap().signal(), Some(15));
        let file = run.0.join(Weights::FILE);
        if number % 2 == 1 && point > best {
            // As if it had been killed before it could replace the weights.
            fs::copy(&file, run.0.join("aside")).unwrap();
            fs::write(&file, "half").unwrap();
        }
        let resumed = go(job, &run.0, None).unwrap();
        assert_eq!((resumed.steps, resumed.resumed_at), (outcome.steps, point));
        assert_eq!(resumed.best_weights, outcome.best_weights, "after {point}");
        assert!(bits(&run.0) == expected, "after {point}");
        assert_eq!(status(&run.0).early_stopping, status(&whole.0).early_stopping);
    }
    // Once more changes nothing; weights that were removed come back.
    fs::remove_file(whole.0.join(Weights::FILE)).unwrap();
    let again = go(job, &whole.0, None).unwrap();
    assert_eq!((again.steps, again.resumed_at), (outcome.steps, outcome.steps));
    assert!(bits(&whole.0) == expected);
}

/// A process killed between the checkpoint of the best validation and its weights, or later while
/// the newest checkpoint is damaged.
#[test]
fn weights_and_checkpoint_may_be_of_different_steps_when_a_process_is_killed() {
    let job = job(rule(3, Metric::Error));
    let whole = Scratch::new("early-killed-whole");
    let outcome = go(&job, &whole.0, None).unwrap();
    let best = outcome.best_weights.unwrap().validated.step;

    let run = Scratch::new("early-killed");
    go(&job, &run.0, Some(best + 2)).unwrap();
    let newest = checkpoint::find_newest(&run.0, &mut |_| ()).unwrap().unwrap();
    assert_eq!(newest.progress.step, best + 2);
    fs::remove_file(&newest.path).unwrap(); // the best is now the newest
    fs::write(run.0.join(Weights::FILE), "of an earlier validation").unwrap();
    let resumed = go(&job, &run.0, None).unwrap();
    assert_eq!(resumed.resumed_at, best);
    assert!(bits(&run.0) == bits(&whole.0));

    // The checkpoint that has the weights is gone: noted, and the weights stay as they are.
    let run = Scratch::new("early-gone");
    go(&job, &run.0, Some(best + 2 * BATCHES + 2)).unwrap();
    let name = weights::run::checkpoint_name(best);
    let kept = run.0.join("checkpoints").join(name);
    assert_eq!(Checkpoint::read(&kept).unwrap().progress.step, best);
    fs::remove_file(&kept).unwrap();
    go(&job, &run.0, None).unwrap();
    assert!(bits(&run.0) == bits(&whole.0));
}

#[test]
fn patience_may_be_raised_and_the_run_is_what_a_more_patient_one_would_have_been() {
    let (whole, run) = (Scratch::new("early-patient"), Scratch::new("early-raised"));
    let outcome = go(&job(rule(5, Metric::Error)), &whole.0, None).unwrap();
    let first = go(&job(rule(2, Metric::Error)), &run.0, None).unwrap();
    assert!(first.best_weights.unwrap().stopped && first.steps < outcome.steps, "{first:?}");
    let resumed = go(&job(rule(5, Metric::Error)), &run.0, None).unwrap();
    assert_eq!(resumed.best_weights, outcome.best_weights);
    assert!(bits(&run.0) == bits(&whole.0));
}

/// The last validation of a run that ends in the middle of an epoch counts for its weights only: a
/// longer run is what it would have been without.
#[test]
fn a_validation_in_the_middle_of_an_epoch_leaves_no_trace() {
    let whole = Scratch::new("early-long");
    let job = job(rule(3, Metric::Loss));
    let outcome = go(&job, &whole.0, None).unwrap();
    // The loss still falls in the first epochs: the last validation is the best.
    let run = Scratch::new("early-short");
    let short = Job { max_steps: Some(BATCHES + 5), ..job.clone() };
    let ended = go(&short, &run.0, None).unwrap().best_weights.unwrap();
    assert_eq!((ended.validated.step, ended.stopped), (BATCHES + 5, false), "{ended:?}");
    let last = checkpoint::find_newest(&run.0, &mut |_| ()).unwrap().unwrap();
    let weights = Weights::read(run.0.join(Weights::FILE)).unwrap();
    for (name, values) in &weights.parameters {
        assert_eq!(last.parameter_named(name).unwrap().0, values.values, "{name}");
    }
    assert_eq!(go(&job, &run.0, None).unwrap().best_weights, outcome.best_weights);
    assert!(bits(&run.0).0 == bits(&whole.0).0);
}

#[test]
fn it_needs_validation_images_of_its_own() {
    let mut job = job(rule(3, Metric::Error));
    job.validation = Arc::clone(&job.train);
    let run = Scratch::new("early-same");
    let error = go(&job, &run.0, None).unwrap_err();
    assert!(matches!(error, Error::Recipe(_)), "{error}");
    assert!(error.to_string().contains("hold out every tenth training image"), "{error}");
    job.recipe.early_stopping = None;
    let run = Scratch::new("early-same-without");
    go(&Job { max_steps: Some(3), ..job }, &run.0, None).unwrap();
}
