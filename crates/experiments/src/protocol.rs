//! The definition of an experiment: the networks and recipes that are compared, the measurement,
//! and the paper's result.

use layers::Spec;
use train::recipe::Recipe;

/// An experiment.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// Its name.
    pub name: &'static str,
    /// A description of one line.
    pub about: &'static str,
    /// A description of one paragraph.
    pub what: &'static str,
    /// The result in the paper or the source.
    pub paper: &'static str,
    /// The largest test error, as a share, that counts as reproduced.
    pub asked: Option<f64>,
    /// Known differences from the original experiment.
    pub differs: &'static [&'static str],
    /// The measurement.
    pub measure: Measure,
    /// What is measured of each trained network besides.
    pub inspection: Option<Inspection>,
    /// The views of test images; the last one gives the main result.
    pub views: &'static [View],
    /// Runs of each arm.
    pub seeds: u64,
    /// The variants that are compared.
    pub arms: Vec<Arm>,
}

/// Three runs of each arm, whose test error is measured on the centre view; no target.
impl Default for Protocol {
    fn default() -> Protocol {
        Protocol {
            name: "",
            about: "",
            what: "",
            paper: "",
            asked: None,
            differs: &[],
            measure: Measure::TestError,
            inspection: None,
            views: &[View::Centre],
            seeds: 3,
            arms: Vec::new(),
        }
    }
}

/// How much of an experiment is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// In full.
    #[default]
    Whole,
    /// In seconds: thin networks, small batches, at most two seeds. The results are meaningless.
    Rehearsal,
    /// An ImageNet experiment with its own recipe, on images of 32 x 32 pixels.
    Miniature,
}

/// What an experiment measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// The test error at the end.
    TestError,
    /// The test error at the end, and that of the averaged probabilities of all seeds.
    Together,
    /// Epochs until the training error falls to this share. Of each group's arms only the fastest
    /// is run with more than one seed, and no arm runs longer than the fastest before it.
    EpochsTo(f64),
    /// Whether the loss falls below chance level, and after how many steps.
    LeavesChance,
}

/// What is measured of a trained network besides its errors: a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// The norms of the gradients of each layer's weights, and the share of saturated units.
    Gradients,
    /// The error of a linear classifier on each layer's output.
    Probes {
        /// Training images.
        train: usize,
        /// Test images.
        test: usize,
        /// Values of an image, at most.
        width: usize,
    },
    /// The mean probabilities of networks with sampled dropout masks, beside those of the network
    /// at test time.
    DropoutAverage {
        /// Test images.
        images: usize,
        /// Masks.
        masks: u32,
    },
}

/// The crops of an image on which the network is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// Its centre.
    Centre,
    /// A grid of three by three.
    Nine,
    /// Four corners and the centre, and their reflections.
    Ten,
}

/// One of the variants that an experiment compares.
#[derive(Clone, Debug)]
pub struct Arm {
    /// The name of its runs' folders. Experiments that share an arm share its runs.
    pub name: String,
    /// Its label in the table.
    pub label: String,
    /// The group of arms that differ only in the learning rate; the fastest represents the group.
    pub group: &'static str,
    /// Its runs, each starting from the previous one.
    pub stages: Vec<Stage>,
}

/// A run of an arm.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The suffix of the run's folder name; empty if there is one stage.
    pub name: &'static str,
    /// The network.
    pub spec: Spec,
    /// How it is trained.
    pub recipe: Recipe,
    /// `Some(n)`: every `n`th training image is held out for validation.
    pub hold_out: Option<usize>,
    /// The training data.
    pub data: Data,
    /// What it inherits from the stage before.
    pub inherits: Inherits,
    /// The arm whose run this is, of another protocol; its epochs are not this arm's. `None`: a run
    /// of this arm.
    pub run_of: Option<String>,
}

/// The training data of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// The experiment's data set.
    Own,
    /// A larger set for pre-training.
    Larger,
}

/// What a stage inherits from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherits {
    /// Nothing: it is the first stage.
    Nothing,
    /// Weights and velocities; images and recipe change.
    All,
    /// Weights; the last layer is reinitialised if it has other classes.
    Weights,
}

impl Arm {
    /// An arm of one run.
    pub(crate) fn of(name: &str, label: &str, spec: Spec, recipe: Recipe) -> Arm {
        Arm::of_stages(name, label, vec![Stage::first("", spec, recipe)])
    }

    /// An arm of several runs, each of which continues the one before.
    pub(crate) fn of_stages(name: &str, label: &str, stages: Vec<Stage>) -> Arm {
        Arm { name: name.into(), label: label.into(), group: "", stages }
    }
}

impl Stage {
    /// A stage on all of the experiment's images that inherits nothing.
    pub(crate) fn first(name: &'static str, spec: Spec, recipe: Recipe) -> Stage {
        let (hold_out, data, inherits) = (None, Data::Own, Inherits::Nothing);
        Stage { name, spec, recipe, hold_out, data, inherits, run_of: None }
    }
}
