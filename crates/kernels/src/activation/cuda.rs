//! On a GPU: one pass, four elements per thread.

use super::Activation;
use tensor::{Cuda, Grid, Image, Result, Slot};

static IMAGE: Image = Image { op: "activation", bytes: include_bytes!("activation.fatbin") };

pub(super) fn forward(cuda: &mut Cuda, kind: Activation, x: Slot, y: Slot) -> Result<()> {
    let (n, grid) = (x.len() as u64, Grid::over(x.len().div_ceil(4)));
    let [x, y] = cuda.addresses([x, y]);
    // SAFETY: each kernel's parameters in their order; both slots hold n floats.
    unsafe {
        match kind {
            Activation::Relu => cuda.launch(&IMAGE, "activation_relu_forward", grid, &[&x, &y, &n]),
            Activation::Tanh { outer, inner } => {
                let arguments = [&outer as &dyn tensor::Argument, &inner, &x, &y, &n];
                cuda.launch(&IMAGE, "activation_tanh_forward", grid, &arguments)
            }
            Activation::Logistic => {
                cuda.launch(&IMAGE, "activation_logistic_forward", grid, &[&x, &y, &n])
            }
            Activation::LeakyRelu { slope } => {
                cuda.launch(&IMAGE, "activation_leaky_relu_forward", grid, &[&slope, &x, &y, &n])
            }
            Activation::Gelu => cuda.launch(&IMAGE, "activation_gelu_forward", grid, &[&x, &y, &n]),
        }
    }
}

/// `slots` are the saved slot, dy and dx, which may be dy.
pub(super) fn backward(cuda: &mut Cuda, kind: Activation, slots: [Slot; 3]) -> Result<()> {
    let n = slots[0].len();
    let (n, grid) = (n as u64, Grid::over(n.div_ceil(4)));
    let [y, dy, dx] = cuda.addresses(slots);
    // SAFETY: each kernel's parameters in their order; the slots hold n floats each.
    unsafe {
        match kind {
            Activation::Relu => {
                cuda.launch(&IMAGE, "activation_relu_backward", grid, &[&y, &dy, &dx, &n])
            }
            Activation::Tanh { outer, inner } => {
                let arguments = [&outer as &dyn tensor::Argument, &inner, &y, &dy, &dx, &n];
                cuda.launch(&IMAGE, "activation_tanh_backward", grid, &arguments)
            }
            Activation::Logistic => {
                cuda.launch(&IMAGE, "activation_logistic_backward", grid, &[&y, &dy, &dx, &n])
            }
            Activation::LeakyRelu { slope } => {
                let arguments = [&slope as &dyn tensor::Argument, &y, &dy, &dx, &n];
                cuda.launch(&IMAGE, "activation_leaky_relu_backward", grid, &arguments)
            }
            Activation::Gelu => {
                cuda.launch(&IMAGE, "activation_gelu_backward", grid, &[&y, &dy, &dx, &n])
            }
        }
    }
}
