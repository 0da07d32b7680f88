//! Processes that torchrun or srun started, each with a GPU: here the stand-ins for the driver and
//! for NCCL, found as the real ones would be.

mod program;

use cuda_on_cpu::Nccl;
use program::{Scratch, alexnet, last_line, with_libraries};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const MODEL: &str = r#"
name = "small"
input = [16, 16, 3]
rows = [
  { conv = { name = "conv1", filters = 8, window = 5, stride = 2 } },
  { relu = {} },
  { linear = { name = "fc2", outputs = 10 } },
]
"#;

fn prepared(name: &str) -> Option<Scratch> {
    with_libraries(name, MODEL, || Ok([("nccl", "libnccl.so.2", Nccl::without(&[])?)]))
}

/// The program, which finds the libraries of these folders; two steps of two micro-shards.
fn train(scratch: &Scratch, folders: &[&str], run: &str, more: &[&str]) -> Command {
    let model = scratch.path("net.toml");
    let fixed = ["train", "--model", &model, "--fake-data", "8", "--batch-size", "4", "--run", run];
    let steps = ["--max-steps", "2", "--progress", "none", "--parallel", "data", "--json"];
    let mut command = alexnet(&[&fixed[..], &steps, &["--micro-shards", "2"], more].concat());
    let folders: Vec<String> = folders.iter().map(|name| scratch.path(name)).collect();
    command.env("LD_LIBRARY_PATH", folders.join(":")).env("CUDA_ON_CPU", "devices=2");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Two processes as torchrun starts them; what became of each.
fn launched(scratch: &Scratch, folders: &[&str], run: &str, more: &[&str]) -> Vec<Output> {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let start = |rank: usize| {
        let mut command = train(scratch, folders, run, more);
        command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string());
        command.env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1");
        command.env("MASTER_PORT", port.to_string()).spawn().unwrap()
    };
    let started: Vec<_> = (0..2).map(start).collect();
    started.into_iter().map(|process| process.wait_with_output().unwrap()).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn weights(run: &str) -> Vec<u8> {
    fs::read(Path::new(run).join("weights.safetensors")).unwrap()
}

#[test]
fn two_processes_with_a_gpu_each_train_what_one_process_does() {
    let Some(scratch) = prepared("launched") else { return };
    let (one, two) = (scratch.path("one"), scratch.path("two"));
    let alone = train(&scratch, &["driver"], &one, &["--device", "cuda:0"]).output().unwrap();
    assert_eq!(alone.status.code(), Some(0), "{}", stderr(&alone));
    let both = launched(&scratch, &["driver", "nccl"], &two, &[]);
    for output in &both {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    }
    assert!(weights(&two) == weights(&one));
    let told = last_line(&String::from_utf8_lossy(&both[0].stdout));
    assert_eq!(told["steps"], 2);
    assert!(told["sent_bytes_per_step"].as_u64().unwrap() > 10_000, "{told}");
    assert!(both[1].stdout.is_empty(), "the first alone speaks");
}

/// The GPUs of one process exchange by either way, to the same bits.
#[test]
fn the_gpus_of_one_process_may_exchange_through_nccl() {
    let Some(scratch) = prepared("exchange") else { return };
    let run = |exchange: &str| {
        let path = scratch.path(&format!("by-{exchange}"));
        let devices = ["--device", "cuda:0,cuda:1", "--exchange", exchange, "--wire", "bf16"];
        let output = train(&scratch, &["driver", "nccl"], &path, &devices).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        weights(&path)
    };
    assert!(run("host") == run("nccl"));
    for (devices, folders, code, reason) in [
        ("cuda:0,cpu", &["driver"][..], 2, "joins GPUs, each named once"),
        ("cuda:0,cuda:0", &["driver"], 2, "joins GPUs, each named once"),
        ("cuda:0,cuda:1", &["driver"], 6, "NCCL cannot be used: "),
    ] {
        if code == 6 && tensor::nccl::Nccl::find().is_ok() {
            continue;
        }
        let path = scratch.path("refused");
        let more = ["--device", devices, "--exchange", "nccl"];
        let output = train(&scratch, folders, &path, &more).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
        assert!(!Path::new(&path).exists());
    }
}

#[test]
fn what_stands_in_the_way_is_one_sentence() {
    let Some(scratch) = prepared("launched-refused") else { return };
    let run = scratch.path("run");
    let refused = |folders: &[&str], more: &[&str], code: i32, reason: &str| {
        for output in launched(&scratch, folders, &run, more) {
            let told = stderr(&output);
            assert_eq!(output.status.code(), Some(code), "{told}");
            let last = told.lines().last().unwrap_or_default();
            assert!(last.starts_with("alexnet: ") && last.contains(reason), "{told}");
        }
        assert!(!Path::new(&run).exists());
    };
    refused(&["driver", "nccl"], &["--device", "cpu"], 2, "exchanges through cuda:");
    if !Path::new("/proc/driver/nvidia/version").exists() {
        refused(&["nccl"], &[], 6, "there is no libcuda); without MPI");
    }
    if let Err(why) = tensor::nccl::Nccl::find() {
        refused(&["driver"], &[], 6, &why.to_string());
    }
}
