//! Command-line arguments.

use clap::{Parser, ValueEnum};
use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// Checks and benchmarks the CUDA code on this machine's first GPU, and prints a report.
#[derive(Debug, Parser)]
#[command(name = "gpu-check", args_override_self = true, max_term_width = 100)]
pub struct Cli {
    /// Run only these sections
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', value_name = "SECTION")]
    only: Vec<Section>,
    /// Skip these sections
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', value_name = "SECTION")]
    skip: Vec<Section>,
    /// The first look at a GPU, within fifteen minutes: what most needs to be known comes first,
    /// and bf16 before other precisions
    #[arg(long)]
    pub quick: bool,
    /// Time limit in seconds; checks that do not fit are reported as unfinished
    #[arg(
        long,
        default_value_t = 560.0,
        default_value_if("quick", "true", "840"),
        value_name = "S"
    )]
    pub seconds: f64,
    /// Models to time
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "NAME",
          default_values = ["alexnet", "torchvision"])]
    model: Vec<String>,
    /// Batch sizes to time
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "N",
          default_values = ["128", "1024"])]
    batch: Vec<usize>,
    /// Python with PyTorch, for the comparison
    #[arg(long, value_name = "FILE")]
    pub python: Option<PathBuf>,
    /// Folder with the test programs [default: this program's folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The report [default: gpu-check.md in $OUT, or in the current folder]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Use a tiny network and few repetitions, for a test on cuda-on-cpu
    #[arg(long)]
    pub small: bool,
    /// Run this section in this process
    #[arg(long, hide = true, value_enum)]
    pub section: Option<Section>,
}

/// A section of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// The driver, clocks, and the toolkit
    Machine,
    /// Ten losses, on CPU and GPU
    Curves,
    /// Replayed CUDA graphs against direct launches
    Replay,
    /// The same step a hundred times
    Repeats,
    /// All NCCL collectives among all GPUs
    Nccl,
    /// Results and times of cuBLASLt and cuDNN against our kernels
    Vendor,
    /// Rates of tensor cores, shared memory and caches, each alone
    Peaks,
    /// Times of steps, passes and kernels against their lower bounds
    Times,
    /// PyTorch's steps on the same GPU
    Peer,
    /// The test programs
    Tests,
    /// Nsight Compute on single kernels
    Profiler,
    /// compute-sanitizer's memcheck and racecheck
    Sanitizer,
}

impl Section {
    /// In the order in which they run: short and important ones first.
    const ALL: [Section; 12] = [
        Section::Machine,
        Section::Curves,
        Section::Replay,
        Section::Repeats,
        Section::Nccl,
        Section::Vendor,
        Section::Peaks,
        Section::Times,
        Section::Peer,
        Section::Tests,
        Section::Profiler,
        Section::Sanitizer,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Section::Machine => "machine",
            Section::Curves => "curves",
            Section::Replay => "replay",
            Section::Repeats => "repeats",
            Section::Nccl => "nccl",
            Section::Vendor => "vendor",
            Section::Peaks => "peaks",
            Section::Times => "times",
            Section::Peer => "peer",
            Section::Tests => "tests",
            Section::Profiler => "profiler",
            Section::Sanitizer => "sanitizer",
        }
    }

    /// Its heading in the report.
    pub fn title(self) -> &'static str {
        match self {
            Section::Machine => "Driver, clocks and toolkit",
            Section::Curves => "Ten losses of the CPU and the GPU",
            Section::Replay => "Replayed CUDA graphs against direct launches",
            Section::Repeats => "The same step a hundred times",
            Section::Nccl => "All NCCL collectives among all GPUs",
            Section::Vendor => "cuBLASLt and cuDNN against our kernels",
            Section::Peaks => "Rates of tensor cores, shared memory and caches",
            Section::Times => "Times of steps, passes and kernels",
            Section::Peer => "PyTorch on the same GPU",
            Section::Tests => "The tests, with ALEXNET_REQUIRE_CUDA=1",
            Section::Profiler => "Nsight Compute on single kernels",
            Section::Sanitizer => "compute-sanitizer",
        }
    }

    /// In the order of `--quick`.
    const QUICK: [Section; 11] = [
        Section::Machine,
        Section::Replay,
        Section::Curves,
        Section::Repeats,
        Section::Times,
        Section::Peaks,
        Section::Peer,
        Section::Tests,
        Section::Profiler,
        Section::Vendor,
        Section::Sanitizer,
    ];

    /// Its time limit with `--quick`.
    fn quick_limit(self) -> Duration {
        Duration::from_secs(match self {
            Section::Machine | Section::Peaks => 10,
            Section::Replay | Section::Curves | Section::Repeats | Section::Nccl => 30,
            Section::Times | Section::Sanitizer => 120,
            Section::Peer | Section::Tests => 180,
            Section::Vendor | Section::Profiler => 60,
        })
    }

    /// Its time limit.
    fn time_limit(self) -> Duration {
        Duration::from_secs(match self {
            Section::Machine | Section::Peaks => 20,
            Section::Curves | Section::Repeats => 75,
            Section::Replay | Section::Nccl => 40,
            Section::Vendor | Section::Profiler => 60,
            Section::Times => 120,
            Section::Peer => 240,
            Section::Tests => 240,
            Section::Sanitizer => 180,
        })
    }
}

impl Cli {
    /// The sections to run, in order. The comparison with PyTorch needs `--python`.
    pub fn sections(&self) -> Vec<Section> {
        let selected = |section: &Section| {
            let named = self.only.contains(section);
            let can_run = *section != Section::Peer || self.python.is_some() || named;
            can_run && (self.only.is_empty() || named) && !self.skip.contains(section)
        };
        let all = if self.quick { &Section::QUICK[..] } else { &Section::ALL };
        all.iter().copied().filter(selected).collect()
    }

    /// The time limit of a section.
    pub fn time_limit(&self, section: Section) -> Duration {
        if self.quick { section.quick_limit() } else { section.time_limit() }
    }

    /// Models and batch sizes to time.
    pub fn units(&self) -> Vec<(String, usize)> {
        if self.small {
            return vec![(crate::gpu::TINY.to_string(), 2)];
        }
        let of = |model: &String| {
            let sizes = self.batch.iter().map(|&batch| (model.clone(), batch));
            sizes.collect::<Vec<_>>()
        };
        self.model.iter().flat_map(of).collect()
    }

    /// The folder with the test programs.
    pub fn folder(&self) -> PathBuf {
        let beside = || {
            let program = env::current_exe().ok()?;
            Some(program.parent()?.to_path_buf())
        };
        self.folder.clone().or_else(beside).unwrap_or_default()
    }

    /// The report's path.
    pub fn report(&self) -> PathBuf {
        let folder = env::var_os("OUT").map(PathBuf::from).unwrap_or_default();
        self.report.clone().unwrap_or_else(|| folder.join("gpu-check.md"))
    }

    /// The file with the times of steps, which the comparison with PyTorch reads.
    pub fn times(&self) -> PathBuf {
        self.report().with_extension("json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(arguments: &[&str]) -> Vec<Section> {
        Cli::parse_from([&["gpu-check"], arguments].concat()).sections()
    }

    #[test]
    fn sections_are_chosen() {
        assert_eq!(sections(&["--only", "times,curves"]), [Section::Curves, Section::Times]);
        assert_eq!(sections(&["--only", "curves", "--skip", "curves"]), []);
        assert!(!sections(&[]).contains(&Section::Peer));
        assert!(sections(&["--python", "python3"]).contains(&Section::Peer));
        assert_eq!(sections(&["--skip", "peer"]).len(), 11);
        let quick = sections(&["--quick", "--python", "python3"]);
        assert_eq!(quick[..2], [Section::Machine, Section::Replay]);
        assert_eq!(quick[4..7], [Section::Times, Section::Peaks, Section::Peer]);
    }

    /// A section's process gets all arguments, followed by its own.
    #[test]
    fn the_last_argument_counts() {
        let arguments = ["gpu-check", "--seconds", "9", "--section", "times", "--seconds", "4"];
        let cli = Cli::parse_from(arguments);
        assert_eq!((cli.section, cli.seconds), (Some(Section::Times), 4.0));
    }

    /// All of them end within fifteen minutes, each with its limit.
    #[test]
    fn a_quick_check_takes_fifteen_minutes() {
        let parse = |arguments: &[&str]| Cli::parse_from([&["gpu-check"], arguments].concat());
        let quick = parse(&["--quick", "--python", "python3"]);
        let limits: f64 =
            quick.sections().iter().map(|&one| quick.time_limit(one).as_secs_f64()).sum();
        assert!(limits <= quick.seconds && quick.seconds <= 900.0, "{limits}");
        assert_eq!(parse(&["--quick", "--seconds", "60"]).seconds, 60.0);
        assert_eq!(parse(&[]).seconds, 560.0);
    }

    #[test]
    fn all_sections_are_listed() {
        assert_eq!(Section::ALL.len(), Section::value_variants().len());
    }
}
