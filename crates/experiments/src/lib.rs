//! The paper's experiments and those of its sources, a page each: which networks, trained how, on
//! what, with which seeds; what is measured, and what the paper found. Nothing here runs.
//!
//! * [`Protocol`]: an experiment; [`Arm`]: one of the things it compares; [`Stage`]: a run of an
//!   arm
//! * [`all`], [`find`]: the pages
//! * [`Form`]: the whole of a page, or its networks small enough to rehearse it, or to run one on
//!   ImageNet in miniature
//!
//! ```
//! let page = alexnet_experiments::find("cifar-80sec").unwrap();
//! assert_eq!((page.seeds, page.arms.len(), page.asked), (3, 1, Some(0.265)));
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod ablations;
mod cifar;
mod descendants;
mod fig1;
mod imagenet;
mod miniature;
mod thin;

use layers::Spec;
use train::recipe::Recipe;

/// What is different where an error on CIFAR-10 is held to a published one.
const JPEG: &str = "The images here may be CIFAR-10 as JPEG files. What that cost is not known; to \
    go through JPEG once more costs `cifar-80sec` 0.9 points (BENCHMARKS.md, \"What JPEG costs\").";

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

impl Form {
    /// What is different from the whole, if anything is that counts.
    pub fn differs(self) -> Option<&'static str> {
        (self == Form::Miniature).then_some(miniature::DIFFERS)
    }
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

impl Protocol {
    /// The experiment in a form; none if it has no miniature, being one of small images.
    pub fn in_form(self, form: Form) -> Option<Protocol> {
        match form {
            Form::Whole => Some(self),
            Form::Rehearsal => Some(thin::rehearsal(self)),
            Form::Miniature => miniature::miniature(self),
        }
    }
}

impl Arm {
    /// An arm of one run.
    fn of(name: &str, label: &str, spec: Spec, recipe: Recipe) -> Arm {
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

/// Every page, the cheapest first.
pub fn all() -> Vec<Protocol> {
    vec![
        cifar::eighty_seconds(),
        fig1::fig1(),
        ablations::recipe(),
        descendants::descendants(),
        cifar::eighteen_percent(),
        ablations::overlap(),
        ablations::width(),
        ablations::dropout(),
        ablations::colour(),
        cifar::thirteen_percent(),
        ablations::lrn(),
        cifar::eleven_percent(),
        imagenet::ilsvrc2010(),
        imagenet::ilsvrc2012(),
        imagenet::ensemble(),
        imagenet::pretrain(),
    ]
}

/// The page called `name`.
pub fn find(name: &str) -> Option<Protocol> {
    all().into_iter().find(|page| page.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_page_is_whole() {
        for page in all() {
            assert_eq!(find(page.name).unwrap().name, page.name);
            for text in [page.about, page.what, page.paper, &page.differs.join(" ")] {
                assert!(!text.is_empty(), "{}", page.name);
            }
            assert!(page.seeds > 0 && !page.arms.is_empty() && !page.views.is_empty());
            for arm in &page.arms {
                let mut stages = arm.stages.iter();
                assert_eq!(stages.next().unwrap().takes, Takes::Nothing, "{}", arm.name);
                assert!(
                    stages.all(|stage| stage.takes != Takes::Nothing && !stage.name.is_empty())
                );
                for stage in &arm.stages {
                    let rows = stage.spec.describe().unwrap();
                    let learned = rows.iter().filter(|row| row.parameters > 0);
                    let names: Vec<&str> = learned.map(|row| row.name.as_str()).collect();
                    let idle = stage.recipe.idle_layers(&names);
                    assert!(idle.iter().all(|name| *name == "conv6"), "{}: {idle:?}", arm.name);
                }
            }
        }
    }

    /// Runs are found by their arm's name.
    #[test]
    fn arms_of_one_name_are_one() {
        let mut seen = BTreeMap::new();
        for arm in all().into_iter().flat_map(|page| page.arms) {
            let text = format!("{:?}", arm.stages);
            let first = seen.entry(arm.name.clone()).or_insert_with(|| text.clone());
            assert_eq!(*first, text, "{}", arm.name);
        }
        assert!(seen.len() > 20, "{}", seen.len());
    }
}
