//! Normalisation and pooling in one pass, whose gradient lies where the input was.

use super::{Gradients, Layer, Phase, Wires, lrn, pool};
use crate::rows;
use kernels::lrn_pool::{self, Geometry};
use tensor::{Device, Result, Shape};

#[derive(Debug)]
pub(super) struct LrnPool {
    geometry: Geometry,
}

pub(super) fn plan(row: &rows::LrnPool, maps: [usize; 4]) -> std::result::Result<LrnPool, String> {
    let (lrn, pool) = (lrn::geometry(&row.lrn, maps)?, pool::geometry(&row.pool, maps)?);
    Ok(LrnPool { geometry: Geometry { lrn, pool, relu: row.pool.relu } })
}

impl Layer for LrnPool {
    fn output(&self) -> Shape {
        self.geometry.pool.out_shape()
    }

    fn forward(&self, device: &mut Device, wires: &Wires, _: Phase) -> Result<()> {
        lrn_pool::forward(device, &self.geometry, wires.x, wires.y)
    }

    fn backward(&self, device: &mut Device, wires: &Wires, gradients: &Gradients) -> Result<()> {
        let (&Wires { x, y, .. }, &Gradients { dy, dx, .. }) = (wires, gradients);
        assert_eq!(dx, Some(x), "fused where its gradient can lie over its input");
        lrn_pool::backward_in_place(device, &self.geometry, y, dy, x)
    }

    fn writes_over_input(&self) -> bool {
        true
    }
}
