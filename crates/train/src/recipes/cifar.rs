//! The recipes of cuda-convnet's networks for CIFAR-10, from its layer and parameter files.

use super::{layers, normal, paper, weights};
use crate::recipe::{Augment, Bias, Input, Layer, Recipe};
use crate::schedule::Schedule;
use std::collections::BTreeMap;

/// cuda-convnet's `layers-80sec`: three convolutions, a hidden layer of 64.
pub fn cifar_80sec() -> Recipe {
    Recipe {
        base: "cifar-80sec".into(),
        epochs: 10,
        schedule: Schedule::Steps { after: vec![8], factor: 0.1 },
        layers: layers([
            ("conv1", weights(normal(0.0001), 0.004)),
            ("conv2", weights(normal(0.01), 0.004)),
            ("conv3", weights(normal(0.01), 0.004)),
            ("fc64", weights(normal(0.1), 0.03)),
            ("fc10", weights(normal(0.1), 0.03)),
        ]),
        ..cifar()
    }
}

/// cuda-convnet's `layers-19pct`. A decay of 3 looks absurd, but it acts times the rate: 0.003 a
/// step.
pub fn cifar_19pct() -> Recipe {
    Recipe {
        base: "cifar-19pct".into(),
        epochs: 10,
        layers: layers([
            ("conv1", weights(normal(0.0001), 0.004)),
            ("conv2", weights(normal(0.01), 0.004)),
            ("conv3", weights(normal(0.01), 0.004)),
            ("fc10", weights(normal(0.01), 3.0)),
        ]),
        ..cifar()
    }
}

/// cuda-convnet's `layers-18pct`: 120 epochs, then 10 at a tenth, then 10 at a hundredth.
pub fn cifar_18pct() -> Recipe {
    Recipe {
        base: "cifar-18pct".into(),
        epochs: 140,
        schedule: Schedule::Steps { after: vec![120, 130], factor: 0.1 },
        layers: layers([
            ("conv1", weights(normal(0.0001), 0.004)),
            ("conv2", weights(normal(0.01), 0.004)),
            ("conv3", weights(normal(0.01), 0.004)),
            ("fc10", weights(normal(0.01), 1.0)),
        ]),
        ..cifar()
    }
}

/// cuda-convnet's `layers-conv-local-13pct`: random crops of 24 x 24 out of 32 x 32 and mirrors;
/// 140 epochs, then 10 at a tenth, then 10 at a hundredth (`docs/Methodology.md`, which finds these
/// numbers by holding back a fifth of the images for the first 100).
pub fn cifar_13pct() -> Recipe {
    Recipe {
        base: "cifar-13pct".into(),
        epochs: 160,
        schedule: Schedule::Steps { after: vec![140, 150], factor: 0.1 },
        layers: conv_local(0.004),
        ..cropped()
    }
}

/// cuda-convnet's `layers-conv-local-11pct`: 500 epochs, then 10 at a tenth, then 10 at a
/// hundredth.
pub fn cifar_11pct() -> Recipe {
    Recipe {
        base: "cifar-11pct".into(),
        epochs: 520,
        schedule: Schedule::Steps { after: vec![500, 510], factor: 0.1 },
        layers: conv_local(0.01),
        ..cropped()
    }
}

/// Two convolutions, two locally connected layers, and the last one's decay.
fn conv_local(last: f64) -> BTreeMap<String, Layer> {
    layers([
        ("conv1", weights(normal(0.0001), 0.0)),
        ("conv2", weights(normal(0.01), 0.0)),
        ("local3", weights(normal(0.04), 0.004)),
        ("local4", weights(normal(0.04), 0.004)),
        ("fc10", weights(normal(0.01), last)),
    ])
}

/// CIFAR-10 with random crops (`cifar-cropped`, border 4) and mirrors.
fn cropped() -> Recipe {
    let whole = Input { side: Some(32), ..paper().input };
    let augment = Augment { crop: true, mirror: true, ..Augment::NONE };
    Recipe { input: whole, augment, ..cifar() }
}

/// What cuda-convnet's CIFAR nets share. When they lower a rate they mean that of the weights.
fn cifar() -> Recipe {
    Recipe {
        rate: 0.001,
        bias: Bias { rate: 2.0, decay: 0.0, scheduled: false },
        augment: Augment::NONE,
        schedule: Schedule::Constant {},
        ..paper()
    }
}

#[cfg(test)]
mod tests {
    use super::super::constant;
    use super::super::tests::row;
    use super::*;

    #[test]
    fn the_cifar_nets() {
        // The listing of cuda-convnet's layer files: initW and wc a layer.
        let fc = [("fc64", 0.1, 0.03), ("fc10", 0.1, 0.03)];
        for (recipe, last) in [
            (cifar_80sec(), &fc[..]),
            (cifar_19pct(), &[("fc10", 0.01, 3.0)]),
            (cifar_18pct(), &[("fc10", 0.01, 1.0)]),
        ] {
            let convs = [("conv1", 0.0001, 0.004), ("conv2", 0.01, 0.004), ("conv3", 0.01, 0.004)];
            for &(layer, std, decay) in convs.iter().chain(last) {
                let rule = recipe.rule(&format!("{layer}.weight"));
                assert_eq!((rule.init, rule.decay), (normal(std), decay), "{layer}");
                assert_eq!(recipe.rule(&format!("{layer}.bias")).init, constant(0.0));
                assert_eq!(row(&recipe, &format!("{layer}.bias"), 1), ["0.002", "0.9", "0"]);
            }
            assert_eq!((recipe.batch, row(&recipe, "conv1.weight", 1)[0].as_str()), (128, "0.001"));
        }
        assert_eq!(row(&cifar_80sec(), "fc64.weight", 9)[0], "0.0001");
        assert_eq!(row(&cifar_80sec(), "fc64.bias", 9)[0], "0.002");
        assert_eq!(row(&cifar_18pct(), "conv1.weight", 140)[0], "0.00001");
    }

    #[test]
    fn the_cifar_nets_with_untied_filters() {
        for (recipe, last, epochs) in [(cifar_13pct(), 0.004, 160), (cifar_11pct(), 0.01, 520)] {
            for (layer, std, decay) in [
                ("conv1", 0.0001, 0.0),
                ("conv2", 0.01, 0.0),
                ("local3", 0.04, 0.004),
                ("local4", 0.04, 0.004),
                ("fc10", 0.01, last),
            ] {
                let rule = recipe.rule(&format!("{layer}.weight"));
                assert_eq!((rule.init, rule.decay), (normal(std), decay), "{layer}");
            }
            assert_eq!((recipe.epochs, recipe.input.side), (epochs, Some(32)));
            assert!(recipe.augment.crop && recipe.augment.mirror);
            let rates = [epochs - 20, epochs - 19, epochs].map(|e| row(&recipe, "local3.bias", e));
            assert!(rates.iter().all(|rate| rate[0] == "0.002"), "biases keep their rate");
            assert_eq!(row(&recipe, "local3.weight", epochs - 20)[0], "0.001");
            assert_eq!(row(&recipe, "local3.weight", epochs - 19)[0], "0.0001");
            assert_eq!(row(&recipe, "local3.weight", epochs)[0], "0.00001");
        }
    }
}
