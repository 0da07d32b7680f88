//! A trained network on one device: predictions and activations.

mod dropout;
mod inspect;

pub use inspect::NoSuchLayer;

use crate::{Error, Result};
use data::Batch;
use evaluate::{BatchShape, Evaluate, Frame, Tally};
use layers::{Network, Phase, Spec};
use std::path::Path;
use tensor::{Device, Planner, Recording, Target};
use weights::Weights;

/// A forward-only network with its preprocessing, planned for one device.
#[derive(Debug)]
pub struct InferencePlan {
    network: Network,
    frame: Frame,
    bytes: usize,
}

/// A trained network on its device.
#[derive(Debug)]
pub struct Predictor {
    plan: InferencePlan,
    device: Device,
    forward: Recording,
}

impl InferencePlan {
    /// Plans a network for batches of `images` images; `input` is the kind of mean and the height
    /// and width of a mean image.
    ///
    /// # Errors
    /// [`Error::Network`] if the rows do not fit together.
    pub fn new(
        spec: &Spec,
        images: usize,
        input: (weights::Mean, [usize; 2]),
        target: Target,
    ) -> Result<InferencePlan> {
        InferencePlan::with_outputs(spec, images, input, &[], target)
    }

    /// As [`new`](Self::new), with the outputs of these layers, by their names in
    /// [`Spec::describe`]: for example `conv5` before its ReLU, which is otherwise fused into it.
    /// They take memory and some time; no bit of a result depends on them.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::Layer`] if there is no such layer.
    pub fn with_outputs(
        spec: &Spec,
        images: usize,
        input: (weights::Mean, [usize; 2]),
        layers: &[&str],
        target: Target,
    ) -> Result<InferencePlan> {
        spec.check_images(images)?;
        let mut planner = Planner::new();
        let frame = Frame::plan(spec, images, spec.classes()?, input, &mut planner);
        let network = Network::plan_with_outputs(spec, images, layers, &mut planner, target)?;
        layers.iter().try_for_each(|layer| NoSuchLayer::check(spec, layer))?;
        Ok(InferencePlan { network, frame, bytes: planner.total() })
    }

    /// Memory of the plan in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Checks that `device` can run this plan: that it has enough memory and every op.
    ///
    /// # Errors
    /// If memory or an op is missing.
    pub fn check(&self, device: &mut Device) -> tensor::Result<()> {
        device.check_room(self.bytes)?;
        device.rehearse(|device| self.forward(device))
    }

    /// Allocates the memory and uploads trained weights; `path` is their file, for messages.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough memory; [`Error::Weights`] if the weights belong to
    /// another network.
    pub fn open(mut self, mut device: Device, weights: &Weights, path: &Path) -> Result<Predictor> {
        device.reserve(self.bytes)?;
        weights.upload(&mut device, &self.network.parameters, path)?;
        self.network.prepare(&mut device)?;
        self.frame.set_input(&mut device, &weights.mean.values, weights.about.input.scale)?;
        Ok(Predictor { plan: self, device, forward: Recording::default() })
    }

    /// Images to probabilities and the tally.
    fn forward(&self, device: &mut Device) -> tensor::Result<()> {
        self.frame.preprocess(device, self.network.input)?;
        self.network.forward(device, Phase::Infer)?;
        self.frame.probabilities(device, self.network.output)
    }
}

impl Predictor {
    /// The network.
    pub fn network(&self) -> &Network {
        &self.plan.network
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Classifies a batch; [`probabilities`](Evaluate::probabilities) returns its probabilities.
    ///
    /// # Errors
    /// If the device fails.
    pub fn test_on(&mut self, batch: &Batch) -> tensor::Result<Tally> {
        self.load(batch)?;
        let Predictor { plan, device, forward } = self;
        device.replay(forward, |device| plan.forward(device))?;
        plan.frame.tally(device)
    }

    fn load(&mut self, batch: &Batch) -> tensor::Result<()> {
        self.plan.frame.load(&mut self.device, batch, 0..batch.labels.len())
    }

    /// Runs `work` on the device's threads, so that a loop over batches needs no hand-over.
    pub fn enter<T: Send>(self, work: impl FnOnce(Predictor) -> T + Send) -> T {
        Device::enter_with(self, |predictor| &predictor.device, work)
    }
}

impl Evaluate for Predictor {
    type Error = Error;

    fn batch_shape(&self) -> BatchShape {
        let frame = &self.plan.frame;
        BatchShape { images: frame.images(), classes: frame.classes(), part: (0, 1) }
    }

    fn test(&mut self, batch: &mut Batch) -> Result<Tally> {
        Ok(self.test_on(batch)?)
    }

    fn probabilities(&mut self, into: &mut [f32]) -> Result<()> {
        Ok(self.device.download_into(self.plan.frame.probabilities, into)?)
    }
}
