//! Names that a crate must not use, so that it keeps to its purpose.

use super::Finding;
use super::tree::{Tree, has_word};

/// The names that a crate must not use, and the reason.
struct Rule {
    crate_name: &'static str,
    forbidden: &'static [&'static str],
    reason: &'static str,
}

const DEVICES: [&str; 6] = ["Device", "Cpu", "Cuda", "Slot", "Planner", "tensor"];

const RULES: &[Rule] = &[
    Rule {
        crate_name: "models",
        forbidden: &["DType", "Buffer", "Device", "Cpu", "Cuda", "Slot", "Planner", "tensor"],
        reason: "models contain rows only; devices, dtypes and memory belong to layers and tensor",
    },
    Rule {
        crate_name: "augment",
        forbidden: &["fs", "io", "net", "thread", "File", "Path", "rayon", "println", "Device"],
        reason: "augment has pure functions on pixels; files and threads belong to data",
    },
    Rule {
        crate_name: "data",
        forbidden: &DEVICES,
        reason: "data fills batches in host memory; devices belong to train",
    },
    Rule {
        crate_name: "train",
        forbidden: &["models", "AlexNet"],
        reason: "train is generic over networks; the program selects one",
    },
    Rule {
        crate_name: "kernels",
        forbidden: &["Instant", "SystemTime", "thread_rng"],
        reason: "an op depends on its slots only, not on time",
    },
];

/// Output outside [`CONSOLE`], where a closed pipe or a full disk would abort a run.
const PRINTS: [&str; 7] =
    ["println!", "eprintln!", "print!", "eprint!", concat!("dbg", "!"), "stdout()", "stderr()"];

/// The only file that prints.
const CONSOLE: &str = "crates/terminal/src/output.rs";

/// Crates that may print: those for tests, and `gpu-check`.
const MAY_PRINT: [&str; 3] = ["testkit", "cuda-on-cpu", "gpu-check"];

/// File names without meaning.
const VAGUE_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "manager"];

/// All of this file's checks.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !file.is_test()) {
        for rule in RULES.iter().filter(|rule| file.crate_name() == Some(rule.crate_name)) {
            for (line, code) in file.code_lines_without_tests() {
                for name in rule.forbidden.iter().filter(|name| has_word(code, name)) {
                    let message =
                        format!("{} must not use `{name}`: {}", rule.crate_name, rule.reason);
                    findings.push(Finding::new(&file.path, line, message));
                }
            }
        }
    }
    let quiet = tree.rust().filter(|file| {
        let is_ours = file.path.starts_with("crates/") && file.path.contains("/src/");
        let prints = file.crate_name().is_some_and(|crate_name| MAY_PRINT.contains(&crate_name));
        is_ours && !file.is_test() && !prints && file.path != CONSOLE
    });
    for file in quiet {
        for (line, code) in file.code_lines_without_tests() {
            if let Some(print) = PRINTS.into_iter().find(|print| has_word(code, print)) {
                let message = format!("`{print}` can abort a run: print through {CONSOLE}");
                findings.push(Finding::new(&file.path, line, message));
            }
        }
    }
    for file in &tree.files {
        let is_vague = |part: &str| VAGUE_NAMES.contains(&part.split('.').next().unwrap_or(part));
        if let Some(part) = file.path.split('/').find(|part| is_vague(part)) {
            let message = format!("`{part}` is too vague: name the file after its content");
            findings.push(Finding::new(&file.path, 1, message));
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
    fn forbidden_names_are_found() {
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
    fn output_outside_the_console_is_found() {
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
    fn vague_names_are_found() {
        assert_eq!(findings("crates/utils/src/lib.rs", "\n"), 1);
        assert_eq!(findings("crates/data/src/helpers.rs", "\n"), 1);
        assert_eq!(findings("crates/data/src/decode.rs", "\n"), 0);
    }
}
