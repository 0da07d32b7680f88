//! A run whose products NVIDIA's libraries make: here their stand-ins and the driver's, found as
//! the real ones would be.

mod program;

use cuda_on_cpu::{CublasLt, Cudnn};
use program::{Scratch, alexnet, with_libraries};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const MODEL: &str = r#"
name = "small"
input = [8, 8, 3]
rows = [
  { conv = { name = "conv1", filters = 8, window = 3, pad = 1 } },
  { relu = {} },
  { linear = { name = "fc2", outputs = 10 } },
]
"#;

fn prepared(name: &str) -> Option<Scratch> {
    with_libraries(name, MODEL, || {
        let (cublaslt, cudnn) = (CublasLt::without(&[])?, Cudnn::without(&[])?);
        let both = [("cublaslt", "libcublasLt.so.13", cublaslt), ("cudnn", "libcudnn.so.9", cudnn)];
        Ok(both)
    })
}

/// The program, which finds the libraries of these folders.
fn train_with(scratch: &Scratch, folders: &[&str], arguments: &[&str]) -> Command {
    let folders: Vec<String> = folders.iter().map(|name| scratch.path(name)).collect();
    let mut command = alexnet(&[&["train", "--progress", "plain"], arguments].concat());
    command.env("LD_LIBRARY_PATH", folders.join(":")).env_remove("CUDA_VISIBLE_DEVICES");
    command
}

fn train(scratch: &Scratch, folders: &[&str], arguments: &[&str]) -> Output {
    train_with(scratch, folders, arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is written down of a run, and that it goes on with what it began with, to the same bits.
#[test]
fn a_run_may_multiply_through_libraries() {
    let Some(scratch) = prepared("vendor") else { return };
    let model = scratch.path("net.toml");
    let begin = ["--model", &model, "--fake-data", "8", "--batch-size", "4", "--device", "cuda"];
    let with = |steps: &'static str, path: &str, vendor: &'static str| {
        let more = ["--vendor", vendor, "--max-steps", steps, "--run", path];
        train(&scratch, &["driver", "cublaslt", "cudnn"], &[&begin[..], &more].concat())
    };
    let weights = |path: &str| fs::read(Path::new(path).join("weights.safetensors")).unwrap();
    let paths = ["plain", "lt", "dnn", "both", "resumed"].map(|name| scratch.path(name));
    let [_, _, _, both, resumed] = &paths;
    let vendors = ["none", "cublaslt", "cudnn", "nvidia", "nvidia"];
    let libraries = ["", ", cuBLASLt 13.1.0", ", cuDNN 9.19.0", "", ""];
    for ((path, vendor), mut named) in paths.iter().zip(vendors).zip(libraries) {
        if vendor == "nvidia" {
            named = ", cuBLASLt 13.1.0, cuDNN 9.19.0";
        }
        let output = with(if path == resumed { "2" } else { "4" }, path, vendor);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{told}");
        assert!(told.contains(&format!("capability 9.0{named}, ")), "{told}");
        let written = fs::read_to_string(Path::new(path).join("env.json")).unwrap();
        assert!(written.contains(&format!("capability 9.0{named}\"")), "{written}");
    }
    // Sums in double precision: all differ.
    for (idx, path) in paths[..4].iter().enumerate() {
        let others = paths[..idx].iter();
        others.for_each(|other| assert!(weights(path) != weights(other), "{path}, {other}"));
    }
    let go_on = ["--resume", resumed, "--max-steps", "4"];
    let output = train(&scratch, &["driver", "cublaslt", "cudnn"], &go_on);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(weights(resumed) == weights(both));
}

#[test]
fn what_cudnn_leaves_to_our_kernels_is_said() {
    let Some(scratch) = prepared("vendor-bf16") else { return };
    let (model, path) = (scratch.path("net.toml"), scratch.path("run"));
    let begin = ["--model", &model, "--fake-data", "8", "--batch-size", "4", "--run", &path];
    let more = ["--device", "cuda", "--vendor", "cudnn", "--precision", "bf16"];
    let steps = ["--max-steps", "1"];
    let output = train(&scratch, &["driver", "cudnn"], &[&begin[..], &more, &steps].concat());
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let sentence = "cuDNN does not multiply floats in bf16: convolutions are this program's own";
    assert_eq!(told.matches(sentence).count(), 1, "{told}");
}

#[test]
fn what_stands_in_the_way_is_one_sentence() {
    let Some(scratch) = prepared("vendor-refused") else { return };
    let (model, path) = (scratch.path("net.toml"), scratch.path("refused"));
    let (no_cublaslt, no_cudnn) =
        (tensor::cublaslt::CublasLt::find().is_err(), tensor::cudnn::Cudnn::find().is_err());
    let only: &[&str] = &["driver"];
    let both: &[&str] = &["driver", "cudnn"];
    for (can_be, folders, device, vendor, asked, code, reason) in [
        (true, only, "cpu", "cublaslt", "", 2, "--vendor cublaslt multiplies on GPUs"),
        (true, only, "cpu", "nvidia", "", 2, "--vendor nvidia multiplies on GPUs"),
        (no_cublaslt, only, "cuda", "cublaslt", "", 6, "cuBLASLt cannot be used: "),
        (no_cudnn, only, "cuda", "cudnn", "", 6, "cuDNN cannot be used: "),
        (no_cublaslt, both, "cuda", "nvidia", "", 6, "cuBLASLt cannot be used: "),
        (true, both, "cuda", "cudnn", "cudnn_version=8904", 6, "is version 8.9.4: update it to 9"),
        (true, both, "cuda", "cudnn", "cudnn_failing_call=2", 6, "CUDNN_STATUS_INTERNAL_ERROR"),
    ] {
        if !can_be {
            continue;
        }
        let begin = ["--model", &model, "--fake-data", "8", "--batch-size", "4", "--run", &path];
        let more = ["--device", device, "--vendor", vendor];
        let mut command = train_with(&scratch, folders, &[&begin[..], &more].concat());
        let output = command.env("CUDA_ON_CPU", asked).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        let last = told.lines().last().unwrap_or_default();
        assert!(last.starts_with("alexnet: ") && last.contains(reason), "{told}");
        assert!(last.contains("--vendor none"), "{told}");
        assert!(!Path::new(&path).exists(), "nothing is left of a run that could not begin");
    }
}
