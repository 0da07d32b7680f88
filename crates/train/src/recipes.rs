//! The built-in recipes, one page each, as the models are.

use crate::recipe::{
    Augment, Bias, ColorForm, Initializer, Input, Layer, Mean, Optimizer, Recipe, Sampling, Wire,
};
use crate::schedule::{Phase, Schedule};
use std::collections::BTreeMap;

mod cifar;
mod later;

pub use cifar::{cifar_11pct, cifar_13pct, cifar_18pct, cifar_19pct, cifar_80sec};
pub use later::{finetune, finetune_head, modern, needs_trained_weights};

/// A recipe's name, the function that returns it, and what it is.
type BuiltIn = (&'static str, fn() -> Recipe, &'static str);

const ALL: [BuiltIn; 14] = [
    ("paper", paper, "section 5 of the paper: rate 0.01, divided by ten on plateaus, 90 epochs"),
    ("source", source, "the 2012 source's net 145: biases at twice the rate, phases set by hand"),
    ("caffe", caffe, "BVLC's bvlc_alexnet: batch 256, divided by ten every 20 epochs"),
    (
        "torchvision",
        torchvision,
        "PyTorch's ImageNet example: batch 256, unit scale, every 30 epochs",
    ),
    ("vgg", vgg, "Simonyan and Zisserman 2014: batch 256, rate 0.01, divided by ten on plateaus"),
    ("paper-64", paper_64, "the paper's recipe for 64 x 64 images and minutes instead of days"),
    ("cifar-80sec", cifar_80sec, "cuda-convnet's 26 % net: no augmentation, about 10 epochs"),
    ("cifar-19pct", cifar_19pct, "cuda-convnet's 19 % net: no augmentation, constant rate"),
    ("cifar-18pct", cifar_18pct, "cuda-convnet's 18 % net: no augmentation, 140 epochs"),
    (
        "cifar-13pct",
        cifar_13pct,
        "cuda-convnet's 13 % net: random crops of 24 and mirrors, 160 epochs",
    ),
    ("cifar-11pct", cifar_11pct, "cuda-convnet's 11 % net: the same, 520 epochs"),
    ("modern", modern, "from random weights with methods from after the paper: cosine, Nesterov"),
    (
        "finetune",
        finetune,
        "all layers of trained weights (--init), the last one at five times the rate",
    ),
    ("finetune-head", finetune_head, "only the last layer of trained weights (--init)"),
];

/// The name of every built-in recipe and what it is.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALL.into_iter().map(|(name, _, about)| (name, about))
}

/// A built-in recipe.
pub fn find(name: &str) -> Option<Recipe> {
    let (_, recipe, _) = ALL.into_iter().find(|(known, ..)| *known == name)?;
    Some(recipe())
}

/// The recipe that belongs to a built-in model; a model of the user's own gets the paper's.
pub fn default_for(model: &str) -> &'static str {
    match model {
        "alexnet-source" | "alexnet-half" | "alexnet-146" | "alexnet-147" | "alexnet-148"
        | "alexnet-150" => "source",
        "caffe" => "caffe",
        "torchvision" => "torchvision",
        "vgg11" | "vgg11-bn" | "vgg16" | "vgg16-bn" => "vgg",
        "alexnet-64" => "paper-64",
        "cifar-80sec" => "cifar-80sec",
        "cifar-19pct" => "cifar-19pct",
        "cifar-18pct" => "cifar-18pct",
        "cifar-13pct" => "cifar-13pct",
        "cifar-11pct" => "cifar-11pct",
        _ => "paper",
    }
}

/// Section 5 of the paper, and 4.1 for the augmentation.
///
/// Pixels stay as they are, 0 to 255 less the mean image. The paper does not say so in so many
/// words, but its other numbers need it: with N(0, 0.01) weights, inputs of unit variance leave the
/// signal too small for this rate, and the loss stays at ln(classes).
pub fn paper() -> Recipe {
    Recipe {
        base: "paper".into(),
        batch: 128,
        shards: 1,
        wire: Wire::F32,
        epochs: 90,
        until: None,
        early_stopping: None,
        rate: 0.01,
        optimizer: Optimizer::Sgd,
        nesterov: false,
        clip_norm: None,
        clip_value: None,
        ema: None,
        momentum: 0.9,
        decay: 0.0005,
        label_smoothing: 0.0,
        sampling: Sampling::Shuffled,
        class_weights: None,
        bias: Bias { rate: 1.0, decay: 1.0, scheduled: true },
        input: Input::new(Mean::Image, 1.0),
        augment: Augment { crop: true, mirror: true, color: 0.1, ..Augment::NONE },
        schedule: Schedule::Plateau { factor: 0.1, drops: 3, patience: 3, threshold: 0.001 },
        warmup: None,
        layers: layers([
            ("*", start(normal(0.01), constant(0.0))),
            // "This initialization accelerates the early stages of learning by providing the ReLUs
            // with positive inputs."
            ("conv2", biases(constant(1.0))),
            ("conv4", biases(constant(1.0))),
            ("conv5", biases(constant(1.0))),
            ("fc6", biases(constant(1.0))),
            ("fc7", biases(constant(1.0))),
        ]),
    }
}

/// What the 2012 source did to train its net 145 on ILSVRC-2012, where the paper simplifies.
///
/// The rate was set by hand: a tenth from epochs 25, 51 and 79 on; at 67 the first layer goes to a
/// thousandth and the colour shift off; at 72 the first layer freezes. The biases' rate is kept at
/// twice the weights' throughout; the runs' own files disagree on it towards the end.
pub fn source() -> Recipe {
    let conv1 = |factor: f64| BTreeMap::from([("conv1".to_string(), factor)]);
    let phase = |from, rate| Phase { from, rate, color: true, layers: BTreeMap::new() };
    Recipe {
        base: "source".into(),
        epochs: 91,
        bias: Bias { rate: 2.0, decay: 0.0, scheduled: true },
        augment: Augment {
            crop: true,
            mirror: true,
            color: 0.1,
            form: ColorForm::Source,
            ..Augment::NONE
        },
        schedule: Schedule::Phases {
            phases: vec![
                phase(1, 1.0),
                phase(25, 0.1),
                phase(51, 0.01),
                Phase { layers: conv1(0.001), color: false, ..phase(67, 0.01) },
                Phase { layers: conv1(0.0), color: false, ..phase(72, 0.01) },
                Phase { layers: conv1(0.0), color: false, ..phase(79, 0.001) },
            ],
        },
        layers: layers([
            ("*", start(normal(0.01), constant(0.0))),
            ("conv2", biases(constant(1.0))),
            ("conv3", start(normal(0.03), constant(0.0))),
            ("conv4", start(normal(0.03), constant(1.0))),
            ("conv5", start(normal(0.03), constant(1.0))),
            ("conv6", start(normal(0.03), constant(1.0))), // net 146 has one
            ("fc6", biases(constant(1.0))),
            ("fc7", biases(constant(1.0))),
        ]),
        ..paper()
    }
}

/// BVLC's `bvlc_alexnet`. Its 100,000 iterations between drops are 20 epochs of ILSVRC-2012.
pub fn caffe() -> Recipe {
    Recipe {
        base: "caffe".into(),
        batch: 256,
        bias: Bias { rate: 2.0, decay: 0.0, scheduled: true },
        augment: Augment { crop: true, mirror: true, color: 0.0, ..Augment::NONE },
        schedule: Schedule::Steps { after: vec![20, 40, 60, 80], factor: 0.1 },
        layers: layers([
            ("*", start(normal(0.01), constant(0.0))),
            ("conv2", biases(constant(0.1))),
            ("conv4", biases(constant(0.1))),
            ("conv5", biases(constant(0.1))),
            ("fc6", start(normal(0.005), constant(0.1))),
            ("fc7", start(normal(0.005), constant(0.1))),
        ]),
        ..paper()
    }
}

/// PyTorch's ImageNet example. There each channel is divided by its own deviation, 0.229, 0.224 and
/// 0.225 of the range; here all three by their mean.
pub fn torchvision() -> Recipe {
    Recipe {
        base: "torchvision".into(),
        batch: 256,
        decay: 0.0001,
        input: Input::new(Mean::Color, 1.0 / (0.226 * 255.0)),
        augment: Augment { crop: true, mirror: true, color: 0.0, ..Augment::NONE },
        schedule: Schedule::Steps { after: vec![30, 60], factor: 0.1 },
        layers: layers([("*", start(Initializer::FanInUniform, Initializer::FanInUniform))]),
        ..paper()
    }
}

/// Section 3.1 of Simonyan and Zisserman 2014: batch 256, momentum 0.9, decay 0.0005, dropout of
/// one half, rate 0.01, divided by ten when the validation error stops improving; that was three
/// times, and training ended after 74 epochs. Images' shorter sides are 256 (their S), crops are
/// at random places, mirrored, and shifted in colour as in AlexNet; the mean colour is
/// subtracted.
///
/// It differs from theirs in how it begins. They begin column A with weights of variance 0.01, and
/// the deeper columns with the first four convolutions and the linear layers of a trained A. So
/// that 16 layers learn from nothing, deviations here are sqrt(2 / fan-in), which keeps a ReLU's
/// responses as they are from layer to layer (He et al. 2015); and since they would keep those of
/// pixels, too, these are divided by their deviation, as torchvision has it.
pub fn vgg() -> Recipe {
    Recipe {
        base: "vgg".into(),
        batch: 256,
        epochs: 74,
        input: Input { side: Some(256), ..torchvision().input },
        layers: layers([(
            "*",
            start(Initializer::ScaledNormal(std::f64::consts::SQRT_2), constant(0.0)),
        )]),
        ..paper()
    }
}

/// The paper's recipe where an epoch takes seconds: the same rate, momentum, decay, biases, input
/// and augmentation, with a schedule of minutes.
///
/// N(0, 0.01) belongs to the paper's widths: a unit that sums fewer inputs needs larger weights for
/// the same response. So each layer's gain is that of N(0, 0.01) over the fan-in it has in the
/// paper's network: 363 inputs for conv1, 1200, 2304, 1728 and 1728 for the others, 9216 for fc6,
/// 4096 for fc7 and fc8. With 0.01 itself this network stays at ln(classes).
pub fn paper_64() -> Recipe {
    let as_wide_as = |fan_in: f64| Initializer::ScaledNormal(0.01 * fan_in.sqrt());
    Recipe {
        base: "paper-64".into(),
        epochs: 6,
        schedule: Schedule::Steps { after: vec![5], factor: 0.1 },
        layers: layers([
            ("conv1", start(as_wide_as(363.0), constant(0.0))),
            ("conv2", start(as_wide_as(1200.0), constant(1.0))),
            ("conv3", start(as_wide_as(2304.0), constant(0.0))),
            ("conv4", start(as_wide_as(1728.0), constant(1.0))),
            ("conv5", start(as_wide_as(1728.0), constant(1.0))),
            ("fc6", start(as_wide_as(9216.0), constant(1.0))),
            ("fc7", start(as_wide_as(4096.0), constant(1.0))),
            ("fc8", start(as_wide_as(4096.0), constant(0.0))),
        ]),
        ..paper()
    }
}

fn layers<const N: usize>(rows: [(&str, Layer); N]) -> BTreeMap<String, Layer> {
    rows.into_iter().map(|(name, layer)| (name.to_string(), layer)).collect()
}

fn start(weights: Initializer, biases: Initializer) -> Layer {
    Layer { weights: Some(weights), biases: Some(biases), ..Layer::default() }
}

fn weights(weights: Initializer, decay: f64) -> Layer {
    Layer { weights: Some(weights), decay: Some(decay), ..Layer::default() }
}

fn biases(biases: Initializer) -> Layer {
    Layer { biases: Some(biases), ..Layer::default() }
}

fn normal(std: f64) -> Initializer {
    Initializer::Normal(std)
}

fn constant(value: f64) -> Initializer {
    Initializer::Constant(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::ScheduleState;

    /// A row of the table at an epoch, as decimal text so that 0.01 reads as 0.01.
    pub(super) fn row(recipe: &Recipe, parameter: &str, epoch: u32) -> [String; 3] {
        let state = ScheduleState::default();
        let setting = recipe.setting_of_epoch(&state, epoch);
        recipe.table_row(parameter, &setting).map(|value| value.to_string())
    }

    #[test]
    fn every_listed_recipe_is_found_under_its_name() {
        for (name, _) in all() {
            assert_eq!(find(name).unwrap().base, *name);
        }
        assert_eq!(find("papper"), None);
    }

    #[test]
    fn the_paper() {
        let paper = paper();
        assert_eq!(row(&paper, "conv1.weight", 1), ["0.01", "0.9", "0.0005"]);
        // "We used an equal learning rate for all layers."
        assert_eq!(row(&paper, "fc8.bias", 90), ["0.01", "0.9", "0.0005"]);
        for (layer, bias) in [
            ("conv1", 0.0),
            ("conv2", 1.0),
            ("conv3", 0.0),
            ("conv4", 1.0),
            ("conv5", 1.0),
            ("fc6", 1.0),
            ("fc7", 1.0),
            ("fc8", 0.0),
        ] {
            assert_eq!(paper.rule(&format!("{layer}.bias")).init, constant(bias), "{layer}");
            assert_eq!(paper.rule(&format!("{layer}.weight")).init, normal(0.01), "{layer}");
        }
    }

    #[test]
    fn the_source() {
        let source = source();
        assert_eq!(row(&source, "conv1.weight", 24), ["0.01", "0.9", "0.0005"]);
        assert_eq!(row(&source, "conv1.bias", 1), ["0.02", "0.9", "0"]);
        assert_eq!(row(&source, "fc6.weight", 25)[0], "0.001");
        assert_eq!(row(&source, "fc6.weight", 51)[0], "0.0001");
        assert_eq!(row(&source, "conv1.weight", 67)[0], "0.00001");
        assert_eq!(row(&source, "fc6.weight", 67)[0], "0.0001");
        assert_eq!(row(&source, "conv1.weight", 72)[0], "0");
        assert_eq!(row(&source, "conv1.bias", 72)[0], "0");
        assert_eq!(row(&source, "fc6.weight", 79)[0], "0.00001");
        let color = |epoch| source.setting_of_epoch(&ScheduleState::default(), epoch).color;
        assert_eq!((color(66), color(67), color(91)), (true, false, false));
        assert_eq!(source.rule("conv4.weight").init, normal(0.03));
        assert_eq!(source.rule("conv4.bias").init, constant(1.0));
        assert_eq!(source.rule("conv2.weight").init, normal(0.01));
    }

    #[test]
    fn the_vgg_paper() {
        let vgg = vgg();
        assert_eq!(row(&vgg, "conv16.weight", 1), ["0.01", "0.9", "0.0005"]);
        assert_eq!((vgg.batch, vgg.epochs), (256, 74));
        let thrice = Schedule::Plateau { factor: 0.1, drops: 3, patience: 3, threshold: 0.001 };
        assert_eq!(vgg.schedule, thrice);
        assert_eq!(vgg.side(224, 224), 256);
        // He's deviation for 3 x 3 x 512.
        let start = vgg.rule("conv13.weight").init.for_fan_in(9 * 512);
        let layers::init::Initializer::Normal { std } = start else { panic!("{start:?}") };
        assert!((std - (2.0f32 / 4608.0).sqrt()).abs() < 1e-7);
    }

    #[test]
    fn caffe_and_torchvision() {
        assert_eq!(row(&caffe(), "conv1.bias", 20), ["0.02", "0.9", "0"]);
        assert_eq!(row(&caffe(), "conv1.weight", 21)[0], "0.001");
        assert_eq!(caffe().rule("fc6.weight").init, normal(0.005));
        assert_eq!(caffe().rule("conv5.bias").init, constant(0.1));
        assert_eq!(row(&torchvision(), "fc8.bias", 61), ["0.0001", "0.9", "0.0001"]);
    }
}
