//! Exchange of activations and gradients between towers.

use super::{Gradients, Layer, LayerSlots, Phase};
use crate::rows::{Exchange, Tower};
use kernels::columns::{self, ColumnRange, Geometry};
use tensor::{Device, Result, Shape, Slot};

/// A transfer between towers that an exchange row needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transfer {
    /// All-gather: `all` becomes every tower's `own`, in the order of the towers.
    AllGather {
        /// Read.
        own: Slot,
        /// Written.
        all: Slot,
    },
    /// Reduce-scatter: `own` becomes the sum over the towers, in order, of this tower's block of
    /// their `all`.
    ReduceScatter {
        /// Read.
        all: Slot,
        /// Written.
        own: Slot,
    },
    /// Sends `x` to another tower.
    Send {
        /// Read.
        x: Slot,
        /// The receiver.
        to: usize,
    },
    /// Receives `x` from another tower.
    Receive {
        /// Written.
        x: Slot,
        /// The sender.
        from: usize,
    },
}

#[derive(Debug)]
pub(super) struct ExchangeLayer {
    exchange: Exchange,
    input: Shape,
}

pub(super) fn plan(exchange: Exchange, input: Shape) -> ExchangeLayer {
    ExchangeLayer { exchange, input }
}

/// Requests the transfers of an exchange row before its forward pass.
pub(crate) fn before_forward<E>(
    exchange: Exchange,
    &LayerSlots { x: own, scratch: all, .. }: &LayerSlots,
    mut transfer: impl FnMut(Transfer) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let Tower { index, count } = exchange.tower;
    if !exchange.to_first {
        return transfer(Transfer::AllGather { own, all });
    }
    if index > 0 {
        return transfer(Transfer::Send { x: own, to: 0 });
    }
    (1..count).try_for_each(|from| transfer(Transfer::Receive { x: block(all, from, own), from }))
}

/// Requests the transfers of an exchange row after its backward pass; none if no row below has
/// parameters, on any tower.
pub(crate) fn after_backward<E>(
    exchange: Exchange,
    gradients: &Gradients,
    mut transfer: impl FnMut(Transfer) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let &Gradients { dx: Some(own), scratch: all, .. } = gradients else { return Ok(()) };
    let Tower { index, count } = exchange.tower;
    if !exchange.to_first {
        return transfer(Transfer::ReduceScatter { all, own });
    }
    if index > 0 {
        return transfer(Transfer::Receive { x: own, from: 0 });
    }
    (1..count).try_for_each(|to| transfer(Transfer::Send { x: block(all, to, own), to }))
}

/// The block of tower `index` in a slot with one block per tower.
fn block(all: Slot, index: usize, like: Slot) -> Slot {
    all.part(index * like.len(), like.shape())
}

impl ExchangeLayer {
    /// Whether this tower ends here: the exchange is to the first tower only.
    fn ends_here(&self) -> bool {
        self.exchange.to_first && self.exchange.tower.index > 0
    }

    fn width(&self) -> usize {
        self.input.dims().last().copied().unwrap_or(1)
    }

    /// The channels of tower `index`: alone, and their copy to their place among all channels.
    fn geometry(&self, index: usize) -> (ColumnRange, Geometry) {
        let (width, of) = (self.width(), self.exchange.tower.count);
        let (among, alone) = (
            ColumnRange { width: of * width, first: index * width },
            ColumnRange { width, first: 0 },
        );
        let rows = self.input.len() / width;
        (alone, Geometry { rows, count: width, x: alone, y: among })
    }
}

impl Layer for ExchangeLayer {
    fn output(&self) -> Shape {
        let images = self.input.dims()[0];
        let wide = self.exchange.tower.count * self.width();
        match *self.input.dims() {
            _ if self.ends_here() => Shape::from([images, 0]),
            [images, height, width, _] => Shape::from([images, height, width, wide]),
            _ => Shape::from([images, self.input.len() / images * self.exchange.tower.count]),
        }
    }

    /// Places the channels of all towers side by side.
    fn forward(&self, device: &mut Device, slots: &LayerSlots, _: Phase) -> Result<()> {
        if self.ends_here() {
            return Ok(());
        }
        for index in 0..self.exchange.tower.count {
            let (_, g) = self.geometry(index);
            let from = if index == self.exchange.tower.index {
                slots.x
            } else {
                block(slots.scratch, index, slots.x)
            };
            columns::copy(device, &g, from, slots.y)?;
        }
        Ok(())
    }

    /// Splits the gradient into one block per tower.
    fn backward(&self, device: &mut Device, _: &LayerSlots, gradients: &Gradients) -> Result<()> {
        let &Gradients { dy, dx: Some(dx), scratch, .. } = gradients else { return Ok(()) };
        if self.ends_here() {
            return Ok(());
        }
        for index in 0..self.exchange.tower.count {
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
        if self.ends_here() { 0 } else { self.exchange.tower.count * self.input.len() }
    }
}
