//! Which image is at a position of an epoch.

use super::{LoaderMode, LoaderPlan};
use crate::Source;
use random::{Permutation, Purpose, Stream};

/// How the images of an epoch are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassSampling {
    /// Every image once, in random order.
    #[default]
    Shuffled,
    /// As many draws with replacement as there are images, every class equally likely: PyTorch's
    /// `WeightedRandomSampler` with weights of one over the number of images of a class.
    Balanced,
}

/// An image of an epoch, and the index that names its random draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) sample: usize,
    /// The sample; if images are drawn with replacement, the position, so that an image that is
    /// drawn twice gets two crops.
    pub(super) draw: u32,
    /// Whether the position is that index.
    by_position: bool,
}

impl Pick {
    /// The image that takes an unreadable one's place. Where a sample names its draws, the
    /// replacement has its own.
    pub(super) fn replaced_by(self, sample: u32) -> Pick {
        let draw = if self.by_position { self.draw } else { sample };
        Pick { sample: sample as usize, draw, ..self }
    }
}

/// The images by class, for [`ClassSampling::Balanced`]; empty otherwise.
#[derive(Debug, Default)]
pub(super) struct ByClass {
    /// Those of the first class, then those of the second, and so on.
    samples: Vec<u32>,
    /// The end of each class that has images.
    ends: Vec<usize>,
}

impl ByClass {
    pub(super) fn new(source: &dyn Source, sampling: ClassSampling) -> ByClass {
        if sampling == ClassSampling::Shuffled {
            return ByClass::default();
        }
        let mut samples: Vec<u32> = (0..source.len() as u32).collect();
        samples.sort_by_key(|&sample| source.label(sample as usize)); // stable
        let label = |at: usize| source.label(samples[at] as usize);
        let is_end = |&end: &usize| end == samples.len() || label(end) != label(end - 1);
        let ends = (1..=samples.len()).filter(is_end).collect();
        ByClass { samples, ends }
    }

    fn draw(&self, stream: &mut Stream) -> u32 {
        let class = stream.below(self.ends.len() as u32) as usize;
        let start = if class == 0 { 0 } else { self.ends[class - 1] };
        self.samples[start + stream.below((self.ends[class] - start) as u32) as usize]
    }
}

impl LoaderPlan {
    /// The image at a position of an epoch over `len` images.
    pub(super) fn pick(&self, by_class: &ByClass, len: usize, epoch: u32, position: usize) -> Pick {
        let plain = |sample: usize| Pick { sample, draw: sample as u32, by_position: false };
        match (self.mode, self.sampling) {
            (LoaderMode::Testing, _) => plain(position),
            (LoaderMode::Training, ClassSampling::Shuffled) => {
                plain(Permutation::new(self.seed, epoch, len as u64).at(position as u64) as usize)
            }
            (LoaderMode::Training, ClassSampling::Balanced) => {
                let draw = position as u32;
                let mut stream = Stream::new(self.seed, Purpose::Balanced, epoch, draw);
                Pick { sample: by_class.draw(&mut stream) as usize, draw, by_position: true }
            }
        }
    }
}
