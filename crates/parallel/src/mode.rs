//! Parallel modes, and the plan of each device in them.

use crate::plan::{self, DevicePlan};
use layers::towers;
use tensor::Target;
use train::run::Blueprint;

/// How several devices or processes share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Each has one of the network's towers.
    Towers,
    /// Each has the whole network and a part of every batch.
    Data,
    /// Each has all convolutions and a part of every batch, and a part of the linear layers' units.
    Hybrid,
}

impl Mode {
    /// `towers`, `data` or `hybrid`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Towers => "towers",
            Mode::Data => "data",
            Mode::Hybrid => "hybrid",
        }
    }

    /// The plan of a single device.
    ///
    /// # Errors
    /// [`train::Error::Network`] or [`train::Error::Recipe`] if the network or the recipe is
    /// invalid.
    pub fn plan_alone(
        mode: Option<Mode>,
        job: &Blueprint<'_>,
        target: Target,
    ) -> train::Result<DevicePlan> {
        match mode {
            Some(Mode::Hybrid) => plan::hybrid(job, (0, 1), target),
            _ => plan::single(job, target),
        }
    }

    /// The plan of one of several devices; `place` is its rank and the number of devices.
    ///
    /// # Errors
    /// [`train::Error::Network`] or [`train::Error::Recipe`] if the work cannot be split.
    pub fn plan_one(
        self,
        job: &Blueprint<'_>,
        place: (usize, usize),
        target: Target,
    ) -> train::Result<DevicePlan> {
        match self {
            Mode::Data => plan::replica(job, place, target),
            Mode::Hybrid => plan::hybrid(job, place, target),
            Mode::Towers => {
                let (rank, world) = place;
                let towers = towers::split(job.spec, world)?;
                Ok(plan::towers(job, &towers, &vec![target; world])?.swap_remove(rank))
            }
        }
    }

    /// The plans of several devices, in the order of their ranks.
    ///
    /// # Errors
    /// As [`plan_one`](Self::plan_one).
    pub fn plan_each(
        self,
        job: &Blueprint<'_>,
        targets: &[Target],
    ) -> train::Result<Vec<DevicePlan>> {
        if self == Mode::Towers {
            return plan::towers(job, &towers::split(job.spec, targets.len())?, targets);
        }
        let each = targets.iter().enumerate();
        each.map(|(rank, &target)| self.plan_one(job, (rank, targets.len()), target)).collect()
    }
}
