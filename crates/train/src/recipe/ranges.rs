//! The valid range of every number in a recipe: one table.

use super::{Augment, ClassWeights, Initializer, RandAugment, Recipe};
use crate::early_stopping::Metric;
use crate::optimizer::Ema;
use crate::schedule::{Per, Schedule, Warmup};
use crate::{Error, Result};
use weights::range::Range;

/// Images of a batch.
pub const BATCH: Range = Range::of(1.0, 1_048_576.0);
const SHARDS: Range = Range::of(1.0, 65_536.0);
const EPOCHS: Range = Range::of(1.0, u32::MAX as f64);
const SHARE: Range = Range::of(0.0, 1.0);
/// A rate of 1e20 ends a run at once, with a message; beyond 1e30 products of it are no f32.
const RATE: Range = Range::of(0.0, 1e30);
const FACTOR: Range = Range::of(0.0, 1e6);
const DECAY: Range = Range::of(0.0, 1e3);
const MOMENTUM: Range = Range::of(0.0, 1.0).below();
const PATIENCE: Range = Range::of(1.0, u32::MAX as f64);
/// Of losses, too, which may be large.
const THRESHOLD: Range = Range::of(0.0, 1e6);
const COLOR: Range = Range::of(0.0, 100.0);
const ANGLE: Range = Range::of(0.0, 180.0);
const ALPHA: Range = Range::of(0.001, 1000.0);
const OPS: Range = Range::of(1.0, 16.0);
const MAGNITUDE: Range = Range::of(0.0, 30.0);
const CLASS_WEIGHT: Range = Range::of(0.0, 1e4);
/// A smaller limit is zero in f32, or close to it.
const CLIP: Range = Range::of(1e-30, 1e30);
const CONSTANT: Range = Range::of(-1e30, 1e30);

/// The recipe's numbers, each with its name and its range.
fn numbers(recipe: &Recipe) -> Vec<(String, f64, Range)> {
    let Recipe { bias, .. } = recipe;
    let mut table = vec![
        ("batch".to_string(), recipe.batch as f64, BATCH),
        ("shards".to_string(), recipe.shards as f64, SHARDS),
        ("epochs".to_string(), f64::from(recipe.epochs), EPOCHS),
        ("rate".to_string(), recipe.rate, RATE),
        ("momentum".to_string(), recipe.momentum, MOMENTUM),
        ("decay".to_string(), recipe.decay, DECAY),
        ("bias.rate".to_string(), bias.rate, FACTOR),
        ("bias.decay".to_string(), bias.decay, FACTOR),
        ("augment.color".to_string(), recipe.augment.color, COLOR),
    ];
    table.push(("label-smoothing".to_string(), recipe.label_smoothing, SHARE.below()));
    if let Some(ClassWeights::Table(weights)) = &recipe.class_weights {
        let key = |name: &str| format!("class-weights.{name}");
        table.extend(weights.iter().map(|(name, &weight)| (key(name), weight, CLASS_WEIGHT)));
    }
    table.extend(of_augmentation(&recipe.augment));
    table.extend(recipe.until.map(|until| ("until".to_string(), until, SHARE)));
    if let Some(rule) = &recipe.early_stopping {
        let key = |field: &str| format!("early-stopping.{field}");
        table.push((key("patience"), f64::from(rule.patience), PATIENCE));
        let range = match rule.metric {
            Metric::Error => SHARE.below(),
            Metric::Loss => THRESHOLD,
        };
        table.push((key("threshold"), rule.threshold, range));
    }
    table.extend(recipe.input.numbers());
    table.extend(of_schedule(&recipe.schedule));
    table.extend(recipe.clip_norm.map(|norm| ("clip-norm".to_string(), norm, CLIP)));
    table.extend(recipe.clip_value.map(|value| ("clip-value".to_string(), value, CLIP)));
    if let Some(Ema { decay, every, .. }) = recipe.ema {
        table.push(("ema.decay".to_string(), decay, MOMENTUM));
        table.push(("ema.every".to_string(), every as f64, Range::of(1.0, 1e12)));
    }
    table.extend(recipe.warmup.into_iter().flat_map(of_warmup));
    for (name, layer) in &recipe.layers {
        let key = |field: &str| format!("layers.{name}.{field}");
        let first = layer.train_from.map(f64::from);
        table.extend(first.map(|first| (key("train-from"), first, EPOCHS)));
        table.extend(layer.rate.map(|rate| (key("rate"), rate, FACTOR)));
        table.extend(layer.decay.map(|decay| (key("decay"), decay, DECAY)));
        for (field, init) in [("weights", layer.weights), ("biases", layer.biases)] {
            table.extend(match init {
                Some(Initializer::Constant(value)) => Some((key(field), value, CONSTANT)),
                Some(Initializer::Normal(std)) => Some((key(field), std, FACTOR)),
                Some(Initializer::ScaledNormal(gain)) => Some((key(field), gain, FACTOR)),
                Some(Initializer::FanInUniform) | None => None,
            });
        }
    }
    table
}

fn of_augmentation(augment: &Augment) -> Vec<(String, f64, Range)> {
    let of = |name: &str, value: f64, range| (format!("augment.{name}"), value, range);
    let mut table = vec![
        of("vertical-flip", augment.vertical_flip, SHARE),
        of("grayscale", augment.grayscale, SHARE),
        of("rotate", augment.rotate, ANGLE),
    ];
    for (name, alpha) in [("mixup", augment.mixup), ("cutmix", augment.cutmix)] {
        // 0: off.
        table.extend(alpha.filter(|&alpha| alpha != 0.0).map(|alpha| of(name, alpha, ALPHA)));
    }
    if let Some(RandAugment { ops, magnitude }) = augment.rand_augment {
        table.push(of("rand-augment.ops", ops.into(), OPS));
        table.push(of("rand-augment.magnitude", magnitude.into(), MAGNITUDE));
    }
    let erase = augment.erase.map(|erase| of("erase.probability", erase.probability, SHARE));
    table.extend(erase);
    table
}

/// Rates of a curve: zero would freeze parameters and velocities.
const ABOVE_ZERO: Range = Range::of(0.0, 1e6).above();

fn of_warmup(warmup: Warmup) -> Vec<(String, f64, Range)> {
    let mut table = vec![("warmup.start".to_string(), warmup.start, Range::of(0.0, 1.0).above())];
    table.extend(warmup.epochs.map(|epochs| ("warmup.epochs".to_string(), epochs, ABOVE_ZERO)));
    let steps = warmup.steps.map(|steps| steps as f64);
    table.extend(steps.map(|steps| ("warmup.steps".to_string(), steps, Range::of(1.0, 1e12))));
    table
}

fn of_schedule(schedule: &Schedule) -> Vec<(String, f64, Range)> {
    let key = |field: &str| format!("schedule.{field}");
    match schedule {
        Schedule::Constant {} => Vec::new(),
        Schedule::Steps { factor, .. } => vec![(key("factor"), *factor, FACTOR)],
        Schedule::Plateau { factor, threshold, .. } => {
            vec![(key("factor"), *factor, FACTOR), (key("threshold"), *threshold, SHARE)]
        }
        Schedule::Phases { phases } => {
            let of = |(idx, phase): (usize, &crate::schedule::Phase)| {
                let place = format!("schedule.phases[{idx}]");
                let own = (format!("{place}.rate"), phase.rate, FACTOR);
                let layers = phase.layers.iter();
                let layers = layers
                    .map(|(name, factor)| (format!("{place}.layers.{name}"), *factor, FACTOR));
                std::iter::once(own).chain(layers).collect::<Vec<_>>()
            };
            phases.iter().enumerate().flat_map(of).collect()
        }
        Schedule::Cosine { end, .. } => vec![(key("end"), *end, FACTOR)],
        Schedule::Linear { start, end, .. } => {
            vec![(key("start"), *start, ABOVE_ZERO), (key("end"), *end, FACTOR)]
        }
        Schedule::OneCycle { rise, start, end, cycle_momentum, .. } => {
            let mut table = vec![
                (key("rise"), *rise, SHARE),
                (key("start"), *start, ABOVE_ZERO),
                (key("end"), *end, FACTOR),
            ];
            let momenta = cycle_momentum.iter().flatten();
            table.extend(momenta.map(|&momentum| (key("cycle-momentum"), momentum, MOMENTUM)));
            table
        }
        Schedule::Exponential { factor, .. } => vec![(key("factor"), *factor, ABOVE_ZERO)],
        Schedule::Polynomial { power, end, .. } => {
            vec![(key("power"), *power, Range::of(0.0, 100.0).above()), (key("end"), *end, FACTOR)]
        }
    }
}

impl Recipe {
    /// Whether every number lies in its range.
    ///
    /// # Errors
    /// [`Error::Recipe`] with the first setting that does not, its value and its range.
    pub fn check(&self) -> Result<()> {
        for (name, value, range) in numbers(self) {
            range.check(&format!("recipe.{name}"), value).map_err(Error::Recipe)?;
        }
        self.check_warmup().map_err(Error::Recipe)?;
        self.check_nesterov().map_err(Error::Recipe)?;
        self.check_cycle().map_err(Error::Recipe)?;
        self.check_frozen().map_err(Error::Recipe)?;
        self.augment.check().map_err(Error::Recipe)
    }

    fn check_nesterov(&self) -> std::result::Result<(), String> {
        if self.nesterov && self.optimizer.is_adam() {
            return Err(
                "recipe.nesterov is a form of SGD's momentum, which Adam does not have: set \
                        recipe.optimizer to \"sgd\" or \"sgd-pytorch\", or leave it out"
                    .to_string(),
            );
        }
        if self.nesterov && self.momentum == 0.0 {
            return Err("recipe.nesterov needs a momentum above 0 (recipe.momentum)".to_string());
        }
        Ok(())
    }

    fn check_cycle(&self) -> std::result::Result<(), String> {
        match self.schedule {
            Schedule::OneCycle { cycle_momentum: Some([low, high]), .. } if low > high => {
                Err(format!(
                    "recipe.schedule.cycle-momentum is [{low}, {high}]: the lower momentum comes \
                     first"
                ))
            }
            _ => Ok(()),
        }
    }

    fn check_frozen(&self) -> std::result::Result<(), String> {
        let late = |layer: &super::Layer| layer.train_from.filter(|&first| first > self.epochs);
        match self.layers.iter().find_map(|(name, layer)| Some((name, late(layer)?))) {
            Some((name, first)) => Err(format!(
                "recipe.layers.{name}.train-from is {first}, and the run has {} epochs: lower it, \
                 or freeze the layer with rate = 0 and update_statistics = false",
                self.epochs
            )),
            None => Ok(()),
        }
    }

    fn check_warmup(&self) -> std::result::Result<(), String> {
        let Some(warmup) = self.warmup else { return Ok(()) };
        warmup.check()?;
        if matches!(self.schedule, Schedule::OneCycle { .. }) {
            return Err(
                "recipe.warmup cannot be used with the schedule one-cycle, which begins with \
                        a rise of its own: set recipe.schedule.rise instead"
                    .to_string(),
            );
        }
        let is_whole = warmup.epochs.is_some_and(|epochs| epochs.fract() == 0.0);
        if self.schedule.per() == Per::Epoch && !is_whole {
            return Err(
                "recipe.warmup has a whole number of epochs if recipe.schedule.per is \"epoch\": \
                        round it, or set recipe.schedule.per to \"step\""
                    .to_string(),
            );
        }
        match warmup.epochs {
            Some(epochs) if epochs > f64::from(self.epochs) => Err(format!(
                "recipe.warmup.epochs is {epochs}, and the run has {} epochs: shorten the warm-up",
                self.epochs
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
