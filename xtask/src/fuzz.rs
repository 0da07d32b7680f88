//! `cargo xtask fuzz`: runs the fuzz targets.

use crate::cargo;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

const HELP: &str = "\
cargo xtask fuzz [--seconds N] [TARGET...]

Runs each target of fuzz/ (or those named) for N seconds (default: 60) with cargo-fuzz and a nightly
compiler. Inputs that cause a panic, a timeout or excessive memory use are saved in
fuzz/found/TARGET/ and replayed by the ordinary tests. Without cargo-fuzz, random mutations of valid
inputs are tried for the same time.
";

/// The crates with readers of untrusted files; the targets' tests are in their `tests/fuzzing.rs`.
const PACKAGES: [&str; 2] = ["data", "weights"];

/// Command-line options.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    seconds: u64,
    targets: Vec<String>,
}

/// Runs the targets; fails if anything was found.
pub fn run(rest: &[OsString]) -> Result<(), ExitCode> {
    let arguments: Vec<String> =
        rest.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    let options = targets().and_then(|known| parse(&arguments, &known)).map_err(|problem| {
        eprintln!("xtask fuzz: {problem}");
        ExitCode::from(2)
    })?;
    if has_fuzzer() { with_fuzzer(&options) } else { without_fuzzer(&options) }
}

/// The names of the target files.
fn targets() -> Result<Vec<String>, String> {
    let folder = cargo::root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let stem = |path: &Path| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = paths.filter_map(|path| stem(&path)).collect();
    names.sort();
    Ok(names)
}

fn parse(arguments: &[String], known: &[String]) -> Result<Options, String> {
    let mut options = Options { seconds: 60, targets: Vec::new() };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let number = arguments.next().and_then(|text| text.parse().ok()).filter(|&n| n > 0);
            options.seconds = number.ok_or("--seconds takes a whole number of at least 1")?;
        } else if known.contains(argument) {
            options.targets.push(argument.clone());
        } else {
            return Err(format!("`{argument}` is not a target (targets: {})", known.join(", ")));
        }
    }
    if options.targets.is_empty() {
        options.targets = known.to_vec();
    }
    Ok(options)
}

/// Only rustup's cargo accepts `+nightly`, not the toolchain's cargo that started xtask.
fn nightly() -> Command {
    let mut nightly = Command::new("cargo");
    nightly.arg("+nightly").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    nightly
}

fn has_fuzzer() -> bool {
    let (out, error) = (Stdio::null(), Stdio::null());
    let status = nightly().args(["fuzz", "--version"]).stdout(out).stderr(error).status();
    status.is_ok_and(|status| status.success())
}

fn with_fuzzer(options: &Options) -> Result<(), ExitCode> {
    let root = cargo::root();
    let mut found = Vec::new();
    for target in &options.targets {
        // The fuzzer writes new inputs to the first folder; the other two are only read.
        let new_inputs = cargo::target().join("fuzz-corpus").join(target);
        let folders = [new_inputs, root.join("fuzz/corpus").join(target)];
        let kept = root.join("fuzz/found").join(target);
        for folder in folders.iter().chain([&kept]) {
            let failed = |error| cargo::failed("fuzz", format!("{}: {error}", folder.display()));
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        println!("\n$ cargo +nightly fuzz run {target} ({} s)", options.seconds);
        let mut fuzz = nightly();
        fuzz.args(["fuzz", "run", target]).args(&folders).arg(&kept).arg("--");
        fuzz.arg(format!("-max_total_time={}", options.seconds));
        fuzz.args(["-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        fuzz.arg(format!("-artifact_prefix={}/", kept.display()));
        let done = fuzz.current_dir(root).status();
        let _ = std::fs::remove_dir(&kept); // if it is empty
        if !done.is_ok_and(|status| status.success()) {
            found.push(target.as_str());
        }
    }
    if found.is_empty() {
        let (count, seconds) = (options.targets.len(), options.seconds);
        println!("xtask fuzz: {count} targets, {seconds} s each, nothing found");
        Ok(())
    } else {
        let found = found.join(", ");
        Err(cargo::failed("fuzz", format!("{found} failed; see the inputs in fuzz/found")))
    }
}

fn without_fuzzer(options: &Options) -> Result<(), ExitCode> {
    println!(
        "xtask fuzz: cargo-fuzz or a nightly compiler is missing (`rustup toolchain install \
         nightly`, `cargo install cargo-fuzz`): trying mutations without coverage feedback"
    );
    let mut test = cargo::command();
    test.args(["test", "--release", "--locked", "--no-fail-fast", "--test", "fuzzing"]);
    test.args(PACKAGES.iter().flat_map(|name| ["--package".to_owned(), format!("alexnet-{name}")]));
    test.args(["--", "--nocapture", "--test-threads=1", "--exact"]).args(&options.targets);
    test.env("ALEXNET_FUZZ_SECONDS", options.seconds.to_string()).current_dir(cargo::root());
    cargo::run(&mut test)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&arguments, &["mat".to_owned(), "tar".to_owned()])
    }

    #[test]
    fn targets_and_seconds_can_be_chosen() {
        let all = parsed("").unwrap();
        assert_eq!((all.seconds, all.targets.len()), (60, 2));
        let one = parsed("tar --seconds 5").unwrap();
        assert_eq!((one.seconds, one.targets), (5, vec!["tar".to_owned()]));
        assert!(parsed("--seconds").unwrap_err().contains("a whole number"));
        assert!(parsed("--seconds 0").unwrap_err().contains("at least 1"));
        assert!(parsed("zip").unwrap_err().contains("(targets: mat, tar)"));
    }

    /// Each target has a test, a corpus and a line in the manifest.
    #[test]
    fn every_target_has_a_test_and_a_corpus() {
        let read = |path: &str| std::fs::read_to_string(cargo::root().join(path)).unwrap();
        let tests = PACKAGES.map(|name| read(&format!("crates/{name}/tests/fuzzing.rs"))).concat();
        let manifest = read("fuzz/Cargo.toml");
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
