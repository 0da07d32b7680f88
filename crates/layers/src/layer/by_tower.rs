//! The gradient of an input summed tower by tower, on one device.
//!
//! With one tower per device, each tower sums over its own filters and the sums are added:
//! `(...) + (...)` instead of one chain over all filters. Summing in the same order makes one
//! device bit-identical to several.

use super::Planned;
use kernels::columns::{self, ColumnRange, Geometry};
use kernels::operands::BackwardInput;
use tensor::{Device, Result, Shape};

/// Slots inside scratch memory start on a cache line.
const LINE: usize = 16;

/// The share of each tower of `n` filters or units; `None` for one tower, an `Err` if `n` cannot be
/// divided.
pub(super) fn share(what: &str, n: usize, towers: usize) -> Planned<Option<usize>> {
    match towers {
        0 => Err("towers must be at least 1".to_string()),
        _ if !n.is_multiple_of(towers) => {
            Err(format!("its {n} {what} cannot be shared by {towers} towers evenly"))
        }
        1 => Ok(None),
        _ => Ok(Some(n / towers)),
    }
}

/// Floats of scratch memory, for one tower's gradients of these shapes and `own` floats of its
/// pass.
pub(super) fn scratch(dy: Shape, dx: Shape, own: usize) -> usize {
    dy.len().next_multiple_of(LINE) + dx.len().next_multiple_of(LINE) + own
}

/// `dx` = the sum over the towers, in order, of `pass` on a tower's columns of `dy` and part of
/// `w`; with one tower, `pass` on the whole.
pub(super) fn backward_input(
    device: &mut Device,
    towers: usize,
    whole: BackwardInput,
    pass: impl Fn(&mut Device, BackwardInput) -> Result<()>,
) -> Result<()> {
    if towers == 1 {
        return pass(device, whole);
    }
    let BackwardInput { dy, w, dx, scratch } = whole;
    let whole = dy.shape().dims().last().copied().unwrap_or(1);
    let (rows, width) = (dy.len() / whole, whole / towers);
    let flat = |len: usize| Shape::from([len]);
    let dy_own = scratch.part(0, flat(rows * width));
    let dx_start = dy_own.len().next_multiple_of(LINE);
    let dx_own = scratch.part(dx_start, flat(dx.len()));
    let rest = dx_start + dx.len().next_multiple_of(LINE);
    let scratch = scratch.part(rest, flat(scratch.len() - rest));
    let here = ColumnRange { width, first: 0 };
    for tower in 0..towers {
        let there = ColumnRange { width: whole, first: tower * width };
        columns::copy(device, &Geometry { rows, count: width, x: there, y: here }, dy, dy_own)?;
        let w = w.part(tower * w.len() / towers, flat(w.len() / towers));
        let dx_of_this = if tower == 0 { dx } else { dx_own };
        pass(device, BackwardInput { dy: dy_own, w, dx: dx_of_this, scratch })?;
        if tower > 0 {
            columns::add(device, &Geometry::vector(dx.len()), dx_own, dx)?;
        }
    }
    Ok(())
}
