//! Batch normalisation. Between the passes, the slots for the gradients of the running mean and
//! variance hold the mean and variance of the batch.

use super::{Gradients, Layer, LayerSlots, Phase, Planned, by_channel, parameter};
use crate::parameters::{Parameter, Role};
use crate::rows;
use kernels::batch_norm::{self, Backward, ForwardBatch, Geometry, Vectors};
use tensor::{Device, Result, Shape, Slot, Target};

#[derive(Debug)]
pub(super) struct BatchNorm {
    name: String,
    shape: Shape,
    geometry: Geometry,
    momentum: f32,
}

pub(super) fn plan(
    &rows::BatchNorm { epsilon, momentum }: &rows::BatchNorm,
    name: &str,
    input: Shape,
) -> Planned<BatchNorm> {
    if !(epsilon > 0.0 && epsilon.is_finite() && (0.0..=1.0).contains(&momentum)) {
        return Err(format!(
            "epsilon {epsilon} must be more than 0, and momentum {momentum} between 0 and 1"
        ));
    }
    let (rows, channels) = by_channel(input);
    let images = input.dims()[0];
    let geometry = Geometry { images, pixels: rows / images, channels, epsilon };
    Ok(BatchNorm { name: name.to_string(), shape: input, geometry, momentum })
}

const ROLES: [Role; 4] = [Role::Scale, Role::Shift, Role::Mean, Role::Variance];

impl BatchNorm {
    fn vectors(parameters: &[Slot]) -> Vectors {
        let &[scale, shift, mean, variance] = parameters else { unreachable!("four vectors") };
        Vectors { scale, shift, mean, variance }
    }
}

impl Layer for BatchNorm {
    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, phase: Phase) -> Result<()> {
        let (g, vectors) = (&self.geometry, Self::vectors(&slots.parameters));
        let &LayerSlots { x, y, scratch, .. } = slots;
        if phase != Phase::Train {
            return batch_norm::forward(device, g, x, vectors, y, scratch);
        }
        let room =
            |at: usize| scratch.part(g.scratch() + at * g.channels, Shape::from([g.channels]));
        let (mean, variance) = match &slots.gradients {
            Some(gradients) => (gradients.parameters[2], gradients.parameters[3]),
            None => (room(0), room(1)),
        };
        let vectors = Vectors { mean, variance, ..vectors };
        let batch = slots.batch();
        batch_norm::forward_batch(device, g, &ForwardBatch { batch, x, vectors, y }, scratch)
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let work = Backward {
            batch: slots.batch(),
            x: slots.x,
            dy: gradients.dy,
            vectors: Self::vectors(&slots.parameters),
            momentum: self.momentum,
            dx: gradients.dx,
            gradients: Self::vectors(&gradients.parameters),
        };
        batch_norm::backward(device, &self.geometry, &work, gradients.scratch)
    }

    fn reads_clock(&self) -> bool {
        true
    }

    fn reads_output(&self) -> bool {
        false
    }

    fn parameters(&self) -> Vec<Parameter> {
        let shape = Shape::from([self.geometry.channels]);
        ROLES.map(|role| parameter(&self.name, role, shape, 1)).into()
    }

    fn scratch(&self, _: Target) -> usize {
        self.geometry.scratch() + 2 * self.geometry.channels
    }
}
