//! Runs that hold images out, and runs that begin with what another learned.

mod program;

use program::{Scratch, expect};
use serde_json::Value;
use std::fs;
use std::path::Path;

const MODEL: &str = "name = \"tiny\"\ninput = [8, 8, 3]\nrows = [\n  { conv = { name = \"conv1\", \
                     filters = 8, window = 3 } },\n  { relu = {} },\n  { linear = { name = \
                     \"fc2\", outputs = 10 } },\n]\n";

#[test]
fn a_run_holds_images_out_and_another_begins_where_it_ended() {
    let scratch = Scratch::new("init");
    let (model, first, second) = (scratch.path("m.toml"), scratch.path("a"), scratch.path("b"));
    fs::write(&model, MODEL).unwrap();
    let train = |run: &str, more: &[&str]| {
        let fixed = ["train", "--model", &model, "--fake-data", "43", "--batch-size", "8"];
        let quiet = ["--epochs", "1", "--lr", "1e-5", "--progress", "plain", "--run", run];
        [&fixed[..], &quiet, more].concat().into_iter().map(String::from).collect::<Vec<_>>()
    };
    let go = |code, words: Vec<String>| {
        expect(code, &words.iter().map(String::as_str).collect::<Vec<_>>()).1
    };
    go(0, train(&first, &["--hold-out", "5"]));
    let metrics = fs::read_to_string(Path::new(&first).join("metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let validation = lines.iter().find(|line| line["kind"] == "validation").unwrap();
    // 43 images, of which every fifth, 8 in all, is kept from learning: 35 in 5 steps.
    assert_eq!((&validation["images"], &validation["step"]), (&8.into(), &5.into()));

    let tensor = |run: &str, name: &str| {
        let bytes = fs::read(Path::new(run).join("weights.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        tensors.tensor(name).unwrap().data().to_vec()
    };
    let said = go(0, train(&second, &["--init", &first, "--max-steps", "1"]));
    assert!(said.contains("init    4 of 4 parameters from"), "{said}");
    let after_one_step = tensor(&second, "fc2.weight");
    let config = fs::read_to_string(Path::new(&second).join("config.toml")).unwrap();
    assert!(config.contains("[init]\nfrom = "), "{config}");
    let resumed = ["train", "--resume", &second, "--max-steps", "3", "--progress", "none"];
    expect(0, &resumed);

    // What is frozen is what it was; the rest is not.
    let third = scratch.path("third");
    go(0, train(&third, &["--init", &first, "--freeze", "conv*", "--max-steps", "2"]));
    for name in ["conv1.weight", "conv1.bias"] {
        assert_eq!(tensor(&first, name), tensor(&third, name));
    }
    assert_ne!(tensor(&first, "fc2.weight"), tensor(&third, "fc2.weight"));

    // A recipe that trains only the last layer, whose name it does not have.
    let head = scratch.path("head");
    let recipe = ["--recipe", "finetune-head", "--max-steps", "2"];
    go(0, train(&head, &[&recipe[..], &["--init", &first]].concat()));
    assert_eq!(tensor(&first, "conv1.weight"), tensor(&head, "conv1.weight"));
    assert_ne!(tensor(&first, "fc2.weight"), tensor(&head, "fc2.weight"));
    let config = fs::read_to_string(Path::new(&head).join("config.toml")).unwrap();
    assert!(config.contains("[recipe.layers.fc2]"), "{config}");
    let said = go(2, train(&scratch.path("none"), &recipe));
    assert!(said.contains("the recipe `finetune-head` trains from trained weights: "), "{said}");

    // Of a run without weights the newest checkpoint, which is the same here.
    let fourth = scratch.path("fourth");
    fs::remove_file(Path::new(&first).join("weights.safetensors")).unwrap();
    let said = go(0, train(&fourth, &["--init", &first, "--max-steps", "1"]));
    assert!(said.contains("of step 5"), "{said}");
    assert!(said.contains("init    4 of 4 parameters from"), "{said}");
    assert_eq!(tensor(&fourth, "fc2.weight"), after_one_step);

    // A run that goes on needs nothing of what it began with, and cannot have begun with another.
    let whole = scratch.path("whole");
    go(0, train(&whole, &["--init", &fourth, "--max-steps", "4"]));
    let resumed = scratch.path("resumed");
    go(0, train(&resumed, &["--init", &fourth, "--max-steps", "2"]));
    fs::rename(&fourth, scratch.path("elsewhere")).unwrap();
    let go_on = ["train", "--resume", &resumed, "--max-steps", "4", "--progress", "plain"];
    let (_, said) = expect(2, &[&go_on[..], &["--init", &second]].concat());
    assert!(
        said.contains(&format!("{resumed} has already started, with the weights of ")),
        "{said}"
    );
    expect(0, &go_on);
    assert_eq!(tensor(&resumed, "fc2.weight"), tensor(&whole, "fc2.weight"));
    fs::rename(scratch.path("elsewhere"), &fourth).unwrap();

    let more = ["--init", &first, "--init-layers", "fc9"];
    let said = go(4, train(&scratch.path("c"), &more));
    assert!(said.contains("no layer that fits `fc9`"), "{said}");
    let said = go(2, train(&scratch.path("c"), &["--hold-out", "1"]));
    assert!(said.contains("it must be at least 2"), "{said}");
}
