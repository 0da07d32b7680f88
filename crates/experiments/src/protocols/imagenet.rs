//! The paper's results on ImageNet: for machines that have it.

use crate::protocol::{Arm, Data, Inherits, Measure, Protocol, Stage, View};
use models::{alexnet, notebook};
use std::collections::BTreeMap;
use train::recipe::Recipe;
use train::recipes;
use train::schedule::{Phase, Schedule};

const VIEWS: &[View] = &[View::Centre, View::Ten];

/// Table 1.
pub fn ilsvrc2010() -> Protocol {
    Protocol {
        name: "ilsvrc2010",
        about: "Table 1: AlexNet on ILSVRC-2010's test images",
        what: "The 2012 source's net 145, with the schedule that was set by hand for its run on \
            ILSVRC-2010. Tested on the centre and on ten views. The prepared data set (--data) has \
            the test images in place of the validation images.",
        paper: "37.5 % top-1 and 17.0 % top-5 error over ten views, 39.0 % and 18.3 % at the \
            centre (Table 1, section 4.1; the source's log has .374727, .169987, .390247, .182953)",
        differs: &[
            "The source drew a crop and a mirroring for 32 images at a time and kept the image \
            order; here they are drawn for each image, and the order changes every epoch. Pixel \
            values depend on the program that decoded and resized the photographs.",
        ],
        views: VIEWS,
        seeds: 1,
        arms: vec![Arm::of(
            "ilsvrc2010",
            "net 145",
            alexnet::source(1000),
            by_hand([23, 51, 68, 72, 78, 94]),
        )],
        ..Protocol::default()
    }
}

/// Table 2's first line of ours.
pub fn ilsvrc2012() -> Protocol {
    Protocol {
        name: "ilsvrc2012",
        about: "Table 2: one AlexNet on ILSVRC-2012's validation images",
        what: "The 2012 source's net 145 and its schedule for ILSVRC-2012. Tested on the centre \
            and on ten views of the 50,000 validation images.",
        paper: "40.7 % top-1 and 18.2 % top-5 error over ten views (Table 2; the source's log has \
            .406640 and .182100)",
        differs: &["Crops, mirroring and image order as in ilsvrc2010. The validation error is \
            logged after every epoch and decides nothing."],
        views: VIEWS,
        seeds: 1,
        arms: vec![arm_2012()],
        ..Protocol::default()
    }
}

/// Table 2's five networks.
pub fn ensemble() -> Protocol {
    Protocol {
        name: "ensemble",
        about: "Table 2: the averaged predictions of five AlexNets",
        what: "ilsvrc2012 with five seeds; the probabilities are averaged over ten views and five \
            networks.",
        paper: "38.1 % top-1 and 16.4 % top-5 error of five networks (Table 2)",
        differs: &[
            "The paper's five networks were not one network with five seeds; which ones they were \
            is not recorded, nor whether their weights in the average were searched.",
        ],
        measure: Measure::Together,
        views: VIEWS,
        seeds: 5,
        arms: vec![arm_2012()],
        ..Protocol::default()
    }
}

fn arm_2012() -> Arm {
    Arm::of("ilsvrc2012", "net 145", alexnet::source(1000), recipes::source())
}

/// Table 2's networks with a star.
pub fn pretrain() -> Protocol {
    let first = Recipe { epochs: 16, ..by_hand([8, 11, 13, 14, 15, 17]) };
    let first = Stage::first("larger", notebook::six_convolutions(1000), first);
    let larger = Stage { data: Data::Larger, ..first };
    let own = Stage::first("own", larger.spec.clone(), fine_tuning());
    let own = Stage { inherits: Inherits::Weights, ..own };
    Protocol {
        name: "pretrain",
        about: "Table 2: six convolutions, pre-trained on all of ImageNet, fine-tuned",
        what: "Net 146, with a sixth convolution over the last pooling layer, trained on a larger \
            data set (--larger: ImageNet of autumn 2011, 15 million images of 22 thousand classes) \
            and then fine-tuned on ILSVRC-2012 with a new last layer and the source's fine-tuning \
            schedule.",
        paper: "39.0 % top-1 and 16.6 % top-5 error over ten views (Table 2; the source's log has \
            .389900 and .166220)",
        differs: &[
            "The number of epochs on the larger set is not recorded; here it is 16, with the \
            source's phases in proportion. The source raised the new layer's learning rate after \
            300 batches; here it is high from the start.",
        ],
        views: VIEWS,
        seeds: 1,
        arms: vec![Arm::of_stages("pretrain", "net 146", vec![larger, own])],
        ..Protocol::default()
    }
}

/// The source's recipe with other epochs: a tenth, a hundredth; conv1 at a thousandth and the
/// colour shift off; conv1 frozen; a thousandth; one past the last.
fn by_hand([tenth, hundredth, first, frozen, thousandth, end]: [u32; 6]) -> Recipe {
    let conv1 = |factor: f64| BTreeMap::from([("conv1".to_string(), factor)]);
    let phase = |from, rate| Phase { from, rate, color: true, layers: BTreeMap::new() };
    let phases = vec![
        phase(1, 1.0),
        phase(tenth, 0.1),
        phase(hundredth, 0.01),
        Phase { layers: conv1(0.001), color: false, ..phase(first, 0.01) },
        Phase { layers: conv1(0.0), color: false, ..phase(frozen, 0.01) },
        Phase { layers: conv1(0.0), color: false, ..phase(thousandth, 0.001) },
    ];
    Recipe { epochs: end - 1, schedule: Schedule::Phases { phases }, ..recipes::source() }
}

/// The header of `layer-params-146-2012-2011`.
fn fine_tuning() -> Recipe {
    let phase = |from, rate, layers: &[(&str, f64)], color| {
        let layers = layers.iter().map(|&(name, factor)| (name.to_string(), factor)).collect();
        Phase { from, rate, color, layers }
    };
    let phases = vec![
        phase(1, 0.1, &[("conv1", 0.01), ("fc8", 1.0)], true),
        phase(5, 0.1, &[("conv1", 0.001), ("fc8", 1.0)], true),
        phase(7, 0.1, &[("conv1", 0.0), ("fc8", 1.0)], true),
        phase(9, 0.1, &[("conv1", 0.0)], true),
        phase(22, 0.01, &[("conv1", 0.0)], true),
        phase(38, 0.01, &[("conv1", 0.0)], false),
        phase(42, 0.001, &[("conv1", 0.0)], false),
    ];
    Recipe { epochs: 53, schedule: Schedule::Phases { phases }, ..recipes::source() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand_is_the_source_s_way() {
        assert_eq!(by_hand([25, 51, 67, 72, 79, 92]), recipes::source());
    }
}
