//! Nonlinearities as rows; a ReLU right after a convolution is fused into the convolution.

use super::{Gradients, Layer, LayerSlots, Phase, Planned};
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

pub(super) fn leaky(&LeakyRelu { slope }: &LeakyRelu, input: Shape) -> Planned<Nonlinearity> {
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

    fn ends_in_relu(&self) -> bool {
        self.kind == Activation::Relu
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, _: Phase) -> Result<()> {
        activation::forward(device, self.kind, slots.x, slots.y)
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let &Gradients { dy, dx: Some(dx), .. } = gradients else { return Ok(()) };
        let saved = if self.kind.reads_input() { slots.x } else { slots.y };
        activation::backward(device, self.kind, saved, dy, dx)
    }

    fn reads_output(&self) -> bool {
        !self.kind.reads_input()
    }
}
