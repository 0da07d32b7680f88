//! A world of one rank: one device that runs micro-shards one after another.

use crate::Result;
use crate::rank::{self, Rank};
use data::Batch;
use evaluate::Tally;
use evaluate::{BatchShape, Evaluate};
use layers::Parameter;
use train::executor::{Executor, StepRequest, StepResult};
use train::recipe::Recipe;
use train::schedule::Setting;
use train::start::Start;
use train::stats::LayerStats;

/// The executor of a single rank.
#[derive(Debug)]
pub struct SingleRank {
    rank: Box<dyn Rank>,
}

impl SingleRank {
    /// Loads `start` into the rank.
    ///
    /// # Errors
    /// If the parameters are another network's, or the device fails.
    pub fn start(mut rank: Box<dyn Rank>, start: &Start) -> Result<SingleRank> {
        let all = rank.net().plan.network.parameters.entries.clone();
        rank::start(&mut *rank, start, &all)?;
        Ok(SingleRank { rank })
    }
}

impl Evaluate for SingleRank {
    type Error = train::Error;

    fn batch_shape(&self) -> BatchShape {
        let classes = self.rank.net().plan.frame.classes();
        BatchShape { images: self.rank.images(), classes, part: (0, 1) }
    }

    fn test(&mut self, batch: &mut Batch) -> train::Result<Tally> {
        Ok(self.rank.test(batch, None)?)
    }

    fn probabilities(&mut self, into: &mut [f32]) -> train::Result<()> {
        Ok(self.rank.probabilities(into)?)
    }
}

impl Executor for SingleRank {
    fn parameters(&self) -> &[Parameter] {
        &self.rank.net().plan.network.parameters.entries
    }

    fn new_stats(&self) -> LayerStats {
        self.rank.new_stats()
    }

    fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> train::Result<()> {
        self.rank.net_mut().set_rates(recipe, setting)
    }

    fn train(&mut self, batch: &mut Batch, request: StepRequest<'_>) -> train::Result<StepResult> {
        let StepRequest { step, control, stats } = request;
        Ok(StepResult { tally: self.rank.train(batch, step, stats, None)?, control })
    }

    fn use_average(&mut self, averaged: bool) -> train::Result<()> {
        Ok(self.rank.use_average(averaged)?)
    }

    fn snapshot(&mut self, values: &mut Vec<f32>, state: &mut Vec<f32>) -> train::Result<()> {
        self.rank.net().snapshot(values, state)
    }

    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Executor>) + Send + 'a>) {
        self.rank.enter(Box::new(|rank| work(Box::new(SingleRank { rank }))));
    }
}
