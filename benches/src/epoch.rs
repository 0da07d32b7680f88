//! Times whole epochs, with loading and augmentation: ours and PyTorch's in turns.
//!
//! Both resize images to 36 x 36, take random crops of 32 x 32, mirror half of them, subtract the
//! training set's mean image and train with the same recipe. [`Loading`] determines when images are
//! decoded. Both use the same number of workers.

use crate::peer::{EpochTimes, Peer, PeerMode};
use clap::ValueEnum;
use data::{Folder, Loader, Memory, Source, Statistics, Subset};
use layers::Spec;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tensor::Device;
use train::executor::{Executor, StepRequest};
use train::plan::SingleDevicePlan;
use train::recipe::{Augment, Mean, Recipe};
use train::schedule::ScheduleState;
use train::start::Start;
use train::step::SingleDevice;
use weights::Values;

/// The source of the pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Loading {
    /// JPEG files, read and decoded in every epoch
    Files,
    /// Pixels decoded once, before the first epoch
    Memory,
}

impl Loading {
    /// The name in tables and on the Python script's command line.
    pub fn name(self) -> &'static str {
        match self {
            Loading::Files => "files",
            Loading::Memory => "memory",
        }
    }
}

/// The size of an epoch, and the number of threads.
#[derive(Clone, Copy, Debug)]
pub struct EpochOptions {
    /// Images per epoch, spread evenly over the data set.
    pub images: usize,
    /// Images per step.
    pub batch: usize,
    /// Compute threads; 0: one per core.
    pub threads: usize,
    /// Loader threads, or loader processes in PyTorch.
    pub workers: usize,
}

/// A network and its augmented data; each [`run`](EpochBenchmark::run) trains for one epoch.
#[derive(Debug)]
pub struct EpochBenchmark {
    step: SingleDevice,
    source: Arc<dyn Source>,
    plan: data::LoaderPlan,
    workers: usize,
    epochs_done: u32,
    steps_done: u64,
}

impl EpochBenchmark {
    /// Opens the images of `folder`, which has a subfolder per class, and builds the network
    /// `spec`, to be trained with `recipe`, random crops and mirroring.
    ///
    /// # Errors
    /// If the folder's images cannot be read, the network does not fit them, or the recipe has a
    /// loss other than the plain one.
    pub fn open(
        spec: &Spec,
        recipe: &Recipe,
        folder: &Path,
        loading: Loading,
        options: EpochOptions,
    ) -> Result<EpochBenchmark, String> {
        let augment = Augment { crop: true, mirror: true, ..Augment::NONE };
        let recipe = Recipe { augment, batch: options.batch, ..recipe.clone() };
        if recipe.has_dense_targets() {
            return Err("the benchmark of epochs trains with the plain loss, as PyTorch's side \
                        does: leave label smoothing and class weights out of the recipe"
                .to_string());
        }
        let [height, width, _] = spec.input;
        let side = recipe.side(height, width);
        let message = |error: data::Error| error.to_string();
        let files: Arc<dyn Source> = Arc::new(Folder::open(folder, side).map_err(message)?);
        let files: Arc<dyn Source> = Arc::new(Subset::spread(files, options.images));
        let statistics = Statistics::of_sample(&*files, options.threads, Some(2000), &|_| ())
            .map_err(message)?;
        let source: Arc<dyn Source> = match loading {
            Loading::Files => files,
            Loading::Memory => Arc::new(Memory::read_all(files, options.threads, &|_| ())),
        };
        let classes = source.classes().len();
        let spec = spec.clone().with_classes(classes).map_err(|error| error.to_string())?;
        let device = Device::cpu(options.threads);
        let mean = (Mean::Image, [side, side]);
        let values = Values { shape: vec![side, side, 3], values: statistics.mean.clone() };
        let start = Start::fresh(&recipe, 0, values);
        let step = SingleDevicePlan::new(&spec, options.batch, mean, device.target())
            .and_then(|plan| plan.open(device, &start));
        let mut step = step.map_err(|error| error.to_string())?;
        let setting = recipe.setting_of_epoch(&ScheduleState::default(), 1);
        step.set_rates(&recipe, &setting).map_err(|error| error.to_string())?;
        let plan = recipe.augment.plan(options.batch, (height, width), 0);
        let workers = options.workers;
        Ok(EpochBenchmark { step, source, plan, workers, epochs_done: 0, steps_done: 0 })
    }

    /// Side of the resized images.
    pub fn side(&self) -> usize {
        self.source.size().0
    }

    /// Trains for an epoch. The time includes the start of the loader.
    ///
    /// # Errors
    /// If images cannot be read, or the loss is not finite.
    pub fn run(&mut self) -> Result<EpochTimes, String> {
        let start = Instant::now();
        let mut loader = Loader::new(self.source.clone(), self.plan, self.workers, 0);
        if self.epochs_done > 0 {
            loader.start_at(self.epochs_done, 0);
        }
        let (mut wait, mut images) = (0.0, 0);
        for _ in 0..loader.batches_per_epoch() {
            let requested = Instant::now();
            let batch = loader.next_batch().map_err(|error| error.to_string())?;
            let batch = batch.expect("a training loader never ends");
            wait += requested.elapsed().as_secs_f64();
            self.steps_done += 1;
            let request = StepRequest::plain(self.steps_done);
            self.step.train_on(&batch, request).map_err(|error| error.to_string())?;
            images += batch.images;
        }
        self.epochs_done += 1;
        Ok(EpochTimes { seconds: start.elapsed().as_secs_f64(), wait, images })
    }

    /// Runs `work` on the device's threads.
    pub fn enter<T: Send>(self, work: impl FnOnce(EpochBenchmark) -> T + Send) -> T {
        let EpochBenchmark { step, source, plan, workers, epochs_done, steps_done } = self;
        step.enter(|step| {
            work(EpochBenchmark { step, source, plan, workers, epochs_done, steps_done })
        })
    }
}

/// Starts PyTorch with the same network, images and augmentation (`benches/peer/cifar_epoch.py`).
///
/// # Errors
/// If Python does not start, or the script fails before it is ready (it prints why to stderr).
pub fn peer(
    python: &Path,
    folder: &Path,
    mode: PeerMode,
    loading: Loading,
    side: usize,
    options: EpochOptions,
) -> Result<Peer, String> {
    let numbers = [options.images, options.batch, side, options.threads, options.workers];
    let numbers = numbers.map(|number| number.to_string());
    let folder = folder.to_str().ok_or_else(|| format!("{} is not UTF-8", folder.display()))?;
    let mut args = vec![folder];
    args.extend(numbers.iter().map(String::as_str));
    args.extend([mode.name(), loading.name()]);
    Peer::start(python, include_str!("../peer/cifar_epoch.py"), &args)
}

/// Runs `rounds` epochs of each, in alternation.
///
/// # Errors
/// As [`EpochBenchmark::run`], or if the PyTorch process has ended.
pub fn alternate(
    epoch: &mut EpochBenchmark,
    peer: &mut Peer,
    rounds: usize,
) -> Result<Vec<(EpochTimes, EpochTimes)>, String> {
    let mut rounds_done = Vec::new();
    for _ in 0..rounds {
        let ours = epoch.run()?;
        let theirs = peer.epoch()?;
        crate::rest();
        rounds_done.push((ours, theirs));
    }
    Ok(rounds_done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_epoch_has_every_image_once_from_files_and_from_memory() {
        let folder = std::env::temp_dir().join(format!("alexnet-epoch-{}", std::process::id()));
        let pixels = crate::noise(40 * 40 * 3);
        for class in ["a", "b"] {
            fs::create_dir_all(folder.join(class)).unwrap();
            for number in 0..5 {
                let path = folder.join(class).join(format!("{number}.jpg"));
                let jpeg = jpeg_encoder::Encoder::new_file(path, 90).unwrap();
                jpeg.encode(&pixels, 40, 40, jpeg_encoder::ColorType::Rgb).unwrap();
            }
        }
        let spec = Spec::image("linear", 32, 32, 3).linear("fc1", 10);
        let recipe = Recipe { rate: 1e-9, ..train::recipes::cifar_18pct() };
        let options = EpochOptions { images: 7, batch: 4, threads: 1, workers: 1 };
        for loading in [Loading::Files, Loading::Memory] {
            let mut epoch =
                EpochBenchmark::open(&spec, &recipe, &folder, loading, options).unwrap();
            assert_eq!(epoch.side(), 36);
            for _ in 0..2 {
                let EpochTimes { seconds, wait, images } = epoch.run().unwrap();
                assert_eq!(images, 7);
                assert!(0.0 < wait && wait < seconds);
            }
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_recipe_with_another_loss_is_refused() {
        let spec = Spec::image("linear", 32, 32, 3).linear("fc1", 10);
        let recipe = Recipe { label_smoothing: 0.1, ..train::recipes::cifar_18pct() };
        let options = EpochOptions { images: 7, batch: 4, threads: 1, workers: 1 };
        let opened =
            EpochBenchmark::open(&spec, &recipe, Path::new("none"), Loading::Memory, options);
        let message = opened.err().unwrap();
        assert!(message.contains("trains with the plain loss"), "{message}");
    }
}
