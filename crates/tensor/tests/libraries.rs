//! Finding NCCL, cuBLASLt and cuDNN: the errors for a library that is missing, too old or not a
//! library.

use alexnet_tensor::cublaslt::CublasLt;
use alexnet_tensor::cudnn::Cudnn;
use alexnet_tensor::nccl::{Id, Nccl};
use cuda_on_cpu::{
    CublasLtBehaviour, CudnnBehaviour, NcclBehaviour, VendorBehaviour, VendorLibrary,
};
use std::fs;
use std::path::{Path, PathBuf};

struct Library {
    name: &'static str,
    file: &'static str,
    /// The least supported version, as errors name it.
    least: &'static str,
    /// Opens a file, and returns the library's version.
    open: fn(&Path) -> alexnet_tensor::Result<String>,
    /// Builds the stand-in without some functions.
    without: fn(&[&str]) -> Result<PathBuf, String>,
    /// Some functions that are required.
    required: [&'static str; 3],
}

const NCCL: Library = Library {
    name: "NCCL",
    file: "libnccl.so.2",
    least: "2.18",
    open: |path| Ok(Nccl::open(path)?.version()),
    without: cuda_on_cpu::Nccl::without,
    required: ["ncclSend", "ncclCommFinalize", "ncclGetVersion"],
};

const CUBLASLT: Library = Library {
    name: "cuBLASLt",
    file: "libcublasLt.so.13",
    least: "12",
    open: |path| Ok(CublasLt::open(path)?.version()),
    without: cuda_on_cpu::CublasLt::without,
    required: ["cublasLtMatmul", "cublasLtMatmulAlgoGetHeuristic", "cublasLtGetVersion"],
};

const CUDNN: Library = Library {
    name: "cuDNN",
    file: "libcudnn.so.9",
    least: "9",
    open: |path| Ok(Cudnn::open(path)?.version()),
    without: cuda_on_cpu::Cudnn::without,
    required: ["cudnnConvolutionForward", "cudnnSetConvolutionMathType", "cudnnGetVersion"],
};

const LIBRARIES: [Library; 3] = [NCCL, CUBLASLT, CUDNN];

impl Library {
    /// The error when this file is opened.
    fn error(&self, path: &Path) -> String {
        (self.open)(path).unwrap_err().to_string()
    }

    /// The stand-in without some functions; `None` if there is no compiler.
    fn stand_in_without(&self, functions: &[&str]) -> Option<PathBuf> {
        match (self.without)(functions) {
            Ok(path) => Some(path),
            Err(error) if error.contains("g++ did not start") => {
                eprintln!("SKIPPED: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_missing_file_and_one_that_is_no_library_are_errors() {
    for library in &LIBRARIES {
        let Library { name, file, .. } = library;
        let error = library.error(format!("/nowhere/{file}").as_ref());
        let start = format!("{name} cannot be used: /nowhere/{file}: ");
        assert!(error.starts_with(&start), "{error}");
        let text = std::env::temp_dir().join(format!("{}-{file}", std::process::id()));
        fs::write(&text, "no library").unwrap();
        let error = library.error(&text);
        fs::remove_file(&text).unwrap();
        assert!(error.contains("invalid ELF header") || error.contains("too short"), "{error}");
    }
}

#[test]
fn an_error_names_a_missing_function() {
    for library in &LIBRARIES {
        for function in library.required {
            let Some(path) = library.stand_in_without(&[function]) else { return };
            let error = library.error(&path);
            let expected = format!("has no `{function}`: update it to {} or newer", library.least);
            assert!(error.contains(&expected), "{error}");
        }
    }
}

/// Checks the errors for old versions of a stand-in, and its usual version.
fn check_versions<B: VendorBehaviour + Default>(
    library: &Library,
    with_version: fn(u64) -> B,
    old: &[(u64, &str)],
    usual: &str,
) {
    let stand_in = VendorLibrary::<B>::load().unwrap();
    for &(version, dotted) in old {
        stand_in.behave(with_version(version));
        let error = library.error(stand_in.path());
        let expected = format!("is version {dotted}: update it to {} or newer", library.least);
        assert!(error.contains(&expected), "{error}");
    }
    stand_in.behave(B::default());
    assert_eq!((library.open)(stand_in.path()).unwrap(), usual);
}

#[test]
fn old_versions_are_errors() {
    if NCCL.stand_in_without(&[]).is_none() {
        return;
    }
    let nccl = |version| NcclBehaviour { version, ..Default::default() };
    check_versions(&NCCL, nccl, &[(2_708, "2.7.8"), (21_703, "2.17.3")], "2.28.9");
    let cublaslt = |version| CublasLtBehaviour { version, ..Default::default() };
    check_versions(&CUBLASLT, cublaslt, &[(111_103, "11.11.3")], "13.1.0");
    let cudnn = |version| CudnnBehaviour { version, ..Default::default() };
    check_versions(&CUDNN, cudnn, &[(8_904, "8.9.4")], "9.19.0");
}

#[test]
fn nccl_ids_convert_to_and_from_bytes() {
    if NCCL.stand_in_without(&[]).is_none() {
        return;
    }
    let stand_in = cuda_on_cpu::Nccl::load().unwrap();
    let nccl = Nccl::open(stand_in.path()).unwrap();
    let (one, other) = (nccl.new_id().unwrap(), nccl.new_id().unwrap());
    assert!(one != other && Id::from_bytes(one.as_bytes()) == Some(one));
    assert_eq!(Id::from_bytes(&one.as_bytes()[1..]), None);
}
