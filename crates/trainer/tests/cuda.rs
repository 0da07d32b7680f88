//! The program with a driver beside it: the stand-in for libcuda, found as the real one would be.
//!
//! What is wrong with a driver or a GPU is one sentence and exit code 6, before data is read or
//! anything written; `--device auto` then computes on the CPU, and says why.

mod program;

use cuda_on_cpu::Sources;
use program::{Scratch, alexnet};
use std::fs;
use std::path::Path;

/// A folder with a `libcuda.so` that lacks these functions; `None`, said loudly, without g++.
fn driver(scratch: &Scratch, without: &[&str]) -> Option<String> {
    let without = without.iter().map(|name| name.to_string()).collect();
    let library = match (Sources { without, ..Sources::of_the_project().unwrap() }).build() {
        Ok(library) => library,
        Err(why) => {
            assert!(why.contains("g++ did not start"), "{why}");
            eprintln!("SKIPPED: {why}");
            return None;
        }
    };
    let folder = scratch.path("driver");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(library, Path::new(&folder).join("libcuda.so")).unwrap();
    Some(folder)
}

/// Runs with the driver in `folder`, told `said`, and gives exit code, stdout and stderr.
fn run(folder: &str, said: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let mut command = alexnet(arguments);
    command.env("LD_LIBRARY_PATH", folder).env_remove("CUDA_VISIBLE_DEVICES");
    let output = command.envs(said.iter().copied()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A run on the GPU number 0, of which nothing may be left.
fn refused(scratch: &Scratch, folder: &str, said: &[(&str, &str)], reason: &str) {
    let path = scratch.path("refused");
    let arguments =
        ["train", "--run", &path, "--fake-data", "16", "--batch-size", "4", "--device", "cuda"];
    let (code, stdout, stderr) = run(folder, said, &arguments);
    assert_eq!(code, 6, "{stdout}{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("alexnet: cuda:0") && last.contains(reason), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(!Path::new(&path).exists(), "nothing is left of a run that could not begin");
}

/// The same under `--device auto`: it trains, and says why on the CPU.
fn falls_back(scratch: &Scratch, folder: &str, said: &[(&str, &str)], reason: &str) {
    let path = scratch.path("auto");
    let _ = fs::remove_dir_all(&path);
    let arguments =
        ["train", "--run", &path, "--fake-data", "8", "--batch-size", "4", "--max-steps", "1"];
    let (code, stdout, stderr) = run(folder, said, &arguments);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let why = format!("computing on the CPU: cuda:0{reason}");
    assert!(stderr.contains(&why), "{why}\n{stderr}");
    assert!(stderr.contains("device  cpu"), "{stderr}");
}

#[test]
fn a_driver_or_gpu_that_cannot_be_used_is_one_sentence_and_code_6() {
    let scratch = Scratch::new("cuda-refused");
    let Some(folder) = driver(&scratch, &[]) else { return };
    for (said, reason) in [
        (("CUDA_ON_CPU", "driver_version=11080"), "is made for CUDA 11.8, and this program needs"),
        (("CUDA_VISIBLE_DEVICES", ""), "CUDA_VISIBLE_DEVICES is empty, which hides every GPU"),
        (("CUDA_ON_CPU", "devices=0"), "there is no NVIDIA GPU"),
        (("CUDA_ON_CPU", "memory_bytes=1048576"), "of memory are needed and 1 MiB are free"),
    ] {
        refused(&scratch, &folder, &[said], reason);
    }
    // A machine without a GPU needs no explanation.
    let path = scratch.path("none");
    let few =
        ["train", "--run", &path, "--fake-data", "8", "--batch-size", "4", "--max-steps", "1"];
    let (code, _, stderr) = run(&folder, &[("CUDA_ON_CPU", "devices=0")], &few);
    assert!(code == 0 && !stderr.contains("computing on"), "{code}: {stderr}");
    let old = [("CUDA_ON_CPU", "driver_version=11080")];
    falls_back(&scratch, &folder, &old, " cannot be used: the NVIDIA driver is made for CUDA 11.8");
    let small = [("CUDA_ON_CPU", "memory_bytes=1048576")];
    falls_back(&scratch, &folder, &small, ": ");
}

/// Bindings that call what is not there would end the program.
#[test]
fn a_driver_that_lacks_a_function_is_one_sentence() {
    let scratch = Scratch::new("cuda-lacks");
    for lacking in ["cuDriverGetVersion", "cuInit", "cuGraphLaunch"] {
        let Some(folder) = driver(&scratch, &[lacking]) else { return };
        let reason = format!("the NVIDIA driver has no `{lacking}`: update it to 525 or newer");
        refused(&scratch, &folder, &[], &reason);
        if lacking == "cuGraphLaunch" {
            falls_back(&scratch, &folder, &[], &format!(" cannot be used: {reason}"));
        }
    }
}

/// Drivers of CUDA 12.0 and 12.8 have no functions of later versions.
#[test]
fn a_driver_of_cuda_12_trains() {
    let scratch = Scratch::new("cuda-12");
    let model = scratch.path("model.toml");
    let net = "name = \"net\"\ninput = [8, 8, 3]\n[[rows]]\n[rows.linear]\nname = \"fc\"\n\
               outputs = 10\n";
    fs::write(&model, net).unwrap();
    let later = ["cuEventElapsedTime_v2", "cuFuncGetParamInfo", "cuFuncLoad"];
    for (version, without) in [("12000", &later[..]), ("12080", &[])] {
        let Some(folder) = driver(&scratch, without) else { return };
        let path = scratch.path(version);
        let source = ["train", "--run", &path, "--model", &model, "--fake-data", "8"];
        let steps = ["--batch-size", "4", "--max-steps", "2", "--device", "cuda"];
        let version = format!("driver_version={version}");
        let arguments = [&source[..], &steps].concat();
        let (code, stdout, stderr) = run(&folder, &[("CUDA_ON_CPU", &version)], &arguments);
        assert_eq!(code, 0, "{version}: {stdout}{stderr}");
    }
}

/// A file of that name that is no library is as good as none.
#[test]
fn a_driver_that_is_no_library_is_none() {
    let scratch = Scratch::new("cuda-none");
    fs::create_dir_all(scratch.path("driver")).unwrap();
    fs::write(scratch.0.join("driver/libcuda.so"), "no library").unwrap();
    if Path::new("/proc/driver/nvidia/version").exists() {
        return eprintln!("SKIPPED: there is a driver here, which would be found instead");
    }
    refused(&scratch, &scratch.path("driver"), &[], "there is no libcuda");
}

/// A run keeps the precision in which it began, and says it; what a GPU has not it does in f32.
#[test]
fn a_gpu_uses_its_tensor_cores_and_says_so() {
    let scratch = Scratch::new("cuda-precision");
    let Some(folder) = driver(&scratch, &[]) else { return };
    let model = scratch.path("model.toml");
    let net = "name = \"net\"\ninput = [8, 8, 3]\n[[rows]]\n[rows.linear]\nname = \"fc\"\n\
               outputs = 10\n";
    fs::write(&model, net).unwrap();
    let train = |name: &str, said: &[(&str, &str)], more: &[&str]| {
        let path = scratch.path(name);
        let fixed = ["train", "--run", &path, "--model", &model, "--fake-data", "8"];
        let steps = ["--batch-size", "4", "--max-steps", "1"];
        let (code, stdout, stderr) = run(&folder, said, &[&fixed[..], &steps, more].concat());
        assert_eq!(code, 0, "{stdout}{stderr}");
        let read = |file: &str| fs::read_to_string(Path::new(&path).join(file)).unwrap();
        (stderr, read("config.toml"), read("env.json"))
    };
    for (name, more, precision) in
        [("best", &[][..], "tf32"), ("bf16", &["--precision", "bf16"], "bf16")]
    {
        let (said, config, environment) = train(name, &[], more);
        assert!(said.contains(&format!("compute capability 9.0, {precision}, 1 thread")), "{said}");
        assert!(config.contains(&format!("precision = \"{precision}\"")), "{config}");
        assert!(environment.contains(&format!("\"precision\": \"{precision}\"")), "{environment}");
    }
    let old = [("CUDA_ON_CPU", "major=7 minor=5")];
    let (said, config, _) = train("old", &old, &["--precision", "tf32"]);
    assert_eq!(said.matches("has no tensor cores for tf32: it computes in f32").count(), 1);
    assert!(config.contains("precision = \"f32\""), "{config}");

    let best = scratch.path("best");
    let on = ["train", "--resume", &best, "--max-steps", "2"];
    let (code, _, said) = run(&folder, &[], &[&on[..], &["--device", "cpu"]].concat());
    assert_eq!(code, 6, "{said}");
    assert!(
        said.contains("cpu cannot multiply in tf32: processors multiply in f32 and bf16"),
        "{said}"
    );
    let (code, _, said) = run(&folder, &[], &[&on[..], &["--precision", "f32"]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("the run began in tf32; resuming in f32 changes its results"), "{said}");
    let (code, said, _) = run(&folder, &[], &["doctor", "--runs", &scratch.path("")]);
    assert!(
        said.contains("can be used, in tf32") || said.contains("no NVIDIA driver"),
        "{code} {said}"
    );
}
