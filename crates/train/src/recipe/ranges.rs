//! The valid range of every number in a recipe: one table.

use super::{Augment, ClassWeights, Initializer, RandAugment, Recipe};
use crate::optimizer::Ema;
use crate::schedule::{Schedule, Warmup};
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
        table.push((key("threshold"), rule.threshold, THRESHOLD));
    }
    table.extend(recipe.input.numbers());
    table.extend(of_schedule(&recipe.schedule));
    let clip = Range::of(0.0, 1e30).above();
    table.extend(recipe.clip_norm.map(|norm| ("clip-norm".to_string(), norm, clip)));
    table.extend(recipe.clip_value.map(|value| ("clip-value".to_string(), value, clip)));
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
        table.extend(alpha.map(|alpha| of(name, alpha, ALPHA)));
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
mod tests {
    use super::*;
    use crate::early_stopping::EarlyStopping;
    use crate::recipe::{Erase, Layer};
    use crate::recipes;
    use crate::schedule::Phase;
    use std::collections::BTreeMap;

    #[test]
    fn built_in_recipes_are_in_range() {
        for (name, _) in recipes::all() {
            recipes::find(name).unwrap().check().unwrap();
        }
    }

    /// Every line of the table, just outside its range on both sides and as NaN.
    #[test]
    fn every_number_out_of_range_is_named_with_its_range() {
        let layers = |layer: Layer| BTreeMap::from([("conv1".to_string(), layer)]);
        let init = |init| Layer { weights: Some(init), biases: Some(init), ..Layer::default() };
        let phase = |rate, layer| Phase {
            from: 1,
            rate,
            color: true,
            layers: BTreeMap::from([("fc6".to_string(), layer)]),
        };
        type Set = fn(&mut Recipe, f64);
        let floats: [(&str, Set, &[f64]); 20] = [
            ("rate is", |r, x| r.rate = x, &[-1e-9, 1e31]),
            ("momentum is", |r, x| r.momentum = x, &[-0.1, 1.0, 2.0]),
            ("decay is", |r, x| r.decay = x, &[-0.1, 1e4]),
            ("bias.rate is", |r, x| r.bias.rate = x, &[-1.0, 1e7]),
            ("bias.decay is", |r, x| r.bias.decay = x, &[-1.0, 1e7]),
            ("augment.color is", |r, x| r.augment.color = x, &[-0.1, 101.0]),
            ("augment.rotate is", |r, x| r.augment.rotate = x, &[-1.0, 181.0]),
            ("augment.vertical-flip is", |r, x| r.augment.vertical_flip = x, &[-0.1, 1.1]),
            ("augment.grayscale is", |r, x| r.augment.grayscale = x, &[-0.1, 1.1]),
            ("augment.mixup is", |r, x| r.augment.mixup = Some(x), &[0.0, 1001.0]),
            ("augment.cutmix is", |r, x| r.augment.cutmix = Some(x), &[0.0, 1001.0]),
            (
                "augment.erase.probability is",
                |r, probability| {
                    r.augment.erase = Some(Erase { probability, ..Erase::default() });
                },
                &[-0.1, 1.1],
            ),
            ("label-smoothing is", |r, x| r.label_smoothing = x, &[-0.1, 1.0]),
            (
                "class-weights.cat is",
                |r, x| {
                    let table = BTreeMap::from([("cat".to_string(), x)]);
                    r.class_weights = Some(ClassWeights::Table(table));
                },
                &[-0.1, 1e5],
            ),
            ("until is", |r, x| r.until = Some(x), &[-0.1, 1.1]),
            (
                "early-stopping.threshold is",
                |r, threshold| {
                    r.early_stopping = Some(EarlyStopping { threshold, ..Default::default() });
                },
                &[-0.1, 1e7],
            ),
            ("input.scale is", |r, x| r.input.scale = x.into(), &[0.0, -1.0, 1e7]),
            (
                "schedule.factor is",
                |r, factor| r.schedule = Schedule::Steps { after: vec![1], factor },
                &[-0.1, 1e7],
            ),
            (
                "schedule.factor is",
                |r, factor| {
                    r.schedule =
                        Schedule::Plateau { factor, drops: 1, patience: 1, threshold: 0.0 };
                },
                &[-0.1, 1e7],
            ),
            (
                "schedule.threshold is",
                |r, threshold| {
                    r.schedule =
                        Schedule::Plateau { factor: 0.1, drops: 1, patience: 1, threshold };
                },
                &[-0.1, 1.5],
            ),
        ];
        let check = |name: &str, recipe: &Recipe| {
            let said = recipe.check().unwrap_err().to_string();
            assert!(said.starts_with(&format!("recipe.{name}")), "{name}: {said}");
            assert!(said.contains("; it must be a"), "{said}");
        };
        for (name, set, outside) in floats {
            for &value in outside.iter().chain(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]) {
                let mut recipe = recipes::paper();
                set(&mut recipe, value);
                check(name, &recipe);
            }
        }
        for value in [-1.0, 1e7, f64::NAN, f64::INFINITY] {
            let mut recipe = recipes::paper();
            recipe.schedule = Schedule::Phases { phases: vec![phase(1.0, 1.0), phase(value, 1.0)] };
            check("schedule.phases[1].rate is", &recipe);
            recipe.schedule = Schedule::Phases { phases: vec![phase(1.0, value)] };
            check("schedule.phases[0].layers.fc6 is", &recipe);
            recipe = recipes::paper();
            recipe.layers = layers(Layer { rate: Some(value), ..Layer::default() });
            check("layers.conv1.rate is", &recipe);
            recipe.layers = layers(Layer { decay: Some(value), ..Layer::default() });
            check("layers.conv1.decay is", &recipe);
            for start in [Initializer::Normal(value), Initializer::ScaledNormal(value)] {
                recipe.layers = layers(init(start));
                check("layers.conv1.weights is", &recipe);
            }
            let biases = Some(Initializer::Constant(value * 1e30));
            recipe.layers = layers(Layer { biases, ..Layer::default() });
            if value == -1.0 {
                recipe.check().unwrap()
            } else {
                check("layers.conv1.biases is", &recipe)
            }
        }
    }

    #[test]
    fn every_count_out_of_range_is_named_with_its_range() {
        type Set = fn(&mut Recipe, usize);
        let counts: [(&str, Set, &[usize]); 7] = [
            ("batch is", |r, n| r.batch = n, &[0, 1 << 48, 1 << 52]),
            ("shards is", |r, n| r.shards = n, &[0, 1 << 40]),
            ("epochs is", |r, n| r.epochs = n as u32, &[0]),
            (
                "early-stopping.patience is",
                |r, n| {
                    let patience = n as u32;
                    r.early_stopping = Some(EarlyStopping { patience, ..Default::default() });
                },
                &[0],
            ),
            (
                "augment.rand-augment.ops is",
                |r, n| {
                    let rand = RandAugment { ops: n as u32, ..RandAugment::default() };
                    r.augment.rand_augment = Some(rand);
                },
                &[0, 17],
            ),
            (
                "augment.rand-augment.magnitude is",
                |r, n| {
                    let rand = RandAugment { magnitude: n as u32, ..RandAugment::default() };
                    r.augment.rand_augment = Some(rand);
                },
                &[31],
            ),
            ("input.side is", |r, n| r.input.side = Some(n), &[0, 16_385, 1_000_000_000]),
        ];
        for (name, set, outside) in counts {
            for &value in outside {
                let mut recipe = recipes::paper();
                set(&mut recipe, value);
                let said = recipe.check().unwrap_err().to_string();
                assert!(said.starts_with(&format!("recipe.{name} {value}; it must be")), "{said}");
            }
        }
    }

    #[test]
    fn settings_of_updates_out_of_range_are_named() {
        for (text, expected) in [
            ("clip-norm = 0", "recipe.clip-norm is 0; it must be above 0"),
            ("clip_value = nan", "recipe.clip-value is NaN; it must be above 0"),
            ("ema = { decay = 1 }", "recipe.ema.decay is 1; it must be at least 0 and below 1"),
            ("ema = { decay = 0.9, every = 0 }", "recipe.ema.every is 0; it must be at least 1"),
            ("nesterov = true\noptimizer = 'adamw'", "recipe.nesterov is a form of SGD's momentum"),
            ("nesterov = true\nmomentum = 0", "recipe.nesterov needs a momentum above 0"),
            ("layers.conv1.train-from = 0", "recipe.layers.conv1.train-from is 0; it must be"),
        ] {
            let mut page = toml::Table::try_from(recipes::paper()).unwrap();
            for (key, value) in text.parse::<toml::Table>().unwrap() {
                page.insert(key, value);
            }
            let recipe: Recipe = page.try_into().unwrap();
            let said = recipe.check().unwrap_err().to_string();
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn schedules_and_warm_up_out_of_range_are_named() {
        for (text, expected) in [
            ("kind = 'cosine'\nend = -1", "recipe.schedule.end is -1; it must be"),
            ("kind = 'linear'\nstart = 0", "recipe.schedule.start is 0; it must be"),
            ("kind = 'one-cycle'\nrise = 2", "recipe.schedule.rise is 2; it must be"),
            ("kind = 'one-cycle'\nstart = nan", "recipe.schedule.start is NaN; it must be"),
            (
                "kind = 'one-cycle'\ncycle-momentum = [0.9, 1]",
                "recipe.schedule.cycle-momentum is 1;",
            ),
            ("kind = 'exponential'\nfactor = 0", "recipe.schedule.factor is 0; it must be"),
            ("kind = 'polynomial'\npower = inf", "recipe.schedule.power is inf; it must be"),
        ] {
            let recipe = Recipe { schedule: toml::from_str(text).unwrap(), ..recipes::paper() };
            let said = recipe.check().unwrap_err().to_string();
            assert!(said.starts_with(expected), "{said}");
        }
        let cycle: Schedule = toml::from_str("kind = 'one-cycle'").unwrap();
        for (text, schedule, expected) in [
            (
                "epochs = 5\nstart = 0",
                Schedule::Constant {},
                "recipe.warmup.start is 0; it must be",
            ),
            ("steps = 0", Schedule::Constant {}, "recipe.warmup.steps is 0; it must be"),
            ("epochs = 0", Schedule::Constant {}, "recipe.warmup.epochs is 0; it must be"),
            (
                "epochs = 91",
                Schedule::Constant {},
                "recipe.warmup.epochs is 91, and the run has 90",
            ),
            ("start = 0.5", Schedule::Constant {}, "recipe.warmup has either `epochs` or `steps`"),
            ("epochs = 1\nsteps = 1", Schedule::Constant {}, "recipe.warmup has either"),
            ("epochs = 1", cycle, "recipe.warmup cannot be used with the schedule one-cycle"),
        ] {
            let warmup = Some(toml::from_str(text).unwrap());
            let said = Recipe { warmup, schedule, ..recipes::paper() }.check().unwrap_err();
            assert!(said.to_string().starts_with(expected), "{said}");
        }
    }

    #[test]
    fn a_range_reads_as_it_is_meant() {
        assert_eq!(MOMENTUM.to_string(), "at least 0 and below 1");
        let scale = Range::of(0.0, 1e6).above();
        assert_eq!(scale.to_string(), "above 0 and at most 1000000");
        assert_eq!(RATE.to_string(), "at least 0 and at most 1e30");
        assert!(MOMENTUM.contains(0.0) && !MOMENTUM.contains(1.0) && !scale.contains(0.0));
    }
}
