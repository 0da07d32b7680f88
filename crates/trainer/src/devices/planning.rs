//! What each device of a run has to do, laid out before any memory is taken.

use crate::cli::Parallel;
use crate::fault::Result;
use layers::towers::{self, Towers};
use tensor::Target;
use train::run::Blueprint;
use train::step::Plan;

/// How devices share the work.
pub(super) enum How {
    Alone,
    Towers(Towers),
    Replicas,
    Hybrid,
    /// A part as those have; the others are in other processes.
    OneOfTowers(Towers),
    OneOfReplicas,
    OneOfHybrid,
}

/// The plan of a device that nobody shares the work with.
///
/// # Errors
/// As [`Blueprint::plan`].
pub fn plan_alone(
    parallel: Option<Parallel>,
    job: &Blueprint,
    target: Target,
) -> train::Result<Plan> {
    match parallel {
        Some(Parallel::Hybrid) => job.plan_hybrid((0, 1), target),
        _ => job.plan(target),
    }
}

/// Each of several devices' plan.
///
/// # Errors
/// Exit code 2 if they cannot share the work so.
pub fn plan_each(
    parallel: Option<Parallel>,
    job: &Blueprint,
    targets: &[Target],
) -> Result<Vec<Plan>> {
    Ok(plan(parallel, job, targets)?.0)
}

pub(super) fn plan(
    parallel: Option<Parallel>,
    job: &Blueprint,
    targets: &[Target],
) -> Result<(Vec<Plan>, How)> {
    let world = targets.len();
    match parallel {
        Some(Parallel::Data) => {
            let each = targets.iter().enumerate();
            let plans = each.map(|(rank, &target)| job.plan_replica((rank, world), target));
            Ok((plans.collect::<train::Result<_>>()?, How::Replicas))
        }
        Some(Parallel::Hybrid) => {
            let each = targets.iter().enumerate();
            let plans = each.map(|(rank, &target)| job.plan_hybrid((rank, world), target));
            Ok((plans.collect::<train::Result<_>>()?, How::Hybrid))
        }
        Some(Parallel::Towers) | None => {
            let towers = towers::split(job.spec, world)?;
            Ok((job.plan_towers(&towers, targets)?, How::Towers(towers)))
        }
    }
}
