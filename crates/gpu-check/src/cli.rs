//! What was typed.

use clap::{Parser, ValueEnum};
use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// Checks and times the CUDA half on this machine's first GPU, and prints a report.
#[derive(Debug, Parser)]
#[command(name = "gpu-check", args_override_self = true, max_term_width = 100)]
pub struct Cli {
    /// Only these sections
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', value_name = "SECTION")]
    only: Vec<Section>,
    /// All but these
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', value_name = "SECTION")]
    skip: Vec<Section>,
    /// Seconds for all of it: what does not fit is said to be unfinished
    #[arg(long, default_value_t = 560.0, value_name = "S")]
    pub seconds: f64,
    /// Models that are timed
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "NAME",
          default_values = ["alexnet", "torchvision"])]
    model: Vec<String>,
    /// Images a step that is timed
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "N",
          default_values = ["128", "1024"])]
    batch: Vec<usize>,
    /// A Python with PyTorch, for the peer
    #[arg(long, value_name = "FILE")]
    pub python: Option<PathBuf>,
    /// Where the test programs are [default: beside this program]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Where the report goes [default: gpu-check.md in $OUT, or here]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// A tiny network, few repeats: the way through all of it, on a stand-in for a GPU
    #[arg(long)]
    pub small: bool,
    /// Run this section here
    #[arg(long, hide = true, value_enum)]
    pub section: Option<Section>,
}

/// A part of the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Ten losses, CPU and GPU
    Curves,
    /// Recorded steps against steps done as they are asked for
    Replay,
    /// A hundred times the same step
    Repeats,
    /// Every collective through NCCL, among all GPUs there are
    Nccl,
    /// cuBLASLt's and cuDNN's products against our kernels', and how long both take
    Vendor,
    /// Steps, parts and kernels against their floors
    Times,
    /// PyTorch's steps on the same GPU
    Peer,
    /// The test programs
    Tests,
    /// compute-sanitizer's memcheck and racecheck
    Sanitizer,
}

impl Section {
    /// In the order in which they run: what is short and tells most first.
    const ALL: [Section; 9] = [
        Section::Curves,
        Section::Replay,
        Section::Repeats,
        Section::Nccl,
        Section::Vendor,
        Section::Times,
        Section::Peer,
        Section::Tests,
        Section::Sanitizer,
    ];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Section::Curves => "curves",
            Section::Replay => "replay",
            Section::Repeats => "repeats",
            Section::Nccl => "nccl",
            Section::Vendor => "vendor",
            Section::Times => "times",
            Section::Peer => "peer",
            Section::Tests => "tests",
            Section::Sanitizer => "sanitizer",
        }
    }

    /// Its head in the report.
    pub fn title(self) -> &'static str {
        match self {
            Section::Curves => "Ten losses of the CPU and the GPU",
            Section::Replay => "Recorded steps against steps done as they are asked for",
            Section::Repeats => "A hundred times the same step",
            Section::Nccl => "Every collective through NCCL, among all GPUs there are",
            Section::Vendor => "cuBLASLt and cuDNN beside our kernels",
            Section::Times => "Steps, parts and kernels against their floors",
            Section::Peer => "PyTorch on the same GPU",
            Section::Tests => "The tests, with ALEXNET_REQUIRE_CUDA=1",
            Section::Sanitizer => "compute-sanitizer",
        }
    }

    /// What it may take at most: together they fit into ten minutes.
    pub fn bound(self) -> Duration {
        Duration::from_secs(match self {
            Section::Curves | Section::Repeats => 75,
            Section::Replay | Section::Nccl => 40,
            Section::Vendor => 60,
            Section::Times => 120,
            Section::Peer => 240,
            Section::Tests => 240,
            Section::Sanitizer => 180,
        })
    }
}

impl Cli {
    /// The sections to run, in order. Without a Python there is no peer.
    pub fn wanted(&self) -> Vec<Section> {
        let wanted = |section: &Section| {
            let named = self.only.contains(section);
            let can_be = *section != Section::Peer || self.python.is_some() || named;
            can_be && (self.only.is_empty() || named) && !self.skip.contains(section)
        };
        Section::ALL.into_iter().filter(wanted).collect()
    }

    /// Models and batch sizes that are timed.
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

    /// The folder that holds the test programs.
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

    /// Where the times of steps are kept for the peer, and for people.
    pub fn times(&self) -> PathBuf {
        self.report().with_extension("json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&str]) -> Vec<Section> {
        Cli::parse_from([&["gpu-check"], words].concat()).wanted()
    }

    #[test]
    fn sections_are_chosen() {
        assert_eq!(wanted(&["--only", "times,curves"]), [Section::Curves, Section::Times]);
        assert_eq!(wanted(&["--only", "curves", "--skip", "curves"]), []);
        assert!(!wanted(&[]).contains(&Section::Peer));
        assert!(wanted(&["--python", "python3"]).contains(&Section::Peer));
        assert_eq!(wanted(&["--skip", "peer"]).len(), 8);
    }

    /// A section's process gets the words of the whole check, and its own after them.
    #[test]
    fn the_last_word_counts() {
        let words = ["gpu-check", "--seconds", "9", "--section", "times", "--seconds", "4"];
        let cli = Cli::parse_from(words);
        assert_eq!((cli.section, cli.seconds), (Some(Section::Times), 4.0));
    }

    #[test]
    fn every_section_is_run() {
        assert_eq!(Section::ALL.len(), Section::value_variants().len());
    }
}
