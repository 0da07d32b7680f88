//! The fully connected layer, with a fused ReLU.

use super::{Gradients, Layer, LayerSlots, Phase, by_tower, weight_and_bias};
use crate::parameters::Parameter;
use crate::rows;
use kernels::activation::mask_by_relu;
use kernels::linear::{self, Geometry};
use kernels::operands::{BackwardInput, BackwardWeights, Forward};
use tensor::{Device, Result, Shape, Target};

#[derive(Debug)]
pub(super) struct Linear {
    name: String,
    geometry: Geometry,
    /// One tower, if the gradient of the input is a sum of one partial sum per tower.
    partial: Option<Geometry>,
}

pub(super) fn plan(row: &rows::Linear, input: Shape) -> std::result::Result<Linear, String> {
    if row.outputs == 0 {
        return Err("outputs must be at least 1".to_string());
    }
    let images = input.dims()[0];
    let inputs = input.len() / images;
    let geometry = Geometry { images, inputs, outputs: row.outputs, relu: row.relu };
    let tower = by_tower::share("units", row.outputs, row.towers)?;
    let tower = tower.map(|outputs| Geometry { outputs, relu: false, ..geometry });
    Ok(Linear { name: row.name.clone(), geometry, partial: tower })
}

impl Layer for Linear {
    fn output(&self) -> Shape {
        Shape::from([self.geometry.images, self.geometry.outputs])
    }

    fn ends_in_relu(&self) -> bool {
        self.geometry.relu
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, _: Phase) -> Result<()> {
        let ([w, b], &LayerSlots { x, y, scratch, .. }) = (slots.weight_and_bias(), slots);
        linear::forward(device, &self.geometry, Forward { x, w, b, y, scratch })
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let &Gradients { dy, dx, scratch, .. } = gradients;
        let ([w, _], [dw, db]) = (slots.weight_and_bias(), gradients.weight_and_bias());
        if self.reads_output() {
            mask_by_relu(device, slots.y, dy)?;
        }
        let weights = BackwardWeights { x: slots.x, dy, dw, db, scratch };
        linear::backward_weights(device, &self.geometry, weights)?;
        let Some(dx) = dx else { return Ok(()) };
        let operands = BackwardInput { dy, w, dx, scratch };
        match &self.partial {
            None => linear::backward_input(device, &self.geometry, operands),
            Some(tower) => {
                let towers = self.geometry.outputs / tower.outputs;
                by_tower::backward_input(device, towers, operands, |device, operands| {
                    linear::backward_input(device, tower, operands)
                })
            }
        }
    }

    fn reads_output(&self) -> bool {
        self.geometry.relu
    }

    fn parameters(&self) -> Vec<Parameter> {
        let Geometry { inputs, outputs, .. } = self.geometry;
        weight_and_bias(&self.name, Shape::from([outputs, inputs]), inputs)
    }

    fn scratch(&self, target: Target) -> usize {
        let tower = self.partial.map_or(0, |tower| {
            let Geometry { images, inputs, outputs, .. } = tower;
            let (dy, dx) = (Shape::from([images, outputs]), Shape::from([images, inputs]));
            by_tower::scratch(dy, dx, tower.scratch(target))
        });
        self.geometry.scratch(target).max(tower)
    }

    fn macs(&self) -> usize {
        self.geometry.images * self.geometry.inputs * self.geometry.outputs
    }
}
