//! Where a run runs: for its folder's `env.json`, and for comparing runs later.

use serde_json::{Value, json};
use std::fs;
use tensor::{Choice, Device};
use train::Result;

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
pub fn name(device: &Device) -> String {
    match device {
        Device::Cpu(_) => "cpu".to_string(),
        Device::Cuda(cuda) => cuda.name(),
    }
}

/// Opens the device that the user chose and plans on it: under `auto` on the first card if there is
/// one and it can run the plan, else on the CPU, which `say` is told.
///
/// # Errors
/// What keeps the chosen device from running the plan.
pub fn open<P>(
    choice: Choice,
    threads: usize,
    plan: impl Fn(&Device) -> Result<P>,
    check: impl Fn(&P, &mut Device) -> Result<()>,
    say: &mut dyn FnMut(&str),
) -> Result<(Device, P)> {
    let (mut device, mut why_not) = match choice {
        Choice::Auto => Device::best(threads),
        Choice::Cpu | Choice::Cuda(_) => (Device::open(choice, threads)?, None),
    };
    let mut planned = plan(&device)?;
    match check(&planned, &mut device) {
        Ok(()) => {}
        Err(train::Error::Device(error))
            if choice == Choice::Auto && matches!(device, Device::Cuda(_)) =>
        {
            why_not = Some(error);
            device = Device::cpu(threads);
            planned = plan(&device)?;
            check(&planned, &mut device)?;
        }
        Err(error) => return Err(error),
    }
    if let Some(why_not) = why_not {
        say(&format!("computing on the CPU: {why_not}"));
    }
    Ok((device, planned))
}

/// The processor's name, where the system tells it.
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}
