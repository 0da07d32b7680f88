//! Max and average pooling, overlapping or not (section 3.4).

use super::{Layer, Phase, Wires};
use crate::rows;
use kernels::pool::{self, Geometry};
use tensor::{Device, Result, Shape};

#[derive(Debug)]
pub(super) struct Pool {
    geometry: Geometry,
}

pub(super) fn plan(
    row: &rows::Pool,
    [images, height, width, channels]: [usize; 4],
) -> std::result::Result<Pool, String> {
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
    let kind = row.kind();
    let geometry = Geometry { images, height, width, channels, kind, window, stride, pad, ceil };
    Ok(Pool { geometry })
}

impl Layer for Pool {
    fn output(&self) -> Shape {
        self.geometry.out_shape()
    }

    fn forward(&self, device: &mut Device, wires: &Wires, _: Phase) -> Result<()> {
        pool::forward(device, &self.geometry, wires.x, wires.y)
    }

    fn backward(&self, device: &mut Device, wires: &Wires) -> Result<()> {
        match (wires.dy, wires.dx) {
            (Some(dy), Some(dx)) => {
                pool::backward(device, &self.geometry, wires.x, wires.y, dy, dx)
            }
            _ => Ok(()),
        }
    }
}
