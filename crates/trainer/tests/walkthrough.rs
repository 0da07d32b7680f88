//! The tutorial's walk for newcomers, line by line as it stands there.

mod program;

use program::{Scratch, read_json};
use std::path::Path;
use std::process::Command;

const HEADING: &str = "\n## A walk from nothing to a report\n";

/// The section's text.
fn section() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tutorial.md");
    let tutorial = std::fs::read_to_string(path).unwrap();
    let (_, after) = tutorial.split_once(HEADING).expect("the tutorial has a walk");
    after.split("\n## ").next().unwrap().to_string()
}

/// The lines of all blocks of a kind, in order.
fn blocks(section: &str, kind: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for block in section.split("\n```").collect::<Vec<_>>().chunks(2).filter_map(|two| two.get(1)) {
        let (found, text) = block.split_once('\n').unwrap();
        if found == kind {
            lines.extend(text.lines().map(str::to_string));
        }
    }
    lines
}

/// Numbers are another run's own: each becomes one sign.
fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        let letter = if letter.is_ascii_digit() { '#' } else { letter };
        let repeats = plain.ends_with('#') && (letter == '#' || letter == '.');
        if !repeats {
            plain.push(letter);
        }
    }
    plain
}

#[test]
fn its_lines_do_what_it_says() {
    let scratch = Scratch::new("walk");
    let (section, alexnet) = (section(), Path::new(env!("CARGO_BIN_EXE_alexnet")));
    let lines = blocks(&section, "sh");
    assert!(lines.iter().filter(|line| line.starts_with("alexnet ")).count() >= 10, "{lines:?}");
    let mut path = alexnet.parent().unwrap().as_os_str().to_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    // Whatever hangs is ended after five minutes, and nothing is left running.
    let script = format!(
        "set -eu; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n\
         (sleep 300; kill $$) >/dev/null 2>&1 &\n{}\n",
        lines.join("\n")
    );
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &script]).current_dir(&scratch.0).env("PATH", path);
    bash.env("NO_PROXY", "127.0.0.1");
    if Command::new("curl").arg("--version").output().is_err() {
        println!("SKIPPED: there is no curl here");
        return;
    }
    let Ok(output) = bash.output() else {
        println!("SKIPPED: there is no bash here");
        return;
    };
    let [said, told] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{:?}\n{said}\n{told}", output.status);

    let plain = without_numbers(&said);
    for line in blocks(&section, "text") {
        assert!(plain.contains(&without_numbers(&line)), "`{line}` was not said:\n{said}");
    }
    assert!(said.contains("\"probability\":"), "the page's server did not answer:\n{said}\n{told}");
    // Whatever file it names is there.
    let outside = section.split("```").step_by(2);
    let words = outside.flat_map(|text| text.split('`').skip(1).step_by(2).collect::<Vec<_>>());
    let own = |word: &&str| !word.contains(' ') && !word.starts_with("target/");
    let files: Vec<&str> = words.filter(own).filter(|w| w.contains(['/', '.'])).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let found = std::fs::metadata(scratch.0.join(file)).is_ok_and(|file| file.len() > 0);
        assert!(found, "there is no {file}:\n{said}");
    }
    let run = read_json(&scratch.0.join("runs/walk/run.json"));
    assert_eq!((&run["status"], &run["resumed"]), (&"finished".into(), &1.into()));
}

#[test]
fn the_tutorial_is_read_correctly() {
    let text = "a\n\n```sh\none\ntwo\n```\n\nb `c.png`\n\n```text\n3.5 %\n```\nd";
    assert_eq!(
        (blocks(text, "sh"), blocks(text, "text")),
        (vec!["one".into(), "two".into()], vec!["3.5 %".to_string()])
    );
    assert_eq!(without_numbers("loss 2.25, 10 of 200."), "loss #, # of #");
}
