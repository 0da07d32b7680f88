//! Weights, biases and other parameters, in one block.

use crate::clock::Readiness;
use crate::init::Initializer;
use kernels::denormal;
use kernels::stored::StoredWeights;
use std::collections::BTreeMap;
use tensor::{DType, Device, Error, Planner, Result, Shape, Slot, Target};

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
    /// Offset in each block, in floats; without meaning for weights stored in bf16.
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
    /// [`upload`](Self::upload) does. Weights stored in bf16 are not among them.
    pub values: Slot,
    /// The parameters that are stored in bf16, by their index.
    stored: BTreeMap<usize, (StoredWeights, Slot)>,
    readiness: Readiness,
}

impl Parameters {
    /// Each parameter starts on a cache line.
    const ALIGN: usize = Planner::ALIGN / 4;

    /// `weights`: the parameters that are stored in bf16, by their index.
    pub(crate) fn plan(
        mut entries: Vec<Parameter>,
        weights: &BTreeMap<usize, StoredWeights>,
        planner: &mut Planner,
        target: Target,
    ) -> Parameters {
        let mut end = 0;
        for (idx, entry) in entries.iter_mut().enumerate() {
            entry.start = end;
            if !weights.contains_key(&idx) {
                end += entry.len().next_multiple_of(Self::ALIGN);
            }
        }
        let values = planner.claim(DType::F32, Shape::from([end]));
        let mut claim = |weights: &StoredWeights| {
            planner.claim(DType::Bf16, Shape::from([weights.len(target)]))
        };
        let stored = weights.iter().map(|(&idx, weights)| (idx, (*weights, claim(weights))));
        let stored = stored.collect();
        Parameters { entries, values, stored, readiness: Readiness::default() }
    }

    /// The value of parameter `idx`.
    ///
    /// # Panics
    /// If it is [stored in bf16](Self::is_stored).
    pub fn value(&self, idx: usize) -> Slot {
        assert!(!self.is_stored(idx), "{} is stored in bf16", self.entries[idx].name);
        self.view(self.values, idx)
    }

    /// Whether parameter `idx` has no f32 value, as its network is planned for inference in bf16:
    /// [`upload`](Self::upload) rounds it.
    pub fn is_stored(&self, idx: usize) -> bool {
        self.stored.contains_key(&idx)
    }

    /// The slot of parameter `idx`: f32, or bf16 if it is [stored](Self::is_stored).
    pub(crate) fn slot(&self, idx: usize) -> Slot {
        self.stored.get(&idx).map_or_else(|| self.view(self.values, idx), |&(_, slot)| slot)
    }

    /// Uploads the values of parameter `idx`; denormal values become zero. Weights must be
    /// [packed](crate::Network::prepare) again before inference; those stored in bf16 are rounded.
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
        if let Some((weights, slot)) = self.stored.get(&idx) {
            return weights.store(device, values, *slot);
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
