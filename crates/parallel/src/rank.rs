//! One device of several: the interface that data, towers and hybrid parallelism implement.

use crate::Result;
use crate::control::ControlExchange;
use crate::error::cause;
use comm::{Comm, Traffic};
use data::Batch;
use evaluate::Tally;
use layers::Parameter;
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::ops::Range;
use std::{panic, thread};
use tensor::Slot;
use train::device_network::{DeviceNetwork, Share};
use train::start::Start;
use train::stats::LayerStats;

/// A device and its share of the work. All ranks of a world call the same methods in the same
/// order.
///
/// Ranks in different processes pass a [`ControlExchange`]; its flags travel with every tally.
///
/// Methods fail if this device fails or another rank is lost.
pub trait Rank: Send + Debug {
    /// Its network, on its device.
    fn net(&self) -> &DeviceNetwork;

    /// As [`net`](Self::net), mutable.
    fn net_mut(&mut self) -> &mut DeviceNetwork;

    /// The shape of the whole parameter, and the range of its elements that this rank holds.
    fn share(&self, entry: &Parameter) -> Share;

    /// A training step; returns the tally of the whole batch. Called by [`Rank::train`].
    ///
    /// # Errors
    /// As the trait says.
    fn step(
        &mut self,
        batch: &Batch,
        step: u64,
        stats: Option<&mut LayerStats>,
        exchange: Option<&mut ControlExchange>,
    ) -> Result<Tally>;

    /// Trains on a batch; returns the tally of the whole batch.
    ///
    /// # Errors
    /// As the trait says; the error names the step.
    fn train(
        &mut self,
        batch: &Batch,
        step: u64,
        stats: Option<&mut LayerStats>,
        exchange: Option<&mut ControlExchange>,
    ) -> Result<Tally> {
        self.step(batch, step, stats, exchange).map_err(|error| error.at_step(step))
    }

    /// Evaluates a batch without training.
    ///
    /// # Errors
    /// As the trait says.
    fn test(&mut self, batch: &Batch, exchange: Option<&mut ControlExchange>) -> Result<Tally>;

    /// Copies the probabilities of the last tested images that this rank holds.
    ///
    /// # Errors
    /// As the trait says.
    fn probabilities(&mut self, into: &mut [f32]) -> Result<()>;

    /// Exchanges control flags outside a step.
    ///
    /// # Errors
    /// As the trait says.
    fn agree(&mut self, exchange: &mut ControlExchange) -> Result<()>;

    /// This rank's number, and the number of ranks.
    fn place(&self) -> (usize, usize);

    /// The part of a batch that this rank reads: its index, and the number of equal parts.
    fn part(&self) -> (usize, usize) {
        self.place()
    }

    /// The number of images of a batch that this rank reads.
    fn images(&self) -> usize;

    /// Empty statistics of this rank's layers.
    fn new_stats(&self) -> LayerStats {
        LayerStats::new(&self.net().plan.network)
    }

    /// Whether this rank holds all parameters (others may hold them, too).
    fn has_all_parameters(&self) -> bool {
        true
    }

    /// As [`Executor::use_average`](train::executor::Executor::use_average).
    ///
    /// # Errors
    /// As the trait says.
    fn use_average(&mut self, averaged: bool) -> Result<()> {
        Ok(self.net_mut().use_average(averaged)?)
    }

    /// Collects the velocities, and Adam's second moments, that other ranks update; before a
    /// snapshot, on all ranks.
    ///
    /// # Errors
    /// As the trait says.
    fn all_gather_velocities(&mut self) -> Result<()>;

    /// Whether this rank copies a parameter into a snapshot of the whole network.
    fn writes_to_snapshot(&self, _entry: &Parameter) -> bool {
        self.place().0 == 0
    }

    /// The parameters of `rank` that rank 0 does not hold: index and name there, and the range of
    /// elements of the whole parameter.
    ///
    /// # Errors
    /// As the trait says.
    fn shares_to_gather(&self, _rank: usize) -> Result<Vec<(usize, String, Range<usize>)>> {
        Ok(Vec::new())
    }

    /// Gathers the last statistics of all ranks, in rank order; empty where each rank has those of
    /// all layers.
    ///
    /// # Errors
    /// As the trait says.
    fn stats_of_all(&mut self, _own: &LayerStats) -> Result<Vec<LayerStats>> {
        Ok(Vec::new())
    }

    /// A connection for transfers outside steps; `None` where none are needed.
    fn side_channel(&mut self) -> Option<SideChannel<'_>> {
        None
    }

    /// The messages and bytes that this rank has sent.
    fn traffic(&self) -> Traffic;

    /// Runs `work` on the device's threads.
    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Rank>) + Send + 'a>);
}

/// A rank's connection to the others for transfers outside steps.
pub struct SideChannel<'a> {
    /// The communicator.
    pub comm: &'a mut dyn Comm,
    /// This rank's network.
    pub net: &'a mut DeviceNetwork,
    /// Longer data are sent in pieces of this buffer's length.
    pub buffer: Slot,
}

impl fmt::Debug for SideChannel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rank, world) = (self.comm.rank(), self.comm.world());
        let mut out = f.debug_struct("SideChannel");
        out.field("rank", &rank).field("world", &world).finish_non_exhaustive()
    }
}

/// Loads a rank's share of the initial state; `all` are the whole network's parameters.
///
/// # Errors
/// If the parameters are another network's, or the device fails.
pub fn start(rank: &mut dyn Rank, start: &Start, all: &[Parameter]) -> Result<()> {
    let entries = &rank.net().plan.network.parameters.entries;
    let shares: HashMap<String, Share> =
        entries.iter().map(|entry| (entry.name.clone(), rank.share(entry))).collect();
    let share = |entry: &Parameter| shares[&entry.name].clone();
    Ok(rank.net_mut().start_part(start, all, &share)?)
}

/// Runs `work` for every rank, each on its own thread; returns the results in rank order.
///
/// # Errors
/// The error of the rank that failed first: its failure makes the others fail with errors that only
/// report the loss of a rank.
///
/// # Panics
/// As `work` does.
pub fn run<T: Send>(
    ranks: Vec<Box<dyn Rank>>,
    work: impl Fn(usize, Box<dyn Rank>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let work = &work;
    let run = |(number, rank): (usize, Box<dyn Rank>)| {
        let mut ended = None;
        rank.enter(Box::new(|rank| ended = Some(work(number, rank))));
        ended.expect("`enter` has run it")
    };
    let ended: Vec<thread::Result<Result<T>>> = thread::scope(|scope| {
        let ranks = ranks.into_iter().enumerate();
        let threads: Vec<_> = ranks.map(|rank| scope.spawn(move || run(rank))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let (mut results, mut failed) = (Vec::new(), None);
    for ended in ended {
        match ended.unwrap_or_else(|panic| panic::resume_unwind(panic)) {
            Ok(value) => results.push(value),
            Err(error) => failed = Some(cause(failed, error)),
        }
    }
    failed.map_or(Ok(results), Err)
}
