//! The fully connected layer, with its ReLU if one follows.

use super::{Gradients, Layer, Phase, Wires, by_tower, weight_and_bias};
use crate::parameters::Parameter;
use crate::rows;
use kernels::activation::mask_by_relu;
use kernels::linear::{self, Geometry};
use tensor::{Device, Result, Shape, Target};

#[derive(Debug)]
pub(super) struct Linear {
    name: String,
    geometry: Geometry,
    /// As in the convolution's.
    sum: by_tower::Sum<Geometry>,
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
    Ok(Linear { name: row.name.clone(), geometry, sum: by_tower::Sum::of(tower) })
}

impl Layer for Linear {
    fn output(&self) -> Shape {
        Shape::from([self.geometry.images, self.geometry.outputs])
    }

    fn rectifies(&self) -> bool {
        self.geometry.relu
    }

    fn forward(&self, device: &mut Device, wires: &Wires, _: Phase) -> Result<()> {
        let ([w, b], &Wires { x, y, scratch, .. }) = (wires.weight_and_bias(), wires);
        linear::forward(device, &self.geometry, x, w, b, y, scratch)
    }

    fn backward(&self, device: &mut Device, wires: &Wires, gradients: &Gradients) -> Result<()> {
        let &Gradients { dy, dx, scratch, .. } = gradients;
        let ([w, _], [dw, db]) = (wires.weight_and_bias(), gradients.weight_and_bias());
        if self.reads_output() {
            mask_by_relu(device, wires.y, dy)?;
        }
        linear::backward_weights(device, &self.geometry, wires.x, dy, dw, db, scratch)?;
        match (dx, self.sum.tower()) {
            (Some(dx), None) => linear::backward_input(device, &self.geometry, dy, w, dx, scratch),
            (Some(dx), Some(tower)) => {
                let towers = self.geometry.outputs / tower.outputs;
                by_tower::backward_input(device, towers, (dy, w), dx, scratch, |device, s| {
                    linear::backward_input(device, tower, s.dy, s.w, s.dx, s.scratch)
                })
            }
            (None, _) => Ok(()),
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
        let tower = self.sum.tower().map_or(0, |tower| {
            let &Geometry { images, inputs, outputs, .. } = tower;
            let (dy, dx) = (Shape::from([images, outputs]), Shape::from([images, inputs]));
            by_tower::scratch(dy, dx, tower.scratch(target))
        });
        self.geometry.scratch(target).max(tower)
    }

    fn macs(&self) -> usize {
        self.geometry.images * self.geometry.inputs * self.geometry.outputs
    }
}
