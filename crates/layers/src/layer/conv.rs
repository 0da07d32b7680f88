//! Convolution, with a fused ReLU.

use super::{Gradients, Layer, LayerSlots, Phase, by_tower, weight_and_bias};
use crate::parameters::Parameter;
use crate::rows;
use kernels::activation::mask_by_relu;
use kernels::conv::{self, Algorithm, Geometry, Pad};
use kernels::operands::{BackwardInput, BackwardWeights, Forward};
use tensor::{Device, Result, Shape, Slot, Target};

#[derive(Debug)]
pub(super) struct Conv {
    name: String,
    geometry: Geometry,
    /// One tower, if the gradient of the input is a sum of one partial sum per tower.
    partial: Option<Geometry>,
    /// dy already has the ReLU's mask.
    masked: bool,
}

pub(super) fn plan(
    row: &rows::Conv,
    [images, height, width, channels]: [usize; 4],
) -> std::result::Result<Conv, String> {
    let &rows::Conv { filters, window, stride, groups, .. } = row;
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
        relu: row.relu,
        algorithm: if row.direct { Algorithm::Direct } else { Algorithm::Fastest },
    };
    let tower = by_tower::share("filters", filters, row.towers)?;
    if row.towers > 1 && groups > 1 {
        return Err(format!("it has {groups} groups: groups and towers exclude each other"));
    }
    let tower = tower.map(|filters| Geometry { filters, relu: false, ..geometry });
    // The algorithm that is fastest for one tower also computes the outputs, so that they are
    // bit-identical to a tower's.
    let algorithm = tower.map_or(geometry.algorithm, |tower| tower.resolved().algorithm);
    let geometry = Geometry { algorithm, ..geometry };
    Ok(Conv { name: row.name.clone(), geometry, partial: tower, masked: row.masked })
}

/// An `Err` if the windows do not fit the feature maps.
pub(super) fn check_windows(
    [height, width, channels]: [usize; 3],
    filters: usize,
    window: usize,
    stride: usize,
    pad: rows::Pad,
    groups: usize,
) -> std::result::Result<(), String> {
    if filters == 0 || window == 0 || stride == 0 || groups == 0 {
        return Err("filters, window, stride and groups must be at least 1".to_string());
    }
    if !channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
        return Err(format!(
            "{groups} groups must divide both its {channels} input channels and its {filters} \
             filters"
        ));
    }
    let [top, bottom, left, right] = pad.sides();
    if height + top + bottom < window || width + left + right < window {
        return Err(format!(
            "a window of {window} x {window} does not fit its input of \
             {height} x {width} x {channels} padded by {top} {bottom} {left} {right}"
        ));
    }
    Ok(())
}

impl Layer for Conv {
    fn output(&self) -> Shape {
        self.geometry.out_shape()
    }

    fn ends_in_relu(&self) -> bool {
        self.geometry.relu
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, phase: Phase) -> Result<()> {
        let ([w, b], &LayerSlots { x, y, scratch, .. }) = (slots.weight_and_bias(), slots);
        let operands = Forward { x, w, b, y, scratch };
        match (phase, slots.packed) {
            (Phase::Infer, Some(packed)) => {
                conv::forward_packed(device, &self.geometry, operands, packed)
            }
            _ => conv::forward(device, &self.geometry, operands),
        }
    }

    fn packed_len(&self, target: Target) -> usize {
        self.geometry.packed_len(target)
    }

    fn pack_weights(&self, device: &mut Device, slots: &LayerSlots, packed: Slot) -> Result<()> {
        let [w, _] = slots.weight_and_bias();
        conv::pack_weights(device, &self.geometry, w, packed, slots.scratch)
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
        conv::backward_filter(device, &self.geometry, weights)?;
        let Some(dx) = dx else { return Ok(()) };
        let operands = BackwardInput { dy, w, dx, scratch };
        match &self.partial {
            None => conv::backward_input(device, &self.geometry, operands),
            Some(tower) => {
                let towers = self.geometry.filters / tower.filters;
                by_tower::backward_input(device, towers, operands, |device, operands| {
                    conv::backward_input(device, tower, operands)
                })
            }
        }
    }

    fn reads_output(&self) -> bool {
        self.geometry.relu && !self.masked
    }

    fn parameters(&self) -> Vec<Parameter> {
        let filter = self.geometry.filter_shape();
        weight_and_bias(&self.name, filter, filter.len() / self.geometry.filters)
    }

    fn scratch(&self, target: Target) -> usize {
        let tower = self.partial.map_or(0, |tower| {
            by_tower::scratch(tower.out_shape(), tower.in_shape(), tower.scratch(target))
        });
        self.geometry.scratch(target).max(tower)
    }

    fn macs(&self) -> usize {
        self.geometry.macs_per_image() * self.geometry.images
    }
}
