//! A specification on a device: every row knows its slots.

use crate::fuse::fuse;
use crate::layer::Phase;
use crate::parameters::{Parameter, Parameters};
use crate::planned_row::PlannedRow;
use crate::planning::{self, CLOCK, Named, Outputs};
use crate::spec::{Spec, SpecError};
use std::ops::Deref;
use tensor::{DType, Device, Planner, Result, Shape, Slot, Target};

/// A network for a fixed number of images, with every slot laid out: its forward pass.
#[derive(Debug)]
pub struct Network {
    rows: Vec<PlannedRow>,
    /// Images: `[images, height, width, channels]`.
    pub input: Slot,
    /// Class scores: `[images, classes]`.
    pub output: Slot,
    /// Weights and biases.
    pub parameters: Parameters,
    /// What a pass has to know, in words: `[seed low, seed high, step]`, for dropout; how many of
    /// the images count, being the first, and the bits of their share of the batch, a float, for
    /// batch normalisation.
    pub clock: Slot,
}

/// A network that learns: both passes, with room for the gradients and velocities of all
/// parameters. Every activation lives until its row's backward pass.
#[derive(Debug)]
pub struct TrainableNetwork {
    network: Network,
    /// Where the loss writes the scores' gradient.
    pub d_output: Slot,
    /// The parameters' gradients, laid out as their [values](Parameters::values).
    pub gradients: Slot,
    /// Their velocities, likewise.
    pub velocities: Slot,
}

impl Network {
    /// Lays out `spec` for `images` images and such a device, to go forward only: an activation
    /// dies once the next row has read it. Rows are [fused](fuse) first.
    ///
    /// # Errors
    /// [`SpecError`] if rows do not fit together: it has the row's name and both shapes.
    pub fn plan(
        spec: &Spec,
        images: usize,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<Network, SpecError> {
        spec.describe()?;
        let layers = planning::build(&fuse(spec), images)?;
        let parameters = Parameters::plan(entries(&layers), planner);
        let network =
            Network::lay_out(layers, parameters, Outputs::UntilRead, spec, images, planner, target);
        planner.seal();
        Ok(network)
    }

    fn lay_out(
        layers: Vec<Named>,
        parameters: Parameters,
        outputs: Outputs,
        spec: &Spec,
        images: usize,
        planner: &mut Planner,
        target: Target,
    ) -> Network {
        let clock = planner.claim(DType::U32, Shape::from([CLOCK]));
        let [height, width, channels] = spec.input;
        let input = planner.claim(DType::F32, Shape::from([images, height, width, channels]));
        let ends = [input, clock];
        let rows = planning::forward(layers, ends, &parameters, outputs, planner, target);
        let output = rows.last().map_or(input, PlannedRow::output);
        Network { rows, input, output, parameters, clock }
    }

    /// Brings parameters into the form in which [`Phase::Infer`] reads them: packed and
    /// transformed filters. To be called once they are all there, and again if they change.
    /// Does nothing in a [`TrainableNetwork`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn prepare(&self, device: &mut Device) -> Result<()> {
        self.rows.iter().try_for_each(|row| match row.wires.kept {
            Some(kept) => row.layer.keep(device, &row.wires, kept),
            None => Ok(()),
        })
    }

    /// From `input` to `output`.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If this is a tower: its pass is [`towers::forward`](crate::towers::forward).
    pub fn forward(&self, device: &mut Device, phase: Phase) -> Result<()> {
        self.rows.iter().try_for_each(|row| row.forward(device, phase))
    }

    /// The rows in order, to observe or time them one by one.
    pub fn rows(&self) -> &[PlannedRow] {
        &self.rows
    }
}

impl TrainableNetwork {
    /// As [`Network::plan`], to go forward and backward.
    ///
    /// # Errors
    /// As there.
    pub fn plan(
        spec: &Spec,
        images: usize,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<TrainableNetwork, SpecError> {
        spec.describe()?;
        TrainableNetwork::plan_as_written(&fuse(spec), images, planner, target)
    }

    /// [`plan`](Self::plan) without fusing rows: slower, to see every row's own output, or to
    /// compare.
    ///
    /// # Errors
    /// As `plan`.
    pub fn plan_as_written(
        spec: &Spec,
        images: usize,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<TrainableNetwork, SpecError> {
        spec.describe()?;
        TrainableNetwork::plan_part(spec, images, Vec::new(), planner, target)
    }

    /// [`plan_as_written`](Self::plan_as_written) of rows that need not end in a classifier; the
    /// blocks of parameters have room for those of the rows `above`, too.
    pub(crate) fn plan_part(
        spec: &Spec,
        images: usize,
        above: Vec<Parameter>,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<TrainableNetwork, SpecError> {
        let layers = planning::build(spec, images)?;
        let entries = entries(&layers).into_iter().chain(above).collect();
        let parameters = Parameters::plan(entries, planner);
        let [gradients, velocities] =
            [(); 2].map(|()| planner.claim(DType::F32, parameters.values.shape()));
        let outputs = Outputs::UntilBackward;
        let mut network =
            Network::lay_out(layers, parameters, outputs, spec, images, planner, target);
        let Network { rows, parameters, .. } = &mut network;
        let d_output = planning::backward(rows, parameters, gradients, planner, target);
        planner.seal();
        Ok(TrainableNetwork { network, d_output, gradients, velocities })
    }

    /// From `d_output` to every parameter's gradient. Overwrites the gradients of activations as it
    /// goes.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If this is a tower: its pass is [`towers::backward`](crate::towers::backward).
    pub fn backward(&self, device: &mut Device) -> Result<()> {
        self.rows.iter().rev().try_for_each(|row| row.backward(device))
    }

    /// The gradient of parameter `idx`.
    pub fn gradient(&self, idx: usize) -> Slot {
        self.parameters.view(self.gradients, idx)
    }

    /// The velocity of parameter `idx`.
    pub fn velocity(&self, idx: usize) -> Slot {
        self.parameters.view(self.velocities, idx)
    }
}

impl Deref for TrainableNetwork {
    type Target = Network;

    fn deref(&self) -> &Network {
        &self.network
    }
}

fn entries(layers: &[Named]) -> Vec<Parameter> {
    layers.iter().flat_map(|(_, layer)| layer.parameters()).collect()
}
