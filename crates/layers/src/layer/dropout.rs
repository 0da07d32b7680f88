//! Dropout (section 4.2). The mask is never stored: backward draws it again.

use super::{Layer, Phase, Wires};
use crate::rows;
use kernels::dropout::{self, Geometry};
use tensor::{Device, Result, Shape};

#[derive(Debug)]
pub(super) struct Dropout {
    geometry: Geometry,
    shape: Shape,
}

pub(super) fn plan(
    row: &rows::Dropout,
    name: &str,
    input: Shape,
) -> std::result::Result<Dropout, String> {
    if !(0.0..1.0).contains(&row.drop) {
        return Err(format!("drop is {}; it must be at least 0 and below 1", row.drop));
    }
    let geometry =
        Geometry { units: input.len(), layer: stream_of(name), drop: row.drop, form: row.form() };
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
            Phase::Train => dropout::forward(device, &self.geometry, wires.clock, wires.x, wires.y),
            Phase::Test | Phase::Infer => {
                dropout::at_test(device, &self.geometry, wires.x, wires.y)
            }
        }
    }

    fn backward(&self, device: &mut Device, wires: &Wires) -> Result<()> {
        match (wires.dy, wires.dx) {
            (Some(dy), Some(dx)) => dropout::backward(device, &self.geometry, wires.clock, dy, dx),
            _ => Ok(()),
        }
    }

    fn reads_output(&self) -> bool {
        false
    }
}
