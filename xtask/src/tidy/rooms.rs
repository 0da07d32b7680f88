//! Rooms with one purpose: what a crate's code must not name.

use super::Finding;
use super::tree::{Tree, has_word};

/// A crate, what it must not name, and why.
struct Room {
    name: &'static str,
    strangers: &'static [&'static str],
    reason: &'static str,
}

const DEVICE: [&str; 6] = ["Device", "Cpu", "Cuda", "Slot", "Planner", "tensor"];

const ROOMS: &[Room] = &[
    Room {
        name: "models",
        strangers: &["DType", "Buffer", "Device", "Cpu", "Cuda", "Slot", "Planner", "tensor"],
        reason: "a model is rows; devices, dtypes and memory belong to layers and tensor",
    },
    Room {
        name: "augment",
        strangers: &["fs", "io", "net", "thread", "File", "Path", "rayon", "println", "Device"],
        reason: "augment is pure functions on pixels; files and threads belong to data",
    },
    Room {
        name: "data",
        strangers: &DEVICE,
        reason: "data fills batches in host memory; devices belong to train",
    },
    Room {
        name: "train",
        strangers: &["models", "AlexNet"],
        reason: "train knows networks and batches; which network is the program's business",
    },
    Room {
        name: "kernels",
        strangers: &["Instant", "SystemTime", "thread_rng"],
        reason: "an op is a function of its slots, never of time",
    },
];

/// What prints past [`CONSOLE`], where a closed pipe or a full device would end a run.
const PRINTS: [&str; 7] =
    ["println!", "eprintln!", "print!", "eprint!", concat!("dbg", "!"), "stdout()", "stderr()"];

/// The only file that prints.
const CONSOLE: &str = "crates/terminal/src/output.rs";

/// Crates that print: tests print what they skip, and `gpu-check` its report.
const TESTERS: [&str; 3] = ["testkit", "cuda-on-cpu", "gpu-check"];

/// Names that say nothing about what lies inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "manager"];

/// All of this file's checks.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !file.is_test()) {
        for room in ROOMS.iter().filter(|room| file.room() == Some(room.name)) {
            for (line, code) in file.code_lines_without_tests() {
                for stranger in room.strangers.iter().filter(|name| has_word(code, name)) {
                    let sentence =
                        format!("{} does not name `{stranger}`: {}", room.name, room.reason);
                    findings.push(Finding::new(&file.path, line, sentence));
                }
            }
        }
    }
    let quiet = tree.rust().filter(|file| {
        let is_ours = file.path.starts_with("crates/") && file.path.contains("/src/");
        let prints = file.room().is_some_and(|room| TESTERS.contains(&room));
        is_ours && !file.is_test() && !prints && file.path != CONSOLE
    });
    for file in quiet {
        for (line, code) in file.code_lines_without_tests() {
            if let Some(print) = PRINTS.into_iter().find(|print| has_word(code, print)) {
                let sentence = format!("`{print}` can end a run: print through {CONSOLE}");
                findings.push(Finding::new(&file.path, line, sentence));
            }
        }
    }
    for file in &tree.files {
        let empty = |part: &str| EMPTY_NAMES.contains(&part.split('.').next().unwrap_or(part));
        if let Some(part) = file.path.split('/').find(|part| empty(part)) {
            let sentence = format!("`{part}` says nothing: name the file after what is in it");
            findings.push(Finding::new(&file.path, 1, sentence));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn strangers_are_found() {
        for (path, text) in [
            ("crates/models/src/alexnet.rs", "use tensor::DType;\n"),
            ("crates/augment/src/crop.rs", "let pixels = std::fs::read(name);\n"),
            ("crates/data/src/ring.rs", "fn fill(device: &mut Device) {}\n"),
            ("crates/train/src/run.rs", "let spec = models::find(name)?;\n"),
            ("crates/kernels/src/lrn/cpu.rs", "let start = Instant::now();\n"),
        ] {
            assert!(findings(path, text) > 0, "{path}");
            assert_eq!(findings(&path.replace("src/", "tests/"), text), 0, "{path}");
            let in_tests = format!("#[cfg(test)]\nmod tests {{\n{text}}}\n");
            assert_eq!(findings(path, &in_tests), 0, "{path}");
            assert_eq!(findings(path, &format!("// {text}")), 0, "{path}");
        }
    }

    #[test]
    fn whatever_prints_past_the_console_is_found() {
        for text in ["println!(\"{x}\");\n", "eprint!(\"x\");\n", "let out = io::stdout();\n"] {
            assert_eq!(findings("crates/trainer/src/doctor.rs", text), 1, "{text}");
            assert_eq!(findings("crates/data/src/ring.rs", text), 1, "{text}");
            for path in [CONSOLE, "crates/testkit/src/lib.rs", "crates/data/tests/leaks.rs"] {
                assert_eq!(findings(path, text), 0, "{path}: {text}");
            }
            assert_eq!(findings("xtask/src/main.rs", text), 0, "{text}");
        }
        assert_eq!(findings("crates/trainer/src/doctor.rs", "console::print(x)?;\n"), 0);
    }

    #[test]
    fn empty_names_are_found() {
        assert_eq!(findings("crates/utils/src/lib.rs", "\n"), 1);
        assert_eq!(findings("crates/data/src/helpers.rs", "\n"), 1);
        assert_eq!(findings("crates/data/src/decode.rs", "\n"), 0);
    }
}
