//! Weights, biases and other parameters, in one block.

use crate::clock::Readiness;
use crate::init::Initializer;
use kernels::denormal;
use tensor::{DType, Device, Error, Planner, Result, Shape, Slot};

/// What a parameter does. Recipes give roles different rates and decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Multiplies an input.
    Weight,
    /// Is added.
    Bias,
    /// Multiplies negative inputs of a PReLU.
    Slope,
    /// Multiplies the output of a normalisation (gamma).
    Scale,
    /// Is added to it (beta).
    Shift,
    /// Running mean of a batch normalisation; its "gradient" is applied at rate 1.
    Mean,
    /// Running variance of a batch normalisation, updated like the mean.
    Variance,
}

impl Role {
    /// The part of a parameter's name after the dot: `weight`, `bias`, `slope`, ...
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

    /// The role of a parameter by its name, e.g. `conv1.weight`; unknown suffixes count as weights.
    pub fn of(parameter: &str) -> Role {
        let suffix = parameter.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        let others =
            [Role::Bias, Role::Slope, Role::Scale, Role::Shift, Role::Mean, Role::Variance];
        others.into_iter().find(|role| role.suffix() == suffix).unwrap_or(Role::Weight)
    }

    /// Whether it is a running statistic, which is not trained by gradients.
    pub fn is_statistic(self) -> bool {
        matches!(self, Role::Mean | Role::Variance)
    }
}

/// A parameter and its position in the blocks of values, gradients and velocities.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// `conv1.weight`, `fc8.bias`, `prelu3.slope`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// `[filters, height, width, channels]`, `[outputs, inputs]`, or `[outputs]` for biases and
    /// slopes.
    pub shape: Shape,
    /// Number of inputs summed into one output of its layer.
    pub fan_in: usize,
    /// Its initial values, if its layer and not the recipe decides.
    pub initial: Option<Initializer>,
    /// Offset in each block, in floats.
    pub start: usize,
}

impl Parameter {
    /// Number of floats.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// True if it has no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.is_empty()
    }

    /// The layer's name: the part before the dot.
    pub fn layer(&self) -> &str {
        layer_of(&self.name)
    }
}

/// The layer of the parameter called `name`: the part before the last dot.
pub fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer)
}

/// Number of trainable values: all but running statistics.
pub(crate) fn trainable(entries: &[Parameter]) -> usize {
    let trainable = entries.iter().filter(|entry| !entry.role.is_statistic());
    trainable.map(Parameter::len).sum()
}

/// Every parameter of a network, in one block, so that an update is one pass and a checkpoint one
/// copy.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// In the order of the rows, weight before bias.
    pub entries: Vec<Parameter>,
    /// Their values. A direct upload to this slot does not mark packed weights as outdated, as
    /// [`upload`](Self::upload) does.
    pub values: Slot,
    readiness: Readiness,
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
        let values = planner.claim(DType::F32, Shape::from([end]));
        Parameters { entries, values, readiness: Readiness::default() }
    }

    /// The value of parameter `idx`.
    pub fn value(&self, idx: usize) -> Slot {
        self.view(self.values, idx)
    }

    /// Uploads the values of parameter `idx`; denormal values become zero. Weights must be
    /// [packed](crate::Network::prepare) again before inference.
    ///
    /// # Errors
    /// [`Error::Misuse`] if the parameter has another number of values; if the device fails.
    pub fn upload(&self, device: &mut Device, idx: usize, values: &[f32]) -> Result<()> {
        let entry = &self.entries[idx];
        if values.len() != entry.len() {
            let (name, given) = (&entry.name, values.len());
            let reason = format!("{given} values for {name}, which has {}", entry.shape);
            return Err(Error::Misuse(reason));
        }
        self.readiness.set_packed(false);
        denormal::upload(device, self.value(idx), values)
    }

    /// Parameter `idx` in a block with the layout of the values.
    pub fn view(&self, block: Slot, idx: usize) -> Slot {
        block.part(self.entries[idx].start, self.entries[idx].shape)
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Number of trainable values of the network.
    pub fn count(&self) -> usize {
        trainable(&self.entries)
    }

    /// Whether the network has running statistics.
    pub fn has_statistics(&self) -> bool {
        self.entries.iter().any(|entry| entry.role.is_statistic())
    }
}
