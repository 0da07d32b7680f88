//! Layer normalisation, over the channels of each pixel or over all units of an image.

use super::{Gradients, Layer, LayerSlots, Phase, Planned, by_channel, parameter};
use crate::parameters::{Parameter, Role};
use crate::rows;
use kernels::layer_norm::{self, Backward, Geometry};
use tensor::{Device, Result, Shape, Target};

#[derive(Debug)]
pub(super) struct LayerNorm {
    name: String,
    shape: Shape,
    geometry: Geometry,
}

pub(super) fn plan(
    &rows::LayerNorm { epsilon }: &rows::LayerNorm,
    name: &str,
    input: Shape,
) -> Planned<LayerNorm> {
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        return Err(format!("epsilon {epsilon} must be more than 0"));
    }
    let (rows, channels) = by_channel(input);
    let geometry = Geometry { rows, channels, epsilon };
    Ok(LayerNorm { name: name.to_string(), shape: input, geometry })
}

impl Layer for LayerNorm {
    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, _: Phase) -> Result<()> {
        let [scale, shift] = slots.parameters[..] else { unreachable!("two vectors") };
        layer_norm::forward(device, &self.geometry, slots.x, scale, shift, slots.y)
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let &Gradients { dy, dx, scratch, .. } = gradients;
        let scale = slots.parameters[0];
        let [d_scale, d_shift] = gradients.parameters[..] else { unreachable!("two vectors") };
        let work = Backward { x: slots.x, dy, scale, dx, d_scale, d_shift };
        layer_norm::backward(device, &self.geometry, &work, scratch)
    }

    fn reads_output(&self) -> bool {
        false
    }

    fn parameters(&self) -> Vec<Parameter> {
        let shape = Shape::from([self.geometry.channels]);
        [Role::Scale, Role::Shift].map(|role| parameter(&self.name, role, shape, 1)).into()
    }

    fn scratch(&self, _: Target) -> usize {
        self.geometry.scratch()
    }
}
