//! Runs on several devices, through the program.
#![cfg(unix)]

mod program;

use program::{expect, last_line, read_json, two_towers};
use std::fs;
use std::path::Path;

/// A run of 50 steps, 13 an epoch.
fn train<'a>(model: &'a str, run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["train", "--model", model, "--fake-data", "100", "--batch-size", "8", "--lr"];
    let run = ["1e-5", "--run", run, "--epochs", "1000", "--progress", "none"];
    [&fixed[..], &run, more].concat()
}

fn weights(run: &str) -> Vec<u8> {
    fs::read(Path::new(run).join("weights.safetensors")).unwrap()
}

#[test]
fn towers_are_bit_identical_to_one_device_started_on_either() {
    let scratch = two_towers("towers");
    let model = scratch.path("net.toml");
    let towers = ["--parallel", "towers", "--device"];
    let run = |name: &str, device: &str, steps: &str| {
        let path = scratch.path(name);
        let more = [&towers[..], &[device, "--threads", "2", "--max-steps", steps]].concat();
        expect(0, &[&train(&model, &path, &more)[..], &["--json"]].concat());
        path
    };
    let go_on = |run: &str, device: &str| {
        let more = ["--device", device, "--max-steps", "50", "--progress", "none", "--json"];
        let (stdout, _) = expect(0, &[&["train", "--resume", run][..], &more].concat());
        assert_eq!(last_line(&stdout)["steps"], 50);
    };
    let one = run("one", "cpu", "50");
    let two = run("two", "cpu,cpu", "50");
    assert!(weights(&one) == weights(&two));
    let environment = read_json(&Path::new(&two).join("env.json"));
    assert_eq!((&environment["device"], &environment["threads"]), (&"cpu,cpu".into(), &2.into()));

    let there = run("there", "cpu", "20");
    go_on(&there, "cpu,cpu");
    assert!(weights(&there) == weights(&one));
    let back = run("back", "cpu,cpu", "20");
    go_on(&back, "cpu");
    assert!(weights(&back) == weights(&one));

    // What was learned in towers is tested as any other network is.
    let (stdout, _) = expect(0, &["eval", "--run", &two, "--progress", "none", "--json"]);
    let eval = last_line(&stdout);
    let (stdout, _) = expect(0, &["eval", "--run", &one, "--progress", "none", "--json"]);
    assert_eq!(eval["loss"], last_line(&stdout)["loss"]);
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let scratch = two_towers("refused");
    let model = scratch.path("net.toml");
    let run = scratch.path("run");
    let told = |more: &[&str]| expect(2, &train(&model, &run, more)).1;
    let message = told(&["--device", "cpu,cpu"]);
    assert!(message.contains("say how these share the work, with --parallel"), "{message}");
    let message = told(&["--device", "cpu,auto", "--parallel", "towers"]);
    assert!(message.contains("auto is one device; name each"), "{message}");
    let message = told(&["--device", "cpu,cpu,cpu", "--parallel", "towers"]);
    assert!(message.contains("cannot be split into 3 towers"), "{message}");
    assert!(!Path::new(&run).exists());
}

#[test]
fn a_way_of_exchanging_is_said_to_have_no_effect_on_one_device() {
    let scratch = two_towers("alone");
    let (model, run) = (scratch.path("net.toml"), scratch.path("run"));
    let fixed = ["train", "--model", &model, "--fake-data", "100", "--batch-size", "8"];
    let more = ["--exchange", "nccl", "--device", "cpu", "--max-steps", "1", "--run", &run];
    let (_, said) = expect(0, &[&fixed[..], &more, &["--progress", "plain"]].concat());
    assert!(said.contains("one device has nothing to exchange"), "{said}");
}

#[test]
fn shared_units_come_to_the_bits_of_one_device() {
    let scratch = two_towers("hybrid");
    let model = scratch.path("net.toml");
    let run = |name: &str, device: &str, steps: &str| {
        let path = scratch.path(name);
        let more = ["--parallel", "hybrid", "--device", device, "--max-steps", steps];
        expect(0, &train(&model, &path, &more));
        path
    };
    let one = run("one", "cpu", "50");
    let config = fs::read_to_string(Path::new(&one).join("config.toml")).unwrap();
    assert!(config.contains("shards = 8") && config.contains(r#"parallel = "hybrid""#), "{config}");
    let two = run("two", "cpu,cpu", "50");
    assert!(weights(&two) == weights(&one));
    let four = run("four", "cpu,cpu,cpu,cpu", "20");
    let more = ["--device", "cpu", "--max-steps", "50", "--progress", "none"];
    expect(0, &[&["train", "--resume", &four][..], &more].concat());
    assert!(weights(&four) == weights(&one));

    // Another mode goes on from there, to other bits.
    let mixed = run("mixed", "cpu,cpu", "20");
    let go_on = |more: &[&str]| {
        let more = [&["--progress", "plain", "--max-steps"], more].concat();
        expect(0, &[&["train", "--resume", &mixed][..], &more].concat()).1
    };
    assert!(!go_on(&["21"]).contains("the last bits"), "the same mode");
    let stderr = go_on(&["50", "--parallel", "data"]);
    assert!(stderr.contains("began with --parallel hybrid: from here on some sums"), "{stderr}");
    assert!(weights(&mixed) != weights(&one));

    let run = scratch.path("refused");
    let told = |more: &[&str]| expect(2, &train(&model, &run, more)).1;
    let hybrid = ["--parallel", "hybrid", "--device"];
    let message = told(&[&hybrid[..], &["cpu,cpu,cpu"]].concat());
    assert!(message.contains("3 ranks cannot share 8 micro-shards evenly"), "{message}");
    let flat = scratch.path("flat.toml");
    let linear = r#"rows = [{ linear = { name = "fc1", outputs = 10 } }]"#;
    fs::write(&flat, format!("name = \"flat\"\ninput = [16, 16, 3]\n{linear}\n")).unwrap();
    let more = [&hybrid[..], &["cpu,cpu"]].concat();
    let (_, stderr) = expect(2, &train(&flat, &run, &more));
    assert!(
        stderr.contains("`fc1`: no layer before the first linear row has parameters"),
        "{stderr}"
    );
    assert!(!Path::new(&run).exists());
}

#[test]
fn replicas_come_to_the_bits_of_one_device() {
    let scratch = two_towers("data");
    let model = scratch.path("net.toml");
    let run = |name: &str, device: &str, steps: &str| {
        let path = scratch.path(name);
        let more = ["--parallel", "data", "--device", device, "--max-steps", steps];
        expect(0, &[&train(&model, &path, &more)[..], &["--micro-shards", "4"]].concat());
        path
    };
    let one = run("one", "cpu", "50");
    let config = fs::read_to_string(Path::new(&one).join("config.toml")).unwrap();
    assert!(config.contains("shards = 4") && config.contains(r#"parallel = "data""#), "{config}");
    let two = run("two", "cpu,cpu", "50");
    assert!(weights(&two) == weights(&one));
    let four = run("four", "cpu,cpu,cpu,cpu", "20");
    let more = ["--device", "cpu,cpu", "--max-steps", "50", "--progress", "none"];
    expect(0, &[&["train", "--resume", &four][..], &more].concat());
    assert!(weights(&four) == weights(&one));

    let (_, stderr) = expect(2, &["train", "--resume", &four, "--micro-shards", "2"]);
    assert!(stderr.contains("recipe.shards: was 4, now 2"), "{stderr}");
    let (_, stderr) = expect(2, &["train", "--resume", &four, "--wire", "bf16"]);
    assert!(stderr.contains("recipe.wire: was nothing, now \"bf16\""), "{stderr}");
    let run = scratch.path("three");
    let more = ["--parallel", "data", "--device", "cpu,cpu", "--wire", "f16"];
    let (_, stderr) = expect(2, &train(&model, &run, &more));
    assert!(stderr.contains("there is no value `f16`; did you mean `bf16`?"), "{stderr}");
    let more = ["--parallel", "data", "--device", "cpu,cpu,cpu"];
    let (_, stderr) = expect(2, &train(&model, &run, &more));
    assert!(stderr.contains("3 ranks cannot share 8 micro-shards evenly"), "{stderr}");
}
