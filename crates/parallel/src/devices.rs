//! The devices of a process, from their plans to an executor.

use crate::mode::Mode;
use crate::plan::{self, DevicePlan, Engine};
use crate::process::ProcessLink;
use comm::Local;
use layers::Spec;
use tensor::{Choice, Device, Target};
use train::executor::Executor;
use train::run::Blueprint;
use train::start::Start;

/// The devices of this process and their plans, before memory is allocated.
#[derive(Debug)]
pub struct Devices {
    planned: Vec<(Device, DevicePlan)>,
}

impl Devices {
    /// One device, whose plan has been checked.
    pub fn one(device: Device, plan: DevicePlan) -> Devices {
        Devices { planned: vec![(device, plan)] }
    }

    /// Plans this process's part on its device, and checks that the device supports it. `place` is
    /// its rank and the number of processes.
    ///
    /// # Errors
    /// As [`Mode::plan_one`]; [`train::Error::Device`] if the device does not support the plan.
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
    /// As [`Mode::plan_each`]; [`train::Error::Device`] if a device does not support its plan.
    pub fn plan_each(
        devices: Vec<Device>,
        mode: Mode,
        job: &Blueprint<'_>,
    ) -> train::Result<Devices> {
        let targets: Vec<Target> = devices.iter().map(Device::target).collect();
        let plans = mode.plan_each(job, &targets)?;
        let mut planned: Vec<(Device, DevicePlan)> = devices.into_iter().zip(plans).collect();
        for (device, plan) in &mut planned {
            plan.check(device)?;
        }
        // CPU devices share the host's memory: the sum must fit, too.
        let hosts = planned.iter().filter(|(device, _)| matches!(device, Device::Cpu(_)));
        let bytes = hosts.clone().map(|(_, plan)| plan.memory().total).sum();
        hosts.take(1).try_for_each(|(device, _)| device.check_room(bytes))?;
        Ok(Devices { planned })
    }

    /// The devices with their plans; at least one.
    pub fn planned(&self) -> &[(Device, DevicePlan)] {
        &self.planned
    }

    /// As [`planned`](Self::planned), mutable.
    pub fn planned_mut(&mut self) -> &mut [(Device, DevicePlan)] {
        &mut self.planned
    }

    /// Allocates memory and loads `start`; `whole` is the unsplit network. Several devices exchange
    /// through `engine`; one of several processes through its `link`.
    ///
    /// # Errors
    /// If there is not enough memory, or the parameters are another network's.
    pub fn executor(
        self,
        whole: &Spec,
        engine: Engine,
        link: Option<ProcessLink>,
        start: &Start,
    ) -> train::Result<Box<dyn Executor>> {
        let (mut devices, mut plans): (Vec<_>, Vec<_>) = self.planned.into_iter().unzip();
        if let Some(link) = link {
            let (plan, device) = (plans.remove(0), devices.remove(0));
            return Ok(Box::new(plan::open_process(whole, plan, device, link, start)?));
        }
        if devices.len() == 1 {
            return plans.remove(0).open(devices.remove(0), start);
        }
        let timeout = Local::TIMEOUT;
        Ok(Box::new(plan::open_threads(whole, plans, devices, engine, timeout, start)?))
    }
}

/// The number of threads of each device, from `threads` in total (0: one per core). CPU devices
/// share them, and the first ones get the remainder; GPUs get one each.
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
    fn cpu_devices_share_the_threads() {
        use Choice::{Cpu, Cuda};
        assert_eq!(share_threads(5, &[Cpu, Cpu]), [3, 2]);
        assert_eq!(share_threads(1, &[Cpu, Cpu]), [1, 1]);
        assert_eq!(share_threads(4, &[Cuda(0), Cpu]), [1, 4]);
    }
}
