//! `gpu-check` on cuda-on-cpu with a small network: its sections, time limits and report.

use cuda_on_cpu::Sources;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that is removed after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("gpu-check-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("tests")).unwrap();
        Scratch(path)
    }

    /// Writes a shell script.
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

/// A folder with cuda-on-cpu as `libcuda.so`; prints SKIPPED and returns `None` without g++.
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
fn gpu_check(scratch: &Scratch, driver: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-check"));
    command.arg("--folder").arg(&scratch.0).arg("--report").arg(scratch.0.join("report.md"));
    command.args(arguments).env("LD_LIBRARY_PATH", driver).env_remove("ALEXNET_REQUIRE_CUDA");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", scratch.0.display()));
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn without_a_gpu_the_sections_are_listed() {
    let scratch = Scratch::new("none");
    let Some(folder) = driver(&scratch) else { return };
    let hidden = |require: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-check"));
        command.env("LD_LIBRARY_PATH", &folder).env("CUDA_VISIBLE_DEVICES", "");
        let output = command.env("ALEXNET_REQUIRE_CUDA", require).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).to_string())
    };
    let (code, output) = hidden("0");
    assert_eq!(code, Some(0), "{output}");
    assert!(output.starts_with("NO GPU: cuda:0 cannot be used: "), "{output}");
    assert!(output.contains("  sanitizer  compute-sanitizer"), "{output}");
    assert_eq!(hidden("1").0, Some(1));
}

/// A check that could not run has not passed.
#[test]
fn missing_programs_make_a_section_unfinished() {
    let scratch = Scratch::new("absent");
    let Some(folder) = driver(&scratch) else { return };
    let timed = r#"[{"model": "alexnet", "batch": 2, "precision": "f32", "ms": 1.0}]"#;
    fs::write(scratch.0.join("report.json"), timed).unwrap();
    scratch.script("python", "echo no torch here >&2; exit 1");
    let python = scratch.0.join("python").display().to_string();
    let (code, output, _) = gpu_check(&scratch, &folder, &["--only", "peer", "--python", &python]);
    assert_eq!(code, 3, "{output}");
    assert!(output.contains("| peer | Unfinished |"), "{output}");

    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/local/cuda/bin")]);
    if folders.map(|folder| folder.join("compute-sanitizer")).any(|file| file.is_file()) {
        return println!("SKIPPED: compute-sanitizer is installed here");
    }
    let (code, output, _) = gpu_check(&scratch, &folder, &["--only", "sanitizer"]);
    assert_eq!(code, 3, "{output}");
    assert!(
        output.contains("NOT RUN") && output.contains("| sanitizer | Unfinished |"),
        "{output}"
    );
}

#[test]
fn test_programs_pass_fail_or_time_out() {
    let scratch = Scratch::new("suites");
    let Some(folder) = driver(&scratch) else { return };
    let fine = "[ $ALEXNET_REQUIRE_CUDA = 1 ] && echo 'test result: ok. 3 passed; 0 failed; 0'";
    scratch.script("tests/kernels", fine);
    scratch.script("compute-sanitizer", "while [ ! -x \"$1\" ]; do shift; done; exec \"$@\"");
    let run = |arguments: &[&str]| gpu_check(&scratch, &folder, arguments);
    let (code, output, _) = run(&["--only", "tests"]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("| kernels | 3 | 0 |"), "{output}");
    assert!(output.contains("| tests | Passed |"), "{output}");
    assert_eq!(fs::read_to_string(scratch.0.join("report.md")).unwrap(), output);

    scratch.script("tests/bad", "echo 'test x ... FAILED'; exit 101");
    let (code, output, _) = run(&["--only", "tests"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("| bad | ? | ? |") && output.contains("test x ... FAILED"), "{output}");
    assert!(output.contains("| tests | Failed |"), "{output}");

    scratch.script("tests/bad", "echo slow; sleep 30");
    let (code, output, _) = run(&["--only", "tests", "--seconds", "4"]);
    assert_eq!(code, 3, "{output}");
    assert!(
        output.contains("out of time") && output.contains("| tests | Unfinished |"),
        "{output}"
    );
}

/// The sections with training steps, in every precision.
#[test]
fn sections_pass_in_every_precision() {
    let scratch = Scratch::new("sections");
    let Some(folder) = driver(&scratch) else { return };
    let sections = ["--small", "--only", "curves,replay,repeats,peaks,times"];
    let (code, output, errors) = gpu_check(&scratch, &folder, &sections);
    assert_eq!(code, 0, "{output}\n{errors}");
    for part in ["mma.sync in bf16 (FLOP)", "shared memory (B)", "second-level cache (B)"] {
        let row = output.lines().find(|line| line.starts_with(&format!("| {part} | ")));
        let cells: Vec<&str> =
            row.unwrap_or_else(|| panic!("{part}\n{output}")).split('|').collect();
        assert!(cells[3].trim().parse::<f64>().unwrap() > 1.0, "{output}");
    }
    for precision in ["f32", "tf32", "bf16"] {
        let curves = format!("tiny, 2 images, {precision}: the losses agree");
        let repeats = format!(
            "* tiny, 2 images, {precision}: 3 of 3 repetitions, loss and gradients bit-identical"
        );
        let replay =
            format!("* tiny, 2 images, {precision}: 3 losses and all weights are bit-identical");
        let times = format!("### tiny, 2 images, {precision}");
        for line in [curves, repeats, replay, times] {
            assert!(output.contains(&line), "{line}\n{output}");
        }
    }
    assert!(
        output.contains("conv_forward_small_tf32") && output.contains("linear_forward_small_bf16")
    );
    let timed = fs::read_to_string(scratch.0.join("report.json")).unwrap();
    assert_eq!(timed.matches("\"precision\"").count(), 3, "{timed}");
}

/// Three kernels are profiled; without leave to read counters the section is unfinished.
#[test]
fn kernels_are_profiled() {
    let scratch = Scratch::new("profiler");
    let Some(folder) = driver(&scratch) else { return };
    let run = |text: &str| {
        scratch.script("ncu", text);
        gpu_check(&scratch, &folder, &["--only", "profiler", "--small"])
    };
    let (code, output, _) = run("echo \"$@\"; echo 'Section: GPU Speed Of Light'; exit 137");
    assert_eq!(code, 0, "{output}");
    for kernel in ["conv_forward", "conv_backward_input", "linear_backward_weights"] {
        assert!(output.contains(&format!("--kernel-name regex:^{kernel} --launch-skip 1")));
    }
    assert_eq!(output.matches("--section times --quick").count(), 3, "{output}");
    let (code, output, _) = run("echo '==ERROR== ERR_NVGPUCTRPERM - no permission'; exit 1");
    assert_eq!(code, 3, "{output}");
    assert!(output.contains("may not read the GPU's counters"), "{output}");
    let (code, output, _) = run("echo '==ERROR== no kernels were profiled'; exit 1");
    assert_eq!(code, 1, "{output}");
}

/// A quick check has its own order, and an interrupted one leaves what it has found.
#[test]
fn a_quick_check_reports_each_section() {
    let scratch = Scratch::new("quick");
    let Some(folder) = driver(&scratch) else { return };
    let sections = ["--quick", "--small", "--only", "curves,replay,machine"];
    let (code, output, errors) = gpu_check(&scratch, &folder, &sections);
    assert_eq!(code, 0, "{output}\n{errors}");
    let places = ["## Driver, clocks", "## Replayed CUDA graphs", "## Ten losses"]
        .map(|title| output.find(title).unwrap_or_else(|| panic!("{title}\n{output}")));
    assert!(places.is_sorted(), "{output}");
    assert!(output.contains("driver for CUDA 13.0"), "{output}");
    assert_eq!(fs::read_to_string(scratch.0.join("report.md")).unwrap(), output);
}

/// Runs the program with the libraries of these folders: exit code and standard output.
fn with_libraries(
    scratch: &Scratch,
    arguments: &[&str],
    folders: &str,
    settings: &str,
) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-check"));
    command.args(arguments).args(["--small", "--report"]).arg(scratch.0.join("report.md"));
    command.env("LD_LIBRARY_PATH", folders).env("CUDA_ON_CPU", settings);
    let output = command.env_remove("ALEXNET_REQUIRE_CUDA").output().unwrap();
    let code = output.status.code().unwrap_or(-1);
    (code, String::from_utf8_lossy(&output.stdout).to_string())
}

/// With cuda-on-cpu's cuBLASLt and cuDNN; without them, the messages about it.
#[test]
fn libraries_are_compared_with_our_kernels() {
    let scratch = Scratch::new("vendor");
    let Some(folder) = driver(&scratch) else { return };
    let libraries = [
        folder.join("libcuda.so"),
        cuda_on_cpu::CublasLt::without(&[]).unwrap(),
        cuda_on_cpu::Cudnn::without(&[]).unwrap(),
    ];
    let folders = libraries.map(|library| library.parent().unwrap().display().to_string());
    let run = |folders: &[String], settings: &str| {
        with_libraries(&scratch, &["--only", "vendor"], &folders.join(":"), settings)
    };
    let (code, output) = run(&folders, "");
    assert_eq!(code, 0, "{output}");
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
        assert!(output.contains(line), "{line}\n{output}");
    }
    assert!(!output.contains("DISAGREE"), "{output}");
    let (code, output) = run(&folders, "cudnn_failing_call=9");
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("ended with CUDNN_STATUS_INTERNAL_ERROR"), "{output}");
    if tensor::cudnn::Cudnn::find().is_err() {
        let (code, output) = run(&folders[..2], "");
        assert_eq!(code, 3, "{output}");
        assert!(output.contains("cuDNN cannot be used: "), "{output}");
        assert!(output.contains("| fc | y | f32 | cublasLtMatmul |"), "{output}");
    }
}

/// With cuda-on-cpu's NCCL; without it, the message about it.
#[test]
fn collectives_are_checked_among_all_gpus() {
    let scratch = Scratch::new("nccl");
    let Some(folder) = driver(&scratch) else { return };
    let run =
        |folders: &str, gpus: &str| with_libraries(&scratch, &["--only", "nccl"], folders, gpus);
    let nccl = cuda_on_cpu::Nccl::without(&[]).unwrap();
    let both = format!("{}:{}", folder.display(), nccl.parent().unwrap().display());
    for (gpus, last) in [("devices=1", "rank 0 of 1"), ("devices=3", "rank 2 of 3")] {
        let (code, output) = run(&both, gpus);
        assert_eq!(code, 0, "{output}");
        assert!(output.contains("NCCL 2.28.9") && output.contains(last), "{output}");
        assert!(output.contains("correct") && output.contains("| nccl | Passed |"), "{output}");
    }
    if tensor::nccl::Nccl::find().is_err() {
        let (code, output) = run(&folder.display().to_string(), "devices=2");
        assert_eq!(code, 3, "{output}");
        assert!(output.contains("NCCL cannot be used: "), "{output}");
    }
}
