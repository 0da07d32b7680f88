//! Claims of the paper that are usually left unchecked.

use super::cifar::{FIVE, OVERLAPPING};
use super::{fig1, recipes as pages};
use crate::protocol::{Arm, Inspection, Protocol};
use layers::Spec;
use train::recipe::{Initializer, Layer, Recipe};
use train::recipes;

/// Section 3.1: saturating units are slower.
pub fn gradients() -> Protocol {
    let arm = |name: &str, unit: fn(Spec) -> Spec, rate| {
        let recipe = Recipe { rate, epochs: 1, until: None, ..fig1::unregularised() };
        let label = format!("{name}, rate {rate}");
        Arm::of(&format!("gradients-{name}"), &label, fig1::four_layers(name, unit), recipe)
    };
    Protocol {
        name: "gradients",
        about: "does saturation explain Figure 1? gradients and saturated units by depth",
        what: "The four-layer network of fig1 with ReLUs, tanh and logistic units, without \
            regularisation or augmentation, for one epoch. ReLU and tanh have the learning rate \
            that is fastest in fig1, the logistic function tanh's. If units saturate, few responses \
            have a derivative, and gradients shrink towards the first layer.",
        paper: "tanh and logistic units saturate and are therefore much slower than ReLUs (section \
            3.1)",
        differs: &["The paper measures no gradients."],
        inspection: Some(Inspection::Gradients),
        arms: vec![
            arm("ReLU", Spec::relu, 0.002),
            arm("tanh", Spec::tanh, 0.008),
            arm("logistic", Spec::logistic, 0.008),
        ],
        ..Protocol::default()
    }
}

/// Section 4.2: the halved network approximates the mean of all networks.
#[rustfmt::skip]
pub fn dropout_average() -> Protocol {
    let below = |name: &str| {
        Spec::image(name, 32, 32, 3)
            .conv("conv1", 32, FIVE).pool(OVERLAPPING).relu()              // 16 x 16 x 32
            .conv("conv2", 32, FIVE).relu().average_pool(OVERLAPPING)      //  8 x  8 x 32
            .conv("conv3", 64, FIVE).relu().average_pool(OVERLAPPING)      //  4 x  4 x 64
            .linear("fc4", 256).relu().dropout(0.5)
    };
    let one = below("dropout-average-one").linear("fc10", 10);
    let two = below("dropout-average-two").linear("fc5", 256).relu().dropout(0.5).linear("fc10", 10);
    let recipe = |hidden: &[&str]| {
        let mut recipe = recipes::cifar_80sec();
        let weights = Some(Initializer::Normal(0.05));
        let start = Layer { weights, decay: Some(0.0), ..Layer::default() };
        recipe.epochs = 2;
        recipe.layers.remove("fc64");
        hidden.iter().chain(&["fc10"]).for_each(|name| _ = recipe.layers.insert(name.to_string(), start));
        recipe
    };
    Protocol {
        name: "dropout-average",
        about: "how close does the halved network come to the mean of 1,000 sampled masks?",
        what: "The network of cifar-80sec with one or two hidden layers of 256 units, each with \
            dropout, and no weight decay in its linear layers, trained for two epochs. It predicts \
            test images with 1,000 sampled masks; the means of their probabilities are compared \
            with the network of test time, whose outputs are halved.",
        paper: "halved outputs are \"a reasonable approximation to taking the geometric mean of \
            the predictive distributions produced by the exponentially-many dropout networks\" \
            (section 4.2)",
        differs: &["The paper measures no means. With one hidden layer below the softmax the \
            geometric mean over all masks is exactly the halved network's prediction (Hinton et \
            al. 2012); with two it is not."],
        inspection: Some(Inspection::DropoutAverage { images: 1000, masks: 1000 }),
        arms: vec![
            Arm::of("dropout-average-one", "one layer with dropout", one, recipe(&["fc4"])),
            Arm::of("dropout-average-two", "two layers with dropout", two, recipe(&["fc4", "fc5"])),
        ],
        ..Protocol::default()
    }
}

/// Section 6.1 looks at the features of the last hidden layer.
pub fn probes() -> Protocol {
    Protocol {
        name: "probes",
        about: "do deeper layers hold more semantic features? a linear classifier on each",
        what: "The network of recipes-cifar, trained on CIFAR-10 for three epochs with the paper's \
            recipe and with `modern`; its runs are those of recipes-cifar. A linear classifier is \
            trained on the output of each layer, after its ReLU or pooling.",
        paper: "images with near features in the last hidden layer are semantically similar \
            (section 6.1)",
        differs: &["The paper compares Euclidean distances in one layer and fits no classifiers."],
        inspection: Some(Inspection::Probes { train: 5000, test: 2000, width: 1024 }),
        arms: pages::cifar().arms.into_iter().take(2).collect(),
        ..Protocol::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_differ_in_their_units_only() {
        let page = gradients();
        let parameters = page.arms.iter().map(|arm| arm.stages[0].spec.parameters().unwrap());
        assert_eq!(parameters.collect::<Vec<_>>(), [89_578; 3]);
        let [one, two] = &dropout_average().arms[..] else { panic!() };
        let names = |arm: &Arm| arm.stages[0].spec.describe().unwrap().len();
        assert_eq!(names(two) - names(one), 3);
        assert_eq!(probes().arms[0].name, "recipes-cifar-paper");
    }
}
