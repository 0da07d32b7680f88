//! What a layer's passes run on: the slots of a planned row, and the purpose of a pass.

use kernels::operands::{BackwardInput, BackwardWeights, Forward};
use tensor::{Shape, Slot};

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
    /// Parameter values, in the order of [`Layer::parameters`](crate::Layer::parameters).
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
    /// the layer [writes over its input](crate::Layer::writes_over_input).
    pub dx: Option<Slot>,
    /// The gradients of the parameters, in the order of [`Layer::parameters`](crate::Layer::parameters).
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
    pub(crate) fn operands(&self) -> Forward {
        let ([w, b], &LayerSlots { x, y, scratch, .. }) = (two(&self.parameters), self);
        Forward { x, w, b, y, scratch }
    }
}

impl Gradients {
    /// The operands of the backward passes of a layer with a weight and a bias: for the gradients
    /// of the parameters, and of the input if needed.
    pub(crate) fn operands(&self, slots: &LayerSlots) -> (BackwardWeights, Option<BackwardInput>) {
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
