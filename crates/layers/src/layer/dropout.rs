//! Dropout (section 4.2). The mask is never stored: backward draws it again.

use super::{Gradients, Layer, Phase, Wires};
use crate::rows::{self, Part};
use kernels::dropout::{self, Columns, Geometry};
use tensor::{Device, Result, Shape};

#[derive(Debug)]
pub(crate) struct Dropout {
    geometry: Geometry,
    shape: Shape,
}

pub(super) fn plan(
    row: &rows::Dropout,
    name: &str,
    input: Shape,
) -> std::result::Result<Dropout, String> {
    let Part { index, of } = row.part;
    let width = input.dims().last().copied().unwrap_or(1);
    let columns = (of > 1).then(|| Columns { width, first: index * width, whole: of * width });
    plan_columns(row, name, input, columns)
}

/// Of some of a layer's units, if another device has the others.
pub(crate) fn plan_columns(
    row: &rows::Dropout,
    name: &str,
    input: Shape,
    columns: Option<Columns>,
) -> std::result::Result<Dropout, String> {
    if !(0.0..1.0).contains(&row.drop) {
        return Err(format!("drop is {}; it must be at least 0 and below 1", row.drop));
    }
    let (units, layer, scaling) = (input.len(), stream_of(name), row.scaling());
    let geometry = Geometry { units, layer, drop: row.drop, scaling, columns };
    Ok(Dropout { geometry, shape: input })
}

/// The row's own stream of masks: its name, hashed (FNV-1a), so that rows added elsewhere change no
/// mask.
fn stream_of(name: &str) -> u32 {
    name.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Layer for Dropout {
    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&self, device: &mut Device, wires: &Wires, phase: Phase) -> Result<()> {
        match phase {
            Phase::Train => {
                dropout::forward(device, &self.geometry, wires.moment(), wires.x, wires.y)
            }
            Phase::Test | Phase::Infer => {
                dropout::at_test(device, &self.geometry, wires.x, wires.y)
            }
        }
    }

    fn backward(&self, device: &mut Device, wires: &Wires, gradients: &Gradients) -> Result<()> {
        let &Gradients { dy, dx: Some(dx), .. } = gradients else { return Ok(()) };
        dropout::backward(device, &self.geometry, wires.moment(), dy, dx)
    }

    fn reads_output(&self) -> bool {
        false
    }
}
