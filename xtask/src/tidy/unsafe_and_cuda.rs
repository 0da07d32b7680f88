//! `unsafe` and `cudarc` are allowed in a few crates only; CUDA code is always compiled.

use super::Finding;
use super::tree::{File, Tree, has_word};

const MAY_BE_UNSAFE: [&str; 5] = ["tensor", "kernels", "mapped", "testkit", "cuda-on-cpu"];
const MAY_NAME_CUDARC: [&str; 3] = ["tensor", "kernels", "comm"];
const FORBID: &str = "#![forbid(unsafe_code)]";

/// All of this file's checks.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| !file.path.starts_with("xtask/src/tidy/")) {
        let crate_name = file.crate_name().unwrap_or("");
        cuda(file, crate_name, &mut findings);
        if file.path.ends_with(".rs") {
            if MAY_BE_UNSAFE.contains(&crate_name) {
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
        findings.push(Finding::new(
            &file.path,
            1,
            format!("add `{FORBID}` below the module documentation"),
        ));
    }
    for (line, code) in file.code_lines().filter(|(_, code)| has_word(code, "unsafe")) {
        let message = format!(
            "`unsafe` is allowed in {} only: write safe code or move it there: {}",
            MAY_BE_UNSAFE.join(", "),
            code.trim()
        );
        findings.push(Finding::new(&file.path, line, message));
    }
}

/// Each unsafe block and implementation has a `SAFETY` comment.
fn reasons(file: &File, findings: &mut Vec<Finding>) {
    let text: Vec<&str> = file.text.lines().collect();
    for (line, code) in file.code_lines().filter(|(_, code)| opens_unsafe(code)) {
        let here = text[line - 1].contains("// SAFETY:");
        if !here && !reason_above(&text[..line - 1]) {
            let message = "explain above this `unsafe` why it is sound: `// SAFETY: ...`";
            findings.push(Finding::new(&file.path, line, format!("{message} ({})", code.trim())));
        }
    }
}

/// Whether a line opens an unsafe block or implementation. An unsafe function or a pointer to one
/// leaves the proof to its caller.
fn opens_unsafe(code: &str) -> bool {
    let follows = |rest: &str| rest.starts_with('{') || rest.starts_with("impl");
    code.match_indices("unsafe ").any(|(at, found)| follows(code[at + found.len()..].trim_start()))
}

/// Whether these lines end with a `SAFETY` comment, followed at most by the start of the same
/// statement.
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

/// `cudarc` stays in its crates; CUDA code is always compiled, and CUDA is loaded at run time.
fn cuda(file: &File, crate_name: &str, findings: &mut Vec<Finding>) {
    let allowed = !file.path.contains('/') || MAY_NAME_CUDARC.contains(&crate_name);
    let code = file.path.ends_with(".rs") || file.path.ends_with(".toml");
    for (line, text) in file.lines().filter(|_| code) {
        if !allowed && text.contains("cudarc") {
            let message = format!("`cudarc` is allowed in {} only", MAY_NAME_CUDARC.join(", "));
            findings.push(Finding::new(&file.path, line, message));
        }
        if text.contains("feature = \"cuda\"") {
            let message =
                "CUDA code is always compiled and loads CUDA at run time: remove the feature";
            findings.push(Finding::new(&file.path, line, message));
        }
        if has_word(text, "nvcc") && file.path.ends_with("build.rs") {
            let message = "no build may need nvcc: commit the compiled file";
            findings.push(Finding::new(&file.path, line, message));
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
    fn unsafe_stays_in_its_crates() {
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
    fn cuda_stays_in_its_crates() {
        let names = "use cudarc::driver;\n";
        assert_eq!(lines(&[("crates/kernels/src/x.rs", names)]), []);
        assert_eq!(lines(&[("crates/layers/src/x.rs", names)]), [1]);
        assert_eq!(lines(&[("crates/train/Cargo.toml", "[dependencies]\ncudarc = \"1\"\n")]), [2]);
        assert_eq!(lines(&[("Cargo.toml", "cudarc = \"1\"\n")]), []);
        assert_eq!(lines(&[("crates/kernels/src/x.rs", "#[cfg(feature = \"cuda\")]\n")]), [1]);
        assert_eq!(lines(&[("crates/kernels/build.rs", "#![forbid(x)]\nrun(\"nvcc\")\n")]), [2]);
    }
}
