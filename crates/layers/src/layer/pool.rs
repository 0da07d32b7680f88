//! Max and average pooling, overlapping or not (section 3.4).

use super::{Gradients, Layer, LayerSlots, Phase, Planned};
use crate::rows;
use kernels::activation;
use kernels::pool::{self, Geometry, Reduction};
use tensor::{Device, Result, Shape, Target};

#[derive(Debug)]
pub(super) struct Pool {
    geometry: Geometry,
    /// The input is a ReLU's output; the gradient gets that ReLU's mask.
    relu: bool,
}

pub(super) fn plan(row: &rows::Pool, maps: [usize; 4]) -> Planned<Pool> {
    Ok(Pool { geometry: geometry(row, maps)?, relu: row.relu })
}

pub(super) fn geometry(
    row: &rows::Pool,
    [images, height, width, channels]: [usize; 4],
) -> Planned<Geometry> {
    let rows::Pool { window, stride, pad, ceil, .. } = *row;
    if window == 0 || stride == 0 {
        return Err("window and stride must be at least 1".to_string());
    }
    if height + 2 * pad < window || width + 2 * pad < window || 2 * pad > window {
        return Err(format!(
            "a window of {window} x {window} with padding {pad} does not fit its input of \
             {height} x {width} x {channels}"
        ));
    }
    let reduction = row.reduction();
    Ok(Geometry { images, height, width, channels, reduction, window, stride, pad, ceil })
}

impl Layer for Pool {
    fn output(&self) -> Shape {
        self.geometry.out_shape()
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, _: Phase) -> Result<()> {
        pool::forward(device, &self.geometry, slots.x, slots.y)
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let (&LayerSlots { x, y, .. }, g) = (slots, &self.geometry);
        let &Gradients { dy, dx: Some(dx), .. } = gradients else { return Ok(()) };
        if dx == x {
            return pool::backward_in_place(device, g, self.relu, y, dy, x);
        }
        pool::backward(device, g, x, y, dy, dx)?;
        if self.relu { activation::mask_by_relu(device, x, dx) } else { Ok(()) }
    }

    /// The maximum of rounded values is the rounded maximum.
    fn rounds_input(&self, _: Target, y_in_bf16: bool) -> bool {
        y_in_bf16 && matches!(self.geometry.reduction, Reduction::Max { .. })
    }

    fn writes_bf16(&self) -> bool {
        true
    }

    fn reads_output(&self) -> bool {
        matches!(self.geometry.reduction, Reduction::Max { .. })
    }

    fn writes_over_input(&self) -> bool {
        pool::fits_in_place(self.geometry.reduction)
    }
}
