//! Where towers meet.

use super::{Gradients, Layer, Phase, Wires};
use crate::rows::{Exchange, Part};
use kernels::columns::{self, ColumnRange, Geometry};
use tensor::{Device, Result, Shape, Slot};

/// What a tower has to send or receive before its pass can go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crossing {
    /// `all` becomes every tower's `own`, in the order of the towers.
    Gather {
        /// Read.
        own: Slot,
        /// Written.
        all: Slot,
    },
    /// `own` becomes the sum, in the order of the towers, of every tower's block of `all` with this
    /// tower's number.
    Sum {
        /// Read.
        all: Slot,
        /// Written.
        own: Slot,
    },
    /// `x` goes to another tower.
    Send {
        /// Read.
        x: Slot,
        /// Which.
        to: usize,
    },
    /// `x` comes from another tower.
    Receive {
        /// Written.
        x: Slot,
        /// Which.
        from: usize,
    },
}

#[derive(Debug)]
pub(super) struct Meeting {
    exchange: Exchange,
    input: Shape,
}

pub(super) fn plan(exchange: Exchange, input: Shape) -> Meeting {
    Meeting { exchange, input }
}

/// Calls `cross` for what has to cross before a forward pass of an exchange row.
pub(crate) fn before_forward<E>(
    exchange: Exchange,
    &Wires { x: own, scratch: all, .. }: &Wires,
    mut cross: impl FnMut(Crossing) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let Part { index, of } = exchange.part;
    if !exchange.to_first {
        return cross(Crossing::Gather { own, all });
    }
    if index > 0 {
        return cross(Crossing::Send { x: own, to: 0 });
    }
    (1..of).try_for_each(|from| cross(Crossing::Receive { x: block(all, from, own), from }))
}

/// Calls `cross` for what has to cross after a backward pass of an exchange row: nothing where no
/// row below learns, on any tower.
pub(crate) fn after_backward<E>(
    exchange: Exchange,
    gradients: &Gradients,
    mut cross: impl FnMut(Crossing) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let &Gradients { dx: Some(own), scratch: all, .. } = gradients else { return Ok(()) };
    let Part { index, of } = exchange.part;
    if !exchange.to_first {
        return cross(Crossing::Sum { all, own });
    }
    if index > 0 {
        return cross(Crossing::Receive { x: own, from: 0 });
    }
    (1..of).try_for_each(|to| cross(Crossing::Send { x: block(all, to, own), to }))
}

/// Tower `index`'s block of a slot that has one for each.
fn block(all: Slot, index: usize, like: Slot) -> Slot {
    all.part(index * like.len(), like.shape())
}

impl Meeting {
    fn is_left_out(&self) -> bool {
        self.exchange.to_first && self.exchange.part.index > 0
    }

    fn width(&self) -> usize {
        self.input.dims().last().copied().unwrap_or(1)
    }

    /// Tower `index`'s channels among everyone's, and alone.
    fn geometry(&self, index: usize) -> (ColumnRange, Geometry) {
        let (width, of) = (self.width(), self.exchange.part.of);
        let (among, alone) = (
            ColumnRange { width: of * width, first: index * width },
            ColumnRange { width, first: 0 },
        );
        let rows = self.input.len() / width;
        (alone, Geometry { rows, count: width, x: alone, y: among })
    }
}

impl Layer for Meeting {
    fn output(&self) -> Shape {
        let images = self.input.dims()[0];
        let wide = self.exchange.part.of * self.width();
        match *self.input.dims() {
            _ if self.is_left_out() => Shape::from([images, 0]),
            [images, height, width, _] => Shape::from([images, height, width, wide]),
            _ => Shape::from([images, self.input.len() / images * self.exchange.part.of]),
        }
    }

    /// Everyone's channels side by side.
    fn forward(&self, device: &mut Device, wires: &Wires, _: Phase) -> Result<()> {
        if self.is_left_out() {
            return Ok(());
        }
        for index in 0..self.exchange.part.of {
            let (_, g) = self.geometry(index);
            let from = if index == self.exchange.part.index {
                wires.x
            } else {
                block(wires.scratch, index, wires.x)
            };
            columns::copy(device, &g, from, wires.y)?;
        }
        Ok(())
    }

    /// Everyone's share of the gradient, one after another.
    fn backward(&self, device: &mut Device, _: &Wires, gradients: &Gradients) -> Result<()> {
        let &Gradients { dy, dx: Some(dx), scratch, .. } = gradients else { return Ok(()) };
        if self.is_left_out() {
            return Ok(());
        }
        for index in 0..self.exchange.part.of {
            let (alone, g) = self.geometry(index);
            let g = Geometry { x: g.y, y: alone, ..g };
            // The first tower's own block is complete.
            let to =
                if self.exchange.to_first && index == 0 { dx } else { block(scratch, index, dx) };
            columns::copy(device, &g, dy, to)?;
        }
        Ok(())
    }

    fn reads_output(&self) -> bool {
        false
    }

    fn exchange(&self) -> Option<Exchange> {
        Some(self.exchange)
    }

    fn scratch(&self, _target: tensor::Target) -> usize {
        if self.is_left_out() { 0 } else { self.exchange.part.of * self.input.len() }
    }
}
