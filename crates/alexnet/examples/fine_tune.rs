//! Fine-tuning from a file of weights: `cargo run --example fine_tune`
//!
//! A network is trained on ten kinds of shape, and its file of weights then gives a network for two
//! other classes all layers but the last. The file may also be of PyTorch, safetensors, Caffe or
//! ONNX with the parameters of a built-in model.

use alexnet::prelude::*;
use alexnet::train::init::Pretrained;
use alexnet::weights::import::ImportOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[rustfmt::skip]
fn network(classes: usize) -> Spec {
    Spec::image("small", 24, 24, 3)
        .conv("conv1", 16, window(5).pad(2)).batch_norm().relu().pool(window(2).stride(2))
        .conv("conv2", 32, window(3).pad(1)).batch_norm().relu().pool(window(2).stride(2))
        .linear("fc3", classes)
}

fn recipe(epochs: u32) -> Recipe {
    let augment = Augment { mirror: true, ..Augment::NONE };
    Recipe { batch: 32, rate: 0.05, epochs, augment, ..recipes::torchvision() }
}

/// Trains in a folder below `runs`, and returns the file of weights and the validation error.
fn run(job: &Job, runs: &Path, name: &str) -> Result<(PathBuf, f64)> {
    let plan = job.plan(Device::cpu(0).target())?;
    let mut folder = RunFolder::create_under(runs, name)?;
    let (mut observer, stop) = (Silent, Stop::new());
    let session = Session::new(job, &mut folder, &mut observer, &stop);
    let outcome = session.start(|start| plan.open_boxed(Device::cpu(0), start))?;
    let validation = outcome.validation.expect("a validation after each epoch");
    Ok((folder.path().join(Weights::FILE), validation.top1_error))
}

/// `count` images of shapes whose outline has holes or has none, from image `first` on.
fn holes(first: usize, count: usize) -> Result<Arc<dyn Source>> {
    let shapes = Shapes::test(Shapes::SEED, 24, (first + count) as u32);
    let with_holes = ["ring", "bars", "checker", "dots"];
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let mut buffer = ReadBuffer::default();
    for index in first..first + count {
        pixels.extend_from_slice(shapes.read(index, &mut buffer)?);
        let class = &shapes.classes()[shapes.label(index) as usize];
        labels.push(u32::from(with_holes.contains(&class.as_str())));
    }
    let classes = vec!["whole".to_string(), "with holes".to_string()];
    Ok(Arc::new(Memory::from_arrays((24, 24), pixels, labels, classes)?))
}

fn main() -> Result<()> {
    let runs = std::env::temp_dir().join(format!("alexnet-fine-tune-{}", std::process::id()));

    let shapes: Arc<dyn Source> = Arc::new(Shapes::train(Shapes::SEED, 24, 2048));
    let test: Arc<dyn Source> = Arc::new(Shapes::test(Shapes::SEED, 24, 256));
    let statistics = Statistics::of(&*shapes)?;
    let job = Job::new(network(10), recipe(3), shapes, test, statistics);
    let (file, error) = run(&job, &runs, "ten-classes")?;
    println!("ten classes: error {:.0} %", 100.0 * error);

    let (few, validation) = (holes(0, 160)?, holes(160, 256)?);
    let statistics = Statistics::of(&*few)?;
    let mut job = Job::new(network(2), recipe(4), few, validation, statistics);
    let (_, error) = run(&job, &runs, "from-scratch")?;
    println!("two classes from scratch: error {:.0} %", 100.0 * error);

    let options = ImportOptions::new(vec![]); // candidate networks, for files of other programs
    let pretrained = Pretrained::read(&file, None, false, &options, &mut |_| ())?;
    job.init = Some(Arc::new(pretrained));
    let (_, error) = run(&job, &runs, "fine-tuned")?;
    println!("two classes fine-tuned: error {:.0} %", 100.0 * error);

    std::fs::remove_dir_all(runs)?;
    Ok(())
}
