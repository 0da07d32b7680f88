//! The interface between the loop and whatever carries out its steps.

use crate::recipe::Recipe;
use crate::schedule::Setting;
use crate::stats::LayerStats;
use crate::{Error, Result};
use data::Batch;
use evaluate::Evaluate;
use evaluate::Tally;
use layers::Parameter;
use tensor::Traffic;

/// What carries out steps and tests. One device does it at no cost of its own
/// ([`SingleDevice`](crate::step::SingleDevice)); whatever else is behind it, weights go in and out
/// as the whole network's, so that neither a checkpoint nor the loop knows.
///
/// An executor is made with its parameters and input ([`Start`](crate::start::Start)); rates are
/// set before the first step of an epoch.
pub trait Executor: Evaluate<Error = Error> + Send {
    /// The whole network's parameters, and where each is in a snapshot.
    fn parameters(&self) -> &[Parameter];

    /// Room for the statistics of all layers.
    fn new_stats(&self) -> LayerStats;

    /// Sets rates and decays, for the steps that follow.
    ///
    /// # Errors
    /// If a device fails, here and below.
    fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> Result<()>;

    /// Learns from a batch, which is as it was when this returns.
    ///
    /// # Errors
    /// [`Error::Diverged`], before the update, if the loss is not a number.
    fn train(&mut self, batch: &mut Batch, request: StepRequest<'_>) -> Result<StepResult>;

    /// Copies all parameters and velocities, each as one block, laid out as
    /// [`parameters`](Self::parameters) say; behind Adam's first moments, which are its velocities,
    /// the second ones. They stay empty in a process that keeps no checkpoints, which must ask all
    /// the same.
    ///
    /// # Errors
    /// If a device fails.
    fn snapshot(&mut self, values: &mut Vec<f32>, velocities: &mut Vec<f32>) -> Result<()>;

    /// Whether no other process takes part: what this one decides is decided.
    fn is_alone(&self) -> bool {
        true
    }

    /// What all processes agree on outside a step; all must ask. Alone, what this one says.
    ///
    /// # Errors
    /// If another process is gone.
    fn agree(&mut self, own: Control) -> Result<Control> {
        Ok(own)
    }

    /// What this process's devices have sent to others so far, together.
    ///
    /// # Errors
    /// If a device is gone.
    fn traffic(&mut self) -> Result<Traffic> {
        Ok(Traffic::default())
    }

    /// Runs `work` where the device's threads are: a loop of steps inside hands nothing over.
    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Executor>) + Send + 'a>);
}

/// A step that is asked for.
#[derive(Debug)]
pub struct StepRequest<'a> {
    /// Its number, counted from one; it names the dropout masks.
    pub step: u64,
    /// What this process has to say about the run.
    pub control: Control,
    /// Filled, if they are wanted; that takes time, and allocates nothing.
    pub stats: Option<&'a mut LayerStats>,
}

impl StepRequest<'_> {
    /// A step, and nothing else.
    pub fn plain(step: u64) -> StepRequest<'static> {
        StepRequest { step, control: Control::default(), stats: None }
    }
}

/// What a step comes to.
#[derive(Clone, Copy, Debug)]
pub struct StepResult {
    /// Loss and errors on the batch.
    pub tally: Tally,
    /// What all processes have to say about the run.
    pub control: Control,
}

/// What processes must know of each other to decide alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The last checkpoint is so old that a validation is followed by another. This and the next
    /// two are the first process's word, which writes.
    pub old: bool,
    /// It is so old that another is due in any case.
    pub late: bool,
    /// It has been written.
    pub free: bool,
    /// Whoever watches some process wants the run to end.
    pub ends: bool,
}
