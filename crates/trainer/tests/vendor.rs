//! A run whose fully connected layers multiply through cuBLASLt: here its stand-in and the
//! driver's, found as the real ones would be.

mod program;

use cuda_on_cpu::CublasLt;
use program::{Scratch, alexnet, with_libraries};
use std::fs;
use std::path::Path;
use std::process::Output;

const MODEL: &str = r#"
name = "small"
input = [8, 8, 3]
rows = [
  { linear = { name = "fc1", outputs = 12 } },
  { relu = {} },
  { linear = { name = "fc2", outputs = 10 } },
]
"#;

fn prepared(name: &str) -> Option<Scratch> {
    with_libraries(name, MODEL, || Ok([("cublaslt", "libcublasLt.so.13", CublasLt::without(&[])?)]))
}

/// The program, which finds the libraries of these folders.
fn train(scratch: &Scratch, folders: &[&str], arguments: &[&str]) -> Output {
    let folders: Vec<String> = folders.iter().map(|name| scratch.path(name)).collect();
    let mut command = alexnet(&[&["train", "--progress", "plain"], arguments].concat());
    command.env("LD_LIBRARY_PATH", folders.join(":")).env_remove("CUDA_VISIBLE_DEVICES");
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is written down of a run, and that it goes on with what it began with, to the same bits.
#[test]
fn a_run_may_multiply_through_cublaslt() {
    let Some(scratch) = prepared("vendor") else { return };
    let model = scratch.path("net.toml");
    let begin = ["--model", &model, "--fake-data", "8", "--batch-size", "4", "--device", "cuda"];
    let with = |steps: &'static str, path: &str, vendor: &'static str| {
        let more = ["--vendor", vendor, "--max-steps", steps, "--run", path];
        train(&scratch, &["driver", "cublaslt"], &[&begin[..], &more].concat())
    };
    let weights = |path: &str| fs::read(Path::new(path).join("weights.safetensors")).unwrap();
    let paths = ["whole", "resumed", "plain"].map(|name| scratch.path(name));
    let [whole, resumed, plain] = &paths;
    for (steps, path, vendor) in
        [("4", whole, "cublaslt"), ("2", resumed, "cublaslt"), ("4", plain, "none")]
    {
        let output = with(steps, path, vendor);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{told}");
        assert_eq!(told.contains(", cuBLASLt 13.1.0, "), vendor == "cublaslt", "{told}");
    }
    let written = fs::read_to_string(Path::new(whole).join("env.json")).unwrap();
    assert!(written.contains(", cuBLASLt 13.1.0\""), "{written}");
    assert!(weights(plain) != weights(whole), "other sums, in double precision");

    let go_on = ["--resume", resumed, "--max-steps", "4"];
    let output = train(&scratch, &["driver", "cublaslt"], &go_on);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(weights(resumed) == weights(whole));
}

#[test]
fn what_stands_in_the_way_is_one_sentence() {
    let Some(scratch) = prepared("vendor-refused") else { return };
    let (model, path) = (scratch.path("net.toml"), scratch.path("refused"));
    for (device, code, reason) in [
        ("cpu", 2, "--vendor cublaslt multiplies on cards"),
        ("cuda", 6, "cuBLASLt cannot be used: "),
    ] {
        if code == 6 && tensor::cublaslt::CublasLt::find().is_ok() {
            continue;
        }
        let begin = ["--model", &model, "--fake-data", "8", "--batch-size", "4", "--run", &path];
        let more = ["--device", device, "--vendor", "cublaslt"];
        let output = train(&scratch, &["driver"], &[&begin[..], &more].concat());
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        let last = told.lines().last().unwrap_or_default();
        assert!(last.starts_with("alexnet: ") && last.contains(reason), "{told}");
        assert!(!Path::new(&path).exists(), "nothing is left of a run that could not begin");
    }
}
