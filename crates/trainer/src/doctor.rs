//! `alexnet doctor`: what this machine offers, and what would stand in a run's way.

use crate::cli::DoctorArgs;
use crate::console;
use crate::fault::{Fault, Result};
use crate::images;
use crate::machine;
use data::DatasetOptions;
use files::numbers::mebibytes;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use tensor::{Choice, Device};
use terminal::progress::{Progress, Reading};

/// Runs the command.
///
/// # Errors
/// Exit code 1 if something would stop a run.
pub fn doctor(args: &DoctorArgs) -> Result<()> {
    let mut problems = 0;
    let mut say = |what: &str, finding: std::result::Result<String, String>| -> Result<()> {
        let (mark, text) = match finding {
            Ok(text) => ("ok  ", text),
            Err(text) => {
                problems += 1;
                ("BAD ", text)
            }
        };
        console::println(format_args!("{mark} {what:<10} {text}"))
    };
    let version = env!("CARGO_PKG_VERSION");
    let build = if cfg!(debug_assertions) { ", a debug build: many times slower" } else { "" };
    say("program", Ok(format!("alexnet {version}{build}")))?;
    let device = Device::cpu(0);
    let name = machine::processor().unwrap_or_else(|| "unknown".to_string());
    say("processor", Ok(format!("{name}, {} threads", device.threads())))?;
    say("precision", Ok(precisions()))?;
    say("memory", memory())?;
    say("gpu", Ok(gpu()))?;
    say("disk", disk(&args.runs))?;
    if let Some(name) = &args.data {
        let reading = Reading::new(Progress::Auto);
        let exif = data::stored_exif(name).ok().flatten().unwrap_or_default();
        let opened =
            images::open(name, &DatasetOptions { exif, ..DatasetOptions::with_side(64) }, &reading);
        let opened = opened.map(|images| images.describe());
        say("data", opened.map_err(|fault| fault.message))?;
    }
    match problems {
        0 => Ok(()),
        _ => Err(Fault::failure(format!("{problems} of these would stop a run"))),
    }
}

/// What the processor computes with in each precision.
fn precisions() -> String {
    let bf16 = match tensor::amx() {
        Ok(()) => "by AMX, for which inference stores weights in bf16".to_string(),
        Err(why) => format!("is refused: {why}"),
    };
    format!("f32 by {}; --precision bf16 {bf16}", features())
}

/// The vector instructions that the kernels know.
fn features() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "AVX2";
        }
    }
    "the portable form, several times slower, as there is no AVX2"
}

fn memory() -> std::result::Result<String, String> {
    const PAPER: usize = 3 << 30; // the paper's network at batch 128 takes about as much
    let Some(free) = tensor::free_memory() else {
        return Ok("the system does not report it".to_string());
    };
    let limit = free.group.map_or_else(String::new, |group| {
        format!(", by the limit of control group {}", group.display())
    });
    let enough = free.bytes >= PAPER;
    let hint = if enough { "" } else { ": little for `--model alexnet`, use --batch-size" };
    Ok(format!("{} available{limit}{hint}", mebibytes(free.bytes)))
}

/// Whether there is a GPU and its driver.
fn gpu() -> String {
    let driver = fs::read_to_string("/proc/driver/nvidia/version");
    let driver = driver.ok().and_then(|text| text.lines().next().map(str::to_string));
    let gpus = fs::read_dir("/proc/driver/nvidia/gpus").map_or(0, |entries| entries.count());
    let device = match Device::open(Choice::Cuda(0), 0) {
        Ok(device) => format!("can be used, in {}", device.fastest_precision()),
        Err(error) => error.to_string(),
    };
    match driver {
        Some(driver) => format!("{gpus} found, driver {}; {device}", driver.trim()),
        None => "no NVIDIA driver: runs compute on the processor".to_string(),
    }
}

/// Whether runs can be written, how much fits, and how long a small file takes to be safe.
fn disk(folder: &Path) -> std::result::Result<String, String> {
    let probe = folder.join(format!(".alexnet-doctor-{}", std::process::id()));
    let began = Instant::now();
    let written = fs::File::create(&probe).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    let took = began.elapsed().as_secs_f64();
    let _ = fs::remove_file(&probe);
    written.map_err(|error| format!("{}: cannot write: {error}", folder.display()))?;
    let free = files::free_bytes(folder);
    let free = free.map_or("unknown".to_string(), |free| mebibytes(free as usize));
    Ok(format!("{}: {free} free, a file is safe in {:.1} ms", folder.display(), 1e3 * took))
}
