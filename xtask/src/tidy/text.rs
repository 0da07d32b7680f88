//! What every file of the repository keeps to.

use super::Finding;
use super::tree::{File, Tree, has_word};

const LINES: usize = 400;

/// What is put down to be finished later. Written apart here, so that this file has none.
const UNFINISHED: [&str; 7] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("#[ig", "nore"),
];

/// Folders of one person's machine.
const HOMES: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// Where packages come from is the user's setting.
const REGISTRIES: [&str; 5] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("pypi", ".org/simple"),
    concat!("--index", "-url"),
    concat!("files.python", "hosted"),
];

/// All of this file's checks.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        endings(file, &mut findings);
        traces_of_a_machine(file, &mut findings);
        if file.path.ends_with(".rs") || file.path.ends_with(".cu") {
            lengths(file, &mut findings);
        }
        let prose = file.path.ends_with(".md") || file.path.ends_with(".lock");
        if !prose {
            unfinished(file, &mut findings);
        }
    }
    findings
}

fn endings(file: &File, findings: &mut Vec<Finding>) {
    let last = file.text.lines().count().max(1);
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(Finding::new(&file.path, last, "end the file with a newline"));
    }
    for (line, _) in file.lines().filter(|(_, text)| text.ends_with([' ', '\t', '\r'])) {
        // Two spaces at the end of a line of Markdown would be a line break nobody sees.
        findings.push(Finding::new(&file.path, line, "take out the space at the end of the line"));
    }
}

fn lengths(file: &File, findings: &mut Vec<Finding>) {
    let lines = file.text.lines().count();
    if lines > LINES && !file.is_test() {
        let sentence = format!("{lines} lines, {LINES} at most: which room is missing?");
        findings.push(Finding::new(&file.path, lines, sentence));
    }
}

fn unfinished(file: &File, findings: &mut Vec<Finding>) {
    for (line, text) in file.lines() {
        let found = UNFINISHED.iter().find(|mark| {
            if mark.ends_with(char::is_alphabetic) {
                has_word(text, mark)
            } else {
                text.contains(*mark)
            }
        });
        if let Some(mark) = found {
            let sentence =
                format!("`{mark}`: finish it, or open an issue and say there what waits");
            findings.push(Finding::new(&file.path, line, sentence));
        }
    }
}

fn traces_of_a_machine(file: &File, findings: &mut Vec<Finding>) {
    for (line, text) in file.lines() {
        if let Some(home) = HOMES.iter().find(|home| text.contains(*home)) {
            let sentence = format!("a path of one machine ({home}...): make it relative");
            findings.push(Finding::new(&file.path, line, sentence));
        }
        if let Some(host) = REGISTRIES.iter().find(|host| text.contains(*host)) {
            let sentence = format!("`{host}`: where packages come from is the user's setting");
            findings.push(Finding::new(&file.path, line, sentence));
        }
    }
    let settings = ["[source", "[registr", "registry =", "replace-with"];
    if file.path == ".cargo/config.toml"
        && let Some((line, text)) =
            file.lines().find(|(_, text)| settings.iter().any(|key| text.trim().starts_with(key)))
    {
        let sentence = format!("`{}`: where packages come from is the user's setting", text.trim());
        findings.push(Finding::new(&file.path, line, sentence));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.sentence).collect()
    }

    #[test]
    fn endings_are_checked() {
        assert_eq!(sentences("README.md", "a\n"), Vec::<String>::new());
        assert_eq!(sentences("README.md", "a"), ["end the file with a newline"]);
        assert_eq!(sentences("README.md", "a  \n"), ["take out the space at the end of the line"]);
    }

    #[test]
    fn lengths_are_checked_outside_tests() {
        let (short, long) = ("x\n".repeat(LINES), "x\n".repeat(LINES + 1));
        assert!(sentences("crates/a/src/b.rs", &short).is_empty());
        assert_eq!(sentences("crates/a/src/b.rs", &long).len(), 1);
        assert!(sentences("crates/a/src/b/tests.rs", &long).is_empty());
    }

    #[test]
    fn every_mark_is_found() {
        for mark in UNFINISHED {
            assert_eq!(
                sentences("crates/a/src/b.rs", &format!("    {mark}()\n")).len(),
                1,
                "{mark}"
            );
        }
        assert!(sentences("crates/a/src/b.rs", "let unignored = 1;\n").is_empty());
    }

    #[test]
    fn machines_leave_no_trace() {
        for trace in HOMES.iter().chain(&REGISTRIES) {
            assert_eq!(sentences("README.md", &format!("see {trace}x\n")).len(), 1, "{trace}");
        }
        assert_eq!(sentences(".cargo/config.toml", "[source.crates-io]\n").len(), 1);
        assert!(sentences(".cargo/config.toml", "[alias]\n").is_empty());
    }
}
