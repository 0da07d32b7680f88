//! A part of a step: a pass of a row, preprocessing, the loss, or the update.

/// The forward or the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// From images to scores.
    Forward,
    /// From the scores' gradient to the parameters'.
    Backward,
}

impl Pass {
    /// In a table.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Backward => "backward",
        }
    }
}

/// A part of a step with its operations and bytes.
#[derive(Clone, Debug)]
pub struct StepPart {
    /// The row's name, or `preprocess`, `softmax_loss`, `sgd`.
    pub name: String,
    /// Forward or backward.
    pub pass: Pass,
    /// Multiplications and additions of convolutions and linear layers; 0 for others.
    pub flops: f64,
    /// Bytes of all operands, each read or written once.
    pub bytes: f64,
    /// What takes the time of a GPU.
    pub work: Work,
    /// Bytes of masking the gradient by the ReLU before the products; 0 if that is no pass of its
    /// own.
    pub mask: f64,
    pub(crate) operation: Operation,
}

/// The operation of a part; of a row with its index.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Preprocess,
    Forward(usize),
    Loss,
    Backward(usize),
    Update,
}

/// What takes the time of a part on a GPU.
#[derive(Clone, Debug)]
pub enum Work {
    /// Matrix products, one after the other.
    Products(Vec<Product>),
    /// Reading and writing.
    Bytes,
}

/// A product as a pass of a layer computes it.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The kernel without its suffixes for tiles and precision.
    pub kernel: &'static str,
    /// Rows, columns, and the length of the sums.
    pub sizes: [usize; 3],
    /// Number of such products.
    pub count: usize,
    /// Whether operands are read 16 bytes at a time.
    pub wide: bool,
    /// Of a convolution whose taps follow one another along k, or along the columns in the gradient
    /// of the filters, for the same block of channels.
    pub taps: Option<Taps>,
    /// Floats of images that are folded for it (`conv.cu`), else 0.
    pub folded: usize,
}

/// A window of stride 1 on a map.
#[derive(Clone, Copy, Debug)]
pub struct Taps {
    /// Side of the window.
    pub side: usize,
    /// Height and width of the map whose pixels are rows of the product, or k.
    pub map: [usize; 2],
}
