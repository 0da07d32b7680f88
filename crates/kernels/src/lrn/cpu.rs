//! On the CPU: splits the work into tasks, and selects loops compiled for the exponent beta.
//!
//! Memory bound: forward reads x and writes y, backward reads x and dy and writes dx.

use super::power::{Any, Half, One, Power, ThreeQuarters};
use super::{Geometry, Region, across, within};
use crate::simd::{CHUNK, vectorized};
use tensor::{Cpu, Pool, Result, Slot};

pub(super) fn forward(cpu: &mut Cpu, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    let ([x, y], pool) = cpu.floats_with_pool([x, y]);
    match g.beta {
        0.75 => forward_by(pool, g, ThreeQuarters, x, y),
        0.5 => forward_by(pool, g, Half, x, y),
        1.0 => forward_by(pool, g, One, x, y),
        beta => forward_by(pool, g, Any(beta), x, y),
    }
    Ok(())
}

pub(super) fn backward(cpu: &mut Cpu, g: &Geometry, x: Slot, dy: Slot, dx: Slot) -> Result<()> {
    let ([x, dy, dx], pool) = cpu.floats_with_pool([x, dy, dx]);
    match g.beta {
        0.75 => backward_by(pool, g, ThreeQuarters, x, dy, dx),
        0.5 => backward_by(pool, g, Half, x, dy, dx),
        1.0 => backward_by(pool, g, One, x, dy, dx),
        beta => backward_by(pool, g, Any(beta), x, dy, dx),
    }
    Ok(())
}

fn forward_by(pool: &Pool, g: &Geometry, power: impl Power, x: &[f32], y: &mut [f32]) {
    let task = task(g);
    pool.chunks(y, task, |index, y| {
        let x = &x[index * task..][..y.len()];
        vectorized!(match g.region {
            Region::AcrossChannels { .. } => across::forward(g, power, x, y),
            Region::WithinChannel => within::forward(g, power, x, y),
        });
    });
}

fn backward_by(
    pool: &Pool,
    g: &Geometry,
    power: impl Power,
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    let task = task(g);
    pool.chunks(dx, task, |index, dx| {
        let x = &x[index * task..][..dx.len()];
        let dy = &dy[index * task..][..dx.len()];
        vectorized!(match g.region {
            Region::AcrossChannels { .. } => across::backward(g, power, x, dy, dx),
            Region::WithinChannel => within::backward(g, power, x, dy, dx),
        });
    });
}

/// Elements per task: whole towers of pixels, or whole images for windows over the map.
fn task(g: &Geometry) -> usize {
    let whole = match g.region {
        Region::AcrossChannels { towers } => g.channels / towers,
        Region::WithinChannel => g.height * g.width * g.channels,
    };
    (CHUNK / whole.max(1)).max(1) * whole.max(1)
}
