//! Runs of networks with layers of a program's own: trained, resumed, saved and used.

extern crate layers as alexnet_layers; // for the layers that `layers` shares

mod fixtures;
#[path = "../../layers/tests/custom/mod.rs"]
mod own;

use alexnet_train::checkpoint;
use alexnet_train::folder::RunFolder;
use alexnet_train::recipe::{Input, Mean, Recipe};
use alexnet_train::recipes;
use alexnet_train::run::{Job, Session};
use data::{Shapes, Statistics};
use evaluate::Stop;
use fixtures::{Scratch, StopsAfter, bits, losses, scaled};
use inference::InferencePlan;
use layers::{Spec, custom, window};
use own::{ChannelScale, Swish};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tensor::{Device, Target};
use weights::Weights;
use weights::export::{self, ExportOptions, Format};

const STEPS: u64 = 30;
const TARGET: Target = Target::Cpu { threads: 1 };

fn job() -> Job {
    let spec = Spec::image("own", 16, 16, 3)
        .conv("conv1", 8, window(5).pad(2).stride(2))
        .custom(ChannelScale {})
        .custom(Swish { beta: 1.5 })
        .pool(window(3).stride(2))
        .linear("fc2", 10);
    let images = Arc::new(Shapes::train(Shapes::SEED, 18, 60));
    let statistics = Statistics::of(&*images).unwrap();
    let input = Input::new(Mean::Color, 1.0 / 64.0);
    let recipe = Recipe { batch: 12, epochs: 100, rate: 3e-3, input, ..recipes::paper() };
    let recipe = scaled(recipe);
    let mut job = Job::new(spec, recipe, images.clone(), images, statistics);
    (job.workers, job.max_steps) = (1, Some(STEPS));
    job
}

/// Starts or resumes a run, until a step.
fn go(job: &Job, path: &Path, until: u64) {
    let plan = job.plan(TARGET).unwrap();
    let stop = Stop::new();
    let mut observer = StopsAfter(until, stop.clone());
    if path.exists() {
        let from = checkpoint::load_newest(path, &mut |_| ()).unwrap();
        let mut folder = RunFolder::open(path).unwrap();
        let session = Session::new(job, &mut folder, &mut observer, &stop);
        session.resume(from, |start| plan.open_boxed(Device::cpu(1), start)).unwrap();
    } else {
        let mut folder = RunFolder::create(path).unwrap();
        let session = Session::new(job, &mut folder, &mut observer, &stop);
        session.start(|start| plan.open_boxed(Device::cpu(1), start)).unwrap();
    }
}

fn files_in(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_run_learns_resumes_and_is_read_back() {
    let (job, whole, run) = (job(), Scratch::new("own-whole"), Scratch::new("own"));
    go(&job, &whole.0, STEPS);
    let unregistered = Weights::read(whole.0.join("weights.safetensors"));
    let message = unregistered.unwrap_err().to_string();
    assert!(message.contains("layers::custom::register"), "{message}");
    // A checkpoint is not taken for a damaged one, which would be put aside.
    let checkpoints = files_in(&whole.0.join("checkpoints"));
    let message = checkpoint::load_newest(&whole.0, &mut |_| ()).unwrap_err().to_string();
    assert!(message.contains("layers::custom::register"), "{message}");
    assert_eq!(files_in(&whole.0.join("checkpoints")), checkpoints);

    custom::register::<Swish>("swish");
    custom::register::<ChannelScale>("channel_scale");
    go(&job, &run.0, 11);
    go(&job, &run.0, STEPS);
    let expected = bits(&whole.0);
    assert!(bits(&run.0) == expected, "the resumed run differs");
    let losses = losses(&expected.1);
    assert!(losses[29] < losses[0], "{losses:?}");

    let path = run.0.join("weights.safetensors");
    let weights = Weights::read(&path).unwrap();
    assert_eq!(weights.about.model, job.spec);
    let scale = weights.parameters.iter().find(|(name, _)| name == "channel_scale1.scale");
    let (_, scale) = scale.unwrap();
    assert_eq!(scale.shape, [8]);
    // They began at 1.5, and were trained.
    let moved = scale.values.iter().map(|value| (value - 1.5).abs()).fold(0.0, f32::max);
    assert!(0.0 < moved && moved < 0.5, "{:?}", scale.values);
    let input = (Mean::Image, [18; 2]);
    let input =
        if weights.about.input.mean == Mean::Color { (Mean::Color, [18; 2]) } else { input };
    let plan = InferencePlan::new(&weights.about.model, 2, input, TARGET).unwrap();
    plan.open(Device::cpu(1), &weights, &path).unwrap();

    let onnx = run.0.join("net.onnx");
    let options = ExportOptions::new(Format::Onnx);
    let refused = export::write(&weights, &onnx, &options, &mut |_, _| true).unwrap_err();
    let refused = refused.to_string();
    assert!(refused.contains("`channel_scale1` is a custom layer of kind `channel_scale`"));
    assert!(refused.contains("export the weights to .safetensors"), "{refused}");
    assert!(!onnx.exists());
    let safetensors = run.0.join("net.safetensors");
    let options = ExportOptions::new(Format::Safetensors);
    export::write(&weights, &safetensors, &options, &mut |_, _| true).unwrap().unwrap();
}
