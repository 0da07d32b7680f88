//! A specification planned on a device.

use crate::clock::{Clock, ClockSlot};
use crate::fuse::{NamedRows, fuse_except};
use crate::layer::Layer;
use crate::parameters::{Parameter, Parameters};
use crate::planned_row::PlannedRow;
use crate::planning::{self, NamedLayer, Outputs};
use crate::slots::Phase;
use crate::spec::{Spec, SpecError};
use kernels::stored::StoredWeights;
use kernels::value;
use std::collections::BTreeMap;
use std::ops::Deref;
use tensor::{DType, Device, Error, Planner, Result, Shape, Slot, Target};

/// A network planned for a fixed number of images: the forward pass.
#[derive(Debug)]
pub struct Network {
    rows: Vec<PlannedRow>,
    /// Images: `[images, height, width, channels]`, in bf16 where the first row rounds them anyway.
    pub input: Slot,
    /// Class scores: `[images, classes]`.
    pub output: Slot,
    /// Weights and biases.
    pub parameters: Parameters,
    clock: ClockSlot,
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
    /// The parameters' velocities, in the same layout; empty if there is no
    /// [optimizer](Self::plan_as_written).
    pub velocities: Slot,
}

/// Whether memory is planned for an optimizer's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptimizerState {
    Planned,
    None,
}

impl Network {
    /// Plans the forward pass of `spec` for `images` images: an activation's memory is reused once
    /// the next row has read it. Rows are [fused](crate::fuse) first. On a CPU in bf16, the weights
    /// of convolutions and linear layers are stored in bf16 only, and activations where the next row
    /// rounds them anyway; no bit of the output depends on it.
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
        let stored = stored_weights(&layers, target);
        let parameters = Parameters::plan(entries(&layers), &stored, planner, target);
        let types = planning::value_types(&layers, outputs, target);
        let outputs = (Outputs::UntilRead, &types[..]);
        let network = Network::lay_out(layers, parameters, outputs, spec, images, planner, target);
        planner.seal();
        Ok(network)
    }

    fn lay_out(
        layers: Vec<NamedLayer>,
        parameters: Parameters,
        (outputs, types): (Outputs, &[DType]),
        spec: &Spec,
        images: usize,
        planner: &mut Planner,
        target: Target,
    ) -> Network {
        let clock = ClockSlot::plan(planner);
        let [height, width, channels] = spec.input;
        let input = planner.claim(types[0], Shape::from([images, height, width, channels]));
        let outputs = (outputs, &types[1..]);
        let rows = planning::forward(layers, input, clock, &parameters, outputs, planner, target);
        let output = rows.last().map_or(input, PlannedRow::output);
        Network { rows, input, output, parameters, clock }
    }

    /// Packs and transforms the filters for [`Phase::Infer`]. Call it after all parameters are
    /// set, and again when they change. Does nothing in a [`TrainableNetwork`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn prepare(&self, device: &mut Device) -> Result<()> {
        for row in &self.rows {
            if let Some(packed) = row.slots.packed {
                row.layer.pack_weights(device, &row.slots, packed)?;
            }
        }
        self.parameters.readiness().set_packed(true);
        Ok(())
    }

    /// Uploads what changes from step to step, for passes in [`Phase::Train`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_clock(&self, device: &mut Device, clock: Clock) -> Result<()> {
        self.clock.upload(device, clock)?;
        self.parameters.readiness().set_clock();
        Ok(())
    }

    /// Replaces the [share](Clock::share) of a clock that is set; it may be known only after the
    /// forward pass.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_share(&self, device: &mut Device, share: f32) -> Result<()> {
        self.clock.upload_share(device, share)
    }

    /// Uploads the input: preprocessed images of this shape, `[images, height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Misuse`] if it is not the shape of the network's input, for example because channels
    /// come before pixels; if the device fails.
    pub fn set_input(&self, device: &mut Device, shape: [usize; 4], values: &[f32]) -> Result<()> {
        check_input(self.input.shape(), shape, values.len())?;
        value::upload(device, self.input, values)
    }

    /// From `input` to `output`.
    ///
    /// # Errors
    /// [`Error::Misuse`] in [`Phase::Train`] without a [clock](Self::set_clock) that a row reads, or
    /// in [`Phase::Infer`] without [`prepare`](Self::prepare); if the device fails.
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
        let (rows, state) = (fuse_except(spec, &[]), OptimizerState::Planned);
        TrainableNetwork::plan_part(&rows, images, (Vec::new(), state), planner, target)
    }

    /// [`plan`](Self::plan) without fusing rows and without the state of an optimizer: slower, but
    /// every row has its own output, and a third of the parameters' memory is saved. For gradients
    /// that train nothing.
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
        let (rows, state) = (NamedRows::as_written(spec), OptimizerState::None);
        TrainableNetwork::plan_part(&rows, images, (Vec::new(), state), planner, target)
    }

    /// [`plan`](Self::plan) of rows that are fused as given and need not end in a classifier; the
    /// blocks of parameters have room for those of the rows `above`, too.
    pub(crate) fn plan_part(
        rows: &NamedRows,
        images: usize,
        (above, state): (Vec<Parameter>, OptimizerState),
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<TrainableNetwork, SpecError> {
        let (spec, layers) = (&rows.spec, planning::build(rows, images)?);
        let entries = entries(&layers).into_iter().chain(above).collect();
        let parameters = Parameters::plan(entries, &BTreeMap::new(), planner, target);
        let all = parameters.values.shape();
        let gradients = planner.claim(DType::F32, all);
        let state = if state == OptimizerState::Planned { all } else { Shape::from([0]) };
        let velocities = planner.claim(DType::F32, state);
        let types = vec![DType::F32; layers.len() + 1];
        let outputs = (Outputs::UntilBackward, &types[..]);
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

/// The weights that are stored in bf16, by the index of the parameter.
fn stored_weights(layers: &[NamedLayer], target: Target) -> BTreeMap<usize, StoredWeights> {
    let mut next = 0;
    let first = |layer: &dyn Layer| {
        let first = next;
        next += layer.parameters().len();
        Some((first, layer.stored_weights(target)?))
    };
    layers.iter().map(|(_, layer)| layer.as_ref()).filter_map(first).collect()
}

fn entries(layers: &[NamedLayer]) -> Vec<Parameter> {
    layers.iter().flat_map(|(_, layer)| layer.parameters()).collect()
}

/// Checks an array of images against a network's input.
fn check_input(planned: Shape, given: [usize; 4], values: usize) -> Result<()> {
    let shape = given.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
    let refused = |reason: String| Err(Error::Misuse(reason));
    let [images, first, second, third] = given;
    if planned.dims() != given {
        let hint = if planned.dims() == [images, second, third, first] {
            ": the array has channels before pixels (NCHW), so transpose it to NHWC"
        } else {
            ""
        };
        return refused(format!(
            "an array of {shape}, where the network's input is {planned} (images, height, width, \
             channels){hint}"
        ));
    }
    if values != planned.len() {
        return refused(format!("{values} values for an array of {shape}"));
    }
    Ok(())
}
