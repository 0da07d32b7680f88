//! Features of one photograph: `cargo run --example features [WEIGHTS PHOTO]`
//!
//! With a run's folder or a file of weights and a photograph, it prints the classes and features of
//! the photograph. Without, it trains a small network on generated shapes and draws the photograph.

use alexnet::inference::neighbours::distance;
use alexnet::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Trains on generated shapes in a folder below `runs`, and returns the folder.
fn train(runs: &Path) -> Result<PathBuf> {
    let shapes: Arc<dyn Source> = Arc::new(Shapes::train(Shapes::SEED, 24, 2048));
    let test: Arc<dyn Source> = Arc::new(Shapes::test(Shapes::SEED, 24, 256));
    #[rustfmt::skip]
    let spec = Spec::image("small", 24, 24, 3)
        .conv("conv1", 16, window(3).pad(1)).batch_norm().relu().pool(window(2).stride(2))
        .conv("conv2", 32, window(3).pad(1)).batch_norm().relu().pool(window(2).stride(2))
        .conv("conv3", 32, window(3).pad(1)).batch_norm().relu().pool(window(2).stride(2))
        .linear("fc4", 10);
    let augment = Augment { mirror: true, ..Augment::NONE };
    let recipe = Recipe { batch: 32, rate: 0.05, epochs: 4, augment, ..recipes::torchvision() };
    let statistics = Statistics::of(&*shapes)?;
    let job = Job::new(spec, recipe, shapes, test, statistics);
    let plan = job.plan(Device::cpu(0).target())?;
    let mut folder = RunFolder::create_under(runs, "shapes")?;
    let (mut observer, stop) = (Silent, Stop::new());
    let session = Session::new(&job, &mut folder, &mut observer, &stop);
    session.start(|start| plan.open_boxed(Device::cpu(0), start))?;
    Ok(folder.path().to_path_buf())
}

/// A light disc on a dark ground, 60 rows of 80 pixels, `right` pixels from the centre.
fn draw(right: f32) -> Image {
    let mut photo = Image::filled(60, 80, [40, 60, 40]);
    for (at, pixel) in photo.pixels.chunks_exact_mut(3).enumerate() {
        let (y, x) = ((at / 80) as f32 - 29.5, (at % 80) as f32 - 39.5 - right);
        if y * y + x * x < 20.0 * 20.0 {
            pixel.copy_from_slice(&[230, 200, 90]);
        }
    }
    photo
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [weights, photo] = &arguments[..] {
        for guess in Classifier::open(weights)?.predict_file(photo)?.top(5) {
            println!("{} {:.1} %", guess.title, 100.0 * guess.probability);
        }
        return Ok(());
    }

    let runs = std::env::temp_dir().join(format!("alexnet-features-{}", std::process::id()));
    let classifier = Classifier::open(train(&runs)?)?;
    let photo = draw(0.0);
    for guess in classifier.predict(&photo)?.top(2) {
        println!("{} {:.1} %", guess.title, 100.0 * guess.probability);
    }
    // The output of a layer: 12 x 12 pixels of 16 channels. `None` is the last hidden layer.
    let features = |image: &Image| classifier.features(Some("pool1"), image);
    let vector = features(&photo)?;
    println!(
        "{} features, the largest {:.2}",
        vector.len(),
        vector.iter().copied().fold(0.0, f32::max)
    );
    let near = distance(&vector, &features(&draw(2.0))?);
    let far = distance(&vector, &features(&Image::filled(60, 80, [230, 200, 90]))?);
    println!("distance to the disc moved by two pixels is less than to its color: {}", near < far);

    std::fs::remove_dir_all(runs)?;
    Ok(())
}
