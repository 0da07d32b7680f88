//! Finding NCCL: what is said of one that is missing, too old or something else.

use std::fs;
use std::path::Path;
use tensor::nccl::{Id, Nccl};

fn told(path: &Path) -> String {
    Nccl::open(path).unwrap_err().to_string()
}

/// The stand-in without some functions; nothing where there is no compiler.
fn without(functions: &[&str]) -> Option<std::path::PathBuf> {
    match cuda_on_cpu::Nccl::without(functions) {
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
    let missing = told("/nowhere/libnccl.so.2".as_ref());
    assert!(missing.starts_with("NCCL cannot be used: /nowhere/libnccl.so.2: "), "{missing}");
    let text = std::env::temp_dir().join(format!("libnccl-{}.so.2", std::process::id()));
    fs::write(&text, "no library").unwrap();
    let none = told(&text);
    fs::remove_file(&text).unwrap();
    assert!(none.contains("invalid ELF header") || none.contains("too short"), "{none}");
}

#[test]
fn a_library_that_lacks_something_is_told() {
    for lacks in ["ncclSend", "ncclCommFinalize", "ncclGetVersion"] {
        let Some(path) = without(&[lacks]) else { return };
        let told = told(&path);
        assert!(told.contains(&format!("has no `{lacks}`: update it to 2.18 or newer")), "{told}");
    }
}

#[test]
fn a_library_that_is_too_old_is_told() {
    if without(&[]).is_none() {
        return;
    }
    let stand_in = cuda_on_cpu::Nccl::load().unwrap();
    for (version, dotted) in [(2_708, "2.7.8"), (21_703, "2.17.3")] {
        stand_in.behave(cuda_on_cpu::NcclBehaviour { version, ..Default::default() });
        let told = told(stand_in.path());
        let sentence = format!("is version {dotted}: update it to 2.18 or newer");
        assert!(told.contains(&sentence), "{told}");
    }
    stand_in.behave(cuda_on_cpu::NcclBehaviour::default());
    let found = Nccl::open(stand_in.path()).unwrap();
    assert_eq!(found.version(), "2.28.9");
    let (one, other) = (found.new_id().unwrap(), found.new_id().unwrap());
    assert!(one != other && Id::from_bytes(one.as_bytes()) == Some(one));
    assert_eq!(Id::from_bytes(&one.as_bytes()[1..]), None);
}
