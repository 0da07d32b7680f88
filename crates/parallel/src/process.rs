//! One rank in each of several processes.

use crate::control::ControlExchange;
use crate::rank::{self, Rank};
use crate::snapshot::{copy_own, gather_others};
use crate::{Result, parameters_of};
use comm::Comm;
use data::Batch;
use evaluate::Stop;
use evaluate::Tally;
use evaluate::{BatchShape, Evaluate};
use layers::{Parameter, Spec};
use tensor::Traffic;
use train::executor::{Control, Executor, StepRequest, StepResult};
use train::recipe::Recipe;
use train::schedule::Setting;
use train::start::Start;
use train::stats::LayerStats;

/// The connection of one of several processes to the others.
#[derive(Debug)]
pub struct ProcessLink {
    /// Its communicator.
    pub comm: Box<dyn Comm>,
    /// Stops and checkpoints requested from this process.
    pub requested: Stop,
    /// Requests that all processes have agreed on. The training loop must read this one: it is set
    /// in all processes at the same step after `requested` was set in one.
    pub agreed: Stop,
}

/// The executor of one process. All processes run the same loop and request the same steps; results
/// are those of the whole batch.
#[derive(Debug)]
pub struct Process {
    rank: Box<dyn Rank>,
    exchange: ControlExchange,
    /// The whole network's parameters.
    parameters: Vec<Parameter>,
    /// Statistics of this rank's layers.
    own_stats: LayerStats,
}

impl Process {
    /// Loads `start` into a rank of the network `whole`. For the stop flags see [`ProcessLink`].
    /// All processes must run the same job.
    ///
    /// # Errors
    /// If `whole` is invalid, the parameters are another network's, or a device fails.
    pub fn start(
        whole: &Spec,
        mut rank: Box<dyn Rank>,
        requested: Stop,
        agreed: Stop,
        start: &Start,
    ) -> Result<Process> {
        let parameters = if rank.has_all_parameters() {
            rank.net().plan.network.parameters.entries.clone()
        } else {
            parameters_of(whole)?
        };
        rank::start(&mut *rank, start, &parameters)?;
        let exchange = ControlExchange::new(requested, agreed);
        let own_stats = rank.new_stats();
        Ok(Process { rank, exchange, parameters, own_stats })
    }

    fn reads_a_part(&self) -> bool {
        self.rank.part().1 > 1
    }
}

impl Evaluate for Process {
    type Error = train::Error;

    /// The number of classes is the length of the last layer's bias.
    fn batch_shape(&self) -> BatchShape {
        let classes = self.parameters.last().map_or(0, Parameter::len);
        BatchShape { images: self.rank.images(), classes, part: self.rank.part() }
    }

    fn test(&mut self, batch: &mut Batch) -> train::Result<Tally> {
        Ok(self.rank.test(batch, Some(&mut self.exchange))?)
    }

    fn probabilities(&mut self, into: &mut [f32]) -> train::Result<()> {
        Ok(self.rank.probabilities(into)?)
    }
}

impl Executor for Process {
    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn new_stats(&self) -> LayerStats {
        if self.reads_a_part() {
            self.rank.new_stats()
        } else {
            LayerStats::of_layers(&self.parameters)
        }
    }

    fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> train::Result<()> {
        self.rank.net_mut().set_rates(recipe, setting)
    }

    fn train(&mut self, batch: &mut Batch, request: StepRequest<'_>) -> train::Result<StepResult> {
        let StepRequest { step, control, stats } = request;
        self.exchange.own = control;
        let reads_a_part = self.reads_a_part();
        let Process { rank, exchange, own_stats, .. } = self;
        let tally = match stats {
            // A rank that reads a part of the batch has statistics of all layers.
            Some(stats) if !reads_a_part => {
                let tally = rank.train(batch, step, Some(&mut *own_stats), Some(&mut *exchange))?;
                let parts = rank.stats_of_all(own_stats)?;
                stats.combine(&parts.into_iter().map(|part| part.layers).collect::<Vec<_>>());
                tally
            }
            stats => rank.train(batch, step, stats, Some(&mut *exchange))?,
        };
        Ok(StepResult { tally, control: exchange.received })
    }

    fn use_average(&mut self, averaged: bool) -> train::Result<()> {
        Ok(self.rank.use_average(averaged)?)
    }

    /// Rank 0 gets the whole network's blocks; the other ranks send their shares.
    fn snapshot(&mut self, values: &mut Vec<f32>, state: &mut Vec<f32>) -> train::Result<()> {
        let is_first = self.rank.place().0 == 0;
        self.rank.all_gather_velocities()?;
        if self.rank.has_all_parameters() {
            return if is_first { self.rank.net().snapshot(values, state) } else { Ok(()) };
        }
        if is_first {
            let last = self.parameters.last().map_or(0, |entry| entry.start + entry.len());
            values.resize(last, 0.0);
            state.resize(last * self.rank.net().state().count(), 0.0);
            copy_own(&*self.rank, &self.parameters, [values, state])?;
        }
        Ok(gather_others(&mut *self.rank, &self.parameters, [values, state])?)
    }

    fn is_alone(&self) -> bool {
        false
    }

    fn agree(&mut self, own: Control) -> train::Result<Control> {
        self.exchange.own = own;
        self.rank.agree(&mut self.exchange)?;
        Ok(self.exchange.received)
    }

    fn traffic(&mut self) -> train::Result<Traffic> {
        Ok(self.rank.traffic())
    }

    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Executor>) + Send + 'a>) {
        let Process { rank, exchange, parameters, own_stats } = *self;
        rank.enter(Box::new(|rank| {
            work(Box::new(Process { rank, exchange, parameters, own_stats }))
        }));
    }
}
