//! Where a run runs: for its folder's `env.json`, and for comparing runs later.

use serde_json::{Value, json};
use std::fs;
use tensor::Precision;

/// What computes.
pub struct Machine {
    /// `cpu`, the GPU, or several with commas between them.
    pub name: String,
    /// Threads that compute, over all of them.
    pub threads: usize,
    /// In which numbers it multiplies.
    pub precision: Precision,
}

/// Program, compiler, processor and threads.
pub fn environment(machine: &Machine, data: Value) -> Value {
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
        "threads": machine.threads,
        "device": machine.name,
        "precision": machine.precision.name(),
        "command": std::env::args().collect::<Vec<_>>(),
        "data": data,
    })
}

/// The value of `--precision`.
///
/// # Errors
/// [`tensor::Error::UnknownPrecision`].
pub fn precision(typed: Option<&str>) -> tensor::Result<Option<Precision>> {
    typed.map(str::parse).transpose()
}

/// The processor's name, where the system reports it.
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}
