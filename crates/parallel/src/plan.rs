//! What a device has to do, alone or as one of several, laid out before any memory is taken.

use crate::cut::Cut;
use crate::data::ReplicaPlan;
use crate::hybrid::HybridPlan;
use crate::lone::Lone;
use crate::process::Process;
use crate::rank::Rank;
use crate::threads::Threads;
use crate::towers::TowerPlan;
use crate::{Error, Result, parameters_of};
use comm::{Comm, Local, Nccl};
use evaluate::Stop;
use layers::Spec;
use layers::towers::Towers;
use std::time::Duration;
use tensor::{Device, Target};
use train::executor::Executor;
use train::plan::{Memory, Plan as SinglePlan};
use train::recipe::Recipe;
use train::run::Blueprint;
use train::start::Start;

/// The part of a device.
#[derive(Debug)]
pub enum Plan {
    /// All of every batch.
    Single(Box<SinglePlan>),
    /// Some micro-shards of every batch.
    Replica(Box<ReplicaPlan>),
    /// The same, and some of the linear layers' units.
    Hybrid(Box<HybridPlan>),
    /// A tower.
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

/// Lays a job's network out for one device.
///
/// # Errors
/// As [`Blueprint::plan`]; [`train::Error::Recipe`] if a batch cannot be cut into the recipe's
/// micro-shards.
pub fn single(job: &Blueprint<'_>, target: Target) -> train::Result<Plan> {
    match job.recipe.shards {
        1 => Ok(Plan::Single(Box::new(job.plan(target)?))),
        _ => replica(job, (0, 1), target),
    }
}

/// Lays a job's network out for one rank of a world that shares every batch.
///
/// # Errors
/// As [`single`]; [`train::Error::Recipe`] if the recipe's micro-shards cannot be shared evenly.
pub fn replica(job: &Blueprint<'_>, of: (usize, usize), target: Target) -> train::Result<Plan> {
    let (batch, cut) = (job.recipe.batch, cut(job.recipe, of)?);
    let plan = ReplicaPlan::new(job.spec, batch, cut, job.input()?, target)?;
    Ok(Plan::Replica(Box::new(plan)))
}

/// As [`replica`], with a share of the linear layers' units: see [`hybrid`](crate::hybrid).
///
/// # Errors
/// As there, and [`train::Error::Network`] if the units cannot be shared.
pub fn hybrid(job: &Blueprint<'_>, of: (usize, usize), target: Target) -> train::Result<Plan> {
    let (batch, cut) = (job.recipe.batch, cut(job.recipe, of)?);
    let plan = HybridPlan::new(job.spec, batch, cut, job.input()?, target)?;
    Ok(Plan::Hybrid(Box::new(plan)))
}

/// Lays out each of the network's `towers` on a device of its own.
///
/// # Errors
/// As [`single`], and [`train::Error::Recipe`] if the recipe has micro-shards.
pub fn towers(
    job: &Blueprint<'_>,
    towers: &Towers,
    targets: &[Target],
) -> train::Result<Vec<Plan>> {
    job.recipe.check_shared()?;
    if job.recipe.shards != 1 {
        let told = "towers see whole batches: train with recipe.shards = 1 (--micro-shards 1)";
        return Err(train::Error::Recipe(told.to_string()));
    }
    let (batch, input) = (job.recipe.batch, job.input()?);
    let plans = TowerPlan::each(towers, batch, input, targets)?;
    Ok(plans.into_iter().map(|plan| Plan::Tower(Box::new(plan))).collect())
}

fn cut(recipe: &Recipe, of: (usize, usize)) -> train::Result<Cut> {
    recipe.check_shared()?;
    let &Recipe { batch, shards, wire, .. } = recipe;
    Ok(Cut { wire, ..Cut::new(batch, shards, of)? })
}

impl Plan {
    fn base(&self) -> &SinglePlan {
        match self {
            Plan::Single(plan) => plan,
            Plan::Replica(plan) => &plan.base,
            Plan::Hybrid(plan) => &plan.base,
            Plan::Tower(plan) => &plan.base,
        }
    }

    /// What will be learned on this device.
    pub fn parameters(&self) -> &layers::Parameters {
        self.base().parameters()
    }

    /// What it will take of the device's memory.
    pub fn memory(&self) -> Memory {
        self.base().memory()
    }

    /// Which micro-shards it is for, if it is for some.
    pub fn cut(&self) -> Option<Cut> {
        match self {
            Plan::Single(_) | Plan::Tower(_) => None,
            Plan::Replica(plan) => Some(plan.cut()),
            Plan::Hybrid(plan) => Some(plan.cut()),
        }
    }

    /// Finds out whether `device` can run this plan: it has room, and a form of every op.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self, device: &mut Device) -> tensor::Result<()> {
        match self {
            Plan::Single(plan) => return plan.check(device),
            Plan::Replica(plan) => return plan.base.check(device),
            Plan::Hybrid(_) | Plan::Tower(_) => device.check_room(self.base().bytes)?,
        }
        device.rehearse(|device| match self {
            Plan::Hybrid(plan) => plan.rehearse(device),
            Plan::Tower(plan) => plan.rehearse(device),
            Plan::Single(_) | Plan::Replica(_) => Ok(()), // checked above
        })
    }

    /// Takes the memory of a device that trains alone.
    ///
    /// # Errors
    /// If there is not enough, or parameters are another network's.
    ///
    /// # Panics
    /// If it is one of several ranks' plan.
    pub fn open(self, device: Device, start: &Start) -> train::Result<Box<dyn Executor>> {
        if let Plan::Single(plan) = self {
            return plan.open_boxed(device, start);
        }
        assert!(!matches!(self, Plan::Tower(_)), "a tower does not train alone");
        let [only] = Local::world(1, Local::PATIENCE).try_into().expect("a world of one");
        Ok(Box::new(Lone::start(self.rank(device, Box::new(only))?, start)?))
    }

    /// Takes the memory of one rank of several; `comm` is its way to the others.
    fn rank(self, device: Device, comm: Box<dyn Comm>) -> Result<Box<dyn Rank>> {
        if let Some(cut) = self.cut() {
            let place = (comm.rank(), comm.world());
            assert_eq!((cut.rank, cut.world), place, "a plan for another rank");
        }
        Ok(match self {
            Plan::Single(_) => panic!("a plan for one device alone"),
            Plan::Replica(plan) => Box::new(plan.open(device, comm)?),
            Plan::Hybrid(plan) => Box::new(plan.open(device, comm)?),
            Plan::Tower(plan) => Box::new(plan.open(device, comm)?),
        })
    }

    /// Messages that are under way at once: how many of how many floats.
    fn messages(&self) -> Vec<(usize, usize)> {
        match self {
            Plan::Single(_) => Vec::new(),
            Plan::Replica(plan) => plan.messages().map(|floats| (1, floats)).collect(),
            Plan::Hybrid(plan) => plan.messages().map(|floats| (1, floats)).collect(),
            Plan::Tower(plan) => plan.messages().collect(),
        }
    }
}

/// Takes the memory of several devices of this process, each on a thread of its own from now on.
/// One that does not answer for `patience` is lost, and the run with it. `whole` is the network.
///
/// # Errors
/// If there is not enough memory, or parameters are another network's.
///
/// # Panics
/// If there is not a plan for each device.
pub fn open_threads(
    whole: &Spec,
    plans: Vec<Plan>,
    mut devices: Vec<Device>,
    (engine, patience): (Engine, Duration),
    start: &Start,
) -> train::Result<Threads> {
    assert_eq!(plans.len(), devices.len(), "a plan and a device for each rank");
    let ranks = ranks(plans, &mut devices, (engine, patience))?;
    Ok(Threads::start(parameters_of(whole)?, ranks, patience, start)?)
}

/// Takes the memory of several ranks, which wait for each other for `patience` at most.
///
/// # Errors
/// If there is not enough.
pub fn ranks(
    plans: Vec<Plan>,
    devices: &mut Vec<Device>,
    (engine, patience): (Engine, Duration),
) -> Result<Vec<Box<dyn Rank>>> {
    let ways: Vec<Box<dyn Comm>> = match engine {
        Engine::Host => {
            let mut ways = Local::world(plans.len(), patience);
            for (way, plan) in ways.iter_mut().zip(&plans) {
                plan.messages().iter().for_each(|&(count, floats)| way.reserve(count, floats));
            }
            ways.into_iter().map(|way| Box::new(way) as Box<dyn Comm>).collect()
        }
        Engine::Nccl => {
            let ways = Nccl::world(devices, patience)?;
            ways.into_iter().map(|way| Box::new(way) as Box<dyn Comm>).collect()
        }
    };
    let each = plans.into_iter().zip(devices.drain(..)).zip(ways);
    each.map(|((plan, device), way)| plan.rank(device, way)).collect()
}

/// Takes the memory of this process's device; the others are wherever `comm` reaches. `whole` is
/// the network; for the flags see [`Process::start`].
///
/// # Errors
/// If there is not enough memory, or parameters are another network's.
///
/// # Panics
/// If the plan is not for this rank of this world.
pub fn open_process(
    whole: &Spec,
    plan: Plan,
    (device, comm): (Device, Box<dyn Comm>),
    flags: (&Stop, &Stop),
    start: &Start,
) -> train::Result<Process> {
    let rank = plan.rank(device, comm).map_err(|error: Error| train::Error::from(error))?;
    Ok(Process::start(whole, rank, flags, start)?)
}
