use super::*;
use crate::recipes;

#[test]
fn the_more_exact_name_decides_field_by_field() {
    let mut recipe = recipes::find("paper").unwrap();
    let rule = |decay, rate| Layer { decay, rate, ..Layer::default() };
    recipe.layers.insert("conv*".into(), rule(Some(0.5), Some(3.0)));
    recipe.layers.insert("conv2".into(), rule(Some(0.25), None));
    assert_eq!(recipe.rule("conv2.weight").decay, 0.25);
    assert_eq!(recipe.rule("conv2.weight").rate, 3.0);
    assert_eq!(recipe.rule("conv3.weight").decay, 0.5);
    assert_eq!(recipe.rule("fc6.weight").rate, 1.0);
}

#[test]
fn slopes_have_rules_of_their_own() {
    let mut recipe = recipes::find("paper").unwrap();
    let rule = recipe.rule("prelu1.slope");
    assert_eq!((rule.init, rule.rate, rule.decay), (Initializer::Constant(0.25), 1.0, 0.0));
    let setting = recipe.setting_of_epoch(&Default::default(), 1);
    assert_eq!(recipe.table_row("prelu1.slope", &setting), [0.01, 0.9, 0.0]);
    let start = |name: &str| recipe.rule(name).init;
    let names = ["scale", "shift", "mean", "variance"];
    let starts = names.map(|name| start(&format!("batch_norm1.{name}")));
    assert_eq!(starts, [1.0, 0.0, 0.0, 1.0].map(Initializer::Constant));
    assert_eq!(recipe.table_row("batch_norm1.shift", &setting), [0.01, 0.9, 0.0]);
    assert_eq!(recipe.table_row("batch_norm1.mean", &setting), [1.0, 0.0, 0.0]);
    recipe.layers.insert("prelu*".into(), Layer { decay: Some(0.5), ..Layer::default() });
    assert_eq!((recipe.rule("prelu1.slope").decay, recipe.decay), (0.5, 0.0005));
}

#[test]
fn a_layer_is_frozen_until_its_epoch() {
    let mut recipe = recipes::find("paper").unwrap();
    let from = |first| Layer { train_from: Some(first), ..Layer::default() };
    recipe.layers.insert("conv*".into(), from(3));
    recipe.layers.insert("conv5".into(), from(2));
    recipe.layers.insert("batch_norm*".into(), from(3));
    let rates = |parameter: &str| {
        [1, 2, 3].map(|epoch| {
            recipe.table_row(parameter, &recipe.setting_of_epoch(&Default::default(), epoch))[0]
        })
    };
    assert_eq!(rates("conv1.weight"), [0.0, 0.0, 0.01]);
    assert_eq!(rates("conv5.bias"), [0.0, 0.01, 0.01]);
    assert_eq!(rates("batch_norm1.mean"), [0.0, 0.0, 1.0]);
    assert_eq!(rates("fc6.weight"), [0.01; 3]);
}

/// Biases that do not follow the schedule still warm up.
#[test]
fn biases_outside_the_schedule_warm_up() {
    let mut recipe = recipes::find("paper").unwrap();
    recipe.bias = Bias { rate: 2.0, decay: 0.0, scheduled: false };
    recipe.schedule = Schedule::Cosine { end: 0.0, per: Default::default() };
    recipe.warmup = Some(Warmup { epochs: Some(2.0), steps: None, start: 0.5 });
    let rate = |epoch| {
        let at = Position { epoch, batch: 0, batches: 4 };
        recipe.table_row("fc6.bias", &recipe.setting(&Default::default(), at))[0]
    };
    assert_eq!([1, 2, 3, 80].map(rate), [0.01, 0.015, 0.02, 0.02]);
}

/// Files of runs without these settings stay as they were.
#[test]
fn settings_of_updates_are_written_only_if_they_are_set() {
    let mut recipe = recipes::find("paper").unwrap();
    let text = toml::to_string(&recipe).unwrap();
    for key in ["warmup", "nesterov", "clip", "ema", "train-from", "momentum = [", "per ="] {
        assert!(!text.contains(key), "{key}: {text}");
    }
    let set = "nesterov = true\nclip-norm = 1.0\nclip-value = 0.5\n[warmup]\nsteps = 3\n\
               [ema]\ndecay = 0.5\n";
    let mut page = toml::Table::try_from(&recipe).unwrap();
    page.extend(set.parse::<toml::Table>().unwrap());
    recipe = page.try_into().unwrap();
    let text = toml::to_string(&recipe).unwrap();
    assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
    let summary = recipe.summary();
    for part in [
        "after 3 steps of warm-up from x 0.01",
        "Nesterov's momentum",
        "gradients clipped to norm 1, gradients clipped to +-0.5",
        "weights averaged with decay 0.5",
    ] {
        assert!(summary.contains(part), "{summary}");
    }
}

#[test]
fn a_recipe_survives_toml() {
    for (name, _) in recipes::all() {
        let recipe = recipes::find(name).unwrap();
        let text = toml::to_string(&recipe).unwrap();
        assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
    }
}

#[test]
fn an_unknown_key_is_refused_at_every_depth() {
    let text = toml::to_string(&recipes::find("source").unwrap()).unwrap();
    for (key, table) in [("ratee = 1", ""), ("mena = 1", "[input]"), ("fator = 1", "[schedule]")] {
        let spoilt = match table {
            "" => format!("{key}\n{text}"),
            table => text.replace(table, &format!("{table}\n{key}")),
        };
        let error = toml::from_str::<Recipe>(&spoilt).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{error}");
    }
}

#[test]
fn initial_values_are_words() {
    for init in [
        Initializer::Constant(-0.5),
        Initializer::Normal(0.01),
        Initializer::ScaledNormal(1.5),
        Initializer::FanInUniform,
    ] {
        assert_eq!(Initializer::try_from(String::from(init)), Ok(init));
    }
    for wrong in ["normal", "normal x", "gauss 1", "fan-in-uniform 2", "constant inf", ""] {
        assert!(Initializer::try_from(wrong.to_string()).is_err(), "{wrong}");
    }
}

#[test]
fn crops_come_from_a_larger_square() {
    let paper = recipes::paper();
    assert_eq!([paper.side(227, 227), paper.side(224, 224), paper.side(64, 64)], [256, 256, 72]);
    assert_eq!(recipes::cifar_19pct().side(32, 32), 32);
}

#[test]
fn names_that_fit_no_layer_are_known() {
    let recipe = recipes::find("paper").unwrap();
    assert_eq!(recipe.idle_layers(&["conv2", "conv4", "fc6", "fc7"]), ["conv5"]);
}
