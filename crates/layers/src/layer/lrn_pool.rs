//! Normalisation and pooling in one pass; the gradient overwrites the input.

use super::{Gradients, Layer, LayerSlots, Phase, Planned, lrn, pool};
use crate::rows;
use kernels::lrn_pool::{self, Geometry};
use tensor::{Device, Result, Shape};

#[derive(Debug)]
pub(super) struct LrnPool {
    geometry: Geometry,
}

pub(super) fn plan(row: &rows::LrnPool, maps: [usize; 4]) -> Planned<LrnPool> {
    let (lrn, pool) = (lrn::geometry(&row.lrn, maps)?, pool::geometry(&row.pool, maps)?);
    Ok(LrnPool { geometry: Geometry { lrn, pool, relu: row.pool.relu } })
}

impl Layer for LrnPool {
    fn output(&self) -> Shape {
        self.geometry.pool.out_shape()
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, _: Phase) -> Result<()> {
        lrn_pool::forward(device, &self.geometry, slots.x, slots.y)
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let (&LayerSlots { x, y, .. }, &Gradients { dy, dx, .. }) = (slots, gradients);
        assert_eq!(dx, Some(x), "its gradient must overwrite its input");
        lrn_pool::backward_in_place(device, &self.geometry, y, dy, x)
    }

    fn writes_bf16(&self) -> bool {
        true
    }

    fn writes_over_input(&self) -> bool {
        true
    }
}
