//! Finding NCCL, cuBLASLt and cuDNN: what is said of one that is missing, too old or something
//! else.

use alexnet_tensor::cublaslt::CublasLt;
use alexnet_tensor::cudnn::Cudnn;
use alexnet_tensor::nccl::{Id, Nccl};
use cuda_on_cpu::{CublasLtBehaviour, CudnnBehaviour, NcclBehaviour};
use std::fs;
use std::path::{Path, PathBuf};

/// A library as tests look at it.
struct Kind {
    name: &'static str,
    file: &'static str,
    /// As an error names the least version that will do.
    least: &'static str,
    /// The version of the library in a file.
    open: fn(&Path) -> alexnet_tensor::Result<String>,
    /// The stand-in without some functions.
    without: fn(&[&str]) -> Result<PathBuf, String>,
    /// Functions without which it is of no use.
    needs: [&'static str; 3],
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "NCCL",
        file: "libnccl.so.2",
        least: "2.18",
        open: |path| Ok(Nccl::open(path)?.version()),
        without: cuda_on_cpu::Nccl::without,
        needs: ["ncclSend", "ncclCommFinalize", "ncclGetVersion"],
    },
    Kind {
        name: "cuBLASLt",
        file: "libcublasLt.so.13",
        least: "12",
        open: |path| Ok(CublasLt::open(path)?.version()),
        without: cuda_on_cpu::CublasLt::without,
        needs: ["cublasLtMatmul", "cublasLtMatmulAlgoGetHeuristic", "cublasLtGetVersion"],
    },
    Kind {
        name: "cuDNN",
        file: "libcudnn.so.9",
        least: "9",
        open: |path| Ok(Cudnn::open(path)?.version()),
        without: cuda_on_cpu::Cudnn::without,
        needs: ["cudnnConvolutionForward", "cudnnSetConvolutionMathType", "cudnnGetVersion"],
    },
];

fn told(kind: &Kind, path: &Path) -> String {
    (kind.open)(path).unwrap_err().to_string()
}

/// The stand-in without some functions; nothing where there is no compiler.
fn without(kind: &Kind, functions: &[&str]) -> Option<PathBuf> {
    match (kind.without)(functions) {
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
    for kind in &KINDS {
        let (name, file) = (kind.name, kind.file);
        let missing = told(kind, format!("/nowhere/{file}").as_ref());
        let begin = format!("{name} cannot be used: /nowhere/{file}: ");
        assert!(missing.starts_with(&begin), "{missing}");
        let text = std::env::temp_dir().join(format!("{}-{file}", std::process::id()));
        fs::write(&text, "no library").unwrap();
        let none = told(kind, &text);
        fs::remove_file(&text).unwrap();
        assert!(none.contains("invalid ELF header") || none.contains("too short"), "{none}");
    }
}

#[test]
fn a_library_that_lacks_something_is_told() {
    for kind in &KINDS {
        for lacks in kind.needs {
            let Some(path) = without(kind, &[lacks]) else { return };
            let told = told(kind, &path);
            let sentence = format!("has no `{lacks}`: update it to {} or newer", kind.least);
            assert!(told.contains(&sentence), "{told}");
        }
    }
}

/// Has a stand-in be of other versions, which are told, and then of one that will do.
fn told_when_too_old(
    kind: &Kind,
    path: &Path,
    behave: impl Fn(Option<u32>),
    old: &[(u32, &str)],
    new: &str,
) {
    for &(version, dotted) in old {
        behave(Some(version));
        let told = told(kind, path);
        let sentence = format!("is version {dotted}: update it to {} or newer", kind.least);
        assert!(told.contains(&sentence), "{told}");
    }
    behave(None);
    assert_eq!((kind.open)(path).unwrap(), new);
}

#[test]
fn a_library_that_is_too_old_is_told() {
    let [nccl, cublaslt, cudnn] = &KINDS;
    if without(nccl, &[]).is_none() {
        return;
    }
    let stand_in = cuda_on_cpu::Nccl::load().unwrap();
    let behave = |version: Option<u32>| {
        let usual = NcclBehaviour::default();
        stand_in.behave(NcclBehaviour { version: version.unwrap_or(usual.version), ..usual });
    };
    let old = [(2_708, "2.7.8"), (21_703, "2.17.3")];
    told_when_too_old(nccl, stand_in.path(), behave, &old, "2.28.9");

    let stand_in = cuda_on_cpu::CublasLt::load().unwrap();
    let behave = |version: Option<u32>| {
        let usual = CublasLtBehaviour::default();
        let version = version.map_or(usual.version, u64::from);
        stand_in.behave(CublasLtBehaviour { version, ..usual });
    };
    told_when_too_old(cublaslt, stand_in.path(), behave, &[(111_103, "11.11.3")], "13.1.0");

    let stand_in = cuda_on_cpu::Cudnn::load().unwrap();
    let behave = |version: Option<u32>| {
        let usual = CudnnBehaviour::default();
        let version = version.map_or(usual.version, u64::from);
        stand_in.behave(CudnnBehaviour { version, ..usual });
    };
    told_when_too_old(cudnn, stand_in.path(), behave, &[(8_904, "8.9.4")], "9.19.0");
}

#[test]
fn ids_of_nccl_are_bytes() {
    if without(&KINDS[0], &[]).is_none() {
        return;
    }
    let stand_in = cuda_on_cpu::Nccl::load().unwrap();
    let found = Nccl::open(stand_in.path()).unwrap();
    let (one, other) = (found.new_id().unwrap(), found.new_id().unwrap());
    assert!(one != other && Id::from_bytes(one.as_bytes()) == Some(one));
    assert_eq!(Id::from_bytes(&one.as_bytes()[1..]), None);
}
