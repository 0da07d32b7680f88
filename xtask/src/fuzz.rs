//! The fuzz targets, for a night.

use crate::cargo;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

const HELP: &str = "\
cargo xtask fuzz [--seconds N] [TARGET...]

Runs each target of fuzz/ (or those named) for N seconds (default: 60) with cargo-fuzz and a nightly
compiler. Inputs that make one panic, or take long or much memory, go to fuzz/found/TARGET/, where
the ordinary tests replay them. Without a fuzzer, seeded changes of valid inputs are tried instead,
as the tests do, for as long.
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    seconds: u64,
    targets: Vec<String>,
}

/// Runs the targets; fails if anything was found.
pub fn run(rest: &[OsString]) -> ExitCode {
    let words: Vec<String> = rest.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let asked = targets().and_then(|known| parse(&words, &known));
    match asked {
        Ok(asked) if has_fuzzer() => with_fuzzer(&asked),
        Ok(asked) => without_fuzzer(&asked),
        Err(problem) => {
            eprintln!("xtask fuzz: {problem}");
            ExitCode::from(2)
        }
    }
}

/// The targets' names: those of their files.
fn targets() -> Result<Vec<String>, String> {
    let folder = cargo::root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let stem = |path: &Path| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = paths.filter_map(|path| stem(&path)).collect();
    names.sort();
    Ok(names)
}

fn parse(words: &[String], known: &[String]) -> Result<Asked, String> {
    let mut asked = Asked { seconds: 60, targets: Vec::new() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--seconds" {
            let number = words.next().and_then(|text| text.parse().ok()).filter(|&n| n > 0);
            asked.seconds = number.ok_or("--seconds takes a whole number of at least 1")?;
        } else if known.contains(word) {
            asked.targets.push(word.clone());
        } else {
            return Err(format!("`{word}` is no target (they are {})", known.join(", ")));
        }
    }
    if asked.targets.is_empty() {
        asked.targets = known.to_vec();
    }
    Ok(asked)
}

/// `cargo +nightly` can only be asked of rustup's cargo, not of the one that runs us.
fn nightly() -> Command {
    let mut nightly = Command::new("cargo");
    nightly.arg("+nightly").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    nightly
}

fn has_fuzzer() -> bool {
    let (out, error) = (Stdio::null(), Stdio::null());
    let asked = nightly().args(["fuzz", "--version"]).stdout(out).stderr(error).status();
    asked.is_ok_and(|status| status.success())
}

fn with_fuzzer(asked: &Asked) -> ExitCode {
    let root = cargo::root();
    let mut found = Vec::new();
    for target in &asked.targets {
        // What is learned goes to the first folder, which is nobody's; the other two are read.
        let learned = cargo::target().join("fuzz-corpus").join(target);
        let folders = [learned, root.join("fuzz/corpus").join(target)];
        let kept = root.join("fuzz/found").join(target);
        for folder in folders.iter().chain([&kept]) {
            if let Err(error) = std::fs::create_dir_all(folder) {
                eprintln!("xtask fuzz: {}: {error}", folder.display());
                return ExitCode::FAILURE;
            }
        }
        println!("\n$ cargo +nightly fuzz run {target} ({} s)", asked.seconds);
        let mut fuzz = nightly();
        fuzz.args(["fuzz", "run", target]).args(&folders).arg(&kept).arg("--");
        fuzz.arg(format!("-max_total_time={}", asked.seconds));
        fuzz.args(["-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        fuzz.arg(format!("-artifact_prefix={}/", kept.display()));
        let done = fuzz.current_dir(root).status();
        let _ = std::fs::remove_dir(&kept); // if it is empty
        if !done.is_ok_and(|status| status.success()) {
            found.push(target.as_str());
        }
    }
    if found.is_empty() {
        let (count, seconds) = (asked.targets.len(), asked.seconds);
        println!("xtask fuzz: {count} targets, {seconds} s each, nothing found");
        ExitCode::SUCCESS
    } else {
        eprintln!("xtask fuzz: {} failed; inputs lie in fuzz/found", found.join(", "));
        ExitCode::FAILURE
    }
}

fn without_fuzzer(asked: &Asked) -> ExitCode {
    println!(
        "xtask fuzz: no cargo-fuzz with a nightly compiler (`rustup toolchain install nightly`, \
         `cargo install cargo-fuzz`): seeded changes are tried instead, blind to what they reach"
    );
    let mut test = cargo::command();
    test.args(["test", "--release", "--locked", "--package", "alexnet-data", "--test", "fuzzing"]);
    test.args(["--", "--nocapture", "--test-threads=1", "--exact"]).args(&asked.targets);
    test.env("ALEXNET_FUZZ_SECONDS", asked.seconds.to_string()).current_dir(cargo::root());
    match test.status() {
        Ok(status) => cargo::code(status),
        Err(error) => {
            eprintln!("xtask: cargo did not start: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words, &["mat".to_owned(), "tar".to_owned()])
    }

    #[test]
    fn targets_and_seconds_can_be_chosen() {
        let all = parsed("").unwrap();
        assert_eq!((all.seconds, all.targets.len()), (60, 2));
        let one = parsed("tar --seconds 5").unwrap();
        assert_eq!((one.seconds, one.targets), (5, vec!["tar".to_owned()]));
        assert!(parsed("--seconds").unwrap_err().contains("a whole number"));
        assert!(parsed("--seconds 0").unwrap_err().contains("at least 1"));
        assert!(parsed("zip").unwrap_err().contains("(they are mat, tar)"));
    }

    /// Each target is a function of the tests, too, has inputs to begin with, and is built.
    #[test]
    fn every_target_is_everywhere() {
        let read = |path: &str| std::fs::read_to_string(cargo::root().join(path)).unwrap();
        let (tests, manifest) = (read("crates/data/tests/fuzzing.rs"), read("fuzz/Cargo.toml"));
        let names = targets().unwrap();
        assert!(names.len() >= 9, "{names:?}");
        for name in names {
            assert!(tests.contains(&format!("fn {name}() {{")), "{name}: no test");
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}: not built");
            let corpus = cargo::root().join("fuzz/corpus").join(&name);
            assert!(std::fs::read_dir(corpus).unwrap().count() > 0, "{name}: no corpus");
        }
    }
}
