//! What an experiment is: what is compared, trained how, on what; what is measured, and what the
//! paper found.

use layers::Spec;
use train::recipe::Recipe;

/// An experiment.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// As after `reproduce`.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// What is done, in a paragraph.
    pub what: &'static str,
    /// What the paper, or the source, says comes out.
    pub paper: &'static str,
    /// The largest test error, a share, that counts as reproduced.
    pub asked: Option<f64>,
    /// How this differs from what they did, as far as it is known.
    pub differs: &'static [&'static str],
    /// What is measured.
    pub measure: Measure,
    /// How test images are seen; the last is the one that counts.
    pub views: &'static [View],
    /// Runs of each arm.
    pub seeds: u64,
    /// What is compared.
    pub arms: Vec<Arm>,
}

/// How much of an experiment is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As its page says.
    #[default]
    Whole,
    /// In seconds: thin networks, small batches, two seeds at most. What comes out means nothing.
    Rehearsal,
    /// An experiment on ImageNet with its own recipe, on images of 32 x 32 pixels.
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
    /// is run with more than one seed, and none longer than the fastest before it.
    EpochsTo(f64),
    /// Whether the loss leaves that of guessing, and after how many steps.
    LeavesChance,
}

/// How an image is seen when the network is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// Its centre.
    Centre,
    /// A grid of three by three.
    Nine,
    /// Four corners and the centre, and their reflections.
    Ten,
}

/// One of the things that an experiment compares.
#[derive(Clone, Debug)]
pub struct Arm {
    /// The name of its runs' folders. Experiments that share an arm share its runs.
    pub name: String,
    /// What it is, in the table.
    pub label: String,
    /// Arms that differ only in a rate which is chosen among them.
    pub group: &'static str,
    /// Its runs, each going on from the one before.
    pub stages: Vec<Stage>,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What follows its arm's name and its seed in its folder's name; nothing if there is one
    /// stage.
    pub name: &'static str,
    /// The network.
    pub spec: Spec,
    /// How it is trained.
    pub recipe: Recipe,
    /// The last of every so many training images is not learned from, but validated on.
    pub hold_out: Option<usize>,
    /// What it learns from.
    pub data: Data,
    /// What it takes over from the stage before.
    pub takes: Takes,
}

/// Which data a stage learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Those of the experiment.
    Own,
    /// A larger set that comes first.
    Larger,
}

/// What a stage takes over from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// It is the first.
    Nothing,
    /// Weights and velocities: only images and recipe change.
    All,
    /// Weights; the last layer starts anew if it has other classes.
    Weights,
}

impl Arm {
    /// An arm of one run.
    pub(crate) fn of(name: &str, label: &str, spec: Spec, recipe: Recipe) -> Arm {
        let stage = Stage {
            name: "",
            spec,
            recipe,
            hold_out: None,
            data: Data::Own,
            takes: Takes::Nothing,
        };
        Arm { name: name.into(), label: label.into(), group: "", stages: vec![stage] }
    }
}
