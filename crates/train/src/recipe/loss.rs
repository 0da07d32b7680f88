//! Settings of the training loss, and of how often each class is drawn.

use super::{Augment, RandAugment, Recipe};
use crate::{Error, Result};
use data::{ClassSampling, Source};
use evaluate::LossSettings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The weight of each class in the training loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "recipe.class-weights is \"balanced\" or a table of weights by class name, such as \
                 { cat = 2.0, dog = 0.5 }"
)]
pub enum ClassWeights {
    /// A word.
    Rule(WeightRule),
    /// By class name; other classes have weight one.
    Table(BTreeMap<String, f64>),
}

/// A rule for the weights of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightRule {
    /// `images / (classes * images of the class)`, as scikit-learn's `compute_class_weight`;
    /// classes without images do not count and have weight zero.
    Balanced,
}

/// How the images of an epoch are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Every image once.
    #[default]
    Shuffled,
    /// With replacement, every class equally likely.
    Balanced,
}

impl From<Sampling> for ClassSampling {
    fn from(sampling: Sampling) -> ClassSampling {
        match sampling {
            Sampling::Shuffled => ClassSampling::Shuffled,
            Sampling::Balanced => ClassSampling::Balanced,
        }
    }
}

impl Recipe {
    /// Whether the training loss has dense targets: with label smoothing, class weights, or mixed
    /// images.
    pub fn has_dense_targets(&self) -> bool {
        self.label_smoothing > 0.0 || self.class_weights.is_some() || self.augment.is_mixing()
    }

    /// The later methods of augmentation, loss and sampling that are used, for the summary: each
    /// begins with a comma.
    pub(super) fn later_methods(&self) -> Vec<String> {
        let Augment { vertical_flip, rotate, grayscale, mixup, cutmix, .. } = self.augment;
        let number = |name: &str, value: f64| (value > 0.0).then(|| format!(", {name} {value}"));
        let weights = self.class_weights.as_ref().map(|weights| match weights {
            ClassWeights::Rule(WeightRule::Balanced) => ", balanced class weights".to_string(),
            ClassWeights::Table(table) => format!(", weights of {} classes", table.len()),
        });
        let rand = self.augment.rand_augment.map(|RandAugment { ops, magnitude }| {
            format!(", RandAugment of {ops} operations, magnitude {magnitude}")
        });
        let word = |is_used: bool, name: &str| is_used.then(|| format!(", {name}"));
        let methods = [
            number("vertical flip", vertical_flip),
            number("rotation", rotate),
            rand,
            word(self.augment.trivial_augment, "TrivialAugment"),
            number("greyscale", grayscale),
            self.augment.erase.and_then(|erase| number("erasing", erase.probability)),
            mixup.and_then(|alpha| number("mixup", alpha)),
            cutmix.and_then(|alpha| number("CutMix", alpha)),
            number("label smoothing", self.label_smoothing),
            weights,
            word(self.sampling == Sampling::Balanced, "balanced sampling"),
        ];
        methods.into_iter().flatten().collect()
    }

    /// The settings of the training loss for a training set.
    ///
    /// # Errors
    /// [`Error::Recipe`] if a weight belongs to no class, or all are zero.
    pub fn loss(&self, train: &dyn Source) -> Result<LossSettings> {
        let weights = match &self.class_weights {
            None => None,
            Some(ClassWeights::Rule(WeightRule::Balanced)) => Some(balanced(train)),
            Some(ClassWeights::Table(table)) => Some(by_name(table, train.classes())?),
        };
        let class_weights = weights.map(Arc::from);
        Ok(LossSettings { label_smoothing: self.label_smoothing, class_weights })
    }
}

fn balanced(train: &dyn Source) -> Vec<f32> {
    let mut counts = vec![0u32; train.classes().len()];
    (0..train.len()).for_each(|image| counts[train.label(image) as usize] += 1);
    let classes = counts.iter().filter(|&&count| count > 0).count();
    let weight = |count: u32| train.len() as f64 / (classes as f64 * f64::from(count));
    counts.iter().map(|&count| if count > 0 { weight(count) as f32 } else { 0.0 }).collect()
}

/// So many classes are listed in a message.
const FEW: usize = 10;

fn by_name(table: &BTreeMap<String, f64>, classes: &[String]) -> Result<Vec<f32>> {
    let mut weights = vec![1.0; classes.len()];
    for (name, &weight) in table {
        let Some(class) = classes.iter().position(|class| class == name) else {
            let known = classes.iter().map(String::as_str);
            let hint = match layers::nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if classes.len() <= FEW => {
                    format!("its classes are {}", known.collect::<Vec<_>>().join(", "))
                }
                None => format!("`alexnet data stats` lists its {} classes", classes.len()),
            };
            return Err(Error::Recipe(format!(
                "recipe.class-weights has `{name}`, which is no class of the training set; {hint}"
            )));
        };
        weights[class] = weight as f32;
    }
    if weights.iter().all(|&weight| weight == 0.0) {
        return Err(Error::Recipe(
            "recipe.class-weights: the weights of all classes are 0, and nothing is learned: give \
             at least one a weight above 0"
                .to_string(),
        ));
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes;
    use data::Fake;

    #[test]
    fn balanced_weights_are_scikit_learns() {
        let recipe = Recipe {
            class_weights: Some(ClassWeights::Rule(WeightRule::Balanced)),
            ..recipes::paper()
        };
        let weights = |images| {
            let train = Fake::new(images, 8, 3); // classes 0, 1, 2, 0, ...
            recipe.loss(&train).unwrap().class_weights.unwrap().to_vec()
        };
        // 4 / (3 * 2) and 4 / (3 * 1); without images of class 2, 2 / (2 * 1).
        assert_eq!(weights(4), [2.0 / 3.0, 4.0 / 3.0, 4.0 / 3.0].map(|w: f64| w as f32));
        assert_eq!(weights(2), [1.0, 1.0, 0.0]);
        let train = Fake::new(4, 8, 3);
        assert_eq!(recipes::paper().loss(&train).unwrap(), LossSettings::default());
    }

    #[test]
    fn weights_by_name_and_names_of_no_class() {
        let train = Fake::new(4, 8, 3);
        let with = |name: &str| {
            let table = BTreeMap::from([(name.to_string(), 2.5)]);
            let class_weights = Some(ClassWeights::Table(table));
            Recipe { class_weights, ..recipes::paper() }.loss(&train)
        };
        let loss = with("class 1").unwrap();
        assert_eq!(loss.class_weights.as_deref(), Some(&[1.0, 2.5, 1.0][..]));
        let said = with("clas 1").unwrap_err().to_string();
        assert!(said.contains("`clas 1`") && said.contains("did you mean `class 1`?"), "{said}");
        let said = with("bird").unwrap_err().to_string();
        assert!(said.ends_with("its classes are class 0, class 1, class 2"), "{said}");

        let zero = |classes: usize| {
            let table = (0..classes).map(|class| (format!("class {class}"), 0.0)).collect();
            let class_weights = Some(ClassWeights::Table(table));
            Recipe { class_weights, ..recipes::paper() }.loss(&train)
        };
        assert_eq!(zero(2).unwrap().class_weights.as_deref(), Some(&[0.0, 0.0, 1.0][..]));
        let said = zero(3).unwrap_err().to_string();
        assert!(said.contains("the weights of all classes are 0"), "{said}");
    }

    #[test]
    fn settings_of_the_loss_are_toml() {
        let mut recipe = recipes::paper();
        let plain = toml::to_string(&recipe).unwrap();
        for name in ["label-smoothing", "class-weights", "sampling", "mixup", "erase"] {
            assert!(!plain.contains(name), "{plain}");
        }
        assert!(recipe.later_methods().is_empty());
        recipe.label_smoothing = 0.1;
        recipe.sampling = Sampling::Balanced;
        recipe.augment.mixup = Some(0.2);
        let end = "90 epochs, mixup 0.2, label smoothing 0.1, balanced sampling";
        assert!(recipe.summary().ends_with(end), "{}", recipe.summary());
        recipe.augment.cutmix = Some(0.0); // off, as in a sweep's values
        assert!(recipe.summary().ends_with(end) && recipe.check().is_ok());
        recipe.augment.mixup = Some(0.0);
        assert!(!recipe.augment.is_mixing() && recipe.check().is_ok());
        let table = BTreeMap::from([("cat".to_string(), 2.0)]);
        for weights in [ClassWeights::Rule(WeightRule::Balanced), ClassWeights::Table(table)] {
            recipe.class_weights = Some(weights);
            let text = toml::to_string(&recipe).unwrap();
            assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
        }
        let wrong = plain.replace("epochs", "class-weights = \"even\"\nepochs");
        let said = toml::from_str::<Recipe>(&wrong).unwrap_err().to_string();
        assert!(said.contains("\"balanced\" or a table of weights"), "{said}");
    }
}
