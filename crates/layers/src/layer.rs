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
use crate::rows::{Exchange, Row, Tanh};
pub use exchange::Transfer;
use kernels::activation::Activation;
use kernels::operands::{BackwardInput, BackwardWeights, Forward};
use std::fmt::Debug;
use tensor::{Device, Result, Shape, Slot, Target};

/// A planned layer or its sizes; an `Err` states why the row does not fit its input.
pub(crate) type Planned<T> = std::result::Result<T, String>;

/// What a pass is for. Dropout and batch normalisation depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Units are dropped; a backward pass follows.
    Train,
    /// Nothing is random.
    Test,
    /// As `Test`, with the weights that the last [`Network::prepare`](crate::Network::prepare)
    /// packed: they must not have changed since.
    Infer,
}

/// The slots of a layer. The network lays them out; the layer only reads and writes them.
#[derive(Clone, Debug)]
pub struct LayerSlots {
    /// Input.
    pub x: Slot,
    /// Output.
    pub y: Slot,
    /// Parameter values, in the order of [`Layer::parameters`].
    pub parameters: Vec<Slot>,
    /// Packed weights; only in a forward-only network.
    pub packed: Option<Slot>,
    /// Scratch memory of the forward pass; undefined afterwards.
    pub scratch: Slot,
    /// The [`Clock`](crate::Clock) as 32-bit words: seed (low, high), step, images, and the bits of
    /// their share of the batch, an f32.
    pub clock: Slot,
    /// Slots of the backward pass; absent in a forward-only network and below the first row with
    /// parameters.
    pub gradients: Option<Gradients>,
}

/// The slots of a layer's backward pass.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// The gradient of the output; the layer may overwrite it.
    pub dy: Slot,
    /// The gradient of the input; absent where no row below has parameters. It is `x` itself where
    /// the layer [writes over its input](Layer::writes_over_input).
    pub dx: Option<Slot>,
    /// The gradients of the parameters, in the order of [`Layer::parameters`].
    pub parameters: Vec<Slot>,
    /// Scratch memory of the backward pass; undefined afterwards.
    pub scratch: Slot,
}

impl LayerSlots {
    /// Seed (two words) and step, from which dropout masks are drawn.
    pub(crate) fn seed_and_step(&self) -> Slot {
        self.clock.part(0, Shape::from([3]))
    }

    /// The number of valid images, and the bits of their share of the batch.
    pub(crate) fn batch(&self) -> Slot {
        self.clock.part(3, Shape::from([2]))
    }

    /// The operands of a layer with a weight and a bias.
    fn operands(&self) -> Forward {
        let ([w, b], &LayerSlots { x, y, scratch, .. }) = (two(&self.parameters), self);
        Forward { x, w, b, y, scratch }
    }
}

impl Gradients {
    /// The operands of the backward passes of a layer with a weight and a bias: for the gradients
    /// of the parameters, and of the input if needed.
    fn operands(&self, slots: &LayerSlots) -> (BackwardWeights, Option<BackwardInput>) {
        let Forward { x, w, .. } = slots.operands();
        let ([dw, db], &Gradients { dy, dx, scratch, .. }) = (two(&self.parameters), self);
        let input = dx.map(|dx| BackwardInput { dy, w, dx, scratch });
        (BackwardWeights { x, dy, dw, db, scratch }, input)
    }
}

/// The slots of a layer with two parameters.
fn two(parameters: &[Slot]) -> [Slot; 2] {
    parameters.try_into().expect("two parameters")
}

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
    Parameter { name: format!("{name}.{}", role.suffix()), role, shape, fan_in, start: 0 }
}

/// The input as a matrix: pixels of all images by channels, or images by units without feature
/// maps.
fn by_channel(input: Shape) -> (usize, usize) {
    let channels = input.dims().last().copied().unwrap_or(1);
    (input.len() / channels.max(1), channels)
}
