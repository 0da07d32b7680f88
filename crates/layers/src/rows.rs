//! The rows a network is written in.
//!
//! In TOML a row is a table with one key, the kind: `{ conv = { name = "conv1", filters = 96,
//! window = 11, stride = 4 } }`, `{ relu = {} }`.

mod norms;

use kernels::{dropout, pool};
pub use norms::{BatchNorm, LayerNorm, Lrn};
use serde::{Deserialize, Serialize};

/// One row of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// A convolution with its biases.
    Conv(Conv),
    /// A convolution whose filters are not shared: every pixel has its own.
    Local(Local),
    /// max(0, x).
    Relu(Bare),
    /// a tanh(b x).
    Tanh(Tanh),
    /// 1 / (1 + exp(-x)).
    Logistic(Bare),
    /// x, and a little of it where it is negative.
    LeakyRelu(LeakyRelu),
    /// The same, with a learned slope for each channel (He et al. 2015).
    Prelu(Bare),
    /// x F(x), F the normal distribution: exactly, through erf.
    Gelu(Bare),
    /// Local response normalisation.
    Lrn(Lrn),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// Layer normalisation.
    LayerNorm(LayerNorm),
    /// Max or average pooling.
    Pool(Pool),
    /// A fully connected layer with its biases; maps are read in the order y, x, channel.
    Linear(Linear),
    /// Dropout.
    Dropout(Dropout),
    /// An exchange between towers; made by [`towers::split`](crate::towers::split), not written in
    /// specifications.
    #[serde(skip)]
    Exchange(Exchange),
    /// Normalisation and pooling in one pass; made by [`fuse`](crate::fuse), not written in
    /// specifications.
    #[serde(skip)]
    LrnPool(LrnPool),
}

/// A row without settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bare {}

/// A convolution: `filters` square windows over `1/groups` of the channels each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// Its parameters are `<name>.weight` and `<name>.bias`.
    pub name: String,
    /// How many output channels.
    pub filters: usize,
    /// Side of the square window.
    pub window: usize,
    /// Pixels from one window to the next.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stride: usize,
    /// Zeros around the image.
    #[serde(default, skip_serializing_if = "Pad::is_none")]
    pub pad: Pad,
    /// Channels and filters are cut into this many groups that do not see each other: towers.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub groups: usize,
    /// Compute each product of the formula, instead of fewer with larger errors where that is
    /// faster: see [`kernels::conv::Algorithm`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub direct: bool,
    /// The gradient of the input is summed over so many equal towers of filters, and then over the
    /// towers: as devices do that have a tower each, and with their bits. The outputs are computed
    /// in the form that is fast for one of the towers.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub towers: usize,
    /// A ReLU follows in the same pass; set by [`fuse`](crate::fuse), not written in
    /// specifications.
    #[serde(skip)]
    pub relu: bool,
    /// The row after it gives it a gradient that already has the ReLU's mask; set by
    /// [`fuse`](crate::fuse), too.
    #[serde(skip)]
    pub masked: bool,
}

/// A locally connected layer: `filters` square windows at every pixel, with weights and biases of
/// their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// Its parameters are `<name>.weight` and `<name>.bias`.
    pub name: String,
    /// How many output channels.
    pub filters: usize,
    /// Side of the square window.
    pub window: usize,
    /// Pixels from one window to the next.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stride: usize,
    /// Zeros around the image.
    #[serde(default, skip_serializing_if = "Pad::is_none")]
    pub pad: Pad,
    /// As in [`Conv::groups`].
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub groups: usize,
    /// As in [`Conv::relu`].
    #[serde(skip)]
    pub relu: bool,
}

/// A fully connected layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Its parameters are `<name>.weight` and `<name>.bias`.
    pub name: String,
    /// How many units.
    pub outputs: usize,
    /// As in [`Conv::towers`], of units.
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
    /// At least 0; theirs, and PyTorch's default, is 0.01.
    #[serde(default = "hundredth")]
    pub slope: f32,
}

/// Pooling over square windows, which overlap where the stride is smaller than the window (section
/// 3.4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Average, over the pixels that exist, instead of maximum.
    #[serde(default, skip_serializing_if = "is_false")]
    pub average: bool,
    /// Side of the window.
    pub window: usize,
    /// Pixels from one window to the next.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stride: usize,
    /// Pixels that do not exist around the image.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pad: usize,
    /// Let the last window hang over the edge (the 2012 source) instead of leaving pixels out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ceil: bool,
    /// Where several inputs share the maximum, only the first takes the gradient; in the 2012
    /// source all do.
    #[serde(default, skip_serializing_if = "is_false")]
    pub first_tie: bool,
    /// Its input came out of a ReLU, whose mask its gradient takes in the same pass; set by
    /// [`fuse`](crate::fuse), not written in specifications.
    #[serde(skip)]
    pub relu: bool,
}

/// Normalisation, then pooling, of a convolution's output.
#[derive(Clone, Debug, PartialEq)]
pub struct LrnPool {
    /// The normalisation.
    pub lrn: Lrn,
    /// The pooling, with [`Pool::relu`] as if it stood alone.
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
    /// The share of units that is silenced in training.
    pub drop: f32,
    /// Scale up in training instead of down at test time.
    #[serde(default, skip_serializing_if = "is_false")]
    pub inverted: bool,
    /// Which tower's channels these are; set by [`towers::split`](crate::towers::split), not
    /// written in specifications.
    #[serde(skip)]
    pub part: Part,
}

/// One of several equal towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Default for Part {
    fn default() -> Part {
        Part { index: 0, of: 1 }
    }
}

/// What towers have made becomes known to all of them, or to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Exchange {
    /// This tower.
    pub part: Part,
    /// Only the first tower goes on.
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

/// How a window slides: what convolution and pooling have in common. Made by [`window`].
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub(crate) size: usize,
    pub(crate) stride: usize,
    pub(crate) pad: Pad,
    pub(crate) groups: usize,
    pub(crate) direct: bool,
    pub(crate) ceil: bool,
}

/// A square window of side `size`, moved by one pixel, without padding.
pub const fn window(size: usize) -> Window {
    Window { size, stride: 1, pad: Pad::Same(0), groups: 1, direct: false, ceil: false }
}

impl Window {
    /// Moved by `stride` pixels.
    pub const fn stride(self, stride: usize) -> Window {
        Window { stride, ..self }
    }

    /// `pad` zeros on every side.
    pub const fn pad(self, pad: usize) -> Window {
        Window { pad: Pad::Same(pad), ..self }
    }

    /// `pad` zeros below and to the right only, where the 2012 source's last windows hang over the
    /// edge.
    pub const fn overhang(self, pad: usize) -> Window {
        Window { pad: Pad::Sides([0, pad, 0, pad]), ..self }
    }

    /// Channels in `groups` that do not see each other.
    pub const fn groups(self, groups: usize) -> Window {
        Window { groups, ..self }
    }

    /// Convolved directly, as [`Conv::direct`] says.
    pub const fn direct(self) -> Window {
        Window { direct: true, ..self }
    }

    /// A last pooling window may hang over the edge.
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
