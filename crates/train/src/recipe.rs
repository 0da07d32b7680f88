//! The hyper-parameters of training, in one value that can be read and written as TOML.

pub mod head;
mod loss;
mod policies;
pub mod ranges;
mod variation;

pub use loss::{ClassWeights, Sampling, WeightRule};
pub use policies::{Erase, EraseValue, EraseWord, RandAugment};
pub use variation::{Augment, ColorForm, Jitter, ResizedCrop};
pub use weights::{Input, Mean};

use crate::defaults::is_default;
use crate::early_stopping::EarlyStopping;
use crate::optimizer::{Ema, UpdateRule};
use crate::pattern::fits;
use crate::schedule::{Position, Schedule, ScheduleState, Setting, Warmup};
use layers::{Role, layer_of};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything about training that is not the network: a run is a model, a recipe, a data set and a
/// seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The built-in recipe it started from.
    pub base: String,
    /// Images per step.
    pub batch: usize,
    /// The number of micro-shards of a batch, a power of two. Their gradients are summed pairwise.
    /// Parallel devices share them; a single device processes them in sequence.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub shards: usize,
    /// The precision to which gradients of micro-shards are rounded before they are summed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wire: Wire,
    /// Passes over the training set.
    pub epochs: u32,
    /// Ends training early, after the first validation at which the training error is at most this:
    /// the share of images misclassified since the previous validation, each with the weights of
    /// its own step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
    /// The learning rate that the schedule multiplies.
    pub rate: f64,
    /// The update rule.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optimizer: Optimizer,
    /// Whether SGD's momentum is Nesterov's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nesterov: bool,
    /// The maximum norm of all gradients together; larger gradients are scaled down to it.
    #[serde(
        default,
        rename = "clip-norm",
        alias = "clip_norm",
        skip_serializing_if = "Option::is_none"
    )]
    pub clip_norm: Option<f64>,
    /// The maximum absolute value of a gradient, before `clip_norm`.
    #[serde(
        default,
        rename = "clip-value",
        alias = "clip_value",
        skip_serializing_if = "Option::is_none"
    )]
    pub clip_value: Option<f64>,
    /// The average of the weights that validations and the file of weights use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<Ema>,
    /// Momentum; Adam's beta1.
    pub momentum: f64,
    /// Weight decay of layers without their own. Slopes, and scales and shifts of normalisations,
    /// have only the decay of an entry in `layers`.
    pub decay: f64,
    /// Label smoothing: the share of each target that is spread evenly over all classes.
    #[serde(rename = "label-smoothing", default, skip_serializing_if = "is_default")]
    pub label_smoothing: f64,
    /// How the images of an epoch are drawn.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sampling: Sampling,
    /// Weights of classes in the training loss; all one by default.
    #[serde(rename = "class-weights", default, skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// The rate and decay of biases.
    pub bias: Bias,
    /// The preprocessing of input images.
    pub input: Input,
    /// The augmentation of training images.
    pub augment: Augment,
    /// The learning-rate schedule.
    pub schedule: Schedule,
    /// Ends training once validations stop improving, with the weights of the best one.
    #[serde(default, rename = "early-stopping", skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Lower rates in the first steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// Exceptions by layer name; `*` matches any letters. If several patterns match a layer, the
    /// one with most letters takes precedence, field by field.
    pub layers: BTreeMap<String, Layer>,
}

fn one() -> usize {
    1
}

fn is_one(shards: &usize) -> bool {
    *shards == 1
}

/// The precision of gradients sent between devices. Sums, weights, velocities and updates of
/// running statistics are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// 32-bit floats, unchanged.
    #[default]
    F32,
    /// Rounded to bfloat16, with half of the bytes. Every sum of two shards' gradients takes
    /// rounded values, on one device or on two, so results do not depend on the number of devices.
    Bf16,
}

/// The update rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum, as in the paper: [`kernels::sgd`].
    #[default]
    Sgd,
    /// SGD as in `torch.optim.SGD`: the velocity does not include the rate.
    #[serde(rename = "sgd-pytorch")]
    SgdPytorch,
    /// Adam, its beta2 0.999 and decay in the gradient: [`kernels::adam`].
    Adam,
    /// The same with the decay apart from the gradient, as in `torch.optim.AdamW`.
    AdamW,
}

impl Optimizer {
    /// Whether it is Adam or AdamW, with second moments.
    pub fn is_adam(self) -> bool {
        matches!(self, Optimizer::Adam | Optimizer::AdamW)
    }
}

/// The rate and decay of biases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bias {
    /// Their learning rate, in multiples of the weights'.
    pub rate: f64,
    /// Their decay, in multiples of the weights'.
    pub decay: f64,
    /// Whether the schedule lowers their rate too; warm-up always does.
    pub scheduled: bool,
}

/// Exceptions for the layers that match a name or pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Initial weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Initializer>,
    /// Initial biases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub biases: Option<Initializer>,
    /// Learning rate, in multiples of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Weight decay, in place of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// The first epoch in which it is trained, counted from one; before it the layer is frozen
    /// with its running statistics.
    #[serde(rename = "train-from", alias = "train_from", skip_serializing_if = "Option::is_none")]
    pub train_from: Option<u32>,
    /// Whether batch normalisation moves its running statistics; by default it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_statistics: Option<bool>,
}

/// The initial values of parameters. In TOML: `"constant 1"`, `"normal 0.01"`,
/// `"scaled-normal 1.4"`, `"fan-in-uniform"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Initializer {
    /// One value for all.
    Constant(f64),
    /// N(0, std), by its standard deviation.
    Normal(f64),
    /// N(0, gain / sqrt(fan-in)), where the fan-in is how many inputs a unit sums: given inputs of
    /// variance one, outputs have the gain as their standard deviation.
    ScaledNormal(f64),
    /// Uniform over +-1 / sqrt(fan-in): PyTorch's default.
    FanInUniform,
}

impl From<Initializer> for String {
    fn from(init: Initializer) -> String {
        match init {
            Initializer::Constant(value) => format!("constant {value}"),
            Initializer::Normal(std) => format!("normal {std}"),
            Initializer::ScaledNormal(gain) => format!("scaled-normal {gain}"),
            Initializer::FanInUniform => "fan-in-uniform".to_string(),
        }
    }
}

impl TryFrom<String> for Initializer {
    type Error = String;

    fn try_from(text: String) -> Result<Initializer, String> {
        let (kind, number) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let number = number.trim().parse().ok().filter(|number: &f64| number.is_finite());
        match (kind, number) {
            ("constant", Some(value)) => Ok(Initializer::Constant(value)),
            ("normal", Some(std)) => Ok(Initializer::Normal(std)),
            ("scaled-normal", Some(gain)) => Ok(Initializer::ScaledNormal(gain)),
            ("fan-in-uniform", None) => Ok(Initializer::FanInUniform),
            _ => Err(format!(
                "initial values are \"constant X\", \"normal STD\", \"scaled-normal GAIN\" or \
                 \"fan-in-uniform\", and not \"{text}\""
            )),
        }
    }
}

/// A parameter's part of a recipe, with every default filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParameterRule {
    /// Its initial values.
    pub init: Initializer,
    /// The learning rate, in multiples of the recipe's.
    pub rate: f64,
    /// Weight decay.
    pub decay: f64,
}

impl Initializer {
    /// The rule for a parameter whose units sum `fan_in` inputs.
    pub fn for_fan_in(self, fan_in: usize) -> layers::init::Initializer {
        use layers::init::Initializer as Start;
        match self {
            Initializer::Constant(value) => Start::Constant(value as f32),
            Initializer::Normal(std) => Start::Normal { std: std as f32 },
            Initializer::ScaledNormal(gain) => {
                Start::Normal { std: (gain / (fan_in.max(1) as f64).sqrt()) as f32 }
            }
            Initializer::FanInUniform => Start::FanIn,
        }
    }
}

impl Recipe {
    /// The recipe in one line: batch, rate and its schedule, momentum, decay, epochs.
    pub fn summary(&self) -> String {
        let warmup = self.warmup.map_or(String::new(), |warmup| format!(" {}", warmup.summary()));
        let schedule = self.schedule.summary() + &warmup;
        let Recipe { base, batch, epochs, rate, momentum, decay, .. } = self;
        let early = self.early_stopping.map_or_else(String::new, |rule| {
            format!(" at most, until {} validations are no improvement", rule.patience)
        });
        format!(
            "{base}: batch {batch}, rate {rate} ({schedule}), momentum {momentum}, decay {decay}, \
             {epochs} epochs{early}{}{}",
            UpdateRule::of(self).summary(),
            self.later_methods().concat()
        )
    }

    /// The rule for a parameter, named as `conv1.weight` or `conv1.bias`.
    pub fn rule(&self, parameter: &str) -> ParameterRule {
        let (layer, role) = split(parameter);
        let rate = self.of_layer(layer, |layer| layer.rate).unwrap_or(1.0);
        let own_decay = self.of_layer(layer, |layer| layer.decay);
        let decay = own_decay.unwrap_or(self.decay);
        match role {
            Role::Bias => {
                let init = self.of_layer(layer, |layer| layer.biases);
                let init = init.unwrap_or(Initializer::Constant(0.0));
                ParameterRule { init, rate: rate * self.bias.rate, decay: decay * self.bias.decay }
            }
            Role::Weight => {
                let init = self.of_layer(layer, |layer| layer.weights);
                let init = init.unwrap_or(Initializer::Normal(0.01));
                ParameterRule { init, rate, decay }
            }
            Role::Slope | Role::Scale | Role::Shift | Role::Mean | Role::Variance => {
                let init = Initializer::Constant(match role {
                    Role::Slope => 0.25, // He et al. 2015, section 2.1; without decay, too
                    Role::Scale | Role::Variance => 1.0,
                    _ => 0.0,
                });
                ParameterRule { init, rate, decay: own_decay.unwrap_or(0.0) }
            }
        }
    }

    /// Side of the square from which crops of `height` x `width` are taken: the paper's 256 for
    /// crops about its size, an eighth more for others, and no margin where the recipe never crops.
    pub fn side(&self, height: usize, width: usize) -> usize {
        let crop = height.max(width);
        self.input.side.unwrap_or(match crop {
            _ if !self.augment.crop && self.augment.resized.is_none() => crop,
            200..=256 => 256,
            _ => crop + crop / 8,
        })
    }

    /// The same recipe without augmentation: unmirrored centre crops.
    pub fn without_augmentation(mut self) -> Recipe {
        self.augment = Augment { form: self.augment.form, ..Augment::NONE };
        self
    }

    /// The setting of a step.
    pub fn setting(&self, state: &ScheduleState, at: Position) -> Setting<'_> {
        self.schedule.setting(state, at, self.epochs, self.warmup)
    }

    /// The setting at the beginning of an epoch, counted from one.
    pub fn setting_of_epoch(&self, state: &ScheduleState, epoch: u32) -> Setting<'_> {
        self.setting(state, Position { epoch, batch: 0, batches: 1 })
    }

    /// A row of the update's table for a parameter under the schedule's setting: rate, momentum,
    /// decay.
    pub fn table_row(&self, parameter: &str, setting: &Setting) -> [f32; 3] {
        let (layer, role) = split(parameter);
        let first = self.of_layer(layer, |layer| layer.train_from);
        if first.is_some_and(|first| setting.epoch < first) {
            return [0.0; 3]; // frozen
        }
        if role.is_statistic() {
            let moves = self.of_layer(layer, |layer| layer.update_statistics).unwrap_or(true);
            return [f32::from(moves), 0.0, 0.0]; // the momentum is a setting of its row
        }
        let rule = self.rule(parameter);
        let factor = match setting.factor(layer) {
            factor if role == Role::Bias && !self.bias.scheduled && factor > 0.0 => {
                setting.warmup()
            }
            factor => factor,
        };
        let momentum = setting.momentum.unwrap_or(self.momentum);
        [(self.rate * rule.rate * factor) as f32, momentum as f32, rule.decay as f32]
    }

    /// The patterns in `layers` that match none of a network's layers.
    pub fn idle_layers<'a>(&'a self, layers: &[&str]) -> Vec<&'a str> {
        let idle = |pattern: &&String| !layers.iter().any(|layer| fits(pattern, layer));
        self.layers.keys().filter(idle).map(String::as_str).collect()
    }

    /// A field of the exceptions for a layer: the one of the most exact pattern that has it.
    /// Allocates nothing, as rates may be set before every step.
    fn of_layer<T>(&self, name: &str, field: impl Fn(&Layer) -> Option<T>) -> Option<T> {
        let fitting = self.layers.iter().filter(|(pattern, _)| fits(pattern, name));
        let having = fitting.filter_map(|(pattern, layer)| Some((pattern, field(layer)?)));
        having.max_by_key(|(pattern, _)| letters(pattern)).map(|(_, value)| value)
    }
}

/// A parameter's layer and role.
fn split(parameter: &str) -> (&str, Role) {
    (layer_of(parameter), Role::of(parameter))
}

/// The precedence of a pattern: exact names have precedence over all patterns.
fn letters(pattern: &str) -> (bool, usize) {
    (!pattern.contains('*'), pattern.chars().filter(|&letter| letter != '*').count())
}

#[cfg(test)]
mod tests;
