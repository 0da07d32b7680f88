//! A row on a device: geometry and parameters, forward, backward.

mod activation;
mod batch_norm;
mod by_tower;
mod conv;
pub(crate) mod dropout;
pub(crate) mod exchange;
mod layer_norm;
mod linear;
mod local;
mod lrn;
mod lrn_pool;
mod pool;
mod prelu;

use crate::parameters::{Parameter, Role};
use crate::rows::{Exchange, Row};
pub use exchange::Crossing;
use std::fmt::Debug;
use tensor::{Device, Result, Shape, Slot, Target};

/// What a pass is for: dropout behaves differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Units are dropped; a backward pass follows.
    Train,
    /// Nothing is random.
    Test,
    /// The same, and the parameters are those that [`Network::prepare`](crate::Network::prepare)
    /// has met last.
    Infer,
}

/// The slots a layer works on. The network lays them out; a layer only reads and writes them.
#[derive(Clone, Debug)]
pub struct Wires {
    /// Its input.
    pub x: Slot,
    /// Its output.
    pub y: Slot,
    /// The values of its parameters, in the order in which it names them.
    pub parameters: Vec<Slot>,
    /// What the layer keeps from pass to pass; only in a network that goes forward only.
    pub kept: Option<Slot>,
    /// Memory for the forward pass to work in; it means nothing afterwards.
    pub scratch: Slot,
    /// As in [`Network::clock`](crate::Network::clock).
    pub clock: Slot,
    /// What the backward pass works on beside these; absent in a network that goes forward only,
    /// and below the first row that learns.
    pub gradients: Option<Gradients>,
}

/// The slots of a layer's backward pass.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// The gradient of the layer's output, which the layer may overwrite.
    pub dy: Slot,
    /// The gradient of its input; absent where nothing below learns. It is `x` itself where the
    /// layer writes over its input and no later pass reads that.
    pub dx: Option<Slot>,
    /// The gradients of its parameters, in the order in which it names them.
    pub parameters: Vec<Slot>,
    /// Memory to work in; it means nothing afterwards.
    pub scratch: Slot,
}

impl Wires {
    /// Seed and step.
    pub(crate) fn moment(&self) -> Slot {
        self.clock.part(0, Shape::from([3]))
    }

    /// How many images count, and the bits of their share.
    pub(crate) fn batch(&self) -> Slot {
        self.clock.part(3, Shape::from([2]))
    }

    /// Of a layer with a weight and a bias.
    fn weight_and_bias(&self) -> [Slot; 2] {
        self.parameters[..].try_into().expect("a weight and a bias")
    }
}

impl Gradients {
    /// Of a layer with a weight and a bias.
    fn weight_and_bias(&self) -> [Slot; 2] {
        self.parameters[..].try_into().expect("a weight and a bias")
    }
}

/// A row of a network for a fixed number of images.
///
/// A layer decides nothing about memory: it says what shape it makes, how much scratch it wants and
/// which parameters it has, and works on the [`Wires`] it is given.
pub trait Layer: Debug + Send + Sync {
    /// Shape of the output.
    fn output(&self) -> Shape;

    /// Computes `y`.
    ///
    /// # Errors
    /// If the device fails.
    fn forward(&self, device: &mut Device, wires: &Wires, phase: Phase) -> Result<()>;

    /// Computes `dx`, if there is one, and the parameters' gradients.
    ///
    /// # Errors
    /// If the device fails.
    fn backward(&self, device: &mut Device, wires: &Wires, gradients: &Gradients) -> Result<()>;

    /// Whether `backward` reads `y`.
    fn reads_output(&self) -> bool {
        true
    }

    /// Whether `backward` can write `dx` over `x`: then it is given no other place for it if the
    /// row below does not read its output.
    fn writes_over_input(&self) -> bool {
        false
    }

    /// Parameters, without their place in the block.
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    /// Floats of scratch memory that it needs on such a device.
    fn scratch(&self, target: Target) -> usize {
        let _ = target;
        0
    }

    /// Floats that it wants to keep from pass to pass on such a device, in a network for inference.
    fn kept(&self, target: Target) -> usize {
        let _ = target;
        0
    }

    /// Fills `kept`, from its parameters.
    ///
    /// # Errors
    /// If the device fails.
    fn keep(&self, device: &mut Device, wires: &Wires, kept: Slot) -> Result<()> {
        let _ = (device, wires, kept);
        Ok(())
    }

    /// How this row talks to other towers, if it does.
    fn exchange(&self) -> Option<Exchange> {
        None
    }

    /// Whether its output is the output of a ReLU.
    fn rectifies(&self) -> bool {
        false
    }

    /// Multiply-accumulates of the forward pass.
    fn macs(&self) -> usize {
        0
    }
}

/// The layer of `row` on an input of shape `input`, or why it cannot be.
pub(crate) fn build(
    row: &Row,
    name: &str,
    input: Shape,
) -> std::result::Result<Box<dyn Layer>, String> {
    Ok(match row {
        Row::Conv(conv) => Box::new(conv::plan(conv, maps(input)?)?),
        Row::Local(local) => Box::new(local::plan(local, maps(input)?)?),
        Row::Linear(linear) => Box::new(linear::plan(linear, input)?),
        Row::Relu(_) => Box::new(activation::plan(kernels::activation::Activation::Relu, input)),
        Row::Logistic(_) => {
            Box::new(activation::plan(kernels::activation::Activation::Logistic, input))
        }
        Row::Tanh(tanh) => {
            let (outer, inner) = (tanh.outer, tanh.inner);
            Box::new(activation::plan(
                kernels::activation::Activation::Tanh { outer, inner },
                input,
            ))
        }
        Row::LeakyRelu(leaky) => Box::new(activation::leaky(leaky, input)?),
        Row::Gelu(_) => Box::new(activation::plan(kernels::activation::Activation::Gelu, input)),
        Row::Prelu(_) => Box::new(prelu::plan(name, input)),
        Row::Lrn(lrn) => Box::new(lrn::plan(lrn, maps(input)?)?),
        Row::BatchNorm(norm) => Box::new(batch_norm::plan(norm, name, input)?),
        Row::LayerNorm(norm) => Box::new(layer_norm::plan(norm, name, input)?),
        Row::Pool(pool) => Box::new(pool::plan(pool, maps(input)?)?),
        Row::LrnPool(both) => Box::new(lrn_pool::plan(both, maps(input)?)?),
        Row::Dropout(dropout) => Box::new(dropout::plan(dropout, name, input)?),
        Row::Exchange(exchange) => Box::new(exchange::plan(*exchange, input)),
    })
}

/// `[images, height, width, channels]`, for rows that work on maps.
fn maps(input: Shape) -> std::result::Result<[usize; 4], String> {
    <[usize; 4]>::try_from(input.dims())
        .map_err(|_| "this row works on maps; it cannot follow a linear row".to_string())
}

/// The weight and bias of the layer called `name`.
pub(crate) fn weight_and_bias(name: &str, weight: Shape, fan_in: usize) -> Vec<Parameter> {
    let bias = Shape::from([weight.dims()[0]]);
    let of = |role, shape| parameter(name, role, shape, fan_in);
    vec![of(Role::Weight, weight), of(Role::Bias, bias)]
}

/// A parameter of the layer called `name`.
fn parameter(name: &str, role: Role, shape: Shape, fan_in: usize) -> Parameter {
    Parameter { name: format!("{name}.{}", role.suffix()), role, shape, fan_in, start: 0 }
}

/// Rows and columns of a matrix of pixels, of all images, by channels; of images by units where
/// there are no maps.
fn by_channel(input: Shape) -> (usize, usize) {
    let channels = input.dims().last().copied().unwrap_or(1);
    (input.len() / channels.max(1), channels)
}
