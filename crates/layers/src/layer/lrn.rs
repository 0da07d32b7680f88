//! Local response normalisation (section 3.3).

use super::{Gradients, Layer, LayerSlots, Phase, Planned};
use crate::rows;
use kernels::lrn::{self, Geometry};
use tensor::{Device, Result, Shape};

#[derive(Debug)]
pub(super) struct Lrn {
    geometry: Geometry,
}

pub(super) fn plan(row: &rows::Lrn, maps: [usize; 4]) -> Planned<Lrn> {
    Ok(Lrn { geometry: geometry(row, maps)? })
}

pub(super) fn geometry(
    row: &rows::Lrn,
    [images, height, width, channels]: [usize; 4],
) -> Planned<Geometry> {
    let rows::Lrn { size, alpha, beta, k, divide_alpha, towers, .. } = *row;
    if size == 0 || towers == 0 || channels % towers != 0 {
        return Err(format!("size {size} or {towers} towers do not suit {channels} channels"));
    }
    if !(k > 0.0 && alpha >= 0.0 && beta.is_finite()) {
        return Err(format!("k {k} must be positive and alpha {alpha} not negative"));
    }
    let region = row.region();
    Ok(Geometry { images, height, width, channels, region, size, alpha, beta, k, divide_alpha })
}

impl Layer for Lrn {
    fn output(&self) -> Shape {
        let Geometry { images, height, width, channels, .. } = self.geometry;
        Shape::from([images, height, width, channels])
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, _: Phase) -> Result<()> {
        lrn::forward(device, &self.geometry, slots.x, slots.y)
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let &Gradients { dy, dx: Some(dx), .. } = gradients else { return Ok(()) };
        lrn::backward(device, &self.geometry, slots.x, dy, dx)
    }

    fn reads_output(&self) -> bool {
        false
    }
}
