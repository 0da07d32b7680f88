//! ILSVRC's archives in small, all the way: prepared, looked at, trained on; and killed on the way.

mod program;

use program::{Scratch, alexnet, expect, last_line, read_json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use testkit::Miniature;

/// Every file of a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn prepare<'a>(from: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["data", "prepare", "--ilsvrc", from, "--out", out, "--skip-md5"];
    arguments.extend(more);
    arguments
}

#[test]
fn from_the_three_archives_to_two_epochs() {
    let scratch = Scratch::new("ilsvrc");
    let (from, out) = (scratch.path("downloads"), scratch.path("prepared"));
    Miniature::new(2012).write(Path::new(&from));

    // Nobody published these archives' sums.
    let (_, stderr) = expect(3, &["data", "prepare", "--ilsvrc", &from, "--out", &out]);
    assert!(stderr.contains("MD5") && stderr.contains("--skip-md5"), "{stderr}");

    let options = ["--side", "72", "--images-per-shard", "5", "--json"];
    let (stdout, stderr) = expect(0, &prepare(&from, &out, &options));
    let said = last_line(&stdout);
    assert_eq!((&said["train"], &said["val"], &said["bad"]), (&16.into(), &10.into(), &0.into()));
    assert!(stderr.contains("ILSVRC-2012: 4 classes"), "{stderr}");
    let about = read_json(&Path::new(&out).join("dataset.json"));
    assert_eq!(about["classes"][0]["id"], "n01440764");
    assert_eq!(about["classes"][0]["devkit_id"], 4);

    let (stdout, _) = expect(0, &["data", "verify", &out]);
    assert!(stdout.contains("26 files, 0 unusable"), "{stdout}");
    let (stdout, _) = expect(0, &["data", "stats", &out]);
    assert!(stdout.contains("16 training and 10 test images in 4 classes"), "{stdout}");
    let sheet = scratch.path("sheet.png");
    expect(0, &["data", "show", &out, "--out", &sheet, "--rows", "2", "--columns", "2"]);
    assert!(fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));

    let run = scratch.path("run");
    let few = ["--epochs", "2", "--batch-size", "8", "--json", "--progress", "none"];
    let train = [&["train", "--data", &out, "--run", &run][..], &few].concat();
    let result = last_line(&expect(0, &train).0);
    assert_eq!((&result["steps"], result["loss"].is_number()), (&4.into(), true), "{result}");
    expect(0, &["eval", "--run", &run, "--json", "--progress", "none"]);

    // What is there already is not made again, and not overwritten by something else.
    let before = contents(Path::new(&out));
    expect(0, &prepare(&from, &out, &options));
    assert_eq!(contents(Path::new(&out)), before);
    let (_, stderr) = expect(3, &prepare(&from, &out, &["--side", "64"]));
    assert!(stderr.contains("prepared"), "{stderr}");
}

/// Ten runs killed when there are so many files, each followed by one that gets to the end.
#[test]
fn killed_at_any_moment_it_goes_on_to_the_same_bytes() {
    let scratch = Scratch::new("killed");
    let from = scratch.path("downloads");
    Miniature { train: 60, validation: 40, ..Miniature::new(2012) }.write(Path::new(&from));
    let options = ["--side", "64", "--images-per-shard", "7", "--progress", "none"];
    let whole = scratch.path("whole");
    expect(0, &prepare(&from, &whole, &options));
    let expected = contents(Path::new(&whole));

    let mut killed = 0;
    for files in 1..=10 {
        let out = scratch.path(&format!("out-{files}"));
        let arguments = prepare(&from, &out, &options);
        let mut child =
            alexnet(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let there = || fs::read_dir(&out).map_or(0, Iterator::count);
        while there() < files && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap(); // SIGKILL
        killed += u32::from(!child.wait().unwrap().success());
        expect(0, &arguments);
        assert!(contents(Path::new(&out)) == expected, "killed at {files} files");
    }
    assert!(killed >= 5, "only {killed} runs were still running when they were to be killed");
}
