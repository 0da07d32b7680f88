//! One device of several, each in a process of its own.

use crate::accord::Accord;
use crate::rank::{self, Rank};
use crate::snapshot::{gather_others, place_own};
use crate::{Result, parameters_of};
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

/// This process's part of the work. All processes run the same loop and ask for the same steps; the
/// ranks talk to each other, and each answers with what is true of all.
#[derive(Debug)]
pub struct Process {
    rank: Box<dyn Rank>,
    accord: Accord,
    /// The whole network's.
    parameters: Vec<Parameter>,
    /// Of the layers that are here.
    own_stats: LayerStats,
}

impl Process {
    /// A rank of `whole` whose others are in processes of their own, with what training starts
    /// from. All of them must run the same job; `agreed` is raised in all at the same step once
    /// `asked` has been in one, and is what the job's loop must be given.
    ///
    /// # Errors
    /// If `whole` is no network, parameters are another's, or a device fails.
    pub fn start(
        whole: &Spec,
        mut rank: Box<dyn Rank>,
        (asked, agreed): (&Stop, &Stop),
        start: &Start,
    ) -> Result<Process> {
        let parameters = if rank.has_all() {
            rank.net().plan.network.parameters.entries.clone()
        } else {
            parameters_of(whole)?
        };
        rank::start(&mut *rank, start, &parameters)?;
        let accord = Accord::new(asked.clone(), agreed.clone());
        let own_stats = rank.new_stats();
        Ok(Process { rank, accord, parameters, own_stats })
    }

    fn reads_a_part(&self) -> bool {
        self.rank.part().1 > 1
    }
}

impl Evaluate for Process {
    type Error = train::Error;

    /// The classifier, the whole network's last layer, has a bias for each class.
    fn batch_shape(&self) -> BatchShape {
        let classes = self.parameters.last().map_or(0, Parameter::len);
        BatchShape { images: self.rank.images(), classes, part: self.rank.part() }
    }

    fn test(&mut self, batch: &mut Batch) -> train::Result<Tally> {
        Ok(self.rank.test(batch, Some(&mut self.accord))?)
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
        self.accord.own = control;
        let reads_a_part = self.reads_a_part();
        let Process { rank, accord, own_stats, .. } = self;
        let tally = match stats {
            // Whoever reads a part of the batch has statistics of all layers.
            Some(stats) if !reads_a_part => {
                let tally = rank.train(batch, step, Some(&mut *own_stats), Some(&mut *accord))?;
                let parts = rank.stats_of_all(own_stats)?;
                stats.combine(&parts.into_iter().map(|part| part.layers).collect::<Vec<_>>());
                tally
            }
            stats => rank.train(batch, step, stats, Some(&mut *accord))?,
        };
        Ok(StepResult { tally, control: accord.heard })
    }

    /// Rank 0 has the whole network's blocks; the others give what is theirs.
    fn snapshot(&mut self, values: &mut Vec<f32>, velocities: &mut Vec<f32>) -> train::Result<()> {
        let is_first = self.rank.place().0 == 0;
        self.rank.share_out_velocities()?;
        if self.rank.has_all() {
            return if is_first { self.rank.net().snapshot(values, velocities) } else { Ok(()) };
        }
        if is_first {
            let last = self.parameters.last().map_or(0, |entry| entry.start + entry.len());
            values.resize(last, 0.0);
            velocities.resize(last, 0.0);
            place_own(&*self.rank, &self.parameters, [values, velocities])?;
        }
        Ok(gather_others(&mut *self.rank, &self.parameters, [values, velocities])?)
    }

    fn is_alone(&self) -> bool {
        false
    }

    fn agree(&mut self, own: Control) -> train::Result<Control> {
        self.accord.own = own;
        self.rank.agree(&mut self.accord)?;
        Ok(self.accord.heard)
    }

    fn traffic(&mut self) -> train::Result<Traffic> {
        Ok(self.rank.traffic())
    }

    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Executor>) + Send + 'a>) {
        let Process { rank, accord, parameters, own_stats } = *self;
        rank.enter(Box::new(|rank| {
            work(Box::new(Process { rank, accord, parameters, own_stats }))
        }));
    }
}
