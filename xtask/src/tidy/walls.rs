//! What may be named only in certain rooms: `unsafe`, CUDA, and switches that hide code.

use super::Finding;
use super::tree::{File, Tree, has_word};

const MAY_BE_UNSAFE: [&str; 5] = ["tensor", "kernels", "mapped", "testkit", "cuda-on-cpu"];
const MAY_NAME_CUDARC: [&str; 3] = ["tensor", "kernels", "comm"];
const FORBID: &str = "#![forbid(unsafe_code)]";

/// All of this file's checks.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| !file.path.starts_with("xtask/src/tidy/")) {
        let room = file.room().unwrap_or("");
        cuda(file, room, &mut findings);
        if file.path.ends_with(".rs") {
            if MAY_BE_UNSAFE.contains(&room) {
                reasons(file, &mut findings);
            } else {
                no_unsafe(file, &mut findings);
            }
        }
    }
    findings
}

fn no_unsafe(file: &File, findings: &mut Vec<Finding>) {
    let is_root = ["src/lib.rs", "src/main.rs"].iter().any(|root| file.path.ends_with(root));
    if is_root && !file.code.contains(FORBID) {
        findings.push(Finding::new(&file.path, 1, format!("add `{FORBID}` below the front page")));
    }
    for (line, code) in file.code_lines().filter(|(_, code)| has_word(code, "unsafe")) {
        let sentence = format!(
            "`unsafe` is for {} only: find the safe form, or move the code: {}",
            MAY_BE_UNSAFE.join(", "),
            code.trim()
        );
        findings.push(Finding::new(&file.path, line, sentence));
    }
}

/// Each unsafe block and implementation has its reason above it.
fn reasons(file: &File, findings: &mut Vec<Finding>) {
    let text: Vec<&str> = file.text.lines().collect();
    for (line, code) in file.code_lines().filter(|(_, code)| opens_unsafe(code)) {
        let here = text[line - 1].contains("// SAFETY:");
        if !here && !reason_above(&text[..line - 1]) {
            let sentence = "say above this `unsafe` why it holds: `// SAFETY: ...`";
            findings.push(Finding::new(&file.path, line, format!("{sentence} ({})", code.trim())));
        }
    }
}

/// Whether a line opens an unsafe block or implementation. A function declared unsafe or a pointer
/// to one only passes the duty on.
fn opens_unsafe(code: &str) -> bool {
    let follows = |rest: &str| rest.starts_with('{') || rest.starts_with("impl");
    code.match_indices("unsafe ").any(|(at, found)| follows(code[at + found.len()..].trim_start()))
}

/// Whether the comment that ends in these lines, with nothing but the start of the same statement
/// after it, gives a reason.
fn reason_above(lines: &[&str]) -> bool {
    for line in lines.iter().rev().map(|line| line.trim()) {
        if line.starts_with("//") {
            if line.starts_with("// SAFETY:") {
                return true;
            }
        } else if !line.starts_with("#[") && ends_statement(line) {
            return false;
        }
    }
    false
}

fn ends_statement(line: &str) -> bool {
    line.is_empty() || line.ends_with([';', '{', '}', ','])
}

/// CUDA's bindings stay in their rooms; its code is always compiled and found at run time.
fn cuda(file: &File, room: &str, findings: &mut Vec<Finding>) {
    let at_home = !file.path.contains('/') || MAY_NAME_CUDARC.contains(&room);
    let code = file.path.ends_with(".rs") || file.path.ends_with(".toml");
    for (line, text) in file.lines().filter(|_| code) {
        if !at_home && text.contains("cudarc") {
            let sentence = format!("`cudarc` is for {} only", MAY_NAME_CUDARC.join(", "));
            findings.push(Finding::new(&file.path, line, sentence));
        }
        if text.contains("feature = \"cuda\"") {
            let sentence = "CUDA code is always compiled, found at run time: take the switch out";
            findings.push(Finding::new(&file.path, line, sentence));
        }
        if has_word(text, "nvcc") && file.path.ends_with("build.rs") {
            let sentence = "no build needs nvcc: commit what it makes";
            findings.push(Finding::new(&file.path, line, sentence));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(files: &[(&str, &str)]) -> Vec<usize> {
        check(&Tree::of(files)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn unsafe_stays_in_its_rooms() {
        let text = "//! x\n#![forbid(unsafe_code)]\n// unsafe in words\n";
        assert_eq!(lines(&[("crates/data/src/lib.rs", text)]), []);
        assert_eq!(lines(&[("crates/data/src/lib.rs", "//! x\n")]), [1]);
        assert_eq!(lines(&[("crates/data/src/ring.rs", "fn f() {\n    unsafe { g() }\n}\n")]), [2]);
    }

    #[test]
    fn unsafe_has_a_reason() {
        let path = "crates/tensor/src/x.rs";
        let with = "// SAFETY: in bounds,\n// as asserted above.\nlet a =\n    unsafe { b };\n";
        assert_eq!(lines(&[(path, with)]), []);
        assert_eq!(lines(&[(path, "    let a = unsafe { b };\n")]), [1]);
        assert_eq!(lines(&[(path, "// SAFETY: old\nlet c = d;\nlet a = unsafe { b };\n")]), [3]);
        assert_eq!(lines(&[(path, "unsafe impl Send for X {}\n")]), [1]);
        assert_eq!(lines(&[(path, "pub unsafe fn f(g: unsafe fn()) {}\n")]), []);
    }

    #[test]
    fn cuda_has_walls() {
        let names = "use cudarc::driver;\n";
        assert_eq!(lines(&[("crates/kernels/src/x.rs", names)]), []);
        assert_eq!(lines(&[("crates/layers/src/x.rs", names)]), [1]);
        assert_eq!(lines(&[("crates/train/Cargo.toml", "[dependencies]\ncudarc = \"1\"\n")]), [2]);
        assert_eq!(lines(&[("Cargo.toml", "cudarc = \"1\"\n")]), []);
        assert_eq!(lines(&[("crates/kernels/src/x.rs", "#[cfg(feature = \"cuda\")]\n")]), [1]);
        assert_eq!(lines(&[("crates/kernels/build.rs", "#![forbid(x)]\nrun(\"nvcc\")\n")]), [2]);
    }
}
