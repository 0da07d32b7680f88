//! A network in towers, each on a device and a thread of its own (section 3.5).
//!
//! Every tower is a [`Step`] with its share of the weights and a link to the others. All of them
//! are given the same batches; only the first has the classifier, and so the loss. What crosses is
//! what [`layers::towers`] says. No gradient of a weight does, since no weight is on two devices.
//!
//! The bits are those of one device that runs [`on_one_device`](layers::towers::on_one_device).

use crate::Result;
use crate::recipe::Mean;
use crate::step::{Plan, Step};
use crate::team::cause;
use comm::{Comm, Local};
use layers::towers::Towers;
use layers::{Crossing, Mode, Parameter, Spec};
use std::panic;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tensor::{Device, Shape, Target};

/// A tower's way to the others.
#[derive(Debug)]
pub(crate) struct Link {
    comm: Box<dyn Comm>,
    towers: Arc<Towers>,
}

impl Link {
    pub(crate) fn cross(&mut self, device: &mut Device, crossing: Crossing) -> Result<()> {
        let comm = &mut self.comm;
        let handle = match crossing {
            Crossing::Gather { own, all } => comm.all_gather(device, own, all)?,
            Crossing::Sum { all, own } => comm.reduce_scatter(device, all, own)?,
            Crossing::Send { x, to } => comm.send(device, x, to)?,
            Crossing::Receive { x, from } => comm.recv(device, x, from)?,
        };
        Ok(comm.wait(device, handle)?)
    }

    pub(crate) fn comm(&self) -> &dyn Comm {
        &*self.comm
    }

    pub(crate) fn comm_mut(&mut self) -> &mut dyn Comm {
        &mut *self.comm
    }

    /// A tower's network.
    pub(crate) fn spec(&self, rank: usize) -> &Spec {
        &self.towers.specs[rank]
    }

    /// Floats that a parameter has on all towers together.
    pub(crate) fn whole_len(&self, entry: &Parameter) -> usize {
        self.towers.whole_len(&entry.name, entry.len())
    }

    /// Its shape there: filters and units come first.
    pub(crate) fn whole_shape(&self, entry: &Parameter) -> Shape {
        let first = entry.shape.dims()[0];
        entry.shape.with_outer(first * self.whole_len(entry) / entry.len().max(1))
    }

    /// Which of them are here.
    pub(crate) fn share(&self, entry: &Parameter) -> std::ops::Range<usize> {
        self.share_of(self.comm.rank(), entry)
    }

    /// Which of them are on a tower that has such a parameter.
    pub(crate) fn share_of(&self, rank: usize, entry: &Parameter) -> std::ops::Range<usize> {
        let whole = self.whole_len(entry);
        let share = self.towers.share(&entry.name, whole, rank);
        share.ok().flatten().expect("a parameter of this tower")
    }
}

/// Lays out each tower for batches of `images` images, as [`Plan::new`] does, on its own device.
///
/// # Errors
/// [`Error::Network`](crate::Error::Network).
pub fn plan(
    towers: &Towers,
    images: usize,
    mode: Mode,
    input: (Mean, [usize; 2]),
    targets: &[Target],
) -> Result<Vec<Plan>> {
    let each = towers.specs.iter().zip(targets);
    each.map(|(spec, &target)| Plan::new(spec, images, mode, input, target)).collect()
}

/// Takes the memory of each tower on a device of its own. Towers of one process wait for each
/// other for `patience` at most.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) if there is not enough.
///
/// # Panics
/// If there is not a plan and a device for each tower.
pub fn open(
    towers: Towers,
    plans: Vec<Plan>,
    devices: Vec<Device>,
    patience: Duration,
) -> Result<Vec<Step>> {
    let count = towers.specs.len();
    assert_eq!([plans.len(), devices.len()], [count; 2], "a plan and a device for each tower");
    let towers = Arc::new(towers);
    let mut steps = Vec::new();
    let ranks = Local::world(count, patience);
    for ((plan, device), mut comm) in plans.into_iter().zip(devices).zip(ranks) {
        let mut step = plan.open(device)?;
        // So that no step allocates: a tower is at most one exchange ahead of another.
        for traffic in &towers.traffic {
            comm.reserve(2 * count, traffic.floats * step.images());
        }
        step.set_link(Link { comm: Box::new(comm), towers: Arc::clone(&towers) });
        steps.push(step);
    }
    Ok(steps)
}

/// Takes the memory of one tower, whose others are wherever `comm` reaches.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) if there is not enough.
pub fn join(towers: Towers, plan: Plan, device: Device, comm: Box<dyn Comm>) -> Result<Step> {
    let mut step = plan.open(device)?;
    step.set_link(Link { comm, towers: Arc::new(towers) });
    Ok(step)
}

/// Runs `work` on every tower, each on its own thread, where its device's threads are.
///
/// # Errors
/// What `work` ends with. Of several errors, the one that came first: a tower that fails makes the
/// others fail, who then only say that it is gone.
///
/// # Panics
/// As `work` does.
pub fn run<T: Send>(
    steps: Vec<Step>,
    work: impl Fn(usize, Step) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let work = &work;
    let ended: Vec<thread::Result<Result<T>>> = thread::scope(|scope| {
        let threads: Vec<_> = steps
            .into_iter()
            .enumerate()
            .map(|(tower, step)| scope.spawn(move || step.enter(|step| work(tower, step))))
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let (mut made, mut failed) = (Vec::new(), None);
    for ended in ended {
        match ended.unwrap_or_else(|panicked| panic::resume_unwind(panicked)) {
            Ok(value) => made.push(value),
            Err(error) => failed = Some(cause(failed, error)),
        }
    }
    failed.map_or(Ok(made), Err)
}
