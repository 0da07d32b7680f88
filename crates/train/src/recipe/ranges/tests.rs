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
        ("augment.mixup is", |r, x| r.augment.mixup = Some(x), &[-0.1, 1e-4, 1001.0]),
        ("augment.cutmix is", |r, x| r.augment.cutmix = Some(x), &[-0.1, 1e-4, 1001.0]),
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
                r.schedule = Schedule::Plateau { factor, drops: 1, patience: 1, threshold: 0.0 };
            },
            &[-0.1, 1e7],
        ),
        (
            "schedule.threshold is",
            |r, threshold| {
                r.schedule = Schedule::Plateau { factor: 0.1, drops: 1, patience: 1, threshold };
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
        ("clip-norm = 0", "recipe.clip-norm is 0; it must be at least 1e-30"),
        ("clip_value = nan", "recipe.clip-value is NaN; it must be at least 1e-30"),
        ("early-stopping = { threshold = 1 }", "recipe.early-stopping.threshold is 1; it must be"),
        (
            "early-stopping = { threshold = 1e7, metric = 'loss' }",
            "recipe.early-stopping.threshold is 10000000; it must be at least 0 and at most",
        ),
        ("ema = { decay = 1 }", "recipe.ema.decay is 1; it must be at least 0 and below 1"),
        ("ema = { decay = 0.9, every = 0 }", "recipe.ema.every is 0; it must be at least 1"),
        ("nesterov = true\noptimizer = 'adamw'", "recipe.nesterov is a form of SGD's momentum"),
        ("nesterov = true\nmomentum = 0", "recipe.nesterov needs a momentum above 0"),
        ("layers.conv1.train-from = 0", "recipe.layers.conv1.train-from is 0; it must be"),
        (
            "layers.conv1.train-from = 91",
            "recipe.layers.conv1.train-from is 91, and the run has 90 epochs: lower it",
        ),
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
        ("kind = 'one-cycle'\ncycle-momentum = [0.9, 1]", "recipe.schedule.cycle-momentum is 1;"),
        (
            "kind = 'one-cycle'\ncycle-momentum = [0.95, 0.85]",
            "recipe.schedule.cycle-momentum is [0.95, 0.85]: the lower",
        ),
        ("kind = 'exponential'\nfactor = 0", "recipe.schedule.factor is 0; it must be"),
        ("kind = 'polynomial'\npower = inf", "recipe.schedule.power is inf; it must be"),
    ] {
        let recipe = Recipe { schedule: toml::from_str(text).unwrap(), ..recipes::paper() };
        let said = recipe.check().unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
    }
    let cycle: Schedule = toml::from_str("kind = 'one-cycle'").unwrap();
    let per_epoch: Schedule = toml::from_str("kind = 'cosine'\nper = 'epoch'").unwrap();
    for (text, schedule, expected) in [
        ("epochs = 5\nstart = 0", Schedule::Constant {}, "recipe.warmup.start is 0; it must be"),
        ("steps = 0", Schedule::Constant {}, "recipe.warmup.steps is 0; it must be"),
        ("epochs = 0", Schedule::Constant {}, "recipe.warmup.epochs is 0; it must be"),
        ("epochs = 91", Schedule::Constant {}, "recipe.warmup.epochs is 91, and the run has 90"),
        ("start = 0.5", Schedule::Constant {}, "recipe.warmup has either `epochs` or `steps`"),
        ("epochs = 1\nsteps = 1", Schedule::Constant {}, "recipe.warmup has either"),
        ("steps = 3", per_epoch.clone(), "recipe.warmup has a whole number of epochs if"),
        ("epochs = 0.5", per_epoch, "recipe.warmup has a whole number of epochs if"),
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
