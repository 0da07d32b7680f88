//! A locally connected layer, with a fused ReLU.

use super::conv::check_windows;
use super::{Gradients, Layer, LayerSlots, Phase, weight_and_bias};
use crate::parameters::Parameter;
use crate::rows;
use kernels::activation::mask_by_relu;
use kernels::conv::Pad;
use kernels::local::{self, Geometry};
use kernels::operands::{BackwardInput, BackwardWeights, Forward};
use tensor::{Device, Result, Shape, Target};

#[derive(Debug)]
pub(super) struct Local {
    name: String,
    geometry: Geometry,
}

pub(super) fn plan(
    row: &rows::Local,
    [images, height, width, channels]: [usize; 4],
) -> std::result::Result<Local, String> {
    let &rows::Local { filters, window, stride, groups, relu, .. } = row;
    check_windows([height, width, channels], filters, window, stride, row.pad, groups)?;
    let [top, bottom, left, right] = row.pad.sides();
    let geometry = Geometry {
        images,
        height,
        width,
        channels,
        filters,
        window: (window, window),
        stride,
        pad: Pad { top, bottom, left, right },
        groups,
        relu,
    };
    Ok(Local { name: row.name.clone(), geometry })
}

impl Layer for Local {
    fn output(&self) -> Shape {
        self.geometry.out_shape()
    }

    fn ends_in_relu(&self) -> bool {
        self.geometry.relu
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, _: Phase) -> Result<()> {
        let ([w, b], &LayerSlots { x, y, scratch, .. }) = (slots.weight_and_bias(), slots);
        local::forward(device, &self.geometry, Forward { x, w, b, y, scratch })
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
        local::backward_filter(device, &self.geometry, weights)?;
        match dx {
            Some(dx) => {
                let operands = BackwardInput { dy, w, dx, scratch };
                local::backward_input(device, &self.geometry, operands)
            }
            None => Ok(()),
        }
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
