//! Figure 1 of the paper.

use super::cifar::{FIVE, OVERLAPPING};
use crate::protocol::{Arm, Measure, Protocol};
use layers::Spec;
use std::collections::BTreeMap;
use train::recipe::{Initializer, Layer, Recipe};
use train::recipes;

/// Rates that are tried, those expected to be good first: none is run longer than the fastest
/// before it.
const RELU_RATES: [f64; 4] = [0.002, 0.001, 0.004, 0.0005];
const TANH_RATES: [f64; 5] = [0.002, 0.004, 0.001, 0.008, 0.016];

/// "A four-layer convolutional neural network with ReLUs reaches a 25% training error rate on
/// CIFAR-10 six times faster than an equivalent network with tanh neurons."
pub fn fig1() -> Protocol {
    let arm = |group: &'static str, unit: fn(Spec) -> Spec, rate, epochs| {
        let recipe = Recipe { rate, epochs, ..unregularised() };
        let (name, label) = (format!("fig1-{group}-{rate}"), format!("{group}, rate {rate}"));
        Arm { group, ..Arm::of(&name, &label, four_layers(group, unit), recipe) }
    };
    let relu = RELU_RATES.map(|rate| arm("ReLU", Spec::relu, rate, 30));
    let tanh = TANH_RATES.map(|rate| arm("tanh", Spec::tanh, rate, 100));
    Protocol {
        name: "fig1",
        about: "Figure 1: a four-layer net with ReLUs and with tanh, epochs to 25 % training error",
        what: "The same four-layer network with each activation function, without regularisation \
            or augmentation. Each is trained with the learning rates of the table; only the \
            fastest one is repeated with more seeds. The training error is measured during \
            training, over the last quarter of an epoch.",
        paper: "ReLUs reach 25 % training error six times faster (section 3.1, Figure 1)",
        differs: &[
            "The paper does not specify the network; this is cuda-convnet's 19 % net (three \
            convolutions, one linear layer) without weight decay. Nor does it list the learning \
            rates that were tried. A learning rate is abandoned after as many epochs as the \
            fastest one needed.",
        ],
        measure: Measure::EpochsTo(0.25),
        arms: relu.into_iter().chain(tanh).collect(),
        ..Protocol::default()
    }
}

/// The 19 % net with another unit.
pub(super) fn four_layers(name: &str, unit: fn(Spec) -> Spec) -> Spec {
    let name = format!("four-layers-{name}");
    let first = unit(Spec::image(&name, 32, 32, 3).conv("conv1", 32, FIVE).pool(OVERLAPPING));
    let second = unit(first.conv("conv2", 32, FIVE)).average_pool(OVERLAPPING);
    let third = unit(second.conv("conv3", 64, FIVE)).average_pool(OVERLAPPING);
    third.linear("fc10", 10)
}

pub(super) fn unregularised() -> Recipe {
    let start = |std| Layer { weights: Some(Initializer::Normal(std)), ..Layer::default() };
    let layers = [("conv1", 1e-4), ("conv2", 0.01), ("conv3", 0.01), ("fc10", 0.01)];
    let layers: BTreeMap<_, _> =
        layers.into_iter().map(|(name, std)| (name.to_string(), start(std))).collect();
    Recipe { decay: 0.0, until: Some(0.25), layers, ..recipes::cifar_19pct() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_nets_are_one_but_for_their_units() {
        let page = fig1();
        let rows = |arm: &Arm| {
            let rows = arm.stages[0].spec.describe().unwrap().into_iter();
            rows.map(|row| (row.output, row.parameters)).collect::<Vec<_>>()
        };
        let (relu, tanh) = (&page.arms[0], &page.arms[4]);
        assert_eq!((relu.group, tanh.group), ("ReLU", "tanh"));
        assert_eq!(rows(relu), rows(tanh));
        assert_eq!(relu.stages[0].recipe.rule("fc10.weight").decay, 0.0);
    }
}
