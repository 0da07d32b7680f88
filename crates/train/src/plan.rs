//! What training or testing takes of a device, laid out before any memory is taken.

use crate::Result;
use crate::optimizer::Optimizer;
use crate::recipe::{self, Mean};
use evaluate::Frame;
use layers::{Phase, Spec, TrainableNetwork};
use tensor::{Device, Planner, Target};

/// A network to be trained, with everything around it, laid out for one device.
#[derive(Debug)]
pub struct SingleDevicePlan {
    /// The network, or the part of it that a device has.
    pub network: TrainableNetwork,
    /// What surrounds it.
    pub frame: Frame,
    /// How it learns.
    pub optimizer: Optimizer,
    /// Bytes of memory.
    pub bytes: usize,
}

/// Where the bytes of a plan go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: usize,
    /// Weights, and in training their gradients and velocities, or both of Adam's moments.
    pub parameters: usize,
    /// Whether that is Adam's.
    pub adam: bool,
    /// Everything else: images, activations and their gradients, scratch.
    pub activations: usize,
}

impl SingleDevicePlan {
    /// Lays out a network for batches of `images` images, less a mean image of a height and width
    /// or less a mean colour, on such a device, to train it by SGD.
    ///
    /// # Errors
    /// [`Error::Network`](crate::Error::Network) if the rows do not fit together.
    pub fn new(
        spec: &Spec,
        images: usize,
        input: (Mean, [usize; 2]),
        target: Target,
    ) -> Result<SingleDevicePlan> {
        SingleDevicePlan::lay_out(spec, images, input, target, recipe::Optimizer::Sgd)
    }

    /// As [`new`](Self::new), to train it by Adam.
    ///
    /// # Errors
    /// As there.
    pub fn with_adam(
        spec: &Spec,
        images: usize,
        input: (Mean, [usize; 2]),
        target: Target,
    ) -> Result<SingleDevicePlan> {
        SingleDevicePlan::lay_out(spec, images, input, target, recipe::Optimizer::Adam)
    }

    fn lay_out(
        spec: &Spec,
        images: usize,
        input: (Mean, [usize; 2]),
        target: Target,
        optimizer: recipe::Optimizer,
    ) -> Result<SingleDevicePlan> {
        spec.check_images(images)?;
        let mut planner = Planner::new();
        let frame = Frame::plan(spec, images, spec.classes()?, input, &mut planner);
        let network = TrainableNetwork::plan(spec, images, &mut planner, target)?;
        let optimizer = match optimizer {
            recipe::Optimizer::Sgd => Optimizer::sgd(&network, &mut planner),
            recipe::Optimizer::Adam => Optimizer::adam(&network, &mut planner),
        };
        Ok(SingleDevicePlan { network, frame, optimizer, bytes: planner.total() })
    }

    /// What will be learned.
    pub fn parameters(&self) -> &layers::Parameters {
        &self.network.parameters
    }

    /// What it will take of the device's memory.
    pub fn memory(&self) -> Memory {
        let TrainableNetwork { gradients, velocities, .. } = self.network;
        let second = self.optimizer.second_moments();
        let blocks = [self.network.parameters.values, gradients, velocities].into_iter();
        let parameters = blocks.chain(second).map(|block| block.range().len()).sum();
        let (total, activations) = (self.bytes, self.bytes - parameters);
        Memory { total, parameters, adam: second.is_some(), activations }
    }

    /// Finds out whether `device` can run this plan: it has room, and a form of every op.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self, device: &mut Device) -> tensor::Result<()> {
        device.check_room(self.bytes)?;
        device.rehearse(|device| {
            self.forward(device)?;
            self.backward(device)?;
            self.test(device)
        })
    }

    /// Images to loss, its gradient and the tally.
    ///
    /// # Errors
    /// If the device fails, here and below.
    pub fn forward(&self, device: &mut Device) -> tensor::Result<()> {
        self.frame.preprocess(device, self.network.input)?;
        self.network.forward(device, Phase::Train)?;
        self.frame.loss(device, self.network.output, self.network.d_output)
    }

    /// The loss's gradient to new parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(&self, device: &mut Device) -> tensor::Result<()> {
        self.network.backward(device)?;
        self.optimizer.update(device, &self.network)
    }

    /// Images to probabilities and the tally.
    ///
    /// # Errors
    /// If the device fails.
    pub fn test(&self, device: &mut Device) -> tensor::Result<()> {
        self.frame.preprocess(device, self.network.input)?;
        self.network.forward(device, Phase::Test)?;
        self.frame.probabilities(device, self.network.output)
    }
}
