//! The paper's recipe, one with later methods, and fine-tuning, on the same network.

use crate::protocol::{Arm, Data, Inherits, Protocol, Stage};
use layers::{Spec, Window, window};
use train::recipe::Recipe;
use train::recipes;
use train::schedule::Schedule;

/// A data set, and how long to train on it.
struct Images {
    /// The name of its arms' folders.
    name: &'static str,
    classes: usize,
    epochs: u32,
}

const CIFAR: Images = Images { name: "cifar", classes: 10, epochs: 3 };
const TINY: Images = Images { name: "tiny", classes: 200, epochs: 2 };

/// On CIFAR-10, with weights of Tiny-ImageNet.
pub fn cifar() -> Protocol {
    Protocol {
        name: "recipes-cifar",
        about: "the paper's recipe, modern and finetune, three epochs of CIFAR-10",
        what: "AlexNet's eight layers for crops of 28 x 28 pixels, narrower, with batch \
            normalisation and without dropout, trained on CIFAR-10 for three epochs: with the \
            paper's recipe, with `modern`, and with `finetune` and `finetune-head` from weights \
            that `modern` trained on Tiny-ImageNet (--larger: images \
            of 32 x 32 pixels) for two epochs.",
        arms: arms(&CIFAR, &TINY),
        ..page()
    }
}

/// On Tiny-ImageNet, with weights of CIFAR-10.
pub fn tiny() -> Protocol {
    Protocol {
        name: "recipes-tiny",
        about: "the same, two epochs of Tiny-ImageNet",
        what: "The network of recipes-cifar, trained on Tiny-ImageNet (200 classes, images reduced \
            to 32 x 32 pixels) for two epochs: with the paper's recipe, with `modern`, and with \
            `finetune` and `finetune-head` from weights that `modern` trained on CIFAR-10 \
            (--larger) for three epochs.",
        arms: arms(&TINY, &CIFAR),
        ..page()
    }
}

fn page() -> Protocol {
    Protocol {
        paper: "nothing; its recipe is the first arm",
        differs: &[
            "The paper's recipe is for 90 epochs of ImageNet: here its rate is divided by ten \
            after three quarters of the epochs, and initial weights are scaled so that each layer \
            has the gain that it has at the paper's width. All arms see as many images of their \
            data set; fine-tuned ones have seen the other data set before. So short a training \
            favours high rates and little augmentation, and needs no dropout.",
        ],
        ..Protocol::default()
    }
}

fn arms(own: &Images, other: &Images) -> Vec<Arm> {
    let arm = |name: &str, label: &str, stages| {
        Arm::of_stages(&format!("recipes-{}-{name}", own.name), label, stages)
    };
    let first = |recipe| vec![stage("", own, recipe)];
    let tuned = |recipe| {
        let before = stage("", other, recipes::modern());
        let run_of = Some(format!("recipes-{}-modern", other.name));
        vec![
            Stage { data: Data::Larger, run_of, ..before },
            Stage { inherits: Inherits::Weights, ..stage("tuned", own, recipe) },
        ]
    };
    vec![
        arm("paper", "paper", first(paper(own))),
        arm("modern", "modern", first(recipes::modern())),
        arm("finetune", "finetune", tuned(recipes::finetune())),
        arm("finetune-head", "finetune-head", tuned(recipes::finetune_head())),
    ]
}

fn stage(name: &'static str, images: &Images, mut recipe: Recipe) -> Stage {
    recipe.epochs = images.epochs;
    recipe.input.side = Some(32);
    recipe.name_head(&["fc8"]);
    Stage::first(name, net(images.classes), recipe)
}

/// [`recipes::paper_64`], whose layers have the gains of the paper's, in fewer epochs.
fn paper(images: &Images) -> Recipe {
    let schedule = Schedule::Steps { after: vec![images.epochs * 3 / 4], factor: 0.1 };
    Recipe { schedule, ..recipes::paper_64() }
}

fn net(classes: usize) -> Spec {
    const FIVE: Window = window(5).pad(2);
    const THREE: Window = window(3).pad(1);
    const OVERLAPPING: Window = window(3).stride(2).ceil();
    let conv = |maps: Spec, name: &str, filters, window| {
        maps.conv(name, filters, window).batch_norm().relu()
    };
    let maps = Spec::image("alexnet-28", 28, 28, 3);
    let maps = conv(maps, "conv1", 32, FIVE).pool(OVERLAPPING); // 14 x 14 x 32
    let maps = conv(maps, "conv2", 64, FIVE).pool(OVERLAPPING); //  7 x  7 x 64
    let maps = conv(conv(maps, "conv3", 64, THREE), "conv4", 64, THREE);
    let maps = conv(maps, "conv5", 64, THREE).pool(OVERLAPPING); // 3 x  3 x 64
    maps.linear("fc6", 256).relu().linear("fc7", 256).relu().linear("fc8", classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fine_tuning_begins_where_the_other_page_ends() {
        for (page, other) in [(cifar(), tiny()), (tiny(), cifar())] {
            let modern = &other.arms[1];
            for arm in &page.arms[2..] {
                let before = &arm.stages[0];
                assert_eq!(before.run_of.as_ref(), Some(&modern.name));
                assert_eq!(before.recipe, modern.stages[0].recipe);
                assert_eq!(before.spec, modern.stages[0].spec);
            }
        }
    }

    #[test]
    fn arms_see_as_many_images_and_the_same_network() {
        for page in [cifar(), tiny()] {
            let last = page.arms.iter().map(|arm| arm.stages.last().unwrap());
            let last: Vec<_> =
                last.map(|stage| (stage.recipe.epochs, stage.spec.clone())).collect();
            assert!(last.iter().all(|one| *one == last[0]), "{}", page.name);
        }
    }
}
