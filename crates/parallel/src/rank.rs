//! One device of several: what data, towers and hybrid each do in their own way.

use crate::Result;
use crate::accord::Accord;
use crate::error::cause;
use comm::{Comm, Traffic};
use data::Batch;
use evaluate::Tally;
use layers::Parameter;
use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::Range;
use std::{panic, thread};
use tensor::Slot;
use train::device_network::{DeviceNetwork, Share};
use train::start::Start;
use train::stats::LayerStats;

/// A device with its part of the work. All ranks of a world do the same at the same time.
///
/// Where the others are in processes of their own, an [`Accord`] travels with every tally.
pub trait Rank: Send + Debug {
    /// Its network, on its device.
    fn net(&self) -> &DeviceNetwork;

    /// The same, to change it.
    fn net_mut(&mut self) -> &mut DeviceNetwork;

    /// The whole of a parameter, and which of its numbers are here.
    fn share(&self, entry: &Parameter) -> Share;

    /// A step of training; gives the whole batch's tally. Called by [`Rank::train`].
    ///
    /// # Errors
    /// If this device fails or another is gone, here and below.
    fn learn(
        &mut self,
        batch: &Batch,
        step: u64,
        stats: Option<&mut LayerStats>,
        accord: Option<&mut Accord>,
    ) -> Result<Tally>;

    /// Learns from a batch; gives the whole batch's tally.
    ///
    /// # Errors
    /// As above, naming the step.
    fn train(
        &mut self,
        batch: &Batch,
        step: u64,
        stats: Option<&mut LayerStats>,
        accord: Option<&mut Accord>,
    ) -> Result<Tally> {
        self.learn(batch, step, stats, accord).map_err(|error| error.at_step(step))
    }

    /// Looks at a batch without learning.
    ///
    /// # Errors
    /// As above.
    fn test(&mut self, batch: &Batch, accord: Option<&mut Accord>) -> Result<Tally>;

    /// The probabilities of the last tested images, as far as they are here.
    ///
    /// # Errors
    /// As above.
    fn probabilities(&mut self, into: &mut [f32]) -> Result<()>;

    /// Says a word and learns the others' without a step.
    ///
    /// # Errors
    /// As above.
    fn agree(&mut self, accord: &mut Accord) -> Result<()>;

    /// This rank, and how many there are.
    fn place(&self) -> (usize, usize);

    /// Which of how many equal parts of a batch it reads.
    fn part(&self) -> (usize, usize) {
        self.place()
    }

    /// Images of a batch that it reads.
    fn images(&self) -> usize;

    /// Room for statistics of the layers that are here.
    fn new_stats(&self) -> LayerStats;

    /// Whether it has all parameters (others may have them too).
    fn has_all(&self) -> bool;

    /// Before a snapshot: velocities that others have come here. All ranks do it, or none.
    ///
    /// # Errors
    /// As above.
    fn share_out_velocities(&mut self) -> Result<()>;

    /// Whether a parameter is for this rank to put into a snapshot of the whole network.
    fn is_its_own(&self, entry: &Parameter) -> bool;

    /// What a rank has that the first has not: parameters, by their number there and their name,
    /// and which numbers of the whole one they are.
    ///
    /// # Errors
    /// As above.
    fn shares_of(&self, rank: usize) -> Result<Vec<(usize, String, Range<usize>)>>;

    /// What all ranks saw in their last statistics, in their order; nothing where each has all.
    ///
    /// # Errors
    /// As above.
    fn stats_of_all(&mut self, _own: &LayerStats) -> Result<Vec<LayerStats>> {
        Ok(Vec::new())
    }

    /// The way to the others and this rank's device, and room for pieces of whatever is sent beside
    /// a step; `None` where nothing but steps is.
    fn line(&mut self) -> Option<Line<'_>>;

    /// What it has sent so far.
    fn traffic(&self) -> Traffic;

    /// Runs `work` where the device's threads are.
    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Rank>) + Send + 'a>);
}

/// A rank's way to the others, beside its steps.
pub struct Line<'a> {
    /// The way.
    pub comm: &'a mut dyn Comm,
    /// This rank's network.
    pub net: &'a mut DeviceNetwork,
    /// Room for a piece.
    pub room: Slot,
}

/// Fills a rank with what training starts from; `all` are the whole network's parameters.
///
/// # Errors
/// If parameters are another network's, or the device fails.
pub fn start(rank: &mut dyn Rank, start: &Start, all: &[Parameter]) -> Result<()> {
    let entries = &rank.net().plan.network.parameters.entries;
    let shares: HashMap<String, Share> =
        entries.iter().map(|entry| (entry.name.clone(), rank.share(entry))).collect();
    let share = |entry: &Parameter| shares[&entry.name].clone();
    Ok(rank.net_mut().start_part(start, all, &share)?)
}

/// Runs `work` on every rank, each on its own thread, where its device's threads are.
///
/// # Errors
/// What `work` ends with. Of several errors, the one that came first: a rank that fails makes the
/// others fail, who then only say that it is gone.
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
        ended.expect("it has run")
    };
    let ended: Vec<thread::Result<Result<T>>> = thread::scope(|scope| {
        let ranks = ranks.into_iter().enumerate();
        let threads: Vec<_> = ranks.map(|rank| scope.spawn(move || run(rank))).collect();
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
