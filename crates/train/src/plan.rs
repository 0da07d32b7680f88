//! The plan of training on one device: the memory layout, and the passes of a step.

use crate::Result;
use crate::optimizer::{Optimizer, UpdateRule};
use crate::recipe;
use evaluate::{Frame, FrameInput};
use files::numbers::mebibytes;
use layers::{Phase, Spec, TrainableNetwork};
use tensor::{Device, Planner, Target};

/// A trainable network with its input, loss and optimizer, planned for one device.
#[derive(Debug)]
pub struct SingleDevicePlan {
    /// The network, or the device's part of it.
    pub network: TrainableNetwork,
    /// Slots of images and labels, and the loss.
    pub frame: Frame,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The memory in bytes.
    pub bytes: usize,
}

/// The memory of a plan, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The total.
    pub total: usize,
    /// Weights, their gradients, velocities or both of Adam's moments, and averages.
    pub parameters: usize,
    /// Whether the optimizer is Adam.
    pub adam: bool,
    /// Whether weights are averaged.
    pub averages: bool,
    /// Everything else: images, activations and their gradients, scratch.
    pub activations: usize,
}

impl Memory {
    /// What the memory is for: `weights, gradients, velocities 27.8 MiB, activations 40.1 MiB`.
    pub fn parts(&self) -> String {
        let state = if self.adam { "moments" } else { "velocities" };
        let [parameters, activations] = [self.parameters, self.activations].map(mebibytes);
        let averages = if self.averages { ", averages" } else { "" };
        format!("weights, gradients, {state}{averages} {parameters}, activations {activations}")
    }

    /// The total and its parts, in one line.
    pub fn summary(&self, batch: usize) -> String {
        format!("{} at batch {batch} ({})", mebibytes(self.total), self.parts())
    }
}

impl SingleDevicePlan {
    /// Plans a network for training by SGD, in batches of `images` images. `input` is the kind of
    /// mean that is subtracted, the height and width of stored images, and the form of the loss.
    ///
    /// # Errors
    /// [`Error::Network`](crate::Error::Network) if the rows do not fit together.
    pub fn new(
        spec: &Spec,
        images: usize,
        input: impl Into<FrameInput>,
        target: Target,
    ) -> Result<SingleDevicePlan> {
        SingleDevicePlan::with_rule(spec, images, input, target, &UpdateRule::default())
    }

    /// As [`new`](Self::new), for training by Adam.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_adam(
        spec: &Spec,
        images: usize,
        input: impl Into<FrameInput>,
        target: Target,
    ) -> Result<SingleDevicePlan> {
        let rule = UpdateRule { optimizer: recipe::Optimizer::Adam, ..UpdateRule::default() };
        SingleDevicePlan::with_rule(spec, images, input, target, &rule)
    }

    /// As [`new`](Self::new), for any update.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_rule(
        spec: &Spec,
        images: usize,
        input: impl Into<FrameInput>,
        target: Target,
        rule: &UpdateRule,
    ) -> Result<SingleDevicePlan> {
        spec.check_images(images)?;
        let mut planner = Planner::new();
        let frame = Frame::plan(spec, images, spec.classes()?, input, &mut planner);
        let network = TrainableNetwork::plan(spec, images, &mut planner, target)?;
        let optimizer = Optimizer::new(rule, &network, &mut planner);
        Ok(SingleDevicePlan { network, frame, optimizer, bytes: planner.total() })
    }

    /// The parameters of the network.
    pub fn parameters(&self) -> &layers::Parameters {
        &self.network.parameters
    }

    /// The device memory that it needs.
    pub fn memory(&self) -> Memory {
        let TrainableNetwork { gradients, velocities, .. } = self.network;
        let blocks = [self.network.parameters.values, gradients, velocities].into_iter();
        let parameters =
            blocks.chain(self.optimizer.other_state()).map(|block| block.range().len()).sum();
        let (total, activations) = (self.bytes, self.bytes - parameters);
        let adam = self.optimizer.second_moments().is_some();
        let averages = self.optimizer.average().is_some();
        Memory { total, parameters, adam, averages, activations }
    }

    /// Checks that `device` can run this plan: that it has enough memory and supports every op.
    ///
    /// # Errors
    /// If it cannot: what is missing.
    pub fn check(&self, device: &mut Device) -> tensor::Result<()> {
        device.check_room(self.bytes)?;
        device.rehearse(|device| {
            self.forward(device)?;
            self.network.backward(device)?;
            self.optimizer.rehearse(device, &self.network)?;
            self.test(device)
        })
    }

    /// The launches of a GPU for a step: of the forward pass, the backward pass and the update. 0
    /// on a CPU.
    ///
    /// # Errors
    /// If the device lacks an op.
    pub fn launches(&self, device: &mut Device) -> tensor::Result<usize> {
        device.count_launches(|device| {
            self.forward(device)?;
            self.backward(device)
        })
    }

    /// From images to the loss, its gradient and the tally.
    ///
    /// # Errors
    /// If the device fails.
    pub fn forward(&self, device: &mut Device) -> tensor::Result<()> {
        self.frame.preprocess(device, self.network.input)?;
        self.network.forward(device, Phase::Train)?;
        self.frame.loss(device, self.network.output, self.network.d_output)
    }

    /// From the gradient of the loss to new parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(&self, device: &mut Device) -> tensor::Result<()> {
        self.network.backward(device)?;
        self.optimizer.update(device, &self.network)
    }

    /// From the gradient of the loss to the gradients of parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradients(&self, device: &mut Device) -> tensor::Result<()> {
        self.network.backward(device)
    }

    /// From gradients to new parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn update(&self, device: &mut Device) -> tensor::Result<()> {
        self.optimizer.update(device, &self.network)
    }

    /// From images to probabilities and the tally.
    ///
    /// # Errors
    /// If the device fails.
    pub fn test(&self, device: &mut Device) -> tensor::Result<()> {
        self.frame.preprocess(device, self.network.input)?;
        self.network.forward(device, Phase::Test)?;
        self.frame.probabilities(device, self.network.output)
    }
}
