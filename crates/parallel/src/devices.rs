//! The devices of a process, from their plans to an executor.

use crate::mode::Mode;
use crate::plan::{self, Engine, Plan};
use comm::{Comm, Local};
use evaluate::Stop;
use layers::Spec;
use tensor::{Choice, Device, Target};
use train::executor::Executor;
use train::run::Blueprint;
use train::start::Start;

/// The devices of this process and their plans, before memory is allocated.
#[derive(Debug)]
pub struct Devices {
    members: Vec<(Device, Plan)>,
}

/// How one of several processes is connected to the others.
#[derive(Debug)]
pub struct ProcessLink {
    /// Its communicator.
    pub comm: Box<dyn Comm>,
    /// Stops and checkpoints requested from this process.
    pub asked: Stop,
    /// Requests that all processes have agreed on: the flag of the training loop.
    pub agreed: Stop,
}

impl Devices {
    /// One device, whose plan was made and checked.
    pub fn one(device: Device, plan: Plan) -> Devices {
        Devices { members: vec![(device, plan)] }
    }

    /// Plans this process's part on its device, and checks that the device supports it.
    ///
    /// # Errors
    /// As [`Mode::plan_one`], and what the device lacks.
    pub fn plan_one(
        mut device: Device,
        mode: Mode,
        job: &Blueprint<'_>,
        place: (usize, usize),
    ) -> train::Result<Devices> {
        let plan = mode.plan_one(job, place, device.target())?;
        plan.check(&mut device)?;
        Ok(Devices::one(device, plan))
    }

    /// Plans each device's part, and checks that the device supports it.
    ///
    /// # Errors
    /// As [`Mode::plan_each`], and what one of them lacks.
    pub fn plan_each(
        devices: Vec<Device>,
        mode: Mode,
        job: &Blueprint<'_>,
    ) -> train::Result<Devices> {
        let targets: Vec<Target> = devices.iter().map(Device::target).collect();
        let plans = mode.plan_each(job, &targets)?;
        let mut members: Vec<(Device, Plan)> = devices.into_iter().zip(plans).collect();
        for (device, plan) in &mut members {
            plan.check(device)?;
        }
        // CPU devices share the host's memory: the sum must fit, too.
        let hosts = members.iter().filter(|(device, _)| matches!(device, Device::Cpu(_)));
        let bytes = hosts.clone().map(|(_, plan)| plan.memory().total).sum();
        hosts.take(1).try_for_each(|(device, _)| device.check_room(bytes))?;
        Ok(Devices { members })
    }

    /// The devices with their plans; at least one.
    pub fn members(&self) -> &[(Device, Plan)] {
        &self.members
    }

    /// As [`members`](Self::members), mutable.
    pub fn members_mut(&mut self) -> &mut [(Device, Plan)] {
        &mut self.members
    }

    /// Allocates memory and loads `start`; `whole` is the unsplit network. Several devices exchange
    /// through `engine`; one of several processes through its `link`.
    ///
    /// # Errors
    /// If there is not enough memory, or parameters are another network's.
    pub fn executor(
        self,
        whole: &Spec,
        engine: Engine,
        link: Option<ProcessLink>,
        start: &Start,
    ) -> train::Result<Box<dyn Executor>> {
        let (mut devices, mut plans): (Vec<Device>, Vec<Plan>) = self.members.into_iter().unzip();
        if let Some(ProcessLink { comm, asked, agreed }) = link {
            let (way, plan) = ((devices.remove(0), comm), plans.remove(0));
            let flags = (&asked, &agreed);
            return Ok(Box::new(plan::open_process(whole, plan, way, flags, start)?));
        }
        if devices.len() == 1 {
            return plans.remove(0).open(devices.remove(0), start);
        }
        let how = (engine, Local::PATIENCE);
        Ok(Box::new(plan::open_threads(whole, plans, devices, how, start)?))
    }
}

/// Threads of each device, from `threads` in total (0: one per core): CPU devices share them, the
/// first ones get the remainder, GPUs have one each.
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
