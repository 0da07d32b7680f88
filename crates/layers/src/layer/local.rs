//! A locally connected layer, with a fused ReLU.

use super::{Gradients, Layer, LayerSlots, Phase, Planned, conv, weight_and_bias};
use crate::parameters::Parameter;
use crate::rows;
use kernels::activation::mask_by_relu;
use kernels::local::{self, Geometry};
use tensor::{Device, Result, Shape, Target};

#[derive(Debug)]
pub(super) struct Local {
    name: String,
    geometry: Geometry,
}

pub(super) fn plan(row: &rows::Local, maps: [usize; 4]) -> Planned<Local> {
    let windows = conv::geometry(&row.shared(), maps)?;
    Ok(Local { name: row.name.clone(), geometry: Geometry { windows } })
}

impl Layer for Local {
    fn output(&self) -> Shape {
        self.geometry.out_shape()
    }

    fn ends_in_relu(&self) -> bool {
        self.geometry.relu
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, _: Phase) -> Result<()> {
        local::forward(device, &self.geometry, slots.operands())
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
        local::backward_filter(device, &self.geometry, weights)?;
        input.map_or(Ok(()), |input| local::backward_input(device, &self.geometry, input))
    }

    fn reads_output(&self) -> bool {
        self.geometry.relu
    }

    fn parameters(&self) -> Vec<Parameter> {
        let filters = self.geometry.filter_shape();
        weight_and_bias(&self.name, filters, filters.len() / filters.dims()[0])
    }

    fn scratch(&self, target: Target) -> usize {
        self.geometry.scratch(target)
    }

    fn macs(&self) -> usize {
        self.geometry.macs_per_image() * self.geometry.images
    }
}
