//! What each of the paper's ideas is worth, on a small machine.

use super::cifar::{FIVE, JPEG, OVERLAPPING, eighty_seconds_arm, folded, thirteen_percent_arm};
use crate::protocol::{Arm, Measure, Protocol, View};
use layers::{Lrn, Spec, window};
use models::{alexnet, cifar};
use train::recipe::{Augment, Initializer, Input, Layer, Mean, Optimizer, Recipe};
use train::recipes;
use train::schedule::Schedule;

/// Section 3.3: "a four-layer CNN achieved a 13% test error rate without normalization and 11% with
/// normalization".
#[rustfmt::skip]
pub fn lrn() -> Protocol {
    let across = Lrn { size: 9, alpha: 1e-3, k: 1.0, divide_alpha: true, ..Lrn::default() };
    let three = window(3).pad(1);
    let normalised = Spec::image("cifar-13pct-lrn", 24, 24, 3)
        .conv("conv1", 64, FIVE).relu().pool(OVERLAPPING).lrn_with(across) // 12 x 12 x 64
        .conv("conv2", 64, FIVE).relu().lrn_with(across).pool(OVERLAPPING) //  6 x  6 x 64
        .local("local3", 32, three).relu()                                 //  6 x  6 x 32
        .local("local4", 32, three).relu()                                 //  6 x  6 x 32
        .linear("fc10", 10);
    let plain = Arm { label: "without normalisation".into(), ..thirteen_percent_arm() };
    let with = folded("cifar-13pct-lrn", normalised, recipes::cifar_13pct(), [100, 40]);
    Protocol {
        name: "lrn",
        about: "response normalisation: the 13 % net with and without it",
        what: "cuda-convnet's 13 % net with its full protocol, with and without the two response \
            normalisations of the 11 % net.",
        paper: "13 % test error without and 11 % with normalisation (section 3.3)",
        differs: &["The published files do not isolate normalisation: the 11 % net also has twice \
            the filters in local3, another weight decay in its last layer, and 520 epochs instead \
            of 160. Here only the normalisation differs.", JPEG],
        views: &[View::Centre, View::Ten],
        arms: vec![plain, Arm { label: "with normalisation".into(), ..with }],
        ..Protocol::default()
    }
}

/// Section 3.4.
#[rustfmt::skip]
pub fn overlap() -> Protocol {
    let apart = window(2).stride(2);
    let spec = Spec::image("cifar-80sec-apart", 32, 32, 3)
        .conv("conv1", 32, FIVE).pool(apart).relu()                        // 16 x 16 x 32
        .conv("conv2", 32, FIVE).relu().average_pool(apart)                //  8 x  8 x 32
        .conv("conv3", 64, FIVE).relu().average_pool(apart)                //  4 x  4 x 64
        .linear("fc64", 64).relu().linear("fc10", 10);
    Protocol {
        name: "overlap",
        about: "overlapping pooling: windows of 3 or 2 pixels, stride 2",
        what: "The network and recipe of cifar-80sec, its three pooling layers with windows of 3 x \
            3 or 2 x 2, both with stride 2. The map sizes are equal.",
        paper: "overlap lowers ILSVRC-2010's top-1 error by 0.4 points, top-5 by 0.3 (section 3.4)",
        differs: &["The paper measured this with AlexNet on ILSVRC-2010, where the source also \
            changed two paddings to keep the map sizes (net 147). A difference of 0.4 points is \
            smaller than the spread between runs."],
        arms: vec![
            eighty_seconds("3 x 3, overlapping"),
            Arm::of("cifar-80sec-apart", "2 x 2, side by side", spec, recipes::cifar_80sec()),
        ],
        ..Protocol::default()
    }
}

/// Section 3.2, where a net on one GPU with half the filters stands for what two GPUs allow.
#[rustfmt::skip]
pub fn width() -> Protocol {
    let net = |name: &str, [a, b, c, d]: [usize; 4]| {
        Spec::image(name, 32, 32, 3)
            .conv("conv1", a, FIVE).pool(OVERLAPPING).relu()               // 16 x 16
            .conv("conv2", b, FIVE).relu().average_pool(OVERLAPPING)       //  8 x  8
            .conv("conv3", c, FIVE).relu().average_pool(OVERLAPPING)       //  4 x  4
            .linear("fc64", d).relu().linear("fc10", 10)
    };
    let arm = |name: &str, label: &str, widths| {
        Arm::of(name, label, net(name, widths), recipes::cifar_80sec())
    };
    Protocol {
        name: "width",
        about: "half and twice the filters",
        what: "The network and recipe of cifar-80sec, with half and with twice the filters in \
            every layer.",
        paper: "a network with half the kernels in each convolution has 1.7 points more top-1 and \
            1.2 points more top-5 error than the two-GPU network (section 3.2)",
        differs: &["The paper measured this with AlexNet on ILSVRC-2010 at about equal numbers of \
            parameters. Initial weights have the same deviation at all widths, so wider layers \
            begin with larger responses."],
        arms: vec![
            arm("cifar-80sec-half", "half: 16, 16, 32, 32", [16, 16, 32, 32]),
            eighty_seconds("as it is: 32, 32, 64, 64"),
            arm("cifar-80sec-double", "double: 64, 64, 128, 128", [64, 64, 128, 128]),
        ],
        ..Protocol::default()
    }
}

/// Section 4.2.
#[rustfmt::skip]
pub fn dropout() -> Protocol {
    let net = |name: &str, drop: bool| {
        let below = Spec::image(name, 32, 32, 3)
            .conv("conv1", 32, FIVE).pool(OVERLAPPING).relu()              // 16 x 16 x 32
            .conv("conv2", 32, FIVE).relu().average_pool(OVERLAPPING)      //  8 x  8 x 32
            .conv("conv3", 64, FIVE).relu().average_pool(OVERLAPPING)      //  4 x  4 x 64
            .linear("fc512", 512).relu();
        let below = if drop { below.dropout(0.5) } else { below };
        below.linear("fc10", 10)
    };
    let mut recipe = recipes::cifar_80sec();
    let weights = Some(Initializer::Normal(0.05));
    let start = Layer { weights, decay: Some(0.0), ..Layer::default() };
    recipe.layers.remove("fc64");
    recipe.layers.insert("fc512".into(), start);
    recipe.layers.insert("fc10".into(), start);
    recipe.epochs = 40;
    recipe.schedule = Schedule::Steps { after: vec![30, 35], factor: 0.1 };
    let arm = |name: &str, label: &str, drop| Arm::of(name, label, net(name, drop), recipe.clone());
    Protocol {
        name: "dropout",
        about: "dropout in a wide hidden layer",
        what: "The network of cifar-80sec with a hidden layer of 512 units and no weight decay in \
            its linear layers, with and without dropout in that layer; 40 epochs.",
        paper: "without dropout the network overfits substantially; dropout about doubles the \
            iterations to converge (section 4.2)",
        differs: &["The paper gives no numbers, and describes AlexNet's two hidden layers of 4096 \
            units."],
        arms: vec![
            arm("cifar-fc512", "without dropout", false),
            arm("cifar-fc512-dropout", "with dropout", true),
        ],
        ..Protocol::default()
    }
}

/// Section 4.1's second form of augmentation.
pub fn colour() -> Protocol {
    let arm = |name: &str, label: &str, color| {
        let recipe = recipes::cifar_13pct();
        let augment = Augment { color, ..recipe.augment };
        let schedule = Schedule::Steps { after: vec![32, 36], factor: 0.1 };
        let recipe = Recipe { epochs: 40, schedule, augment, ..recipe };
        Arm::of(name, label, cifar::thirteen_percent(10), recipe)
    };
    Protocol {
        name: "colour",
        about: "colour shifts along the principal components",
        what: "The network of cifar-13pct with its crops and mirroring, 40 epochs, with and \
            without colour shifts of strength 0.1 along the principal components of the image \
            colours.",
        paper: "colour shifts lower AlexNet's top-1 error by more than a point (section 4.1)",
        differs: &[
            "The paper measured this with AlexNet on ILSVRC. With images of 32 x 32 pixels and 40 \
            epochs there is less overfitting, so the gain may not carry over.",
        ],
        views: &[View::Centre, View::Ten],
        arms: vec![
            arm("cifar-13pct-40", "without colour shifts", 0.0),
            arm("cifar-13pct-40-colour", "with colour shifts", 0.1),
        ],
        ..Protocol::default()
    }
}

/// Why the paper's settings are said not to train.
pub fn recipe() -> Protocol {
    let ours = Recipe { epochs: 2, schedule: Schedule::Constant {}, ..recipes::paper_64() };
    let input = Input { mean: Mean::Color, scale: (1.0 / (0.226 * 255.0)).into(), ..ours.input };
    let theirs = Recipe { input, ..ours.clone() };
    let larger = Recipe { rate: 0.1, ..theirs.clone() };
    let adam = Recipe { optimizer: Optimizer::Adam, rate: 0.0001, decay: 0.0, ..theirs.clone() };
    let arm = |name: &str, label: &str, recipe| Arm::of(name, label, alexnet::small(10), recipe);
    Protocol {
        name: "recipe",
        about: "the paper's settings with pixels from 0 to 255, and with inputs of unit variance",
        what: "AlexNet's eight layers for 64 x 64 images with the paper's momentum, weight decay, \
            biases and augmentation, and with initial weights that give the paper's responses. The \
            arms differ in the input and the optimizer: pixels less the mean image, as in the \
            source; pixels less the mean colour and divided by the standard deviation, as in most \
            ports; the same with ten times the learning rate; and the same with Adam at learning \
            rate 0.0001 without decay, as in the ports that train.",
        paper: "authors of ports report that the paper's settings do not train, and use Adam \
            instead",
        differs: &[
            "The ports train on 227 x 227 crops of ImageNet. Here the same layers are narrower and \
            the images small; each layer's initial weights are scaled to give the responses of \
            N(0, 0.01) at the paper's width. Adam's learning rate is that of the most widely read \
            port; its other constants are those of its paper.",
        ],
        measure: Measure::LeavesChance,
        arms: vec![
            arm("recipe-pixels", "pixels less the mean image, rate 0.01", ours),
            arm("recipe-unit", "unit variance, rate 0.01", theirs),
            arm("recipe-unit-0.1", "unit variance, rate 0.1", larger),
            arm("recipe-unit-adam", "unit variance, Adam, rate 0.0001", adam),
        ],
        ..Protocol::default()
    }
}

fn eighty_seconds(label: &str) -> Arm {
    Arm { label: label.into(), ..eighty_seconds_arm() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_differ_in_nothing_else() {
        let parameters = |arm: &Arm| arm.stages[0].spec.parameters().unwrap();
        for page in [lrn(), overlap(), dropout(), colour(), recipe()] {
            assert_eq!(parameters(&page.arms[0]), parameters(&page.arms[1]), "{}", page.name);
        }
        for page in [lrn(), overlap(), width(), dropout()] {
            let (one, other) = (&page.arms[0].stages, &page.arms[1].stages);
            let recipes = |stages: &[crate::Stage]| {
                stages.iter().map(|stage| stage.recipe.clone()).collect::<Vec<_>>()
            };
            assert_eq!(recipes(one), recipes(other), "{}", page.name);
        }
    }
}
