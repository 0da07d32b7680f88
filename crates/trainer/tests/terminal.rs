//! Names of files and classes come from strangers: no terminal obeys them.

mod program;

use program::{Scratch, expect, last_line, write_png};
use serde_json::Value;
use std::fs;

/// Red from here on, the clipboard in two ways, backwards, and a deleted letter.
const CLASS: &str = "a\u{1b}[31mb\u{9b}2J\u{202e}gpj\u{7f}";
const SHOWN: &str = "a\\u001b[31mb\\u009b2J\\u202egpj\\u007f";

fn is_clean(text: &str) -> bool {
    !text.contains(|c: char| c != '\n' && c != '\t' && (c.is_control() || c == '\u{202e}'))
}

/// Two classes, one of a hostile name, with a file of a hostile name that is no image.
fn data(scratch: &Scratch) -> String {
    for (class, color) in [(CLASS, [20, 40, 220]), ("plain", [210, 30, 30])] {
        for part in ["train", "val"] {
            let folder = scratch.0.join("data").join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            (0..4u8).for_each(|at| write_png(&folder.join(format!("{at}\u{1b}c.png")), color));
        }
    }
    fs::write(scratch.0.join("data/train/plain/bad\u{1b}]52;c;\u{7}.png"), "no image").unwrap();
    scratch.path("data")
}

#[test]
fn control_characters_in_names_reach_no_terminal() {
    let scratch = Scratch::new("terminal");
    let data = data(&scratch);
    let said = |code: i32, arguments: &[&str]| {
        let (stdout, stderr) = expect(code, arguments);
        assert!(is_clean(&stdout) && is_clean(&stderr), "{arguments:?}: {stdout:?} {stderr:?}");
        (stdout, stderr)
    };
    let (stats, _) = said(0, &["data", "stats", &data]);
    assert!(stats.contains(SHOWN), "{stats}");
    let (findings, _) = said(3, &["data", "verify", &data]);
    assert!(findings.contains("bad\\u001b]52;c;\\u0007.png"), "{findings}");
    // JSON is the same JSON.
    let (json, _) = said(0, &["data", "stats", &data, "--json"]);
    let stats = last_line(&json);
    let names: Vec<&Value> =
        stats["classes"].as_array().unwrap().iter().map(|class| &class["name"]).collect();
    assert_eq!(names, [CLASS, "plain"]);

    let model = scratch.path("tiny.toml");
    let rows = "name = \"tiny\"\ninput = [12, 12, 3]\n[[rows]]\nlinear = { name = \"fc1\", \
                outputs = 4 }\n[[rows]]\nrelu = {}\n[[rows]]\nlinear = { name = \"fc2\", outputs = \
                2 }\n";
    fs::write(&model, rows).unwrap();
    let (run, table) = (scratch.path("run\u{1b}[2J"), scratch.path("p.csv"));
    let train = ["train", "--run", &run, "--data", &data, "--model", &model, "--recipe", "paper"];
    let few = ["--batch-size", "4", "--epochs", "1", "--set", "recipe.input.side=14"];
    said(0, &[&train[..], &few].concat());
    for command in [
        &["eval", "--run", &run, "--predictions", &table][..],
        &["eval", "--run", &run, "--json"],
        &["neighbours", "--run", &run, "--out", &scratch.path("n.png"), "--queries", "1"],
        &["features", "--run", &run, "--out", &scratch.path("f.npy")],
        &["inspect", &run],
    ] {
        said(0, command);
    }
    let (bars, stderr) = said(3, &["predict", &format!("{data}/train"), "--run", &run]);
    assert!(bars.contains(SHOWN) && bars.contains("0\\u001bc.png"), "{bars}");
    assert!(stderr.contains("bad\\u001b]52"), "{stderr}");
    // A file is no terminal: names stay what they are.
    assert!(fs::read_to_string(&table).unwrap().contains(CLASS));
    said(2, &["eval", "--run", &run, "--no-such-\u{1b}[31moption"]);
    said(3, &["data", "stats", "\u{1b}[31mnowhere"]);
}
