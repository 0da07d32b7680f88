//! Where a run runs: for its folder's `env.json`, and for comparing runs later.

use serde_json::{Value, json};
use std::fs;
use tensor::Device;

/// Program, compiler, processor and threads.
pub fn environment(device: &Device, data: Value) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("ALEXNET_COMMIT"),
        "rustc": option_env!("ALEXNET_RUSTC"),
        "opt_level": env!("ALEXNET_OPT_LEVEL"),
        "debug_assertions": cfg!(debug_assertions),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "cpu": processor(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "threads": device.threads(),
        "device": name(device),
        "command": std::env::args().collect::<Vec<_>>(),
        "data": data,
    })
}

/// `cpu`, or the card.
pub fn name(device: &Device) -> &'static str {
    match device {
        Device::Cpu(_) => "cpu",
        Device::Cuda(_) => "cuda",
    }
}

/// The processor's name, where the system tells it.
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}
