//! A ReLU with a learned slope for each channel, or each unit where there are no maps.

use super::{Gradients, Layer, Phase, Wires, by_channel, parameter};
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

    fn forward(&self, device: &mut Device, wires: &Wires, _: Phase) -> Result<()> {
        prelu::forward(device, &self.geometry, wires.x, wires.parameters[0], wires.y)
    }

    fn backward(&self, device: &mut Device, wires: &Wires, gradients: &Gradients) -> Result<()> {
        let &Gradients { dy, dx, scratch, .. } = gradients;
        let (slopes, d_slopes) = (wires.parameters[0], gradients.parameters[0]);
        prelu::backward_slopes(device, &self.geometry, wires.x, dy, d_slopes, scratch)?;
        match dx {
            Some(dx) => prelu::backward_input(device, &self.geometry, wires.x, slopes, dy, dx),
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
