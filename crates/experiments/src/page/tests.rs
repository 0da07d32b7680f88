//! Pages of runs that were made up.

use super::*;
use crate::measured::TestResult;
use serde_json::Value;
use std::path::Path;

fn run(arm: &str, seed: u64, error: f64) -> Measured {
    let tested = TestResult { views: "centre".into(), top1_error: error, ..TestResult::default() };
    Measured {
        arm: arm.into(),
        label: arm.into(),
        seed,
        tested: vec![tested],
        epochs: vec![Epoch { epoch: 1.0, train_error: 0.5, train_loss: 1.5, error }],
        ..Measured::default()
    }
}

fn page(name: &str, runs: &[Measured]) -> String {
    let page = crate::find(name).unwrap();
    let seeds = page.seeds;
    let note = Some("Alone.");
    Results { page: &page, seeds, scale: Scale::Whole, note, together: None }.markdown(runs)
}

#[test]
fn the_target_is_reached_or_missed() {
    let runs = |errors: [f64; 3]| {
        let numbered = (0..3).zip(errors);
        numbered.map(|(seed, error)| run("cifar-80sec", seed, error)).collect::<Vec<_>>()
    };
    let text = page("cifar-80sec", &runs([0.26, 0.265, 0.255]));
    assert!(
        text.contains("test error 26.00 ± 0.50 %; target of at most 26.50 % reached"),
        "{text}"
    );
    assert!(text.contains("* Alone.\n") && !text.contains("Some runs"), "{text}");
    let ours = [run("cifar-80sec", 0, 0.25), run("cifar-80sec-apart", 0, 0.26)];
    let text = page("overlap", &ours);
    assert!(
        text.contains("25.00 % (3 x 3, overlapping), 26.00 % (2 x 2, side by side)\n"),
        "{text}"
    );
    let text = page("cifar-80sec", &runs([0.27, 0.275, 0.265])[..2]);
    assert!(text.contains("missed by 0.75 points"), "{text}");
    assert!(text.contains("Some runs are missing"), "{text}");
}

#[test]
fn the_command_repeats_these_runs() {
    let command_of = |name: &str, seeds: Option<u64>, scale, runs: &[Measured]| {
        let page = crate::find(name).unwrap();
        let seeds = seeds.unwrap_or(page.seeds);
        Results { page: &page, seeds, scale, note: None, together: None }.command(runs)
    };
    let command = |name: &str, seeds, scale| command_of(name, seeds, scale, &[]);
    let begin = "cargo xtask reproduce";
    assert_eq!(command("overlap", None, Scale::Whole), format!("{begin} overlap --data DIR"));
    let larger = format!("{begin} pretrain --data DIR --larger DIR --seeds 9");
    assert_eq!(command("pretrain", Some(9), Scale::Whole), larger);
    assert_eq!(command("pretrain", None, Scale::Rehearsal), format!("{begin} pretrain --rehearse"));
    let small = format!("{begin} pretrain --miniature --data DIR --larger DIR");
    assert_eq!(command("pretrain", None, Scale::Miniature), small);
    let reduced = Measured { precision: Some("bf16".into()), ..run("cifar-80sec", 0, 0.26) };
    let said = command_of("overlap", None, Scale::Whole, &[reduced]);
    assert_eq!(said, format!("{begin} overlap --data DIR --precision bf16"));
}

#[test]
fn a_ratio_is_that_of_the_fastest() {
    let reached = |arm: &str, epochs| Measured { reached: epochs, ..run(arm, 0, 0.3) };
    let runs = [
        reached("fig1-ReLU-0.002", Some(8.0)),
        reached("fig1-ReLU-0.001", Some(6.0)),
        reached("fig1-tanh-0.002", Some(30.0)),
        reached("fig1-tanh-0.004", None),
    ];
    let text = page("fig1", &runs);
    let said = "epochs to 25.00 % training error: ReLU 6.00, tanh 30.00, 5.0 times as many";
    assert!(text.contains(said), "{text}");
    assert!(text.contains("| tanh, rate 0.004 | 0 | > 1 |"), "{text}");
}

/// The committed pages are what this code writes from the committed values.
#[test]
fn published_pages_are_up_to_date() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/results");
    for page in crate::all() {
        let name = page.name;
        let read = |ending: &str| {
            files::read_to_string(Path::new(folder).join(format!("{name}.{ending}"))).unwrap()
        };
        let values: Value = serde_json::from_str(&read("json")).unwrap();
        let runs: Vec<Measured> = serde_json::from_value(values["runs"].clone()).unwrap();
        let together = &values["together"];
        let score = |top1_error| Score {
            loss: together["loss"].as_f64().unwrap(),
            top1_error,
            top5_error: together["top5_error"].as_f64(),
            ..Score::default()
        };
        let scale = if values["miniature"] == true { Scale::Miniature } else { Scale::Whole };
        let page = page.at_scale(scale).unwrap();
        let said = Results {
            page: &page,
            seeds: values["seeds"].as_u64().unwrap(),
            scale,
            note: values["note"].as_str(),
            together: together["top1_error"].as_f64().map(score),
        };
        assert_eq!(said.markdown(&runs), read("md"), "{name}");
    }
}
