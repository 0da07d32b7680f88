//! Settings from files, `--set` and flags.

use super::*;
use crate::cli::SetupArgs;
use std::fs;
use train::early_stopping::EarlyStopping;
use train::recipe::{Initializer, ResizedCrop};
use train::schedule::Schedule;

fn set(assignments: &[&str]) -> Result<Settings> {
    let set = assignments.iter().map(|text| text.to_string()).collect();
    Settings::resolve(&TrainArgs {
        setup: SetupArgs { set, ..SetupArgs::default() },
        ..TrainArgs::default()
    })
}

fn message(assignments: &[&str]) -> String {
    let fault = set(assignments).unwrap_err();
    assert_eq!(fault.code, 2);
    fault.message
}

#[test]
fn nothing_typed_means_small_and_generated() {
    let settings = set(&[]).unwrap();
    assert_eq!((settings.model.as_str(), settings.data.as_str()), ("alexnet-64", "shapes"));
    assert_eq!(settings.recipe, recipes::paper_64());
}

#[test]
fn a_model_brings_its_recipe_and_a_recipe_may_be_named() {
    assert_eq!(set(&["model=cifar-19pct"]).unwrap().recipe, recipes::cifar_19pct());
    let both = set(&["model=cifar-19pct", "recipe.base=paper"]).unwrap();
    assert_eq!(both.recipe, recipes::paper());
}

#[test]
fn keys_reach_any_depth() {
    let settings = set(&[
        "model=alexnet",
        "recipe.rate=0.5",
        "recipe.schedule.kind=constant",
        r#"recipe.layers."conv*".weights=normal 0.5"#,
        "recipe.layers.conv2.biases=constant 0.1",
        "recipe.augment.resized={}",
        "recipe.augment.jitter.hue=0.25",
        "max_steps=7",
    ])
    .unwrap();
    assert_eq!(settings.recipe.rate, 0.5);
    assert_eq!(settings.recipe.schedule, Schedule::Constant {});
    assert_eq!(settings.recipe.rule("conv3.weight").init, Initializer::Normal(0.5));
    assert_eq!(settings.recipe.rule("conv2.bias").init, Initializer::Constant(0.1));
    assert_eq!(settings.recipe.augment.resized, Some(ResizedCrop::default()));
    assert_eq!(settings.recipe.augment.jitter.unwrap().hue, 0.25);
    assert_eq!(settings.max_steps, Some(7));
}

#[test]
fn flags_are_stronger_than_set() {
    let set = vec!["recipe.rate=0.5".to_string(), "recipe.batch=3".to_string()];
    let args = TrainArgs {
        setup: SetupArgs { set, ..SetupArgs::default() },
        lr: Some(0.25),
        ..TrainArgs::default()
    };
    let settings = Settings::resolve(&args).unwrap();
    assert_eq!((settings.recipe.rate, settings.recipe.batch), (0.25, 3));
}

#[test]
fn wrong_words_are_answered_with_the_nearest() {
    for (assignment, expected) in [
        ("recipe.ratee=1", "there is no setting `ratee`; did you mean `rate`?"),
        ("recipe.schedule.kind=platau", "did you mean `plateau`?"),
        ("recipe.base=papper", "there is no recipe `papper`; did you mean `paper`?"),
        ("recipe.layers.conv1.rat=1", "did you mean `rate`?"),
        ("sead=1", "did you mean `seed`?"),
        ("recipe.layers.fc6.biases=big", "initial values are"),
        ("recipe.rate=fast", "invalid type"),
        ("recipe.rate", "write KEY=VALUE"),
        ("recipe.batch=0", "must be at least 1"),
        ("recipe.augment.resized={area=[1, 0.5]}", "recipe.augment.resized.area is [1.0, 0.5]"),
        ("recipe.augment.jitter={hu=0.1}", "did you mean `hue`?"),
        ("recipe.augment.rand-augment={op=1}", "did you mean `ops`?"),
        (
            "recipe.augment.mixup=0.0001",
            "recipe.augment.mixup is 0.0001; it must be at least 0.001",
        ),
        ("recipe.augment.erase={value=\"black\"}", "\"mean\", \"random\" or a colour"),
        ("recipe.label-smoothing=1", "recipe.label-smoothing is 1; it must be at least 0"),
        ("recipe.class-weights=even", "\"balanced\" or a table of weights by class name"),
        ("recipe.sampling=even", "balanced"),
        ("recipe.rate=nan", "recipe.rate is NaN"),
        ("recipe.momentum=2", "recipe.momentum is 2; it must be at least 0 and below 1"),
        ("recipe.input.scale=0", "recipe.input.scale is 0; it must be above 0"),
        ("recipe.augment.color=nan", "recipe.augment.color is NaN; it must be at least 0"),
        ("recipe.batch=281474976710656", "it must be at least 1 and at most 1048576"),
        ("recipe.batch=-1", "invalid value: integer `-1`"),
        ("recipe.epochs=0", "recipe.epochs is 0; it must be at least 1"),
        ("recipe.input.side=1000000000", "it must be at least 1 and at most 16384"),
        ("threads=1000000", "threads (--threads) is 1000000; it must be at least 0 and at most"),
        ("workers=100000", "workers (--workers) is 100000; it must be at least 0 and at most"),
        ("fake_data=1000000000000", "fake_data (--fake-data) is 1000000000000; it must be"),
        ("checkpoints.keep=0", "checkpoints.keep (--keep) is 0; it must be at least 1"),
    ] {
        let message = message(&[assignment]);
        assert!(message.contains(expected), "{assignment}: {message}");
    }
}

#[test]
fn a_file_is_named_with_its_line() {
    let path = std::env::temp_dir().join(format!("alexnet-{}.toml", std::process::id()));
    fs::write(&path, "seed = 3\n[recipe]\nmomentun = 0.5\n").unwrap();
    let args = TrainArgs {
        setup: SetupArgs { config: Some(path.clone()), ..SetupArgs::default() },
        ..TrainArgs::default()
    };
    let fault = Settings::resolve(&args).unwrap_err();
    assert!(fault.message.contains(".toml:3: there is no setting `momentun`"), "{fault:?}");
    fs::write(&path, set(&["recipe.rate=0.125"]).unwrap().to_toml()).unwrap();
    assert_eq!(Settings::resolve(&args).unwrap().recipe.rate, 0.125);
    fs::remove_file(&path).unwrap();
}

fn typed(arguments: &[&str]) -> Result<Settings> {
    use clap::Parser;
    let cli = crate::cli::Cli::try_parse_from([&["alexnet", "train"], arguments].concat());
    let crate::cli::Command::Train(args) = cli.unwrap().command else { unreachable!() };
    Settings::resolve(&args)
}

#[test]
fn flags_of_the_recipe_set_it() {
    let settings = typed(&[
        "--optimizer",
        "Adam",
        "--momentum",
        "0.8",
        "--wd",
        "1e-4",
        "-b",
        "32",
        "--learning-rate",
        "0.001",
        "--early-stopping",
        "--lr-schedule",
        "constant",
    ]);
    let recipe = settings.unwrap().recipe;
    assert_eq!(recipe.optimizer, train::recipe::Optimizer::Adam);
    assert_eq!((recipe.momentum, recipe.decay, recipe.batch, recipe.rate), (0.8, 1e-4, 32, 0.001));
    assert_eq!(recipe.early_stopping, Some(EarlyStopping::default()));
    assert_eq!(recipe.schedule, Schedule::Constant {});
    let set = ["--set", "recipe.early-stopping.threshold=0.01", "--early-stopping", "4"];
    let rule = typed(&set).unwrap().recipe.early_stopping.unwrap();
    assert_eq!((rule.patience, rule.threshold), (4, 0.01));
    assert_eq!(typed(&[]).unwrap().recipe, recipes::paper_64(), "nothing is set by default");
    assert!(!set_text(&[]).contains("early-stopping"), "not written at its default");
}

fn set_text(assignments: &[&str]) -> String {
    set(assignments).unwrap().to_toml()
}

#[test]
fn a_schedule_that_is_named_has_settings_to_begin_with() {
    let schedule = |arguments: &[&str]| typed(arguments).unwrap().recipe.schedule;
    let steps = |after: [u32; 2], factor| Schedule::Steps { after: after.to_vec(), factor };
    let paper = recipes::paper().schedule; // a plateau
    let vgg = ["--recipe", "caffe"]; // steps of its own
    let thirds = ["--recipe", "paper", "--lr-schedule", "step", "--epochs", "60"];
    assert_eq!(schedule(&thirds), steps([20, 40], 0.1));
    let own = schedule(&["--lr-schedule", "steps", "--set", "recipe.schedule.after=[4, 7]"]);
    assert_eq!(own, steps([4, 7], 0.1));
    assert_eq!(schedule(&[&vgg[..], &["--lr-schedule", "reduce_on_plateau"]].concat()), paper);
    let kept = recipes::find("caffe").unwrap().schedule;
    assert_eq!(schedule(&[&vgg[..], &["--lr-schedule", "steps"]].concat()), kept);
    for (arguments, expected) in [
        (&["--lr-schedule", "stepps"][..], "--lr-schedule stepps: there is no value `stepps`; did"),
        (&["--lr-schedule", "phases"], "--lr-schedule phases: phases are a list"),
        (
            &["--lr-schedule", "steps", "--set", "recipe.schedule.kind=constant"],
            "--lr-schedule steps: --set recipe.schedule.kind=constant has the kind, too",
        ),
        (
            &["--lr-schedule", "steps", "--set", "recipe.schedule.facter=1"],
            "--set recipe.schedule.facter=1: there is no setting `facter`; did you mean `factor`?",
        ),
        (&["--optimizer", "adm"], "there is no value `adm`; did you mean `adam`?"),
        (&["--momentum", "1"], "recipe.momentum is 1; it must be at least 0 and below 1"),
        (&["--weight-decay", "-1"], "recipe.decay is -1; it must be"),
        (&["--early-stopping", "0"], "recipe.early-stopping.patience is 0; it must be at least 1"),
        (&["--early-stopping", "--overfit", "8"], "--early-stopping needs validation images"),
        (&["--set", "recipe.early-stopping.metric=acc"], "there is no value `acc`; known here:"),
    ] {
        let message = typed(arguments).unwrap_err().message;
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}

#[test]
fn the_head_is_the_last_layer_of_the_model() {
    let rates = |arguments: &[&str]| {
        let recipe = typed(arguments).unwrap().recipe;
        ["conv1.weight", "fc10.weight"].map(|name| recipe.rule(name).rate)
    };
    let model = ["--model", "cifar-19pct"];
    assert_eq!(rates(&[&model[..], &["--recipe", "finetune"]].concat()), [1.0, 5.0]);
    assert_eq!(rates(&[&model[..], &["--recipe", "finetune-head"]].concat()), [0.0, 1.0]);
    let own = ["--recipe", "finetune", "--set", "recipe.layers.head.rate=3"];
    assert_eq!(rates(&[&model[..], &own].concat()), [1.0, 3.0]);
    let named = ["--recipe", "finetune", "--set", "recipe.layers.fc10.rate=3"];
    assert_eq!(rates(&[&model[..], &named].concat()), [1.0, 3.0]);
    assert_eq!(rates(&[&model[..], &["--set", "recipe.layers.head.rate=3"]].concat()), [1.0, 3.0]);
}
