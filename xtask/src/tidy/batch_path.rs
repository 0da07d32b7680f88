//! The files that a batch passes through on one device, as listed in ARCHITECTURE.md.

use super::Finding;
use super::tree::{File, Tree};

const PAGE: &str = "ARCHITECTURE.md";
/// The largest number of files.
const MAX_FILES: usize = 20;
/// Parts of names that belong to parallel training.
const PARALLEL_NAMES: [&str; 10] =
    ["tower", "replica", "hybrid", "shard", "rank", "world", "parallel", "process", "comm", "link"];

/// Checks that the fenced block `batch-path` lists at most [`MAX_FILES`] existing files, and that
/// none has a switch for several devices.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.file(PAGE) else { return Vec::new() };
    let block = page.lines().skip_while(|(_, line)| line.trim() != "```batch-path").skip(1);
    let files: Vec<(usize, &str)> = block
        .take_while(|(_, line)| line.trim() != "```")
        .map(|(number, line)| (number, line.split_whitespace().next().unwrap_or_default()))
        .collect();
    if files.is_empty() {
        let message =
            "there is no fenced block `batch-path` with the files that a batch passes through";
        return vec![Finding::new(PAGE, 1, message)];
    }
    let mut findings = Vec::new();
    if files.len() > MAX_FILES {
        let message =
            format!("a batch passes through {} files; the limit is {MAX_FILES}", files.len());
        findings.push(Finding::new(PAGE, files[MAX_FILES].0, message));
    }
    for (line, path) in files {
        match tree.file(path) {
            Some(file) => findings.extend(switches(file)),
            None => findings.push(Finding::new(PAGE, line, format!("there is no {path}"))),
        }
    }
    findings
}

/// Fields, parameters and variables of type `Option` or `bool` with a name from
/// [`PARALLEL_NAMES`].
fn switches(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, code) in file.code_lines() {
        for (at, _) in code.match_indices(": ") {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let name = code[..at].rsplit(|c| !is_name(c)).next().unwrap_or_default();
            let kind = &code[at + 2..];
            let is_switch = kind.starts_with("Option<") || kind.starts_with("bool");
            if is_switch && PARALLEL_NAMES.iter().any(|word| name.contains(word)) {
                let message =
                    format!("`{name}` is a switch for several devices: move it to crates/parallel");
                findings.push(Finding::new(&file.path, line, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(block: &str, code: &str) -> Vec<String> {
        let page = format!("# x\n```batch-path\n{block}```\n");
        let tree = Tree::of(&[(PAGE, &page), ("crates/a/src/b.rs", code)]);
        check(&tree).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_short_path_of_plain_files_passes() {
        let code = "struct B { link_count: usize, stats: Option<u8>, is_done: bool }";
        assert_eq!(findings("crates/a/src/b.rs   what it does\n", code), Vec::<String>::new());
    }

    #[test]
    fn missing_files_long_paths_and_switches_are_found() {
        assert_eq!(
            findings("crates/a/src/c.rs\n", ""),
            ["ARCHITECTURE.md:3: there is no crates/a/src/c.rs"]
        );
        assert!(findings("", "")[0].contains("no fenced block"));
        let long = findings(&"crates/a/src/b.rs\n".repeat(21), "");
        assert_eq!(long, ["ARCHITECTURE.md:23: a batch passes through 21 files; the limit is 20"]);
        for code in ["struct B { link: Option<u8> }", "fn f(is_replica: bool) {}"] {
            let found = findings("crates/a/src/b.rs\n", code);
            assert!(found[0].contains("is a switch for several devices"), "{found:?}");
        }
    }
}
