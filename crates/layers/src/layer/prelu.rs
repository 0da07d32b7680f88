//! A ReLU with a learned slope for each channel, or for each unit without feature maps.

use super::{Gradients, Layer, LayerSlots, Phase, by_channel, parameter};
use crate::parameters::{Parameter, Role};
use kernels::prelu::{self, Geometry};
use tensor::{Device, Result, Shape, Target};

#[derive(Debug)]
pub(super) struct Prelu {
    name: String,
    shape: Shape,
    geometry: Geometry,
}

pub(super) fn plan(name: &str, input: Shape) -> Prelu {
    let (rows, channels) = by_channel(input);
    Prelu { name: name.to_string(), shape: input, geometry: Geometry { rows, channels } }
}

impl Layer for Prelu {
    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, _: Phase) -> Result<()> {
        prelu::forward(device, &self.geometry, slots.x, slots.parameters[0], slots.y)
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let &Gradients { dy, dx, scratch, .. } = gradients;
        let (slopes, d_slopes) = (slots.parameters[0], gradients.parameters[0]);
        prelu::backward_slopes(device, &self.geometry, slots.x, dy, d_slopes, scratch)?;
        match dx {
            Some(dx) => prelu::backward_input(device, &self.geometry, slots.x, slopes, dy, dx),
            None => Ok(()),
        }
    }

    fn reads_output(&self) -> bool {
        false
    }

    fn parameters(&self) -> Vec<Parameter> {
        let shape = Shape::from([self.geometry.channels]);
        vec![parameter(&self.name, Role::Slope, shape, 1)]
    }

    fn scratch(&self, _: Target) -> usize {
        self.geometry.scratch()
    }
}
