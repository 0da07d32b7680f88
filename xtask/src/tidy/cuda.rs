//! The CUDA half of an op: what belongs together is there, and nothing is left over.

use super::Finding;
use super::tree::{File, Tree, has_word};

const OPS: &str = "crates/kernels/src/";

/// All of this file's checks.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(OPS)) {
        let inside = &file.path[OPS.len()..];
        if let Some((op, "mod.rs")) = inside.split_once('/') {
            arms(tree, file, op, &mut findings);
        }
        if inside.ends_with(".cu") {
            kernels(tree, file, inside, &mut findings);
        }
    }
    for file in tree.files.iter().filter(|file| file.path.starts_with("crates/kernels/")) {
        internal_names(file, &mut findings);
    }
    findings
}

/// nvcc names what is internal to a file after a hash of where the file lies, so that no two
/// folders give the same bytes.
fn internal_names(file: &File, findings: &mut Vec<Finding>) {
    let is_cuda = [".cu", ".cuh"].iter().any(|ending| file.path.ends_with(ending));
    for (line, _) in file.lines().filter(|(_, text)| is_cuda && text.starts_with("static ")) {
        let sentence = "write inline: the bytes of a static function depend on the folder";
        findings.push(Finding::new(&file.path, line, sentence.to_string()));
    }
}

/// An op either has its kernels or says that it lacks them.
fn arms(tree: &Tree, front: &File, op: &str, findings: &mut Vec<Finding>) {
    let lacks = front.code_lines().find(|(_, code)| code.contains(".lacks("));
    let has = tree.file(&format!("{OPS}{op}/{op}.cu")).is_some();
    match lacks {
        Some((line, _)) if has => {
            let sentence = format!("`{op}` has a {op}.cu: call it instead of `lacks`");
            findings.push(Finding::new(&front.path, line, sentence));
        }
        None if !has && front.code.contains("Device::Cuda") => {
            let sentence = format!("`{op}` has no {op}.cu: give back `cuda.lacks(\"{op}\")`");
            findings.push(Finding::new(&front.path, 1, sentence));
        }
        _ => {}
    }
}

/// A kernel file lies in its op's folder beside its launcher; its kernels have the op's name, can
/// be found on the CPU, and are launched.
fn kernels(tree: &Tree, file: &File, inside: &str, findings: &mut Vec<Finding>) {
    let mut found = |line, sentence: String| {
        findings.push(Finding::new(&file.path, line, sentence));
    };
    let Some((op, name)) = inside.split_once('/').filter(|(op, name)| *name == format!("{op}.cu"))
    else {
        return found(1, "an op's kernels lie in src/OP/OP.cu".to_string());
    };
    let Some(launcher) = tree.file(&format!("{OPS}{op}/cuda.rs")) else {
        return found(1, format!("{name} has no launcher: add cuda.rs beside it"));
    };
    let registered: Vec<(usize, &str)> = file
        .lines()
        .filter_map(|(line, text)| Some((line, text.strip_prefix("KERNEL(")?.strip_suffix(')')?)))
        .collect();
    let defined = file.text.matches("extern \"C\" __global__").count();
    if defined != registered.len() {
        let sentence = format!("{defined} kernels, and {} KERNEL(...) lines", registered.len());
        found(1, sentence);
    }
    for (line, kernel) in registered {
        if !kernel.starts_with(&format!("{op}_")) {
            found(line, format!("`{kernel}`: a kernel is called {op}_DIRECTION"));
        }
        if !launcher.text.contains(&format!("\"{kernel}\"")) {
            found(line, format!("no cuda.rs launches `{kernel}`: launch it or take it out"));
        }
    }
    for (line, text) in file.lines() {
        let code = text.split("//").next().unwrap_or_default();
        if has_word(code, "asm") {
            found(line, "an instruction gets a wrapper in cuh/, with a twin for the CPU".into());
        }
        if has_word(code, "__shared__") {
            found(line, "write SHARED(type, name, [n]): on the CPU it starts as NaN".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONT: (&str, &str) =
        ("crates/kernels/src/lrn/mod.rs", "Device::Cuda(c) => cuda::forward(c),\n");
    const SOURCE: (&str, &str) = (
        "crates/kernels/src/lrn/lrn.cu",
        "extern \"C\" __global__ void lrn_forward() {}\nKERNEL(lrn_forward)\n",
    );
    const LAUNCHER: (&str, &str) = ("crates/kernels/src/lrn/cuda.rs", "launch(\"lrn_forward\")\n");

    fn sentences(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|finding| finding.sentence).collect()
    }

    #[test]
    fn a_whole_half_passes() {
        assert_eq!(sentences(&[FRONT, SOURCE, LAUNCHER]), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_found() {
        assert!(sentences(&[FRONT, LAUNCHER])[0].contains("give back `cuda.lacks(\"lrn\")`"));
        assert!(sentences(&[FRONT, SOURCE])[0].contains("add cuda.rs"));
        let lacks = (FRONT.0, "Device::Cuda(c) => c.lacks(\"lrn\"),\n");
        assert!(sentences(&[lacks, SOURCE, LAUNCHER])[0].contains("instead of `lacks`"));
        let unregistered = (SOURCE.0, "extern \"C\" __global__ void lrn_forward() {}\n");
        assert!(sentences(&[FRONT, unregistered, LAUNCHER])[0].contains("1 kernels, and 0"));
    }

    #[test]
    fn what_is_left_over_is_found() {
        let idle = (LAUNCHER.0, "\n");
        assert!(sentences(&[FRONT, SOURCE, idle])[0].contains("no cuda.rs launches"));
        let stray = ("crates/kernels/src/lrn/other.cu", "");
        assert!(sentences(&[FRONT, SOURCE, LAUNCHER, stray])[0].contains("src/OP/OP.cu"));
        for line in ["__shared__ float s[4];\n", "asm(\"nop\");\n", "static int f();\n"] {
            let text = format!("{}{line}", SOURCE.1);
            assert_eq!(sentences(&[FRONT, (SOURCE.0, &text), LAUNCHER]).len(), 1, "{line}");
        }
    }
}
