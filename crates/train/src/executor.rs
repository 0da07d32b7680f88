//! The interface between the training loop and the devices that run its steps.

use crate::recipe::Recipe;
use crate::schedule::Setting;
use crate::stats::LayerStats;
use crate::{Error, Result};
use data::{Batch, HostMemory};
use evaluate::Evaluate;
use evaluate::Tally;
use layers::Parameter;
use tensor::Traffic;

/// Runs training steps and tests, on one device ([`SingleDevice`](crate::step::SingleDevice)) or
/// several. Parameters and snapshots are always those of the whole network, so that neither the
/// loop nor checkpoints depend on the number of devices.
///
/// An executor is created with its parameters and input ([`Start`](crate::start::Start)); learning
/// rates are set before the first step, and before every one for which they change.
///
/// Methods fail if a device fails or another process is lost.
pub trait Executor: Evaluate<Error = Error> + Send {
    /// The whole network's parameters, with their offsets in a snapshot.
    fn parameters(&self) -> &[Parameter];

    /// Empty statistics of all layers.
    fn new_stats(&self) -> LayerStats;

    /// Sets learning rates and weight decays of the steps that follow.
    ///
    /// # Errors
    /// As the trait says.
    fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> Result<()>;

    /// Trains on a batch; the batch is unchanged when this returns.
    ///
    /// # Errors
    /// [`Error::Diverged`], before the update, if the loss is not finite.
    fn train(&mut self, batch: &mut Batch, request: StepRequest<'_>) -> Result<StepResult>;

    /// Before tests, puts the average of the weights in their place, if the recipe has one; after
    /// them, with `false`, puts the weights back. All processes must call it.
    ///
    /// # Errors
    /// As the trait says.
    fn use_average(&mut self, averaged: bool) -> Result<()>;

    /// Copies all parameters into one block with the layout of [`parameters`](Self::parameters),
    /// and the optimizer's state into as many blocks as it has, one after the other
    /// ([`UpdateRule::state`](crate::optimizer::UpdateRule::state)): velocities or first moments;
    /// second moments; averages. All processes must call it; the vectors stay empty in those that
    /// write no checkpoints.
    ///
    /// # Errors
    /// As the trait says.
    fn snapshot(&mut self, values: &mut Vec<f32>, state: &mut Vec<f32>) -> Result<()>;

    /// Memory for the images of a batch from which the device copies by itself, and later than the
    /// call that asks for it; `None` if there is none of this kind.
    ///
    /// # Errors
    /// If there is not enough of it.
    fn batch_memory(&self, bytes: usize) -> Result<Option<Box<dyn HostMemory>>> {
        let _ = bytes;
        Ok(None)
    }

    /// Whether this is the only process.
    fn is_alone(&self) -> bool {
        true
    }

    /// Exchanges control flags outside a step; all processes must call it. Returns those that hold
    /// for all; a single process gets its own.
    ///
    /// # Errors
    /// As the trait says.
    fn agree(&mut self, own: Control) -> Result<Control> {
        Ok(own)
    }

    /// The messages and bytes that all devices of this process have sent.
    ///
    /// # Errors
    /// As the trait says.
    fn traffic(&mut self) -> Result<Traffic> {
        Ok(Traffic::default())
    }

    /// Runs `work` on the device's threads, so that its steps need no hand-over between threads.
    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Executor>) + Send + 'a>);
}

/// A training step.
#[derive(Debug)]
pub struct StepRequest<'a> {
    /// Its number, counted from one; dropout masks are drawn for it.
    pub step: u64,
    /// This process's control flags.
    pub control: Control,
    /// Statistics to fill, which takes time and allocates nothing.
    pub stats: Option<&'a mut LayerStats>,
}

impl StepRequest<'_> {
    /// A step without statistics or control flags.
    pub fn plain(step: u64) -> StepRequest<'static> {
        StepRequest { step, control: Control::default(), stats: None }
    }
}

/// The result of a step.
#[derive(Clone, Copy, Debug)]
pub struct StepResult {
    /// Loss and errors on the batch.
    pub tally: Tally,
    /// The control flags that hold for all processes.
    pub control: Control,
}

/// Flags on which processes must agree. All but `end` are those of rank 0, which writes
/// checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The last checkpoint is old enough to save another after the next validation.
    pub save_after_validation: bool,
    /// The last checkpoint is so old that the next is due now.
    pub checkpoint_due: bool,
    /// The checkpoint writer is idle.
    pub writer_free: bool,
    /// An observer of any process has requested the end of the run.
    pub end: bool,
}
