//! A nonlinearity that stands alone; a ReLU right after a convolution is fused into it.

use super::{Layer, Phase, Wires};
use kernels::activation::{self, Activation};
use tensor::{Device, Result, Shape};

#[derive(Debug)]
pub(super) struct Nonlinearity {
    kind: Activation,
    shape: Shape,
}

pub(super) fn plan(kind: Activation, input: Shape) -> Nonlinearity {
    Nonlinearity { kind, shape: input }
}

impl Layer for Nonlinearity {
    fn output(&self) -> Shape {
        self.shape
    }

    fn rectifies(&self) -> bool {
        self.kind == Activation::Relu
    }

    fn forward(&self, device: &mut Device, wires: &Wires, _: Phase) -> Result<()> {
        activation::forward(device, self.kind, wires.x, wires.y)
    }

    fn backward(&self, device: &mut Device, wires: &Wires) -> Result<()> {
        match (wires.dy, wires.dx) {
            (Some(dy), Some(dx)) => activation::backward(device, self.kind, wires.y, dy, dx),
            _ => Ok(()),
        }
    }
}
