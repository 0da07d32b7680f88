//! cuda-convnet's own results on CIFAR-10.

use crate::protocol::{Arm, Inherits, Protocol, Stage, View};
use layers::{Spec, Window, window};
use models::cifar;
use train::recipe::Recipe;
use train::recipes;
use train::schedule::Schedule;

/// cuda-convnet's convolution windows, which keep the size of the maps.
pub(super) const FIVE: Window = window(5).pad(2);
/// cuda-convnet's overlapping pooling windows.
pub(super) const OVERLAPPING: Window = window(3).stride(2).ceil();

/// What is different where an error on CIFAR-10 is held to a published one.
pub(super) const JPEG: &str = "These runs may have used CIFAR-10 stored as JPEG files. The effect \
    is not known; one further JPEG compression costs `cifar-80sec` 0.9 points (BENCHMARKS.md, \
    \"What JPEG costs\").";

/// `layers-80sec`.
pub fn eighty_seconds() -> Protocol {
    Protocol {
        name: "cifar-80sec",
        about: "cuda-convnet's 26 % net, 80 seconds on a GPU of 2011",
        what: "Three convolutions and a hidden layer of 64 units; ten epochs without augmentation, \
            the last two at a tenth of the weights' learning rate.",
        paper: "26 % test error in 80 seconds on a GPU of 2011 (cuda-convnet's front page)",
        asked: Some(0.265),
        differs: &[
            "The source does not give a number of epochs; eight and two are those of Caffe's copy. \
            The image order changes every epoch; the source kept one order.",
            JPEG,
        ],
        arms: vec![eighty_seconds_arm()],
        ..Protocol::default()
    }
}

pub(crate) fn eighty_seconds_arm() -> Arm {
    let name = "cifar-80sec";
    Arm::of(name, name, cifar::eighty_seconds(10), recipes::cifar_80sec())
}

/// `layers-18pct`.
pub fn eighteen_percent() -> Protocol {
    Protocol {
        name: "cifar-18pct",
        about: "cuda-convnet's 18 % net, with response normalisation within maps",
        what: "Three convolutions, two of them with response normalisation within maps; 120 epochs \
            without augmentation, then ten at a tenth and ten at a hundredth of the weights' \
            learning rate.",
        paper: "18 % test error in 20 minutes (cuda-convnet's front page)",
        asked: Some(0.185),
        differs: &["The image order changes every epoch; the source kept one order.", JPEG],
        arms: vec![Arm::of(
            "cifar-18pct",
            "cifar-18pct",
            cifar::eighteen_percent(10),
            recipes::cifar_18pct(),
        )],
        ..Protocol::default()
    }
}

/// `layers-conv-local-13pct`, by `docs/Methodology.md`.
pub fn thirteen_percent() -> Protocol {
    Protocol {
        name: "cifar-13pct",
        about: "cuda-convnet's 13 % net and protocol: crops, mirroring, two locally connected layers",
        what: "100 epochs on four fifths of the training images, validated on the remaining fifth; \
            then 40 on all of them; then ten at a tenth and ten at a hundredth of the weights' \
            learning rate. Tested once, after training, on the averaged probabilities of several \
            views.",
        paper: "13 % test error in 25 minutes (cuda-convnet's front page); 12.6 % in the log of \
            its Methodology page, averaged over views",
        asked: Some(0.135),
        differs: &[
            "The source ended each phase by hand, when the loss on its fifth batch had fallen to \
            the training loss; here the numbers of epochs are those of its log. The held-out fifth \
            is every fifth image instead of the fifth batch file.",
            JPEG,
        ],
        views: &[View::Centre, View::Nine, View::Ten],
        arms: vec![thirteen_percent_arm()],
        ..Protocol::default()
    }
}

pub(crate) fn thirteen_percent_arm() -> Arm {
    folded("cifar-13pct", cifar::thirteen_percent(10), recipes::cifar_13pct(), [100, 40])
}

/// `layers-conv-local-11pct`, by the header of its parameter file.
pub fn eleven_percent() -> Protocol {
    Protocol {
        name: "cifar-11pct",
        about: "cuda-convnet's 11 % net: wider, normalised across channels, 520 epochs",
        what: "350 epochs on four fifths of the training images, validated on the remaining fifth; \
            then 150 on all of them; then ten at a tenth and ten at a hundredth of the weights' \
            learning rate. Tested once, after training, on the averaged probabilities of several \
            views.",
        paper: "11 % test error in 75 minutes (cuda-convnet's front page)",
        asked: Some(0.12),
        differs: &[
            "The source gives its numbers of epochs as approximate. The held-out fifth is every \
            fifth image instead of the fifth batch file.",
            JPEG,
        ],
        views: &[View::Centre, View::Nine, View::Ten],
        arms: vec![folded(
            "cifar-11pct",
            cifar::eleven_percent(10),
            recipes::cifar_11pct(),
            [350, 150],
        )],
        ..Protocol::default()
    }
}

/// So many epochs on four fifths, so many on all, and ten each at a tenth and a hundredth.
pub(crate) fn folded(name: &str, spec: Spec, recipe: Recipe, [part, all]: [u32; 2]) -> Arm {
    let recipe_of = |epochs, schedule| Recipe { epochs, schedule, ..recipe.clone() };
    let first = recipe_of(part, Schedule::Constant {});
    let first = Stage { hold_out: Some(5), ..Stage::first("four-fifths", spec.clone(), first) };
    let second = Schedule::Steps { after: vec![all, all + 10], factor: 0.1 };
    let second = recipe_of(all + 20, second);
    let second = Stage { inherits: Inherits::All, ..Stage::first("all", spec, second) };
    Arm::of_stages(name, name, vec![first, second])
}

#[cfg(test)]
mod tests {
    use super::*;
    use train::schedule::ScheduleState;

    #[test]
    fn phases_are_those_of_the_methodology_page() {
        let stages = thirteen_percent_arm().stages;
        let epochs: Vec<u32> = stages.iter().map(|stage| stage.recipe.epochs).collect();
        assert_eq!(epochs, [100, 60]);
        assert_eq!((stages[0].hold_out, stages[1].hold_out), (Some(5), None));
        let recipe = &stages[1].recipe;
        let rate = |epoch| recipe.setting_of_epoch(&ScheduleState::default(), epoch).rate;
        assert_eq!([rate(1), rate(40)], [1.0, 1.0]);
        assert!((rate(41) - 0.1).abs() < 1e-12 && (rate(51) - 0.01).abs() < 1e-12);
        let whole: u32 = eleven_percent().arms[0].stages.iter().map(|s| s.recipe.epochs).sum();
        assert_eq!(whole, recipes::cifar_11pct().epochs);
    }
}
