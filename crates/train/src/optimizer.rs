//! The parameter updates: SGD with momentum and Adam; clipping before them, averages after them.

mod adam;
mod average;
mod clip;
mod norm;
mod rule;

pub use clip::{Clip, Sharing};
pub use rule::{Ema, UpdateRule};

use crate::Result;
use adam::Adam;
pub(crate) use average::Average;
use kernels::sgd::{self, Segment};
use layers::{Network, Parameter, TrainableNetwork};
use tensor::{DType, Device, Planner, Shape, Slot};

/// The optimizer of a network, with its memory.
#[derive(Debug)]
pub struct Optimizer {
    rule: UpdateRule,
    /// Rate, momentum and decay of each parameter.
    table: Slot,
    /// The part of each parameter that is updated on this device.
    segments: Vec<Segment>,
    method: Method,
    clip: Option<Clip>,
    average: Option<Average>,
}

#[derive(Debug)]
enum Method {
    /// The velocities are a block of the network's memory.
    Sgd(sgd::Rule),
    Adam(Adam),
}

/// The part of every parameter that a device updates.
pub type Segments = Vec<Segment>;

impl Optimizer {
    /// An optimizer of whole parameters.
    pub fn new(rule: &UpdateRule, network: &Network, planner: &mut Planner) -> Optimizer {
        let whole = &network.parameters.entries;
        let sharing = Sharing { whole, share: &|entry| 0..entry.len(), world: 1 };
        let table = table(network, planner);
        Optimizer::of_parts(rule, network, segments(network), table, sharing, planner)
    }

    /// An optimizer of parts of parameters; `table` as [`table`] claims it.
    pub fn of_parts(
        rule: &UpdateRule,
        network: &Network,
        segments: Segments,
        table: Slot,
        sharing: Sharing<'_>,
        planner: &mut Planner,
    ) -> Optimizer {
        let method = if rule.optimizer.is_adam() {
            Method::Adam(Adam::plan(rule, network, &segments, planner))
        } else {
            Method::Sgd(rule.sgd())
        };
        let clip = Clip::plan(rule, network, &segments, sharing, planner);
        let average = Average::plan(rule, network, planner);
        Optimizer { rule: *rule, table, segments, method, clip, average }
    }

    /// The settings that its memory and passes are planned for.
    pub fn rule(&self) -> &UpdateRule {
        &self.rule
    }

    /// Sets the rate, the momentum and the decay of every parameter.
    ///
    /// # Errors
    /// If the device fails, here and below.
    pub fn set_rates(&self, device: &mut Device, rates: &[[f32; 3]]) -> Result<()> {
        Ok(device.upload(self.table, rates.as_flattened())?)
    }

    /// Prepares the update of step number `step` with its rates.
    pub(crate) fn begin_step(
        &self,
        device: &mut Device,
        entries: &[Parameter],
        rates: &[[f32; 3]],
        step: u64,
    ) -> Result<()> {
        let Method::Adam(adam) = &self.method else { return Ok(()) };
        // All that is trained has the same; rows of frozen parameters and of statistics are zero.
        let mut trained = entries
            .iter()
            .zip(rates)
            .filter(|(entry, rates)| !entry.role.is_statistic() && rates[0] != 0.0);
        let beta_1 = trained.next().map_or(0.0, |(_, rates)| rates[1]);
        adam.begin_step(device, beta_1, step)
    }

    /// Updates the parameters from the gradients.
    ///
    /// # Errors
    /// If the device fails.
    pub fn update(&self, device: &mut Device, network: &TrainableNetwork) -> tensor::Result<()> {
        let (dw, w, v) = (network.gradients, network.parameters.values, network.velocities);
        match &self.method {
            Method::Sgd(rule) => sgd::step_by(device, *rule, &self.segments, self.table, dw, w, v),
            Method::Adam(adam) => adam.update(device, self.table, network),
        }
    }

    /// Runs all operations of an update once, to check that a device has them.
    ///
    /// # Errors
    /// If it lacks one.
    pub fn rehearse(&self, device: &mut Device, network: &TrainableNetwork) -> tensor::Result<()> {
        if let Some(clip) = &self.clip {
            clip.rehearse(device, network.gradients)?;
        }
        if let Some(average) = &self.average {
            average.rehearse(device, network.parameters.values)?;
        }
        self.update(device, network)
    }

    /// The clipping of gradients before the update.
    pub fn clip(&self) -> Option<&Clip> {
        self.clip.as_ref()
    }

    pub(crate) fn average(&self) -> Option<&Average> {
        self.average.as_ref()
    }

    /// Adam's second moments, laid out as the weights are.
    pub fn second_moments(&self) -> Option<Slot> {
        match &self.method {
            Method::Sgd(_) => None,
            Method::Adam(adam) => Some(adam.second),
        }
    }

    /// The blocks that are saved beside the weights and the velocities, in the order of
    /// [`UpdateRule::state`]: second moments, averages.
    pub fn other_state(&self) -> impl Iterator<Item = Slot> {
        self.second_moments().into_iter().chain(self.average.as_ref().map(|average| average.block))
    }

    /// The part of parameter `idx` that is updated on this device.
    pub(crate) fn segment(&self, idx: usize) -> Segment {
        self.segments[idx]
    }

    /// The norm of the last update of parameter `idx`, computed with the buffer `room`; `None` if
    /// it is the norm of the velocity.
    pub(crate) fn update_norm(
        &self,
        device: &Device,
        network: &TrainableNetwork,
        idx: usize,
        room: &mut [f32],
    ) -> Result<Option<f64>> {
        let (segment, mut rates) = (self.segments[idx], [0.0; 3]);
        match &self.method {
            Method::Sgd(sgd::Rule::Paper) => Ok(None), // the rate is inside the velocity
            Method::Sgd(rule) => {
                device.download_into(self.table.part(3 * idx, Shape::from([3])), &mut rates)?;
                norm::of_sgd(device, *rule, rates, network, segment, room)
            }
            Method::Adam(adam) => {
                device.download_into(self.table.part(3 * idx, Shape::from([3])), &mut rates)?;
                adam.update_norm(device, rates, network, segment, room).map(Some)
            }
        }
    }
}

/// Claims memory for the rates of a network's parameters.
pub fn table(network: &Network, planner: &mut Planner) -> Slot {
    planner.claim(DType::F32, Shape::from([network.parameters.entries.len(), 3]))
}

/// The whole of every parameter.
fn segments(network: &Network) -> Segments {
    let entries = network.parameters.entries.iter();
    entries.map(|entry| Segment { start: entry.start, len: entry.len() }).collect()
}
