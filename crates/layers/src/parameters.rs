//! Weights, biases and their kin, in one block.

use kernels::denormal;
use tensor::{DType, Device, Planner, Result, Shape, Slot};

/// What a parameter does: recipes treat the two differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Multiplies an input.
    Weight,
    /// Is added.
    Bias,
    /// Multiplies what is negative: a PReLU's.
    Slope,
    /// Multiplies what was normalised.
    Scale,
    /// Is added to that.
    Shift,
    /// The running mean of a batch normalisation: an update at rate 1 moves it.
    Mean,
    /// Its running variance, likewise.
    Variance,
}

impl Role {
    /// What stands behind the dot of a parameter's name: `weight`, `bias`, `slope`, ...
    pub fn suffix(self) -> &'static str {
        match self {
            Role::Weight => "weight",
            Role::Bias => "bias",
            Role::Slope => "slope",
            Role::Scale => "scale",
            Role::Shift => "shift",
            Role::Mean => "mean",
            Role::Variance => "variance",
        }
    }

    /// The role of a parameter called `conv1.weight`; a name that says nothing is a weight's.
    pub fn of(parameter: &str) -> Role {
        let suffix = parameter.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        let others =
            [Role::Bias, Role::Slope, Role::Scale, Role::Shift, Role::Mean, Role::Variance];
        others.into_iter().find(|role| role.suffix() == suffix).unwrap_or(Role::Weight)
    }

    /// Whether it is a running statistic, which no gradient teaches.
    pub fn is_statistic(self) -> bool {
        matches!(self, Role::Mean | Role::Variance)
    }
}

/// A parameter and its place in the blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// `conv1.weight`, `fc8.bias`, `prelu3.slope`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// `[filters, height, width, channels]`, `[outputs, inputs]`, or `[outputs]` for a bias and for
    /// a slope.
    pub shape: Shape,
    /// Inputs that one output of its layer sums over.
    pub fan_in: usize,
    /// Where it starts in each block, in floats.
    pub start: usize,
}

impl Parameter {
    /// How many floats.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// True if it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.shape.is_empty()
    }

    /// The layer's name: what stands before the dot.
    pub fn layer(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(layer, _)| layer)
    }
}

/// Numbers that are learned.
pub(crate) fn learned(entries: &[Parameter]) -> usize {
    let learned = entries.iter().filter(|entry| !entry.role.is_statistic());
    learned.map(Parameter::len).sum()
}

/// Every parameter of a network, in one block: an update is one pass, a checkpoint one copy.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// In the order of the rows, weight before bias.
    pub entries: Vec<Parameter>,
    /// Their values.
    pub values: Slot,
}

impl Parameters {
    /// Each parameter starts on a cache line.
    const ALIGN: usize = Planner::ALIGN / 4;

    pub(crate) fn plan(mut entries: Vec<Parameter>, planner: &mut Planner) -> Parameters {
        let mut end = 0;
        for entry in &mut entries {
            entry.start = end;
            end += entry.len().next_multiple_of(Self::ALIGN);
        }
        Parameters { entries, values: planner.claim(DType::F32, Shape::from([end])) }
    }

    /// The value of parameter `idx`.
    pub fn value(&self, idx: usize) -> Slot {
        self.view(self.values, idx)
    }

    /// Gives parameter `idx` the `values`; denormal numbers among them become zero.
    ///
    /// # Errors
    /// If the device fails.
    pub fn upload(&self, device: &mut Device, idx: usize, values: &[f32]) -> Result<()> {
        denormal::upload(device, self.value(idx), values)
    }

    /// Parameter `idx` in a block of the same layout as that of the values.
    pub fn view(&self, block: Slot, idx: usize) -> Slot {
        block.part(self.entries[idx].start, self.entries[idx].shape)
    }

    /// Weights, biases and whatever else is learned, in all.
    pub fn count(&self) -> usize {
        learned(&self.entries)
    }

    /// Whether some are running statistics.
    pub fn has_statistics(&self) -> bool {
        self.entries.iter().any(|entry| entry.role.is_statistic())
    }
}
