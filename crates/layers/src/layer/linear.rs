//! The fully connected layer, with a fused ReLU.

use super::{Gradients, Layer, LayerSlots, Phase, Planned, by_tower, weight_and_bias};
use crate::parameters::Parameter;
use crate::rows;
use kernels::activation::mask_by_relu;
use kernels::linear::{self, Geometry};
use kernels::stored::StoredWeights;
use tensor::{Device, Result, Shape, Target};

#[derive(Debug)]
pub(super) struct Linear {
    name: String,
    geometry: Geometry,
    /// One tower, if the gradient of the input is a sum of one partial sum per tower.
    partial: Option<Geometry>,
}

pub(super) fn plan(row: &rows::Linear, input: Shape) -> Planned<Linear> {
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
        linear::forward(device, &self.geometry, slots.operands())
    }

    fn stored_weights(&self, target: Target) -> Option<StoredWeights> {
        Some(StoredWeights::Linear(self.geometry)).filter(|weights| weights.len(target) > 0)
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        if self.reads_output() {
            mask_by_relu(device, slots.y, gradients.dy)?;
        }
        let (weights, input) = gradients.operands(slots);
        linear::backward_weights(device, &self.geometry, weights)?;
        let Some(input) = input else { return Ok(()) };
        let tower = self.partial.as_ref().unwrap_or(&self.geometry);
        let towers = self.geometry.outputs / tower.outputs;
        by_tower::backward_input(device, towers, input, |device, input| {
            linear::backward_input(device, tower, input)
        })
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
