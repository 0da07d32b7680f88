//! Finding cuBLASLt: what is said of one that is missing, too old or something else.

use std::fs;
use std::path::Path;
use tensor::cublaslt::CublasLt;

fn told(path: &Path) -> String {
    CublasLt::open(path).unwrap_err().to_string()
}

/// The stand-in without some functions; nothing where there is no compiler.
fn without(functions: &[&str]) -> Option<std::path::PathBuf> {
    match cuda_on_cpu::CublasLt::without(functions) {
        Ok(path) => Some(path),
        Err(why) if why.contains("g++ did not start") => {
            eprintln!("SKIPPED: {why}");
            None
        }
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn a_library_that_is_missing_or_none_is_told() {
    let missing = told("/nowhere/libcublasLt.so.13".as_ref());
    let begin = "cuBLASLt cannot be used: /nowhere/libcublasLt.so.13: ";
    assert!(missing.starts_with(begin), "{missing}");
    let text = std::env::temp_dir().join(format!("libcublasLt-{}.so.13", std::process::id()));
    fs::write(&text, "no library").unwrap();
    let none = told(&text);
    fs::remove_file(&text).unwrap();
    assert!(none.contains("invalid ELF header") || none.contains("too short"), "{none}");
}

#[test]
fn a_library_that_lacks_something_is_told() {
    for lacks in ["cublasLtMatmul", "cublasLtMatmulAlgoGetHeuristic", "cublasLtGetVersion"] {
        let Some(path) = without(&[lacks]) else { return };
        let told = told(&path);
        assert!(told.contains(&format!("has no `{lacks}`: update it to 12 or newer")), "{told}");
    }
}

#[test]
fn a_library_that_is_too_old_is_told() {
    if without(&[]).is_none() {
        return;
    }
    let stand_in = cuda_on_cpu::CublasLt::load().unwrap();
    let version = 111_103;
    stand_in.behave(cuda_on_cpu::CublasLtBehaviour { version, ..Default::default() });
    let told = told(stand_in.path());
    assert!(told.contains("is version 11.11.3: update it to 12 or newer"), "{told}");
    stand_in.behave(cuda_on_cpu::CublasLtBehaviour::default());
    assert_eq!(CublasLt::open(stand_in.path()).unwrap().version(), "13.1.0");
}
