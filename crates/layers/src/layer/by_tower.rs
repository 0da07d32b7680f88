//! The gradient of an input summed tower by tower, on one device.
//!
//! Where each tower has a device of its own, each sums over its own filters, and what they come to
//! is added up: `(... ) + (...)`, and not one chain over all filters. One device that does the same
//! has the same bits.

use kernels::columns::{self, ColumnRange, Geometry};
use tensor::{Device, Result, Shape, Slot};

/// How the gradient of a layer's input is summed over filters or units.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sum<G> {
    /// In one chain.
    AtOnce,
    /// Tower by tower, each as it is here: the bits of towers on devices of their own.
    ByTower(G),
}

impl<G> Sum<G> {
    pub(super) fn of(tower: Option<G>) -> Sum<G> {
        tower.map_or(Sum::AtOnce, Sum::ByTower)
    }

    /// A tower's part of the layer, where sums are taken tower by tower.
    pub(super) fn tower(&self) -> Option<&G> {
        match self {
            Sum::AtOnce => None,
            Sum::ByTower(tower) => Some(tower),
        }
    }
}

/// What one tower's pass works on.
pub(super) struct Slots {
    pub(super) dy: Slot,
    pub(super) w: Slot,
    pub(super) dx: Slot,
    pub(super) scratch: Slot,
}

/// Slots inside scratch memory begin on a cache line.
const LINE: usize = 16;

/// How many of `n` each of `towers` has, if there are more than one, or why that cannot be.
pub(super) fn share(
    what: &str,
    n: usize,
    towers: usize,
) -> std::result::Result<Option<usize>, String> {
    match towers {
        0 => Err("towers must be at least 1".to_string()),
        _ if !n.is_multiple_of(towers) => {
            Err(format!("its {n} {what} cannot be shared by {towers} towers evenly"))
        }
        1 => Ok(None),
        _ => Ok(Some(n / towers)),
    }
}

/// Floats of scratch memory, for towers with such gradients and so much of their own.
pub(super) fn scratch(dy: Shape, dx: Shape, own: usize) -> usize {
    dy.len().next_multiple_of(LINE) + dx.len().next_multiple_of(LINE) + own
}

/// `dx` = what `pass` makes of each tower's columns of `dy` and run of `w`, added up in order.
pub(super) fn backward_input(
    device: &mut Device,
    towers: usize,
    (dy, w): (Slot, Slot),
    dx: Slot,
    scratch: Slot,
    pass: impl Fn(&mut Device, Slots) -> Result<()>,
) -> Result<()> {
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
        pass(device, Slots { dy: dy_own, w, dx: dx_of_this, scratch })?;
        if tower > 0 {
            columns::add(device, &Geometry::vector(dx.len()), dx_own, dx)?;
        }
    }
    Ok(())
}
