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

/// Devices of this process, each with what it is to do, before any memory is taken.
#[derive(Debug)]
pub struct Devices {
    members: Vec<(Device, Plan)>,
}

/// The place of one of several processes.
#[derive(Debug)]
pub struct Seat {
    /// Its way to the others.
    pub comm: Box<dyn Comm>,
    /// What this process is asked for.
    pub asked: Stop,
    /// What all know that one of them was asked for: what its loop must be given.
    pub agreed: Stop,
}

impl Devices {
    /// One device, whose plan was made and checked.
    pub fn one(device: Device, plan: Plan) -> Devices {
        Devices { members: vec![(device, plan)] }
    }

    /// Plans this process's part on its device, and finds out whether it can do it.
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

    /// Plans on each of several devices, and finds out whether it can do its part.
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
        // What each has room for alone is not there for all of them.
        let hosts = members.iter().filter(|(device, _)| matches!(device, Device::Cpu(_)));
        let bytes = hosts.clone().map(|(_, plan)| plan.memory().total).sum();
        hosts.take(1).try_for_each(|(device, _)| device.check_room(bytes))?;
        Ok(Devices { members })
    }

    /// Each of them, with what it is to do; there is at least one.
    pub fn members(&self) -> &[(Device, Plan)] {
        &self.members
    }

    /// The same.
    pub fn members_mut(&mut self) -> &mut [(Device, Plan)] {
        &mut self.members
    }

    /// Takes the memory, and fills it with what training starts from; several devices exchange by
    /// `engine`. One of several processes has its seat. `whole` is the network.
    ///
    /// # Errors
    /// If there is not enough memory, or parameters are another network's.
    pub fn executor(
        self,
        whole: &Spec,
        engine: Engine,
        seat: Option<Seat>,
        start: &Start,
    ) -> train::Result<Box<dyn Executor>> {
        let (mut devices, mut plans): (Vec<Device>, Vec<Plan>) = self.members.into_iter().unzip();
        if let Some(Seat { comm, asked, agreed }) = seat {
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

/// How many of `threads` threads (0: one for each core) each device has: the CPUs share them, and
/// what is over goes to the first, which has the classifier.
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
