//! The interface between an experiment and the code that trains and tests its networks.

use crate::error::Error;
use crate::measured::Finding;
use crate::protocol::{Inspection, View};
use evaluate::{Observer, Predictions, Score};
use layers::Spec;
use std::path::{Path, PathBuf};
use train::recipe::Recipe;

/// Trains and tests the networks of an experiment. A runner opens images and devices; the
/// experiment decides which run is made in which folder.
///
/// A runner handles requests to stop: its functions then return `None` or [`Ended::Stopped`], and
/// the experiment ends.
pub trait Runner {
    /// The error type of its functions and of the experiment.
    type Error: From<Error>;

    /// A trained network and its test images.
    type Opened;

    /// The settings with which an existing run was started.
    ///
    /// # Errors
    /// If they cannot be read.
    fn began(&self, run: &Path) -> Result<RunStart, Self::Error>;

    /// Digests of a run's images, independent of their location. `None` if a stop was requested
    /// before they were read.
    ///
    /// # Errors
    /// If they cannot be read.
    fn fingerprints(
        &self,
        task: &RunRequest,
        observer: &mut dyn Observer,
    ) -> Result<Option<Fingerprints>, Self::Error>;

    /// Starts a run in a folder, or resumes the run there.
    ///
    /// It writes the files of a [`train::run::Session`]: `run.json`, `metrics.jsonl` and the
    /// weights. Before the first step it writes the network as `model.toml`, and `env.json`, of
    /// which this crate reads `cpu`, `cores`, `threads`, `device`, `precision`, and `train`,
    /// `test`, `size`, `classes` and `fingerprints` of its `data`.
    ///
    /// # Errors
    /// If training fails. A diverged network is not an error.
    fn train(
        &self,
        run: &Path,
        task: &RunRequest,
        observer: &mut dyn Observer,
    ) -> Result<Ended, Self::Error>;

    /// Opens the network of a finished run and the test images of a set, which may have been moved
    /// since training.
    ///
    /// # Errors
    /// If the network or images cannot be read, or the classes differ.
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

    /// Inspects a network; without an own implementation it finds nothing. Of gradients only the last
    /// column, the share of saturated units of each layer that has a non-linearity, is asked for.
    /// `None` if a stop was requested before the end.
    ///
    /// # Errors
    /// If images cannot be read, a device fails, or the network has nothing to inspect.
    fn inspect(
        &self,
        opened: &Self::Opened,
        inspection: Inspection,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<Finding>>, Self::Error> {
        let _ = (opened, inspection, observer);
        Ok(Some(Vec::new()))
    }

    /// Writes a file atomically.
    ///
    /// # Errors
    /// If it cannot be written.
    fn write(&self, path: &Path, contents: &[u8]) -> Result<(), Self::Error>;
}

/// A run that is to be made.
#[derive(Clone, Debug)]
pub struct RunRequest {
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
    /// What it inherits from another run.
    pub init: Option<InheritedState>,
}

/// What a run inherits from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InheritedState {
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

/// The settings of an existing run that must match for it to be reused.
#[derive(Clone, Debug)]
pub struct RunStart {
    /// The former location of its images.
    pub data: String,
    /// The recipe.
    pub recipe: Recipe,
    /// As in [`RunRequest`].
    pub hold_out: Option<usize>,
    /// The seed of all random draws.
    pub seed: u64,
    /// Steps after which it ends.
    pub max_steps: Option<u64>,
    /// The precision of products, if its settings have one.
    pub precision: Option<String>,
}

/// Digests of the training and the validation images.
pub type Fingerprints = [String; 2];

/// How training ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// After the last step.
    Finished,
    /// Early, by a request to stop; the run can be resumed.
    Stopped,
    /// Early, as the network diverged; with the reason. The run cannot be resumed.
    Diverged(String),
}
