//! The plan of a device, alone or as one of several: its network with a memory layout. Nothing is
//! allocated before a plan is opened.

use crate::data::ReplicaPlan;
use crate::hybrid::HybridPlan;
use crate::process::{Process, ProcessLink};
use crate::rank::Rank;
use crate::sharding::Sharding;
use crate::single_rank::SingleRank;
use crate::threads::Threads;
use crate::towers::TowerPlan;
use crate::{Result, parameters_of};
use comm::{Comm, Local, Nccl};
use layers::Spec;
use layers::towers::Towers;
use std::time::Duration;
use tensor::{Device, Target};
use train::executor::Executor;
use train::optimizer::UpdateRule;
use train::plan::{Memory, SingleDevicePlan};
use train::recipe::Recipe;
use train::run::Blueprint;
use train::start::Start;

/// The plan of a device.
#[derive(Debug)]
#[non_exhaustive]
pub enum DevicePlan {
    /// The whole network, whole batches.
    Single(Box<SingleDevicePlan>),
    /// The whole network, some micro-shards of every batch.
    Replica(Box<ReplicaPlan>),
    /// Some micro-shards of every batch, and some of the linear layers' units.
    Hybrid(Box<HybridPlan>),
    /// A tower of the network, whole batches.
    Tower(Box<TowerPlan>),
}

/// How the devices of one process exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Through the host's memory.
    Host,
    /// From GPU to GPU.
    Nccl,
}

/// Plans a job for a single device.
///
/// # Errors
/// As [`Blueprint::plan`]; [`train::Error::Recipe`] if a batch cannot be split into the recipe's
/// micro-shards.
pub fn single(job: &Blueprint<'_>, target: Target) -> train::Result<DevicePlan> {
    match job.recipe.shards {
        1 => Ok(DevicePlan::Single(Box::new(job.plan(target)?))),
        _ => replica(job, (0, 1), target),
    }
}

/// Plans a job for one rank in data parallelism; `place` is its number and the number of ranks.
///
/// # Errors
/// As [`single`]; [`train::Error::Recipe`] if the recipe's micro-shards cannot be shared evenly.
pub fn replica(
    job: &Blueprint<'_>,
    place: (usize, usize),
    target: Target,
) -> train::Result<DevicePlan> {
    let (batch, sharding) = (job.recipe.batch, sharding(job.recipe, place)?);
    let rule = UpdateRule::of(job.recipe);
    let plan = ReplicaPlan::with_rule(job.spec, batch, sharding, job.input()?, target, &rule)?;
    Ok(DevicePlan::Replica(Box::new(plan)))
}

/// As [`replica`], with a share of the linear layers' units: see [`hybrid`](crate::hybrid).
///
/// # Errors
/// As [`replica`]; [`train::Error::Network`] if the units cannot be split.
pub fn hybrid(
    job: &Blueprint<'_>,
    place: (usize, usize),
    target: Target,
) -> train::Result<DevicePlan> {
    let (batch, sharding) = (job.recipe.batch, sharding(job.recipe, place)?);
    let rule = UpdateRule::of(job.recipe);
    let plan = HybridPlan::with_rule(job.spec, batch, sharding, job.input()?, target, &rule)?;
    Ok(DevicePlan::Hybrid(Box::new(plan)))
}

/// Plans each of the network's `towers` for its device.
///
/// # Errors
/// As [`single`], and [`train::Error::Recipe`] if the recipe has micro-shards.
pub fn towers(
    job: &Blueprint<'_>,
    towers: &Towers,
    targets: &[Target],
) -> train::Result<Vec<DevicePlan>> {
    if job.recipe.shards != 1 {
        let reason = "towers process whole batches: train with recipe.shards = 1";
        return Err(train::Error::Recipe(reason.to_string()));
    }
    let (batch, input) = (job.recipe.batch, job.input()?);
    let rule = UpdateRule::of(job.recipe);
    let plans = TowerPlan::each_with_rule(towers, batch, input, targets, &rule)?;
    Ok(plans.into_iter().map(|plan| DevicePlan::Tower(Box::new(plan))).collect())
}

fn sharding(recipe: &Recipe, place: (usize, usize)) -> train::Result<Sharding> {
    let &Recipe { batch, shards, wire, .. } = recipe;
    Ok(Sharding { wire, ..Sharding::new(batch, shards, place)? })
}

impl DevicePlan {
    fn base(&self) -> &SingleDevicePlan {
        match self {
            DevicePlan::Single(plan) => plan,
            DevicePlan::Replica(plan) => &plan.base,
            DevicePlan::Hybrid(plan) => &plan.base,
            DevicePlan::Tower(plan) => &plan.base,
        }
    }

    /// The parameters that this device holds.
    pub fn parameters(&self) -> &layers::Parameters {
        self.base().parameters()
    }

    /// The device memory that it needs.
    pub fn memory(&self) -> Memory {
        self.base().memory()
    }

    /// The micro-shards that it processes, if batches are split into some.
    pub fn sharding(&self) -> Option<Sharding> {
        match self {
            DevicePlan::Single(_) | DevicePlan::Tower(_) => None,
            DevicePlan::Replica(plan) => Some(plan.sharding()),
            DevicePlan::Hybrid(plan) => Some(plan.sharding()),
        }
    }

    /// Checks that `device` can run this plan: that it has enough memory and supports every op.
    ///
    /// # Errors
    /// If it cannot: what is missing.
    pub fn check(&self, device: &mut Device) -> tensor::Result<()> {
        match self {
            DevicePlan::Single(plan) => return plan.check(device),
            DevicePlan::Replica(plan) => return plan.base.check(device),
            DevicePlan::Hybrid(_) | DevicePlan::Tower(_) => device.check_room(self.base().bytes)?,
        }
        device.rehearse(|device| match self {
            DevicePlan::Hybrid(plan) => plan.rehearse(device),
            DevicePlan::Tower(plan) => plan.rehearse(device),
            DevicePlan::Single(_) | DevicePlan::Replica(_) => Ok(()), // checked above
        })
    }

    /// Allocates the memory of a single device, and loads `start`.
    ///
    /// # Errors
    /// If there is not enough memory, or the parameters are another network's.
    ///
    /// # Panics
    /// If the plan is for one of several ranks.
    pub fn open(self, device: Device, start: &Start) -> train::Result<Box<dyn Executor>> {
        if let DevicePlan::Single(plan) = self {
            return plan.open_boxed(device, start);
        }
        assert!(!matches!(self, DevicePlan::Tower(_)), "a tower does not train alone");
        let [only] = Local::world(1, Local::TIMEOUT).try_into().expect("a world of one");
        Ok(Box::new(SingleRank::start(self.rank(device, Box::new(only))?, start)?))
    }

    /// Allocates the memory of one rank of several; `comm` connects to the others.
    fn rank(self, device: Device, comm: Box<dyn Comm>) -> Result<Box<dyn Rank>> {
        if let Some(sharding) = self.sharding() {
            let place = (comm.rank(), comm.world());
            assert_eq!((sharding.rank, sharding.world), place, "a plan for another rank");
        }
        Ok(match self {
            DevicePlan::Single(_) => panic!("a plan for one device alone"),
            DevicePlan::Replica(plan) => Box::new(plan.open(device, comm)?),
            DevicePlan::Hybrid(plan) => Box::new(plan.open(device, comm)?),
            DevicePlan::Tower(plan) => Box::new(plan.open(device, comm)?),
        })
    }

    /// The messages in flight at once: their number, and the floats of each.
    fn messages(&self) -> Vec<(usize, usize)> {
        match self {
            DevicePlan::Single(_) => Vec::new(),
            DevicePlan::Replica(plan) => plan.messages().map(|floats| (1, floats)).collect(),
            DevicePlan::Hybrid(plan) => plan.messages().map(|floats| (1, floats)).collect(),
            DevicePlan::Tower(plan) => plan.messages().collect(),
        }
    }
}

/// Allocates the memory of several devices of this process and starts a thread for each. A device
/// that does not answer within `timeout` is lost, and the run fails. `whole` is the network.
///
/// # Errors
/// If there is not enough memory, or the parameters are another network's.
///
/// # Panics
/// If there is not one plan for each device.
pub fn open_threads(
    whole: &Spec,
    plans: Vec<DevicePlan>,
    mut devices: Vec<Device>,
    engine: Engine,
    timeout: Duration,
    start: &Start,
) -> train::Result<Threads> {
    assert_eq!(plans.len(), devices.len(), "a plan and a device for each rank");
    let ranks = ranks(plans, &mut devices, engine, timeout)?;
    Ok(Threads::start(parameters_of(whole)?, ranks, timeout, start)?)
}

/// Allocates the memory of several ranks, which wait for each other at most for `timeout`.
///
/// # Errors
/// If there is not enough memory.
pub fn ranks(
    plans: Vec<DevicePlan>,
    devices: &mut Vec<Device>,
    engine: Engine,
    timeout: Duration,
) -> Result<Vec<Box<dyn Rank>>> {
    let comms: Vec<Box<dyn Comm>> = match engine {
        Engine::Host => {
            let mut comms = Local::world(plans.len(), timeout);
            for (comm, plan) in comms.iter_mut().zip(&plans) {
                plan.messages().iter().for_each(|&(count, floats)| comm.reserve(count, floats));
            }
            comms.into_iter().map(|comm| Box::new(comm) as Box<dyn Comm>).collect()
        }
        Engine::Nccl => {
            let comms = Nccl::world(devices, timeout)?;
            comms.into_iter().map(|comm| Box::new(comm) as Box<dyn Comm>).collect()
        }
    };
    let each = plans.into_iter().zip(devices.drain(..)).zip(comms);
    each.map(|((plan, device), comm)| plan.rank(device, comm)).collect()
}

/// Allocates the memory of this process's device; the `link` connects to the other processes.
/// `whole` is the network.
///
/// # Errors
/// If there is not enough memory, or the parameters are another network's.
///
/// # Panics
/// If the plan is for another rank.
pub fn open_process(
    whole: &Spec,
    plan: DevicePlan,
    device: Device,
    link: ProcessLink,
    start: &Start,
) -> train::Result<Process> {
    let ProcessLink { comm, requested, agreed } = link;
    let rank = plan.rank(device, comm)?;
    Ok(Process::start(whole, rank, requested, agreed, start)?)
}
