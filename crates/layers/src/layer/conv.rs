//! Convolution, with a fused ReLU.

use super::{Gradients, Layer, LayerSlots, Phase, Planned, by_tower, weight_and_bias};
use crate::parameters::Parameter;
use crate::rows;
use kernels::activation::mask_by_relu;
use kernels::conv::{self, Algorithm, Pad, WindowGeometry};
use kernels::stored::StoredWeights;
use tensor::{Device, Result, Shape, Slot, Target};

#[derive(Debug)]
pub(super) struct Conv {
    name: String,
    geometry: WindowGeometry,
    /// One tower, if the gradient of the input is a sum of one partial sum per tower.
    partial: Option<WindowGeometry>,
    /// dy already has the ReLU's mask.
    masked: bool,
}

pub(super) fn plan(row: &rows::Conv, maps: [usize; 4]) -> Planned<Conv> {
    let geometry = geometry(row, maps)?;
    let tower = by_tower::share("filters", row.filters, row.towers)?;
    if row.towers > 1 && row.groups > 1 {
        let groups = row.groups;
        return Err(format!("it has {groups} groups: groups and towers exclude each other"));
    }
    let tower = tower.map(|filters| WindowGeometry { filters, relu: false, ..geometry });
    // The algorithm that is fastest for one tower also computes the outputs, so that they are
    // bit-identical to a tower's.
    let algorithm = tower.map_or(geometry.algorithm, |tower| tower.resolved().algorithm);
    let geometry = WindowGeometry { algorithm, ..geometry };
    Ok(Conv { name: row.name.clone(), geometry, partial: tower, masked: row.masked })
}

/// The sizes of a convolution; an `Err` if the windows do not fit the feature maps.
pub(super) fn geometry(
    row: &rows::Conv,
    [images, height, width, channels]: [usize; 4],
) -> Planned<WindowGeometry> {
    let &rows::Conv { filters, window, stride, groups, .. } = row;
    if filters == 0 || window == 0 || stride == 0 || groups == 0 {
        return Err("filters, window, stride and groups must be at least 1".to_string());
    }
    if !channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
        return Err(format!(
            "{groups} groups must divide both its {channels} input channels and its {filters} \
             filters"
        ));
    }
    let [top, bottom, left, right] = row.pad.sides();
    if height + top + bottom < window || width + left + right < window {
        return Err(format!(
            "a window of {window} x {window} does not fit its input of \
             {height} x {width} x {channels} padded by {top} {bottom} {left} {right}"
        ));
    }
    Ok(WindowGeometry {
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
    })
}

impl Layer for Conv {
    fn output(&self) -> Shape {
        self.geometry.out_shape()
    }

    fn ends_in_relu(&self) -> bool {
        self.geometry.relu
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, phase: Phase) -> Result<()> {
        let operands = slots.operands();
        match (phase, slots.packed) {
            (Phase::Infer, Some(packed)) => {
                conv::forward_packed(device, &self.geometry, operands, packed)
            }
            _ => conv::forward(device, &self.geometry, operands),
        }
    }

    fn stored_weights(&self, target: Target) -> Option<StoredWeights> {
        Some(StoredWeights::Conv(self.geometry)).filter(|weights| weights.len(target) > 0)
    }

    fn rounds_input(&self, target: Target, _: bool) -> bool {
        self.stored_weights(target).is_some()
    }

    fn writes_bf16(&self) -> bool {
        true
    }

    fn packed_len(&self, target: Target) -> usize {
        self.geometry.packed_len(target)
    }

    fn pack_weights(&self, device: &mut Device, slots: &LayerSlots, packed: Slot) -> Result<()> {
        conv::pack_weights(device, &self.geometry, slots.parameters[0], packed, slots.scratch)
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
        conv::backward_filter(device, &self.geometry, weights)?;
        let Some(input) = input else { return Ok(()) };
        let tower = self.partial.as_ref().unwrap_or(&self.geometry);
        let towers = self.geometry.filters / tower.filters;
        by_tower::backward_input(device, towers, input, |device, input| {
            conv::backward_input(device, tower, input)
        })
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
