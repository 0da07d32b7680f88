//! The machine and the date of a measurement.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The machine; times are comparable if it is equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name, with its family and model if known.
    pub cpu: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// Compute threads.
    pub threads: usize,
}

impl Machine {
    /// This machine, with `threads` compute threads (0: one per core).
    pub fn here(threads: usize) -> Machine {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores } else { threads };
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Machine { cpu: processor(&info), cores, threads }
    }

    /// A description.
    pub fn describe(&self) -> String {
        let Machine { cpu, cores, threads } = self;
        let s = |n: usize| if n == 1 { "" } else { "s" };
        format!("{cpu}, {cores} core{}, {threads} thread{}", s(*cores), s(*threads))
    }
}

/// The processor from Linux's `/proc/cpuinfo`; "AMD EPYC" alone could be any of five generations.
fn processor(info: &str) -> String {
    let field = |name: &str| {
        let mut pairs = info.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
    };
    match (field("model name"), field("cpu family"), field("model")) {
        (Some(name), Some(family), Some(model)) => {
            format!("{name} (family {family}, model {model})")
        }
        (Some(name), ..) => name.to_string(),
        _ => format!("unknown {} processor", std::env::consts::ARCH),
    }
}

/// The day, UTC, as `2026-11-24`.
pub fn today() -> String {
    train::folder::Status::begun().started.chars().take(10).collect()
}

/// The peak memory of this process in bytes.
///
/// # Errors
/// On systems without Linux's `/proc`.
pub fn peak_memory() -> Result<u64, String> {
    let path = Path::new("/proc/self/status");
    let text = fs::read_to_string(path).map_err(|error| {
        format!("{}: {error}; peak memory is available on Linux only", path.display())
    })?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| format!("{}: no VmHWM", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_a_family() {
        let info = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n";
        assert_eq!(processor(info), "AMD EPYC (family 25, model 17)");
        assert_eq!(processor("model name : Neoverse\n"), "Neoverse");
        assert!(processor("").starts_with("unknown "));
    }

    #[test]
    fn today_is_a_date() {
        let day = today();
        let parts: Vec<usize> = day.split('-').map(|part| part.parse().unwrap()).collect();
        let [year, month, date] = parts[..] else { panic!("{day}") };
        assert!(year >= 2025 && (1..=12).contains(&month) && (1..=31).contains(&date), "{day}");
    }
}
