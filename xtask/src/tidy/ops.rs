//! One op, one folder, the same files in each.

use super::Finding;
use super::tree::Tree;

const OPS: &str = "crates/kernels/src/";
/// What every op has.
const FILES: [&str; 3] = ["mod.rs", "reference.rs", "tests.rs"];
/// What the product of matrices has: conv and linear stand on it, and their references check it
/// too.
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
                let sentence = format!("the op `{op}` has no {name}: every op folder has one");
                findings.push(Finding::new(&path, 1, sentence));
            }
        }
        // A device left out of the match would be found by the compiler; a match left out, by
        // nobody.
        let front = tree.file(&format!("{OPS}{op}/mod.rs"));
        if let Some(front) =
            front.filter(|front| op != "gemm" && !front.code.contains("Device::Cuda"))
        {
            let sentence = "an op's mod.rs matches over both devices: add the `Device::Cuda` arm";
            findings.push(Finding::new(&front.path, 1, sentence));
        }
    }
    for file in tree.rust().filter(|file| file.path.starts_with(OPS)) {
        // The closure would be compiled without the vectors it was meant for.
        for (line, _) in file.code_lines().filter(|(_, code)| code.contains("vectorized(|")) {
            let sentence = "mark the closure: `vectorized(#[inline(always)] || ...)`";
            findings.push(Finding::new(&file.path, line, sentence));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_has_its_files_and_both_devices() {
        let front = (
            "crates/kernels/src/lrn/mod.rs",
            "match d { Device::Cpu(c) => x, Device::Cuda(c) => y }",
        );
        let reference = ("crates/kernels/src/lrn/reference.rs", "");
        let tests = ("crates/kernels/src/lrn/tests.rs", "");
        assert_eq!(check(&Tree::of(&[front, reference, tests])), []);
        assert_eq!(check(&Tree::of(&[front, tests]))[0].path, reference.0);
        let halved = (front.0, "match d { Device::Cpu(c) => x }");
        assert_eq!(check(&Tree::of(&[halved, reference, tests])).len(), 1);
    }

    #[test]
    fn vectorized_closures_are_marked() {
        let path = "crates/kernels/src/simd.rs";
        let marked = (path, "vectorized(#[inline(always)] || y.fill(0.0));\n");
        assert_eq!(check(&Tree::of(&[marked])), []);
        let bare = (path, "\nvectorized(|| y.fill(0.0));\n");
        assert_eq!(check(&Tree::of(&[bare]))[0].line, 2);
    }

    #[test]
    fn gemm_is_checked_by_the_ops_above_it() {
        let files =
            [("crates/kernels/src/gemm/mod.rs", ""), ("crates/kernels/src/gemm/tests.rs", "")];
        assert_eq!(check(&Tree::of(&files)), []);
        assert_eq!(check(&Tree::of(&files[..1])).len(), 1);
    }
}
