//! Dropout (section 4.2). The mask is never stored: backward draws it again.

use super::{Gradients, Layer, LayerSlots, Phase, Planned};
use crate::rows::{self, Tower};
use kernels::dropout::{self, Columns, Geometry};
use tensor::{Device, Result, Shape};

#[derive(Debug)]
pub(crate) struct Dropout {
    geometry: Geometry,
    shape: Shape,
}

pub(super) fn plan(row: &rows::Dropout, name: &str, input: Shape) -> Planned<Dropout> {
    let Tower { index, count } = row.tower;
    let width = input.dims().last().copied().unwrap_or(1);
    let columns =
        (count > 1).then(|| Columns { width, first: index * width, whole: count * width });
    plan_columns(row, name, input, columns)
}

/// Dropout on `columns` of a layer whose other units are on other devices; on all of them if
/// `None`.
pub(crate) fn plan_columns(
    row: &rows::Dropout,
    name: &str,
    input: Shape,
    columns: Option<Columns>,
) -> Planned<Dropout> {
    if !(0.0..1.0).contains(&row.drop) {
        return Err(format!("drop is {}; it must be at least 0 and below 1", row.drop));
    }
    let (units, layer, scaling) = (input.len(), stream_of(name), row.scaling());
    let geometry = Geometry { units, layer, drop: row.drop, scaling, columns };
    Ok(Dropout { geometry, shape: input })
}

/// The number of the row's mask stream: the FNV-1a hash of its name, so that masks do not depend on
/// other rows.
fn stream_of(name: &str) -> u32 {
    name.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Layer for Dropout {
    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, phase: Phase) -> Result<()> {
        match phase {
            Phase::Train => {
                dropout::forward(device, &self.geometry, slots.seed_and_step(), slots.x, slots.y)
            }
            Phase::Test | Phase::Infer => {
                dropout::at_test(device, &self.geometry, slots.x, slots.y)
            }
        }
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let &Gradients { dy, dx: Some(dx), .. } = gradients else { return Ok(()) };
        dropout::backward(device, &self.geometry, slots.seed_and_step(), dy, dx)
    }

    fn reads_clock(&self) -> bool {
        true
    }

    fn reads_output(&self) -> bool {
        false
    }
}
