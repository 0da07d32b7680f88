//! Recipes with methods from after the paper: for random weights, and for trained ones.

use super::{constant, layers, start, torchvision};
use crate::recipe::head::HEAD;
use crate::recipe::{Initializer, Layer, Optimizer, Recipe};
use crate::schedule::{Per, Schedule, Warmup};

/// The lowest test error that we found for AlexNet from random weights: inputs of unit variance, He
/// et al.'s initial weights, SGD with Nesterov's momentum, a short warm-up, then half a cosine.
/// docs/results/recipes-cifar.md compares it with the paper's recipe.
pub fn modern() -> Recipe {
    Recipe {
        base: "modern".into(),
        batch: 64,
        rate: 0.05,
        optimizer: Optimizer::SgdPytorch,
        nesterov: true,
        decay: 0.0005,
        schedule: Schedule::Cosine { end: 0.0, per: Per::Step },
        warmup: Some(Warmup { epochs: Some(0.5), steps: None, start: 0.01 }),
        layers: layers([("*", he())]),
        ..torchvision()
    }
}

/// Trains all layers of trained weights. The last layer, which usually begins with random weights,
/// has five times the rate of the others.
pub fn finetune() -> Recipe {
    Recipe {
        base: "finetune".into(),
        epochs: 10,
        rate: 0.01,
        layers: layers([("*", he()), (HEAD, Layer { rate: Some(5.0), ..Layer::default() })]),
        ..modern()
    }
}

/// Trains only the last layer of trained weights: the others and their running statistics stay.
pub fn finetune_head() -> Recipe {
    let frozen = Layer { rate: Some(0.0), update_statistics: Some(false), ..he() };
    Recipe {
        base: "finetune-head".into(),
        layers: layers([("*", frozen), (HEAD, Layer { rate: Some(1.0), ..Layer::default() })]),
        rate: 0.05,
        ..finetune()
    }
}

/// Whether a recipe, by the name of its `base`, is made for trained weights.
pub fn needs_trained_weights(base: &str) -> bool {
    [finetune().base, finetune_head().base].iter().any(|name| name == base)
}

/// He et al. 2015: a ReLU's responses keep their size from layer to layer.
fn he() -> Layer {
    start(Initializer::ScaledNormal(std::f64::consts::SQRT_2), constant(0.0))
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn rates_of_the_last_layer_and_the_others() {
        let mut tuned = finetune();
        tuned.name_head(&["conv1", "fc8"]);
        let rate = |name| tuned.rule(name).rate * tuned.rate;
        assert_eq!([rate("conv1.weight"), rate("fc8.weight")], [0.01, 0.05]);

        let mut head = finetune_head();
        head.name_head(&["conv1", "batch_norm1", "fc8"]);
        assert_eq!(row(&head, "conv1.bias", 2), ["0", "0.9", "0.0005"]);
        assert_eq!(row(&head, "batch_norm1.mean", 2)[0], "0");
        assert!(row(&head, "fc8.bias", 2)[0].starts_with("0.04"));
    }

    #[test]
    fn only_fine_tuning_needs_trained_weights() {
        let needing: Vec<_> =
            super::super::all().filter(|(name, _)| needs_trained_weights(name)).collect();
        assert_eq!(needing.len(), 2);
    }
}
