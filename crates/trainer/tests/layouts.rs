//! Data sets as people download them, through the whole program: what `data verify` says of them
//! is what `train` does, and labels and names of classes stay with a run.

mod program;

use program::server::Server;
use program::{Scratch, expect, last_line, read_json, write_png};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const MODEL: &str = "name = \"tiny\"\ninput = [12, 12, 3]\n[[rows]]\nlinear = { name = \"fc1\", \
                     outputs = 4 }\n[[rows]]\nrelu = {}\n[[rows]]\nlinear = { name = \"fc2\", \
                     outputs = 2 }\n";

/// A PNG; its colour is decided by its name.
fn image(folder: &Path, name: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let shade = name.bytes().map(usize::from).sum::<usize>() % 200;
    write_png(&path, [shade as u8, 100, 200 - shade as u8]);
}

/// A folder with images of these names, and the model beside it.
fn data(scratch: &Scratch, name: &str, images: &[&str]) -> String {
    fs::write(scratch.0.join("tiny.toml"), MODEL).unwrap();
    images.iter().for_each(|image_name| image(&scratch.0.join(name), image_name));
    scratch.path(name)
}

/// Trains for two steps.
fn train(scratch: &Scratch, data: &str, run: &str, more: &[&str], code: i32) -> (String, String) {
    let (model, run) = (scratch.path("tiny.toml"), scratch.path(run));
    let mut arguments = vec!["train", "--data", data, "--model", &model, "--run", &run];
    arguments.extend(["--recipe", "paper", "--batch-size", "2", "--max-steps", "2"]);
    arguments.extend(["--set", "recipe.input.side=14", "--progress", "plain"]);
    arguments.extend(more);
    expect(code, &arguments)
}

const SPLIT: [&str; 4] = ["Train/cat/1.png", "Train/dog/2.PNG", "Test/cat/3.png", "Test/dog/4.png"];

#[test]
fn verify_ends_with_zero_where_training_starts_and_only_there() {
    let scratch = Scratch::new("layouts-verify");
    let flat = ["train/cat.0.png", "train/dog.0.png", "train/dog.1.png", "test1/1.png"];
    let cases: [(&str, &[&str], &[&str], i32); 12] = [
        ("split", &SPLIT, &[], 0),
        ("plain", &["cat/1.png", "cat/2.png", "dog/1.png", "dog/__MACOSX/._1.png"], &[], 0),
        ("above", &["archive/train/cat/1.png", "archive/train/dog/1.png"], &[], 0),
        ("one", &["cat/1.png", "cat/2.png"], &[], 3),
        ("flat", &flat, &[], 3),
        ("named", &flat, &["--label-from", "^([a-z]+)\\."], 0),
        ("nested", &["a/x/1.png", "a/y/1.png", "b/x/1.png", "b/y/1.png"], &[], 3),
        ("only test", &["test/cat/1.png", "test/dog/1.png"], &[], 3),
        ("twice", &["train/cat/1.png", "train/dog/1.png", "Training/cat/1.png"], &[], 3),
        ("case", &["Cat/1.png", "cat/1.png"], &[], 3),
        ("untrained", &["train/a/1.png", "train/b/1.png", "val/c/1.png"], &[], 3),
        ("missing table", &SPLIT, &["--labels", "/no/such.csv"], 3),
    ];
    for (name, images, more, code) in cases {
        let folder = data(&scratch, name, images);
        let verify = [&["data", "verify", &folder, "--json"][..], more].concat();
        let (stdout, _) = expect(code, &verify);
        let report = last_line(&stdout);
        let layout = report["kinds"]["layout"].as_u64().unwrap_or(0);
        assert_eq!(layout, u64::from(code == 3), "{name}: {report}");
        let (_, stderr) = train(&scratch, &folder, &format!("run of {name}"), more, code);
        if code == 3 {
            let detail = report["findings"][0]["detail"].as_str().unwrap();
            assert!(stderr.contains(detail), "{name}: {stderr}\n{detail}");
            assert!(!Path::new(&scratch.path(&format!("run of {name}"))).exists());
        }
    }
    // Classes that are links to folders, which verify used to refuse.
    let store = data(&scratch, "store", &["x/1.png", "y/1.png"]);
    fs::create_dir(scratch.0.join("links")).unwrap();
    for (class, to) in [("cat", "x"), ("dog", "y")] {
        symlink(Path::new(&store).join(to), scratch.0.join("links").join(class)).unwrap();
    }
    let links = scratch.path("links");
    let (stdout, _) = expect(0, &["data", "verify", &links]);
    assert!(stdout.contains("2 files, 0 unusable"), "{stdout}");
    train(&scratch, &links, "run of links", &[], 0);
    symlink(&links, scratch.0.join("links/loop")).unwrap();
    let (stdout, _) = expect(3, &["data", "verify", &links]);
    assert!(stdout.contains("layout") && stdout.contains("a folder that contains it"), "{stdout}");
    let (_, stderr) = train(&scratch, &links, "run of a loop", &[], 3);
    assert!(stderr.contains("a folder that contains it"), "{stderr}");
}

#[test]
fn a_test_set_in_capitals_is_no_class() {
    let scratch = Scratch::new("layouts-split");
    let folder = data(&scratch, "data", &SPLIT);
    fs::write(Path::new(&folder).join("Train/cat/notes.txt"), "x").unwrap();
    let (_, stderr) = train(&scratch, &folder, "run", &[], 0);
    assert!(stderr.contains("2 training and 2 test images"), "{stderr}");
    assert!(stderr.contains("1 file that is not an image was skipped"), "{stderr}");
    let environment = read_json(&scratch.0.join("run/env.json"));
    assert_eq!(environment["data"]["classes"], serde_json::json!(["cat", "dog"]));
    let (stdout, _) = expect(0, &["data", "stats", &folder, "--side", "8"]);
    assert!(stdout.contains("1 file that is not an image"), "{stdout}");
    let (stdout, _) = expect(0, &["data", "verify", &folder]);
    assert!(stdout.contains("1 file that is not an image"), "{stdout}");
}

#[test]
fn labels_stay_with_a_run_that_goes_on_and_is_tested() {
    let scratch = Scratch::new("layouts-labels");
    let images = ["train/1.png", "train/2.png", "train/3.png", "train/4.png", "test/1.png"];
    let folder = data(&scratch, "data", &images);
    fs::write(scratch.0.join("mine.csv"), "scan,kind\n1,ham\n2,egg\n3,ham\n4,egg\n").unwrap();
    let table = scratch.path("mine.csv");
    let more = ["--labels", &table, "--image-column", "scan", "--label-column", "kind"];
    let (_, stderr) = train(&scratch, &folder, "run", &more, 0);
    assert!(stderr.contains("mine.csv: labels are read from this table"), "{stderr}");
    assert!(stderr.contains("1 images without a label (such as test/1.png)"), "{stderr}");
    let config = fs::read_to_string(scratch.0.join("run/config.toml")).unwrap();
    assert!(config.contains("[labelling]") && config.contains("image_column = \"scan\""));
    let run = scratch.path("run");
    expect(0, &["train", "--resume", &run, "--max-steps", "3", "--progress", "none"]);
    for named in [&[][..], &["--data", &folder]] {
        let arguments = [&["eval", "--run", &run, "--json"][..], named].concat();
        let told = last_line(&expect(0, &arguments).0);
        assert_eq!(told["per_class"][0]["class"], "egg", "{told}");
    }
    // The other verbs take the same flags, and shards keep the labels.
    let out = scratch.path("shards");
    let prepare = ["data", "prepare", "--from", &folder, "--out", &out, "--side", "14"];
    expect(0, &[&prepare[..], &more].concat());
    assert_eq!(read_json(&scratch.0.join("shards/dataset.json"))["classes"][1]["id"], "ham");
    let sheet = scratch.path("sheet.png");
    let show = ["data", "show", &folder, "--out", &sheet, "--rows", "1", "--columns", "2"];
    expect(0, &[&show[..], &more].concat());
    let stats = ["data", "stats", &folder, "--json", "--side", "8"];
    let told = last_line(&expect(0, &[&stats[..], &more].concat()).0);
    assert_eq!(told["classes"][0]["name"], "egg", "{told}");
}

#[test]
fn settings_of_labels_that_make_no_sense_cost_code_2() {
    for (more, told) in [
        (&["--label-from", "("][..], "--label-from): `(`"),
        (&["--label-from", "cat"], "has 0 groups"),
        (&["--label-column", "x"], "name the table, too"),
        (&["--labels", "a.csv", "--label-from", "(a)"], "cannot be used with"),
    ] {
        for verb in [&["train", "--data", "x"][..], &["data", "verify", "x"]] {
            let (_, stderr) = expect(2, &[verb, more].concat());
            assert!(stderr.contains(told), "{more:?}: {stderr}");
        }
    }
    // A run without them says nothing of them.
    let (stdout, _) = expect(0, &["train", "--print-config"]);
    assert!(!stdout.contains("labelling"), "{stdout}");
}

#[test]
fn names_of_classes_are_kept_with_the_weights_and_shown() {
    let scratch = Scratch::new("layouts-names");
    let images = ["train/n1/1.png", "train/n2/2.png", "val/n1/3.png", "val/n2/4.png"];
    let folder = data(&scratch, "data", &images);
    let photo = scratch.path("data/val/n1/3.png");
    fs::write(scratch.0.join("names.json"), "{\"n1\": \"crane\", \"n2\": \"crane\"}").unwrap();
    let names = scratch.path("names.json");
    train(&scratch, &folder, "run", &["--class-names", &names], 0);
    let run = scratch.path("run");
    fs::remove_file(&names).unwrap(); // they are with the weights
    let (stdout, _) = expect(0, &["predict", &photo, "--run", &run]);
    assert!(stdout.contains("crane (n1)") && stdout.contains("crane (n2)"), "{stdout}");
    let told = last_line(&expect(0, &["predict", &photo, "--run", &run, "--json"]).0);
    for row in told["top"].as_array().unwrap() {
        assert_eq!(row["name"], "crane", "{told}");
        assert!(["n1", "n2"].contains(&row["class"].as_str().unwrap()), "{told}");
    }
    // Where the data set has a list of names, it is found; shards keep it, and so do their runs.
    fs::write(Path::new(&folder).join("synset_words.txt"), "n2 stork\nn1 crane, bird\n").unwrap();
    let out = scratch.path("shards");
    expect(0, &["data", "prepare", "--from", &folder, "--out", &out, "--side", "14"]);
    train(&scratch, &out, "other", &[], 0);
    let (stdout, _) = expect(0, &["predict", &photo, "--run", &scratch.path("other")]);
    assert!(stdout.contains("crane, bird") && stdout.contains("stork"), "{stdout}");
    let page = scratch.path("page.html");
    expect(0, &["report", &scratch.path("other"), "-o", &page, "--progress", "none"]);
    assert!(fs::read_to_string(&page).unwrap().contains("crane, bird"));
    let server = Server::start(&[&scratch.path("other")]);
    let titles = server.get("/about").json()["titles"].clone();
    assert_eq!(titles, serde_json::json!(["crane, bird", "stork"]));
    let said = server.post("/predict", &fs::read(&photo).unwrap()).json();
    for row in said["top"].as_array().unwrap() {
        let name = if row["class"] == "n1" { "crane, bird" } else { "stork" };
        assert_eq!(row["name"], name, "{said}");
    }
    server.end("TERM");
    let (_, stderr) = train(&scratch, &folder, "third", &["--class-names", "/no/names"], 3);
    assert!(stderr.contains("/no/names"), "{stderr}");
}
