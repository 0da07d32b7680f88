//! `gpu-check` on the stand-in for a GPU, in little: its sections, its time bounds, its report.

use cuda_on_cpu::Sources;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("gpu-check-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("tests")).unwrap();
        Scratch(path)
    }

    /// A program of the shell's.
    fn script(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder with the stand-in as `libcuda.so`; `None`, said loudly, without g++.
fn driver(scratch: &Scratch) -> Option<PathBuf> {
    match Sources::of_the_project().unwrap().build() {
        Ok(library) => {
            symlink(library, scratch.0.join("libcuda.so")).unwrap();
            Some(scratch.0.clone())
        }
        Err(why) => {
            assert!(why.contains("g++ did not start"), "{why}");
            eprintln!("SKIPPED: {why}");
            None
        }
    }
}

/// Exit code, standard output and standard error.
fn gpu_check(scratch: &Scratch, driver: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-check"));
    command.arg("--folder").arg(&scratch.0).arg("--report").arg(scratch.0.join("report.md"));
    command.args(words).env("LD_LIBRARY_PATH", driver).env_remove("ALEXNET_REQUIRE_CUDA");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", scratch.0.display()));
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn without_a_gpu_it_says_what_waits() {
    let scratch = Scratch::new("none");
    let Some(folder) = driver(&scratch) else { return };
    let hidden = |require: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-check"));
        command.env("LD_LIBRARY_PATH", &folder).env("CUDA_VISIBLE_DEVICES", "");
        let output = command.env("ALEXNET_REQUIRE_CUDA", require).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).to_string())
    };
    let (code, said) = hidden("0");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("NO GPU: cuda:0 cannot be used: "), "{said}");
    assert!(said.contains("  sanitizer  compute-sanitizer"), "{said}");
    assert_eq!(hidden("1").0, Some(1));
}

/// What could not be checked has not passed.
#[test]
fn what_is_not_there_is_unfinished() {
    let scratch = Scratch::new("absent");
    let Some(folder) = driver(&scratch) else { return };
    let timed = r#"[{"model": "alexnet", "batch": 2, "precision": "f32", "ms": 1.0}]"#;
    fs::write(scratch.0.join("report.json"), timed).unwrap();
    scratch.script("python", "echo no torch here >&2; exit 1");
    let python = scratch.0.join("python").display().to_string();
    let (code, said, _) = gpu_check(&scratch, &folder, &["--only", "peer", "--python", &python]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("| peer | Unfinished |"), "{said}");

    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/local/cuda/bin")]);
    if folders.map(|folder| folder.join("compute-sanitizer")).any(|file| file.is_file()) {
        return println!("SKIPPED: compute-sanitizer is installed here");
    }
    let (code, said, _) = gpu_check(&scratch, &folder, &["--only", "sanitizer"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("this WAITS") && said.contains("| sanitizer | Unfinished |"), "{said}");
}

#[test]
fn test_programs_that_pass_fail_and_hang_are_told_apart() {
    let scratch = Scratch::new("suites");
    let Some(folder) = driver(&scratch) else { return };
    let fine = "[ $ALEXNET_REQUIRE_CUDA = 1 ] && echo 'test result: ok. 3 passed; 0 failed; 0'";
    scratch.script("tests/kernels", fine);
    scratch.script("compute-sanitizer", "while [ ! -x \"$1\" ]; do shift; done; exec \"$@\"");
    let run = |words: &[&str]| gpu_check(&scratch, &folder, words);
    let (code, said, _) = run(&["--only", "tests"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("| kernels | 3 | 0 |"), "{said}");
    assert!(said.contains("| tests | Passed |"), "{said}");
    assert_eq!(fs::read_to_string(scratch.0.join("report.md")).unwrap(), said);

    scratch.script("tests/bad", "echo 'test x ... FAILED'; exit 101");
    let (code, said, _) = run(&["--only", "tests"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("| bad | ? | ? |") && said.contains("test x ... FAILED"), "{said}");
    assert!(said.contains("| tests | Failed |"), "{said}");

    scratch.script("tests/bad", "echo slow; sleep 30");
    let (code, said, _) = run(&["--only", "tests", "--seconds", "4"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("out of time") && said.contains("| tests | Unfinished |"), "{said}");
}

/// Every section that needs a GPU, in little: with a network that has every kind of row, in every
/// precision.
#[test]
fn sections_pass_in_every_precision() {
    let scratch = Scratch::new("sections");
    let Some(folder) = driver(&scratch) else { return };
    let sections = ["--small", "--only", "curves,replay,repeats,times"];
    let (code, said, heard) = gpu_check(&scratch, &folder, &sections);
    assert_eq!(code, 0, "{said}\n{heard}");
    for precision in ["f32", "tf32", "bf16"] {
        let curves = format!("tiny, 2 images, {precision}: the losses agree");
        let repeats = format!("* tiny, 2 images, {precision}: 3 of 3 repeats, equal bits");
        let replay = format!("* tiny, 2 images, {precision}: equal bits in 3 losses");
        let times = format!("### tiny, 2 images, {precision}");
        for line in [curves, repeats, replay, times] {
            assert!(said.contains(&line), "{line}\n{said}");
        }
    }
    assert!(said.contains("conv_forward_small_tf32") && said.contains("linear_forward_small_bf16"));
    let timed = fs::read_to_string(scratch.0.join("report.json")).unwrap();
    assert_eq!(timed.matches("\"precision\"").count(), 3, "{timed}");
}

/// The program, which finds the libraries of these folders; exit code and standard output.
fn with_libraries(scratch: &Scratch, words: &[&str], folders: &str, told: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-check"));
    command.args(words).args(["--small", "--report"]).arg(scratch.0.join("report.md"));
    command.env("LD_LIBRARY_PATH", folders).env("CUDA_ON_CPU", told);
    let output = command.env_remove("ALEXNET_REQUIRE_CUDA").output().unwrap();
    let code = output.status.code().unwrap_or(-1);
    (code, String::from_utf8_lossy(&output.stdout).to_string())
}

/// Beside the stand-ins for cuBLASLt and cuDNN; without them, the sentences that say so.
#[test]
fn libraries_are_held_to_our_kernels() {
    let scratch = Scratch::new("vendor");
    let Some(folder) = driver(&scratch) else { return };
    let libraries = [
        folder.join("libcuda.so"),
        cuda_on_cpu::CublasLt::without(&[]).unwrap(),
        cuda_on_cpu::Cudnn::without(&[]).unwrap(),
    ];
    let folders = libraries.map(|library| library.parent().unwrap().display().to_string());
    let run = |folders: &[String], told: &str| {
        with_libraries(&scratch, &["--only", "vendor"], &folders.join(":"), told)
    };
    let (code, said) = run(&folders, "");
    assert_eq!(code, 0, "{said}");
    for line in [
        "* cuBLASLt 13.1.0",
        "* cuDNN 9.19.0",
        "| conv | y | f32 | cudnnConvolutionForward |",
        "| conv | dx | tf32 | cudnnConvolutionBackwardData |",
        "| conv | dw, db | tf32 | cudnnConvolutionBackwardFilter |",
        "| conv | y | bf16 | our kernel |",
        "| fc | y | bf16 | cublasLtMatmul |",
        "| vendor | Passed |",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(!said.contains("DISAGREE"), "{said}");
    let (code, said) = run(&folders, "cudnn_failing_call=9");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("ended with CUDNN_STATUS_INTERNAL_ERROR"), "{said}");
    if tensor::cudnn::Cudnn::find().is_err() {
        let (code, said) = run(&folders[..2], "");
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("cuDNN cannot be used: "), "{said}");
        assert!(said.contains("| fc | y | f32 | cublasLtMatmul |"), "{said}");
    }
}

/// Two GPUs that the stand-in for NCCL joins; without it, the sentence that says so.
#[test]
fn collectives_are_checked_among_all_gpus() {
    let scratch = Scratch::new("nccl");
    let Some(folder) = driver(&scratch) else { return };
    let run =
        |folders: &str, gpus: &str| with_libraries(&scratch, &["--only", "nccl"], folders, gpus);
    let nccl = cuda_on_cpu::Nccl::without(&[]).unwrap();
    let both = format!("{}:{}", folder.display(), nccl.parent().unwrap().display());
    for (gpus, last) in [("devices=1", "rank 0 of 1"), ("devices=3", "rank 2 of 3")] {
        let (code, said) = run(&both, gpus);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("NCCL 2.28.9") && said.contains(last), "{said}");
        assert!(said.contains("as it should be") && said.contains("| nccl | Passed |"), "{said}");
    }
    if tensor::nccl::Nccl::find().is_err() {
        let (code, said) = run(&folder.display().to_string(), "devices=2");
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("NCCL cannot be used: "), "{said}");
    }
}
