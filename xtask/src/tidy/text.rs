//! Rules for all text files.

use super::Finding;
use super::tree::{File, Tree, has_word};

const LINES: usize = 400;

/// Marks of unfinished work, split so that this file does not contain them.
const UNFINISHED: [&str; 7] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("#[ig", "nore"),
];

/// Folders of a particular machine.
const HOMES: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// Package registries, which users configure themselves.
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
        machine_specific(file, &mut findings);
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
        // Two spaces at the end of a line are an invisible line break in Markdown.
        findings.push(Finding::new(&file.path, line, "remove the space at the end of the line"));
    }
}

fn lengths(file: &File, findings: &mut Vec<Finding>) {
    let lines = file.text.lines().count();
    if lines > LINES && !file.is_test() {
        let message = format!("{lines} lines; the limit is {LINES}: split the file");
        findings.push(Finding::new(&file.path, lines, message));
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
            let message = format!("`{mark}`: finish it, or open an issue");
            findings.push(Finding::new(&file.path, line, message));
        }
    }
}

fn machine_specific(file: &File, findings: &mut Vec<Finding>) {
    for (line, text) in file.lines() {
        if let Some(home) = HOMES.iter().find(|home| text.contains(*home)) {
            let message = format!("a path of a particular machine ({home}...): make it relative");
            findings.push(Finding::new(&file.path, line, message));
        }
        if let Some(host) = REGISTRIES.iter().find(|host| text.contains(*host)) {
            let message = format!("`{host}`: users configure their package registry");
            findings.push(Finding::new(&file.path, line, message));
        }
    }
    let settings = ["[source", "[registr", "registry =", "replace-with"];
    if file.path == ".cargo/config.toml"
        && let Some((line, text)) =
            file.lines().find(|(_, text)| settings.iter().any(|key| text.trim().starts_with(key)))
    {
        let message = format!("`{}`: users configure their package registry", text.trim());
        findings.push(Finding::new(&file.path, line, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn endings_are_checked() {
        assert_eq!(messages("README.md", "a\n"), Vec::<String>::new());
        assert_eq!(messages("README.md", "a"), ["end the file with a newline"]);
        assert_eq!(messages("README.md", "a  \n"), ["remove the space at the end of the line"]);
    }

    #[test]
    fn lengths_are_checked_outside_tests() {
        let (short, long) = ("x\n".repeat(LINES), "x\n".repeat(LINES + 1));
        assert!(messages("crates/a/src/b.rs", &short).is_empty());
        assert_eq!(messages("crates/a/src/b.rs", &long).len(), 1);
        assert!(messages("crates/a/src/b/tests.rs", &long).is_empty());
    }

    #[test]
    fn every_mark_of_unfinished_work_is_found() {
        for mark in UNFINISHED {
            assert_eq!(
                messages("crates/a/src/b.rs", &format!("    {mark}()\n")).len(),
                1,
                "{mark}"
            );
        }
        assert!(messages("crates/a/src/b.rs", "let unignored = 1;\n").is_empty());
    }

    #[test]
    fn machine_specific_text_is_found() {
        for trace in HOMES.iter().chain(&REGISTRIES) {
            assert_eq!(messages("README.md", &format!("see {trace}x\n")).len(), 1, "{trace}");
        }
        assert_eq!(messages(".cargo/config.toml", "[source.crates-io]\n").len(), 1);
        assert!(messages(".cargo/config.toml", "[alias]\n").is_empty());
    }
}
