//! The interface between an experiment and the code that trains and tests its networks.

use crate::error::Error;
use crate::protocol::View;
use evaluate::{Observer, Predictions, Score};
use layers::Spec;
use std::path::{Path, PathBuf};
use train::recipe::Recipe;

/// Trains and tests the networks of an experiment. A runner knows where images are and which
/// devices compute; the experiment decides which run is made in which folder.
///
/// A runner handles requests to stop itself: after one its functions return `None` or
/// [`Ended::Stopped`], and the experiment ends.
pub trait Runner {
    /// What its functions, and so the experiment, can fail with.
    type Error: From<Error>;

    /// A trained network and the images that it is tested on.
    type Opened;

    /// What a run began with, of which [`train`](Self::train) has left `run.json` in its folder.
    ///
    /// # Errors
    /// If it cannot be told.
    fn began(&self, run: &Path) -> Result<Began, Self::Error>;

    /// What the images of a task are known by, wherever they lie. `None` if a stop was requested
    /// before they were read.
    ///
    /// # Errors
    /// If they cannot be read.
    fn fingerprints(
        &self,
        task: &Task,
        observer: &mut dyn Observer,
    ) -> Result<Option<Fingerprints>, Self::Error>;

    /// Makes a run in a folder, or goes on with the one that has begun there.
    ///
    /// It leaves what a [`train::run::Session`] does: `run.json`, `metrics.jsonl` and the weights.
    /// Before the first step it leaves the network as `model.toml`, and `env.json`, of which are
    /// read: `cpu`, `cores`, `threads`, `device`, `precision`, and of its `data` `train`, `test`,
    /// `size`, `classes` and `fingerprints`.
    ///
    /// # Errors
    /// If it cannot go on. That a network diverged is no error.
    fn train(
        &self,
        run: &Path,
        task: &Task,
        observer: &mut dyn Observer,
    ) -> Result<Ended, Self::Error>;

    /// The network of a run that is finished, and the test images of a set. They may be elsewhere
    /// than they were when it was trained.
    ///
    /// # Errors
    /// If one of them cannot be read, or they have other classes.
    fn open(&self, run: &Path, images: &Images) -> Result<Self::Opened, Self::Error>;

    /// Tests a network on its images. `None` if a stop was requested before the end.
    ///
    /// # Errors
    /// If images cannot be read, or a device fails.
    fn test(
        &self,
        opened: &Self::Opened,
        view: View,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Score, Predictions)>, Self::Error>;

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot.
    fn write(&self, path: &Path, contents: &[u8]) -> Result<(), Self::Error>;
}

/// A run that is to be made.
#[derive(Clone, Debug)]
pub struct Task {
    /// The network. It may be for other classes than the images have.
    pub spec: Spec,
    /// How it is trained; at a settled size of images.
    pub recipe: Recipe,
    /// What it learns from and is tested on.
    pub images: Images,
    /// The last of every so many training images is not learned from, but validated on.
    pub hold_out: Option<usize>,
    /// Names every draw.
    pub seed: u64,
    /// Steps after which it ends.
    pub max_steps: Option<u64>,
    /// In which precision it multiplies; `None`: whichever the device prefers.
    pub precision: Option<String>,
    /// What it takes over from another run.
    pub init: Option<Init>,
}

/// What a run takes over from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// The other run's folder.
    pub from: PathBuf,
    /// Velocities, too, not only weights.
    pub velocities: bool,
}

/// A set of images, to learn from and to be tested on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Images {
    /// Those of a folder.
    Folder(String),
    /// So many training and test images of shapes, drawn for a rehearsal.
    Shapes {
        /// How many are learned from.
        train: u32,
        /// How many are tested on.
        test: u32,
    },
}

impl Images {
    /// The folder, or `shapes`.
    pub fn name(&self) -> &str {
        match self {
            Images::Folder(name) => name,
            Images::Shapes { .. } => "shapes",
        }
    }
}

/// What a run began with, as far as it must be the same for the run to be taken.
#[derive(Clone, Debug)]
pub struct Began {
    /// Where its images were.
    pub data: String,
    /// How it is trained.
    pub recipe: Recipe,
    /// As in [`Task`].
    pub hold_out: Option<usize>,
    /// Names every draw.
    pub seed: u64,
    /// Steps after which it ends.
    pub max_steps: Option<u64>,
    /// In which precision it multiplies, if its settings have one.
    pub precision: Option<String>,
}

/// Digests of what is learned from and of what is validated on.
pub type Fingerprints = [String; 2];

/// How training ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With its last step.
    Finished,
    /// Before it, by a request to stop: the run can be resumed.
    Stopped,
    /// Before it, because the network diverged; with the reason. It cannot be resumed.
    Diverged(String),
}
