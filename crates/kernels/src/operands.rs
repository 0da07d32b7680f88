//! Operands of layers with weights: [`conv`](crate::conv), [`local`](crate::local) and
//! [`linear`](crate::linear).
//!
//! `R` is an operand that is read and `W` one that is written: slots for callers, slices inside.

use tensor::Slot;

/// Operands of a forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Forward<R = Slot, W = R> {
    /// The input.
    pub x: R,
    /// The weights.
    pub w: R,
    /// The biases.
    pub b: R,
    /// Written: the output.
    pub y: W,
    /// Scratch memory.
    pub scratch: W,
}

/// Operands of the pass that computes the gradient of the input.
#[derive(Clone, Copy, Debug)]
pub struct BackwardInput<R = Slot, W = R> {
    /// The gradient of the output, before the ReLU.
    pub dy: R,
    /// The weights.
    pub w: R,
    /// Written: the gradient of the input.
    pub dx: W,
    /// Scratch memory.
    pub scratch: W,
}

/// Operands of the pass that computes the gradients of weights and biases.
#[derive(Clone, Copy, Debug)]
pub struct BackwardWeights<R = Slot, W = R> {
    /// The input.
    pub x: R,
    /// The gradient of the output, before the ReLU.
    pub dy: R,
    /// Written: the gradient of the weights.
    pub dw: W,
    /// Written: the gradient of the biases.
    pub db: W,
    /// Scratch memory.
    pub scratch: W,
}

pub(crate) type ForwardSlices<'a> = Forward<&'a [f32], &'a mut [f32]>;
pub(crate) type BackwardInputSlices<'a> = BackwardInput<&'a [f32], &'a mut [f32]>;
pub(crate) type BackwardWeightsSlices<'a> = BackwardWeights<&'a [f32], &'a mut [f32]>;
