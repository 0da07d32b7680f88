//! `--parallel` and `--exchange`.

use clap::ValueEnum;
use parallel::Mode;
use serde::{Deserialize, Serialize};

/// How several devices or processes share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Parallel {
    /// Each device has one of the network's towers, as in the paper
    Towers,
    /// Each device has the whole network and a part of every batch
    Data,
    /// Each device has all convolutions for a part of every batch, and a part of the linear layers'
    /// units
    Hybrid,
}

impl From<Parallel> for Mode {
    fn from(parallel: Parallel) -> Mode {
        match parallel {
            Parallel::Towers => Mode::Towers,
            Parallel::Data => Mode::Data,
            Parallel::Hybrid => Mode::Hybrid,
        }
    }
}

/// How several devices exchange data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Exchange {
    /// Through host memory, for any devices
    #[default]
    Host,
    /// From GPU to GPU, with NCCL
    Nccl,
}

impl Exchange {
    /// Whether it is the default.
    pub fn is_host(&self) -> bool {
        *self == Exchange::Host
    }
}
