//! The CUDA half of an op: every kernel has a launcher, a registration and a valid name.

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

/// nvcc's names of a file's static functions contain a hash of the file's path, so the compiled
/// bytes would depend on the folder.
fn internal_names(file: &File, findings: &mut Vec<Finding>) {
    let is_cuda = [".cu", ".cuh"].iter().any(|ending| file.path.ends_with(ending));
    for (line, _) in file.lines().filter(|(_, text)| is_cuda && text.starts_with("static ")) {
        let message =
            "write `inline` instead of `static`, whose compiled bytes depend on the folder";
        findings.push(Finding::new(&file.path, line, message.to_string()));
    }
}

/// An op has a `.cu` file or returns `lacks`.
fn arms(tree: &Tree, module: &File, op: &str, findings: &mut Vec<Finding>) {
    let lacks = module.code_lines().find(|(_, code)| code.contains(".lacks("));
    let has = tree.file(&format!("{OPS}{op}/{op}.cu")).is_some();
    match lacks {
        Some((line, _)) if has => {
            let message = format!("`{op}` has a {op}.cu: call it instead of `lacks`");
            findings.push(Finding::new(&module.path, line, message));
        }
        None if !has && module.code.contains("Device::Cuda") => {
            let message = format!("`{op}` has no {op}.cu: return `cuda.lacks(\"{op}\")`");
            findings.push(Finding::new(&module.path, 1, message));
        }
        _ => {}
    }
}

/// A `.cu` file is in its op's folder beside its launcher; its kernels start with the op's name,
/// are registered for the CPU emulation, and are launched.
fn kernels(tree: &Tree, file: &File, inside: &str, findings: &mut Vec<Finding>) {
    let mut found = |line, message: String| {
        findings.push(Finding::new(&file.path, line, message));
    };
    let Some((op, name)) = inside.split_once('/').filter(|(op, name)| *name == format!("{op}.cu"))
    else {
        return found(1, "an op's kernels belong in src/OP/OP.cu".to_string());
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
        let message = format!("{defined} kernels, and {} KERNEL(...) lines", registered.len());
        found(1, message);
    }
    for (line, kernel) in registered {
        if !kernel.starts_with(&format!("{op}_")) {
            found(line, format!("`{kernel}`: a kernel is called {op}_DIRECTION"));
        }
        if !launcher.text.contains(&format!("\"{kernel}\"")) {
            found(line, format!("no cuda.rs launches `{kernel}`: launch it or remove it"));
        }
    }
    for (line, text) in file.lines() {
        let code = text.split("//").next().unwrap_or_default();
        if has_word(code, "asm") {
            found(
                line,
                "write a wrapper in cuh/ with an equivalent for the CPU, instead of inline asm"
                    .into(),
            );
        }
        if has_word(code, "__shared__") {
            found(
                line,
                "write SHARED(type, name, [n]), which is filled with NaN on the CPU".into(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: (&str, &str) =
        ("crates/kernels/src/lrn/mod.rs", "Device::Cuda(c) => cuda::forward(c),\n");
    const SOURCE: (&str, &str) = (
        "crates/kernels/src/lrn/lrn.cu",
        "extern \"C\" __global__ void lrn_forward() {}\nKERNEL(lrn_forward)\n",
    );
    const LAUNCHER: (&str, &str) = ("crates/kernels/src/lrn/cuda.rs", "launch(\"lrn_forward\")\n");

    fn messages(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_complete_op_passes() {
        assert_eq!(messages(&[MODULE, SOURCE, LAUNCHER]), Vec::<String>::new());
    }

    #[test]
    fn missing_parts_are_found() {
        assert!(messages(&[MODULE, LAUNCHER])[0].contains("return `cuda.lacks(\"lrn\")`"));
        assert!(messages(&[MODULE, SOURCE])[0].contains("add cuda.rs"));
        let lacks = (MODULE.0, "Device::Cuda(c) => c.lacks(\"lrn\"),\n");
        assert!(messages(&[lacks, SOURCE, LAUNCHER])[0].contains("instead of `lacks`"));
        let unregistered = (SOURCE.0, "extern \"C\" __global__ void lrn_forward() {}\n");
        assert!(messages(&[MODULE, unregistered, LAUNCHER])[0].contains("1 kernels, and 0"));
    }

    #[test]
    fn unused_parts_are_found() {
        let idle = (LAUNCHER.0, "\n");
        assert!(messages(&[MODULE, SOURCE, idle])[0].contains("no cuda.rs launches"));
        let stray = ("crates/kernels/src/lrn/other.cu", "");
        assert!(messages(&[MODULE, SOURCE, LAUNCHER, stray])[0].contains("src/OP/OP.cu"));
        for line in ["__shared__ float s[4];\n", "asm(\"nop\");\n", "static int f();\n"] {
            let text = format!("{}{line}", SOURCE.1);
            assert_eq!(messages(&[MODULE, (SOURCE.0, &text), LAUNCHER]).len(), 1, "{line}");
        }
    }
}
