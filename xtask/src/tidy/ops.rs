//! Every op folder has the same files.

use super::Finding;
use super::tree::Tree;

const OPS: &str = "crates/kernels/src/";
/// The files of every op.
const FILES: [&str; 3] = ["mod.rs", "reference.rs", "tests.rs"];
/// The files of the matrix product, which the references of conv and linear check.
const GEMM_FILES: [&str; 2] = ["mod.rs", "tests.rs"];

/// All of this file's checks.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let inside = tree.files.iter().filter_map(|file| file.path.strip_prefix(OPS));
    let mut ops: Vec<&str> = inside.filter_map(|path| Some(path.split_once('/')?.0)).collect();
    ops.dedup();
    let mut findings = Vec::new();
    for op in ops {
        let wanted = if op == "gemm" { &GEMM_FILES[..] } else { &FILES[..] };
        for name in wanted {
            let path = format!("{OPS}{op}/{name}");
            if tree.file(&path).is_none() {
                let message = format!("the op `{op}` has no {name}: every op folder needs one");
                findings.push(Finding::new(&path, 1, message));
            }
        }
        // The compiler finds a missing arm, but not a missing match.
        let module = tree.file(&format!("{OPS}{op}/mod.rs"));
        if let Some(module) =
            module.filter(|module| op != "gemm" && !module.code.contains("Device::Cuda"))
        {
            let message = "an op's mod.rs must match over both devices: add the `Device::Cuda` arm";
            findings.push(Finding::new(&module.path, 1, message));
        }
    }
    for file in tree.rust().filter(|file| file.path.starts_with(OPS)) {
        // Without the attribute the closure is compiled without vector instructions.
        for (at, call) in file.code.match_indices("dispatch(") {
            let argument = file.code[at + call.len()..].trim_start();
            if argument.starts_with('|') || argument.starts_with("move |") {
                let line = file.code[..at].matches('\n').count() + 1;
                let message = "use `vectorized!`, which marks the closure";
                findings.push(Finding::new(&file.path, line, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_has_all_files_and_both_devices() {
        let module = (
            "crates/kernels/src/lrn/mod.rs",
            "match d { Device::Cpu(c) => x, Device::Cuda(c) => y }",
        );
        let reference = ("crates/kernels/src/lrn/reference.rs", "");
        let tests = ("crates/kernels/src/lrn/tests.rs", "");
        assert_eq!(check(&Tree::of(&[module, reference, tests])), []);
        assert_eq!(check(&Tree::of(&[module, tests]))[0].path, reference.0);
        let halved = (module.0, "match d { Device::Cpu(c) => x }");
        assert_eq!(check(&Tree::of(&[halved, reference, tests])).len(), 1);
    }

    #[test]
    fn vectorized_closures_are_marked() {
        let path = "crates/kernels/src/simd.rs";
        let marked = (path, "vectorized!(y.fill(0.0));\n");
        assert_eq!(check(&Tree::of(&[marked])), []);
        let bare = (path, "\narch().dispatch(|| y.fill(0.0));\n");
        assert_eq!(check(&Tree::of(&[bare]))[0].line, 2);
    }

    #[test]
    fn gemm_needs_no_reference() {
        let files =
            [("crates/kernels/src/gemm/mod.rs", ""), ("crates/kernels/src/gemm/tests.rs", "")];
        assert_eq!(check(&Tree::of(&files)), []);
        assert_eq!(check(&Tree::of(&files[..1])).len(), 1);
    }
}
