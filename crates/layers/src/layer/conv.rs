//! Convolution, with its ReLU if one follows.

use super::{Gradients, Layer, Phase, Wires, by_tower, weight_and_bias};
use crate::parameters::Parameter;
use crate::rows;
use kernels::activation::mask_by_relu;
use kernels::conv::{self, Algorithm, Geometry, Pad};
use tensor::{Device, Result, Shape, Slot, Target};

#[derive(Debug)]
pub(super) struct Conv {
    name: String,
    geometry: Geometry,
    /// How the gradient of the input is summed.
    sum: by_tower::Sum<Geometry>,
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
    // The outputs are what a tower computes: in its form.
    let algorithm = tower.map_or(geometry.algorithm, |tower| tower.settled().algorithm);
    let geometry = Geometry { algorithm, ..geometry };
    Ok(Conv { name: row.name.clone(), geometry, sum: by_tower::Sum::of(tower), masked: row.masked })
}

/// Whether such windows fit the maps, or why not.
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

    fn rectifies(&self) -> bool {
        self.geometry.relu
    }

    fn forward(&self, device: &mut Device, wires: &Wires, phase: Phase) -> Result<()> {
        let ([w, b], &Wires { x, y, scratch, .. }) = (wires.weight_and_bias(), wires);
        match (phase, wires.kept) {
            (Phase::Infer, Some(kept)) => {
                conv::forward_kept(device, &self.geometry, x, (w, kept), b, y, scratch)
            }
            _ => conv::forward(device, &self.geometry, x, w, b, y, scratch),
        }
    }

    fn kept(&self, target: Target) -> usize {
        self.geometry.kept(target)
    }

    fn keep(&self, device: &mut Device, wires: &Wires, kept: Slot) -> Result<()> {
        let [w, _] = wires.weight_and_bias();
        conv::keep(device, &self.geometry, w, kept, wires.scratch)
    }

    fn backward(&self, device: &mut Device, wires: &Wires, gradients: &Gradients) -> Result<()> {
        let &Gradients { dy, dx, scratch, .. } = gradients;
        let ([w, _], [dw, db]) = (wires.weight_and_bias(), gradients.weight_and_bias());
        if self.reads_output() {
            mask_by_relu(device, wires.y, dy)?;
        }
        conv::backward_filter(device, &self.geometry, wires.x, dy, dw, db, scratch)?;
        match (dx, self.sum.tower()) {
            (Some(dx), None) => conv::backward_input(device, &self.geometry, dy, w, dx, scratch),
            (Some(dx), Some(tower)) => {
                let towers = self.geometry.filters / tower.filters;
                by_tower::backward_input(device, towers, (dy, w), dx, scratch, |device, s| {
                    conv::backward_input(device, tower, s.dy, s.w, s.dx, s.scratch)
                })
            }
            (None, _) => Ok(()),
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
        let tower = self.sum.tower().map_or(0, |tower| {
            by_tower::scratch(tower.out_shape(), tower.in_shape(), tower.scratch(target))
        });
        self.geometry.scratch(target).max(tower)
    }

    fn macs(&self) -> usize {
        self.geometry.macs_per_image() * self.geometry.images
    }
}
