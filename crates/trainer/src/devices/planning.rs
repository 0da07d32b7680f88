//! What each device of a run has to do, laid out before any memory is taken.

use crate::cli::Parallel;
use crate::fault::Result;
use layers::towers;
use parallel::{Plan, plan};
use tensor::Target;
use train::run::Blueprint;

/// The plan of a device that nobody shares the work with.
///
/// # Errors
/// If the network does not fit together or the recipe.
pub fn plan_alone(
    parallel: Option<Parallel>,
    job: &Blueprint,
    target: Target,
) -> train::Result<Plan> {
    match parallel {
        Some(Parallel::Hybrid) => plan::hybrid(job, (0, 1), target),
        _ => plan::single(job, target),
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
    let ranks = 0..targets.len();
    let each = |rank| plan_one(parallel, job, (rank, targets.len()), targets[rank]);
    ranks.map(each).collect()
}

/// The plan of one of several devices.
///
/// # Errors
/// As [`plan_each`].
pub fn plan_one(
    parallel: Option<Parallel>,
    job: &Blueprint,
    (rank, world): (usize, usize),
    target: Target,
) -> Result<Plan> {
    Ok(match parallel {
        Some(Parallel::Data) => plan::replica(job, (rank, world), target)?,
        Some(Parallel::Hybrid) => plan::hybrid(job, (rank, world), target)?,
        Some(Parallel::Towers) | None => {
            let towers = towers::split(job.spec, world)?;
            plan::towers(job, &towers, &vec![target; world])?.swap_remove(rank)
        }
    })
}
