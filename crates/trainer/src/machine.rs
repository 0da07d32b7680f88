//! Where a run runs: for its folder's `env.json`, and for comparing runs later.

use serde_json::{Value, json};
use std::fs;
use tensor::{Choice, Device};
use train::Result;

/// What computes.
pub struct Machine {
    /// `cpu`, the card, or several with commas between them.
    pub name: String,
    /// Threads that compute, over all of them.
    pub threads: usize,
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
        "command": std::env::args().collect::<Vec<_>>(),
        "data": data,
    })
}

/// `cpu`, or the card; and whose library multiplies on it, if one does.
pub fn name(device: &Device) -> String {
    match device {
        Device::Cpu(_) => "cpu".to_string(),
        Device::Cuda(cuda) => match cuda.cublaslt() {
            Some(library) => format!("{}, cuBLASLt {}", cuda.name(), library.version()),
            None => cuda.name(),
        },
    }
}

/// How many of `threads` threads (0: one for each core) each device has: the CPUs share them, and
/// what is over goes to the first, which has the classifier.
pub fn share_threads(threads: usize, choices: &[Choice]) -> Vec<usize> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores() } else { threads };
    let hosts = choices.iter().filter(|choice| !matches!(choice, Choice::Cuda(_))).count();
    let mut host = 0;
    let mut share = |choice: &Choice| match choice {
        Choice::Cuda(_) => 1,
        Choice::Auto | Choice::Cpu => {
            host += 1;
            (threads / hosts + usize::from(host <= threads % hosts)).max(1)
        }
    };
    choices.iter().map(&mut share).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_share_the_threads() {
        use Choice::{Cpu, Cuda};
        assert_eq!(share_threads(5, &[Cpu, Cpu]), [3, 2]);
        assert_eq!(share_threads(1, &[Cpu, Cpu]), [1, 1]);
        assert_eq!(share_threads(4, &[Cuda(0), Cpu]), [1, 4]);
    }
}
