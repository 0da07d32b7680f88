//! A nonlinearity that stands alone; a ReLU right after a convolution is fused into it.

use super::{Gradients, Layer, Phase, Wires};
use crate::rows::LeakyRelu;
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

pub(super) fn leaky(
    &LeakyRelu { slope }: &LeakyRelu,
    input: Shape,
) -> std::result::Result<Nonlinearity, String> {
    if slope >= 0.0 && slope.is_finite() {
        Ok(plan(Activation::LeakyRelu { slope }, input))
    } else {
        Err(format!("its slope is {slope}; it must not be negative"))
    }
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

    fn backward(&self, device: &mut Device, wires: &Wires, gradients: &Gradients) -> Result<()> {
        let &Gradients { dy, dx: Some(dx), .. } = gradients else { return Ok(()) };
        let kept = if self.kind.reads_input() { wires.x } else { wires.y };
        activation::backward(device, self.kind, kept, dy, dx)
    }

    fn reads_output(&self) -> bool {
        !self.kind.reads_input()
    }
}
