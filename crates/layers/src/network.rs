//! A specification planned on a device.

use crate::fuse::{NamedRows, fuse_except};
use crate::layer::Phase;
use crate::parameters::{Parameter, Parameters};
use crate::planned_row::PlannedRow;
use crate::planning::{self, CLOCK, NamedLayer, Outputs};
use crate::spec::{Spec, SpecError};
use std::ops::Deref;
use tensor::{DType, Device, Planner, Result, Shape, Slot, Target};

/// A network planned for a fixed number of images: the forward pass.
#[derive(Debug)]
pub struct Network {
    rows: Vec<PlannedRow>,
    /// Images: `[images, height, width, channels]`.
    pub input: Slot,
    /// Class scores: `[images, classes]`.
    pub output: Slot,
    /// Weights and biases.
    pub parameters: Parameters,
    /// What changes from step to step, as 32-bit words: `[seed low, seed high, step]` for dropout;
    /// for batch normalisation the number of valid images (the first ones) and the bits of their
    /// share of the batch, an f32.
    pub clock: Slot,
}

/// A network planned for training: both passes, with the gradients and velocities of all
/// parameters. Every activation lives until its row's backward pass.
#[derive(Debug)]
pub struct TrainableNetwork {
    network: Network,
    /// The gradient of the scores, which the loss writes.
    pub d_output: Slot,
    /// The parameters' gradients, laid out like their [values](Parameters::values).
    pub gradients: Slot,
    /// The parameters' velocities, in the same layout.
    pub velocities: Slot,
}

impl Network {
    /// Plans the forward pass of `spec` for `images` images: an activation's memory is reused once
    /// the next row has read it. Rows are [fused](crate::fuse) first.
    ///
    /// # Errors
    /// [`SpecError`] if rows do not fit together, with the row's name and both shapes.
    pub fn plan(
        spec: &Spec,
        images: usize,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<Network, SpecError> {
        Network::plan_with_outputs(spec, images, &[], planner, target)
    }

    /// [`plan`](Self::plan), in which the rows called `outputs` have outputs of their own: no later
    /// row is fused into them. No bit of any output depends on it.
    ///
    /// # Errors
    /// As `plan`. Names of other rows have no effect.
    pub fn plan_with_outputs(
        spec: &Spec,
        images: usize,
        outputs: &[&str],
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<Network, SpecError> {
        spec.describe()?;
        let layers = planning::build(&fuse_except(spec, outputs), images)?;
        let parameters = Parameters::plan(entries(&layers), planner);
        let network =
            Network::lay_out(layers, parameters, Outputs::UntilRead, spec, images, planner, target);
        planner.seal();
        Ok(network)
    }

    fn lay_out(
        layers: Vec<NamedLayer>,
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

    /// Packs and transforms the filters for [`Phase::Infer`]. Call it after all parameters are
    /// set, and again when they change. Does nothing in a [`TrainableNetwork`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn prepare(&self, device: &mut Device) -> Result<()> {
        self.rows.iter().try_for_each(|row| match row.slots.packed {
            Some(packed) => row.layer.pack_weights(device, &row.slots, packed),
            None => Ok(()),
        })
    }

    /// From `input` to `output`.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If this is a tower: use [`towers::forward`](crate::towers::forward).
    pub fn forward(&self, device: &mut Device, phase: Phase) -> Result<()> {
        self.rows.iter().try_for_each(|row| row.forward(device, phase))
    }

    /// The rows in order, to observe or time them one by one.
    pub fn rows(&self) -> &[PlannedRow] {
        &self.rows
    }
}

impl TrainableNetwork {
    /// Plans the forward and backward pass of `spec` for `images` images.
    ///
    /// # Errors
    /// As [`Network::plan`].
    pub fn plan(
        spec: &Spec,
        images: usize,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<TrainableNetwork, SpecError> {
        spec.describe()?;
        let rows = fuse_except(spec, &[]);
        TrainableNetwork::plan_part(&rows, images, Vec::new(), planner, target)
    }

    /// [`plan`](Self::plan) without fusing rows: slower, but every row has its own output.
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
        let rows = NamedRows::as_written(spec);
        TrainableNetwork::plan_part(&rows, images, Vec::new(), planner, target)
    }

    /// [`plan_as_written`](Self::plan_as_written) of rows that need not end in a classifier; the
    /// blocks of parameters have room for those of the rows `above`, too.
    pub(crate) fn plan_part(
        rows: &NamedRows,
        images: usize,
        above: Vec<Parameter>,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<TrainableNetwork, SpecError> {
        let (spec, layers) = (&rows.spec, planning::build(rows, images)?);
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

    /// From `d_output` to every parameter's gradient. Overwrites the gradients of activations.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If this is a tower: use [`towers::backward`](crate::towers::backward).
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

fn entries(layers: &[NamedLayer]) -> Vec<Parameter> {
    layers.iter().flat_map(|(_, layer)| layer.parameters()).collect()
}
