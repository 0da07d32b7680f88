//! The entry of a recipe for the last layer, whatever its name is.

use super::{Layer, Recipe};

/// The key in [`Recipe::layers`] that stands for the network's last layer with parameters.
pub const HEAD: &str = "head";

impl Recipe {
    /// Replaces [`HEAD`] in `layers` by the last of `names`, a network's layers with parameters in
    /// their order. Fields of an entry that already has this name take precedence. Changes nothing
    /// if a layer is itself called `head`.
    pub fn name_head(&mut self, names: &[&str]) {
        let Some(last) = names.last().filter(|_| !names.contains(&HEAD)) else { return };
        let Some(head) = self.layers.remove(HEAD) else { return };
        let own = self.layers.entry(last.to_string()).or_default();
        *own = own.or(head);
    }
}

impl Layer {
    /// The fields of `self`, and those of `other` that `self` lacks.
    fn or(self, other: Layer) -> Layer {
        Layer {
            weights: self.weights.or(other.weights),
            biases: self.biases.or(other.biases),
            rate: self.rate.or(other.rate),
            decay: self.decay.or(other.decay),
            train_from: self.train_from.or(other.train_from),
            update_statistics: self.update_statistics.or(other.update_statistics),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes;

    #[test]
    fn the_head_gets_the_last_layers_name() {
        let mut recipe = recipes::finetune_head();
        recipe.name_head(&["conv1", "fc6", "fc8"]);
        assert_eq!(recipe.rule("fc8.weight").rate, 1.0);
        assert_eq!(recipe.rule("fc6.weight").rate, 0.0);
        assert!(!recipe.layers.contains_key(HEAD));

        let mut recipe = recipes::finetune();
        let own = Layer { rate: Some(2.0), ..Layer::default() };
        recipe.layers.insert("fc8".to_string(), own);
        recipe.name_head(&["conv1", "fc8"]);
        assert_eq!(recipe.rule("fc8.weight").rate, 2.0, "an entry of that name takes precedence");
    }

    #[test]
    fn a_layer_called_head_is_meant_by_its_name() {
        let mut recipe = recipes::finetune_head();
        recipe.name_head(&["conv1", "head", "fc8"]);
        assert_eq!(["head.weight", "fc8.weight"].map(|name| recipe.rule(name).rate), [1.0, 0.0]);
        let mut nothing = recipes::paper();
        nothing.name_head(&["conv1", "fc8"]);
        assert_eq!(nothing, recipes::paper());
    }
}
