//! A row on a device: geometry and parameters, forward, backward.

mod activation;
mod batch_norm;
mod by_tower;
mod conv;
pub(crate) mod custom;
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
use crate::rows::{Exchange, Row, Tanh};
use crate::slots::{Gradients, LayerSlots, Phase};
pub use exchange::Transfer;
use kernels::activation::Activation;
use kernels::stored::StoredWeights;
use std::fmt::Debug;
use tensor::{Device, Result, Shape, Slot, Target};

/// A planned layer or its sizes; an `Err` states why the row does not fit its input.
pub(crate) type Planned<T> = std::result::Result<T, String>;

/// A row of a network for a fixed number of images.
///
/// A layer allocates nothing: it declares its output shape, scratch memory and parameters, and runs
/// on the [`LayerSlots`] that the network passes.
pub trait Layer: Debug + Send + Sync {
    /// Shape of the output.
    fn output(&self) -> Shape;

    /// Computes `y`.
    ///
    /// # Errors
    /// If the device fails.
    fn forward(&self, device: &mut Device, slots: &LayerSlots, phase: Phase) -> Result<()>;

    /// Computes `dx`, if present, and the parameters' gradients.
    ///
    /// # Errors
    /// If the device fails.
    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()>;

    /// Whether `backward` reads `y`.
    fn reads_output(&self) -> bool {
        true
    }

    /// Whether `forward` or `backward` reads the clock in [`Phase::Train`].
    fn reads_clock(&self) -> bool {
        false
    }

    /// Whether `backward` can write `dx` over `x`. `dx` is then `x` if the row below does not read
    /// its output in its backward pass.
    fn writes_over_input(&self) -> bool {
        false
    }

    /// Parameters; their [`start`](Parameter::start) in the block is not yet known.
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    /// Floats of scratch memory that a pass needs on this kind of device.
    fn scratch(&self, target: Target) -> usize {
        let _ = target;
        0
    }

    /// The layer's first parameter, if a forward-only network stores it in bf16 on this kind of
    /// device. The slot of the parameter is then a bf16 slot.
    fn stored_weights(&self, target: Target) -> Option<StoredWeights> {
        let _ = target;
        None
    }

    /// Whether `forward` can read a bf16 slot `x` without changing a bit of a bf16 slot `y`, if
    /// `y_in_bf16`, else of an f32 one: because it rounds its input to bf16 anyway.
    fn rounds_input(&self, target: Target, y_in_bf16: bool) -> bool {
        let _ = (target, y_in_bf16);
        false
    }

    /// Whether `forward` can write a bf16 slot `y`.
    fn writes_bf16(&self) -> bool {
        false
    }

    /// Floats of packed weights on this kind of device, in a forward-only network.
    fn packed_len(&self, target: Target) -> usize {
        let _ = target;
        0
    }

    /// Packs the weights into `packed`, in the layout in which inference reads them.
    ///
    /// # Errors
    /// If the device fails.
    fn pack_weights(&self, device: &mut Device, slots: &LayerSlots, packed: Slot) -> Result<()> {
        let _ = (device, slots, packed);
        Ok(())
    }

    /// The exchange with other towers, if this row is one.
    fn exchange(&self) -> Option<Exchange> {
        None
    }

    /// Whether its output is the output of a ReLU.
    fn ends_in_relu(&self) -> bool {
        false
    }

    /// Multiply-accumulates of the forward pass.
    fn macs(&self) -> usize {
        0
    }
}

/// Builds the layer of `row` on an input of shape `input`.
pub(crate) fn build(row: &Row, name: &str, input: Shape) -> Planned<Box<dyn Layer>> {
    Ok(match row {
        Row::Conv(conv) => Box::new(conv::plan(conv, maps(input)?)?),
        Row::Local(local) => Box::new(local::plan(local, maps(input)?)?),
        Row::Linear(linear) => Box::new(linear::plan(linear, input)?),
        Row::Relu(_) => Box::new(activation::plan(Activation::Relu, input)),
        Row::Logistic(_) => Box::new(activation::plan(Activation::Logistic, input)),
        &Row::Tanh(Tanh { outer, inner }) => {
            Box::new(activation::plan(Activation::Tanh { outer, inner }, input))
        }
        Row::LeakyRelu(leaky) => Box::new(activation::leaky(leaky, input)?),
        Row::Gelu(_) => Box::new(activation::plan(Activation::Gelu, input)),
        Row::Prelu(_) => Box::new(prelu::plan(name, input)),
        Row::Lrn(lrn) => Box::new(lrn::plan(lrn, maps(input)?)?),
        Row::BatchNorm(norm) => Box::new(batch_norm::plan(norm, name, input)?),
        Row::LayerNorm(norm) => Box::new(layer_norm::plan(norm, name, input)?),
        Row::Pool(pool) => Box::new(pool::plan(pool, maps(input)?)?),
        Row::LrnPool(both) => Box::new(lrn_pool::plan(both, maps(input)?)?),
        Row::Dropout(dropout) => Box::new(dropout::plan(dropout, name, input)?),
        Row::Custom(row) => Box::new(custom::plan(row.layer(), name, input)?),
        Row::Exchange(exchange) => Box::new(exchange::plan(*exchange, input)),
    })
}

/// `[images, height, width, channels]`, for rows that need feature maps.
fn maps(input: Shape) -> Planned<[usize; 4]> {
    <[usize; 4]>::try_from(input.dims())
        .map_err(|_| "this row needs feature maps; it cannot follow a linear row".to_string())
}

/// The weight and bias of the layer called `name`.
pub(crate) fn weight_and_bias(name: &str, weight: Shape, fan_in: usize) -> Vec<Parameter> {
    let bias = Shape::from([weight.dims()[0]]);
    let of = |role, shape| parameter(name, role, shape, fan_in);
    vec![of(Role::Weight, weight), of(Role::Bias, bias)]
}

/// A parameter of the layer called `name`.
fn parameter(name: &str, role: Role, shape: Shape, fan_in: usize) -> Parameter {
    let name = format!("{name}.{}", role.suffix());
    Parameter { name, role, shape, fan_in, initial: None, start: 0 }
}

/// The input as a matrix: pixels of all images by channels, or images by units without feature
/// maps.
fn by_channel(input: Shape) -> (usize, usize) {
    let channels = input.dims().last().copied().unwrap_or(1);
    (input.len() / channels.max(1), channels)
}
