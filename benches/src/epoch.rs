//! An epoch with loading and augmentation, ours and PyTorch's in turn.
//!
//! Both take crops of 32 x 32 at random places of images brought to 36 x 36, mirror half of them,
//! subtract the training set's mean image, and learn by the recipe. Both decode as
//! [`Loading`] says, on as many workers.

use crate::peer::{EpochTimes, Form, Peer};
use data::{Folder, Loader, Memory, Source, Statistics, Subset};
use layers::Spec;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tensor::Device;
use train::executor::{Executor, StepRequest};
use train::plan::SingleDevicePlan;
use train::recipe::{Augment, Mean, Recipe};
use train::schedule::State;
use train::start::Start;
use train::step::SingleDevice;
use weights::Values;

/// Where a batch's pixels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loading {
    /// JPEG files, read and decoded anew in every epoch.
    Files,
    /// Pixels of which all were decoded once, before the first epoch.
    Memory,
}

impl Loading {
    /// In a table, and on the script's command line.
    pub fn name(self) -> &'static str {
        match self {
            Loading::Files => "files",
            Loading::Memory => "memory",
        }
    }
}

/// How long an epoch is and how it is fed.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Images an epoch, spread evenly over the set.
    pub images: usize,
    /// Images a step.
    pub batch: usize,
    /// Threads that compute; 0: one for each core.
    pub threads: usize,
    /// Threads, or PyTorch's processes, that load.
    pub workers: usize,
}

/// A network, its data and their augmentation: each [`run`](Epoch::run) is an epoch.
pub struct Epoch {
    step: SingleDevice,
    source: Arc<dyn Source>,
    plan: data::Plan,
    workers: usize,
    number: u32,
    steps: u64,
}

impl Epoch {
    /// Opens the images of `folder`, a folder a class, and plans `spec` with `recipe` and crops at
    /// random places, half of them mirrored.
    ///
    /// # Errors
    /// If the folder's images cannot be read, or the network does not fit them.
    pub fn open(
        spec: &Spec,
        recipe: &Recipe,
        folder: &Path,
        loading: Loading,
        size: Size,
    ) -> Result<Epoch, String> {
        let augment = Augment { crop: true, mirror: true, ..Augment::NONE };
        let recipe = Recipe { augment, batch: size.batch, ..recipe.clone() };
        let [height, width, _] = spec.input;
        let side = recipe.side(height, width);
        let say = |error: data::Error| error.to_string();
        let files: Arc<dyn Source> = Arc::new(Folder::open(folder, side).map_err(say)?);
        let files: Arc<dyn Source> = Arc::new(Subset::spread(files, size.images));
        let statistics = Statistics::of(&*files, size.threads, Some(2000), &|_| ()).map_err(say)?;
        let source: Arc<dyn Source> = match loading {
            Loading::Files => files,
            Loading::Memory => Arc::new(Memory::read_all(files, size.threads, &|_| ())),
        };
        let classes = source.classes().len();
        let spec = spec.clone().with_classes(classes).map_err(|error| error.to_string())?;
        let device = Device::cpu(size.threads);
        let mean = (Mean::Image, [side, side]);
        let values = Values { shape: vec![side, side, 3], values: statistics.mean.clone() };
        let start = Start::fresh(&recipe, 0, values);
        let step = SingleDevicePlan::new(&spec, size.batch, mean, device.target())
            .and_then(|plan| plan.open(device, &start));
        let mut step = step.map_err(|error| error.to_string())?;
        let setting = recipe.schedule.setting(&State::default(), 1);
        step.set_rates(&recipe, &setting).map_err(|error| error.to_string())?;
        let plan = recipe.augment.plan(size.batch, (height, width), 0);
        Ok(Epoch { step, source, plan, workers: size.workers, number: 0, steps: 0 })
    }

    /// Side of the square that images are brought to.
    pub fn side(&self) -> usize {
        self.source.size().0
    }

    /// Trains for an epoch. Its loader starts with it, so nothing has been loaded before.
    ///
    /// # Errors
    /// If images cannot be read, or the loss is no number any more.
    pub fn run(&mut self) -> Result<EpochTimes, String> {
        let start = Instant::now();
        let mut loader = Loader::new(self.source.clone(), self.plan, self.workers, 0);
        if self.number > 0 {
            loader.start_at(self.number, 0);
        }
        let (mut wait, mut images) = (0.0, 0);
        for _ in 0..loader.batches_per_epoch() {
            let asked = Instant::now();
            let batch = loader.next_batch().map_err(|error| error.to_string())?;
            let batch = batch.expect("training data have no end");
            wait += asked.elapsed().as_secs_f64();
            self.steps += 1;
            let request = StepRequest::plain(self.steps);
            self.step.train_on(&batch, request).map_err(|error| error.to_string())?;
            images += batch.images;
        }
        self.number += 1;
        Ok(EpochTimes { seconds: start.elapsed().as_secs_f64(), wait, images })
    }

    /// Runs `work` where the device's threads are.
    pub fn enter<T: Send>(self, work: impl FnOnce(Epoch) -> T + Send) -> T {
        let Epoch { step, source, plan, workers, number, steps } = self;
        step.enter(|step| work(Epoch { step, source, plan, workers, number, steps }))
    }
}

/// PyTorch with the same net, images and augmentation (`benches/peer/cifar_epoch.py`).
///
/// # Errors
/// If it cannot be started, or what it needs is missing: it then has said so.
pub fn peer(
    python: &Path,
    folder: &Path,
    (form, loading): (Form, Loading),
    side: usize,
    size: Size,
) -> Result<Peer, String> {
    let numbers = [size.images, size.batch, side, size.threads, size.workers];
    let numbers = numbers.map(|number| number.to_string());
    let folder = folder.to_str().ok_or_else(|| format!("{} is no UTF-8", folder.display()))?;
    let mut args = vec![folder];
    args.extend(numbers.iter().map(String::as_str));
    args.extend([form.name(), loading.name()]);
    Peer::start(python, include_str!("../peer/cifar_epoch.py"), &args)
}

/// `rounds` epochs of each in turn.
///
/// # Errors
/// As [`Epoch::run`], and if PyTorch ends.
pub fn in_turn(
    epoch: &mut Epoch,
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
    fn an_epoch_sees_every_image_once_from_files_and_from_memory() {
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
        let size = Size { images: 7, batch: 4, threads: 1, workers: 1 };
        for loading in [Loading::Files, Loading::Memory] {
            let mut epoch = Epoch::open(&spec, &recipe, &folder, loading, size).unwrap();
            assert_eq!(epoch.side(), 36);
            for _ in 0..2 {
                let EpochTimes { seconds, wait, images } = epoch.run().unwrap();
                assert_eq!(images, 7);
                assert!(0.0 < wait && wait < seconds);
            }
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
