//! A locally connected layer, with its ReLU if one follows.

use super::conv::check_windows;
use super::{Layer, Phase, Weighted, Wires, weight_and_bias};
use crate::parameters::Parameter;
use crate::rows;
use kernels::conv::Pad;
use kernels::local::{self, Geometry};
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

    fn rectifies(&self) -> bool {
        self.geometry.relu
    }

    fn forward(&self, device: &mut Device, wires: &Wires, _: Phase) -> Result<()> {
        let [(w, _), (b, _)] = wires.parameters[..] else { unreachable!("a weight and a bias") };
        local::forward(device, &self.geometry, wires.x, w, b, wires.y, wires.forward_scratch)
    }

    fn backward(&self, device: &mut Device, wires: &Wires) -> Result<()> {
        let Wires { x, backward_scratch: scratch, .. } = *wires;
        let Weighted { w, dw, db, dy } = wires.weighted(device, self.reads_output())?;
        local::backward_filter(device, &self.geometry, x, dy, dw, db, scratch)?;
        match wires.dx {
            Some(dx) => local::backward_input(device, &self.geometry, dy, w, dx, scratch),
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
