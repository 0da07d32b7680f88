//! The rows of a specification.
//!
//! In TOML a row is a table with one key, the kind: `{ conv = { name = "conv1", filters = 96,
//! window = 11, stride = 4 } }`, `{ relu = {} }`.

mod norms;

use crate::custom::Custom;
use kernels::{dropout, pool};
pub use norms::{BatchNorm, LayerNorm, Lrn};
use serde::{Deserialize, Serialize};

/// One row of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// A convolution with its biases.
    Conv(Conv),
    /// A locally connected layer: every output pixel has its own filters.
    Local(Local),
    /// max(0, x).
    Relu(NoOptions),
    /// a tanh(b x).
    Tanh(Tanh),
    /// 1 / (1 + exp(-x)).
    Logistic(NoOptions),
    /// x where positive, else a constant slope times x.
    LeakyRelu(LeakyRelu),
    /// x where positive, else a learned slope per channel times x (He et al. 2015).
    Prelu(NoOptions),
    /// x F(x), F the normal distribution function, computed through erf.
    Gelu(NoOptions),
    /// Local response normalisation.
    Lrn(Lrn),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// Layer normalisation.
    LayerNorm(LayerNorm),
    /// Max or average pooling.
    Pool(Pool),
    /// A fully connected layer with its biases; feature maps are flattened in the order y, x,
    /// channel.
    Linear(Linear),
    /// Dropout.
    Dropout(Dropout),
    /// A layer that the program defines.
    Custom(Custom),
    /// An exchange between towers; inserted by [`towers::split`](crate::towers::split), not part of
    /// written specifications.
    #[serde(skip)]
    Exchange(Exchange),
    /// Normalisation and pooling in one pass; made by [`fuse`](crate::fuse), not part of written
    /// specifications.
    #[serde(skip)]
    LrnPool(LrnPool),
}

/// The options of a row that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// A convolution: `filters` square windows, each over `1/groups` of the channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// Its parameters are `<name>.weight` and `<name>.bias`.
    pub name: String,
    /// Number of output channels.
    pub filters: usize,
    /// Side of the square window.
    pub window: usize,
    /// Distance between windows in pixels.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stride: usize,
    /// Zero padding.
    #[serde(default, skip_serializing_if = "Pad::is_none")]
    pub pad: Pad,
    /// Number of groups: filters of one group read only that group's channels.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub groups: usize,
    /// Use direct convolution even where Winograd's algorithm, which has larger rounding errors, is
    /// faster: see [`kernels::conv::Algorithm`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub direct: bool,
    /// Number of towers: the gradient of the input is summed over each tower's filters, then over
    /// the towers, and outputs use the algorithm that is fastest for one tower. Results are then
    /// bit-identical to those of one device per tower.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub towers: usize,
    /// Apply a ReLU in the same pass; set by [`fuse`](crate::fuse), not part of written
    /// specifications.
    #[serde(skip)]
    pub relu: bool,
    /// The next row applies the ReLU's mask to the gradient; set by [`fuse`](crate::fuse).
    #[serde(skip)]
    pub masked: bool,
}

/// A locally connected layer: `filters` square windows at every output pixel, each with its own
/// weights and biases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// Its parameters are `<name>.weight` and `<name>.bias`.
    pub name: String,
    /// Number of output channels.
    pub filters: usize,
    /// Side of the square window.
    pub window: usize,
    /// Distance between windows in pixels.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stride: usize,
    /// Zero padding.
    #[serde(default, skip_serializing_if = "Pad::is_none")]
    pub pad: Pad,
    /// As in [`Conv::groups`].
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub groups: usize,
    /// As in [`Conv::relu`].
    #[serde(skip)]
    pub relu: bool,
}

impl Local {
    /// The convolution with the same windows, whose filters are shared.
    pub(crate) fn shared(&self) -> Conv {
        let &Local { filters, window, stride, pad, groups, relu, .. } = self;
        let (name, direct, towers, masked) = (self.name.clone(), true, 1, false);
        Conv { name, filters, window, stride, pad, groups, direct, towers, relu, masked }
    }
}

/// A fully connected layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Its parameters are `<name>.weight` and `<name>.bias`.
    pub name: String,
    /// Number of units.
    pub outputs: usize,
    /// As in [`Conv::towers`], for units.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub towers: usize,
    /// As in [`Conv::relu`].
    #[serde(skip)]
    pub relu: bool,
}

/// `outer * tanh(inner * x)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tanh {
    /// The limit at infinity.
    #[serde(default = "unity")]
    pub outer: f32,
    /// The slope at zero, over `outer`.
    #[serde(default = "unity")]
    pub inner: f32,
}

/// x where x > 0, else `slope` x (Maas, Hannun and Ng 2013).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakyRelu {
    /// At least 0; 0.01 in the paper and by default in PyTorch.
    #[serde(default = "hundredth")]
    pub slope: f32,
}

/// Pooling over square windows, overlapping if the stride is smaller than the window (section 3.4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Average over the pixels inside the image, instead of maximum.
    #[serde(default, skip_serializing_if = "is_false")]
    pub average: bool,
    /// Side of the window.
    pub window: usize,
    /// Distance between windows in pixels.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stride: usize,
    /// Padding on every side; padded pixels are ignored.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pad: usize,
    /// Let the last window extend over the edge (as the 2012 source) instead of dropping pixels.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ceil: bool,
    /// If several inputs equal the maximum, pass the gradient only to the first; the 2012 source
    /// passes it to all.
    #[serde(default, skip_serializing_if = "is_false")]
    pub first_tie: bool,
    /// The input is a ReLU's output: apply that ReLU's mask to the gradient in the same pass; set
    /// by [`fuse`](crate::fuse), not part of written specifications.
    #[serde(skip)]
    pub relu: bool,
}

/// Normalisation and pooling of a convolution's output in one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct LrnPool {
    /// The normalisation.
    pub lrn: Lrn,
    /// The pooling, with [`Pool::relu`] as in a separate row.
    pub pool: Pool,
}

impl Pool {
    pub(crate) fn reduction(&self) -> pool::Reduction {
        match (self.average, self.first_tie) {
            (true, _) => pool::Reduction::Average,
            (false, false) => pool::Reduction::Max { ties: pool::Ties::All },
            (false, true) => pool::Reduction::Max { ties: pool::Ties::First },
        }
    }
}

/// Dropout (section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// The share of units that is dropped in training.
    pub drop: f32,
    /// Scale up in training instead of down at test time.
    #[serde(default, skip_serializing_if = "is_false")]
    pub inverted: bool,
    /// The tower whose channels these are; set by [`towers::split`](crate::towers::split), not part
    /// of written specifications.
    #[serde(skip)]
    pub tower: Tower,
}

/// One of several equal towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tower {
    /// Its index, from 0.
    pub index: usize,
    /// Number of towers.
    pub count: usize,
}

impl Default for Tower {
    fn default() -> Tower {
        Tower { index: 0, count: 1 }
    }
}

/// Sends the activations of all towers to all of them, or to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Exchange {
    /// This tower.
    pub tower: Tower,
    /// Only the first tower receives and continues.
    pub to_first: bool,
}

impl Dropout {
    pub(crate) fn scaling(&self) -> dropout::Scaling {
        if self.inverted { dropout::Scaling::Inverted } else { dropout::Scaling::Paper }
    }
}

/// Zeros around an image: the same on all sides, or top, bottom, left, right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pad {
    /// On all sides.
    Same(usize),
    /// Top, bottom, left, right.
    Sides([usize; 4]),
}

impl Default for Pad {
    fn default() -> Pad {
        Pad::Same(0)
    }
}

impl Pad {
    fn is_none(&self) -> bool {
        self.sides() == [0; 4]
    }

    /// Top, bottom, left, right.
    pub fn sides(&self) -> [usize; 4] {
        match *self {
            Pad::Same(all) => [all; 4],
            Pad::Sides(sides) => sides,
        }
    }
}

/// A sliding window, for convolution and pooling. Made by [`window`].
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub(crate) size: usize,
    pub(crate) stride: usize,
    pub(crate) pad: Pad,
    pub(crate) groups: usize,
    pub(crate) direct: bool,
    pub(crate) ceil: bool,
}

/// A square window of side `size` with stride 1, without padding.
pub const fn window(size: usize) -> Window {
    Window { size, stride: 1, pad: Pad::Same(0), groups: 1, direct: false, ceil: false }
}

impl Window {
    /// With a stride of `stride` pixels.
    pub const fn stride(self, stride: usize) -> Window {
        Window { stride, ..self }
    }

    /// `pad` zeros on every side.
    pub const fn pad(self, pad: usize) -> Window {
        Window { pad: Pad::Same(pad), ..self }
    }

    /// `pad` zeros below and to the right only, where the 2012 source's last windows extend over
    /// the edge.
    pub const fn overhang(self, pad: usize) -> Window {
        Window { pad: Pad::Sides([0, pad, 0, pad]), ..self }
    }

    /// With `groups` groups of channels: see [`Conv::groups`].
    pub const fn groups(self, groups: usize) -> Window {
        Window { groups, ..self }
    }

    /// With direct convolution: see [`Conv::direct`].
    pub const fn direct(self) -> Window {
        Window { direct: true, ..self }
    }

    /// The last pooling window may extend over the edge.
    pub const fn ceil(self) -> Window {
        Window { ceil: true, ..self }
    }
}

fn one() -> usize {
    1
}
fn hundredth() -> f32 {
    0.01
}
fn unity() -> f32 {
    1.0
}
fn is_one(value: &usize) -> bool {
    *value == 1
}
fn is_zero(value: &usize) -> bool {
    *value == 0
}
fn is_false(value: &bool) -> bool {
    !value
}
