//! The parameter updates: the paper's SGD with momentum, and Adam.

mod adam;

use crate::Result;
use adam::Adam;
use kernels::sgd::{self, Segment};
use layers::{Network, Parameter, Role, TrainableNetwork};
use tensor::{DType, Device, Planner, Shape, Slot};

/// The optimizer of a network, with its memory.
#[derive(Debug)]
pub struct Optimizer {
    /// Rate, momentum and decay of each parameter.
    table: Slot,
    /// The part of each parameter that is updated on this device.
    segments: Vec<Segment>,
    method: Method,
}

#[derive(Debug)]
enum Method {
    /// The velocities are a block of the network's memory.
    Sgd,
    Adam(Adam),
}

/// The part of every parameter that a device updates.
pub type Segments = Vec<Segment>;

impl Optimizer {
    /// SGD with momentum of whole parameters.
    pub fn sgd(network: &Network, planner: &mut Planner) -> Optimizer {
        let table = table(network, planner);
        Optimizer::sgd_of(segments(network), table)
    }

    /// SGD with momentum of parts of parameters; `table` as [`table`] claims it.
    pub fn sgd_of(segments: Segments, table: Slot) -> Optimizer {
        Optimizer { table, segments, method: Method::Sgd }
    }

    /// Adam.
    pub fn adam(network: &Network, planner: &mut Planner) -> Optimizer {
        let table = table(network, planner);
        let method = Method::Adam(Adam::plan(network, planner));
        Optimizer { table, segments: segments(network), method }
    }

    /// Sets the rate, the momentum and the decay of every parameter.
    ///
    /// # Errors
    /// If the device fails, here and below.
    pub fn set_rates(&self, device: &mut Device, rates: &[[f32; 3]]) -> Result<()> {
        Ok(device.upload(self.table, rates.as_flattened())?)
    }

    /// Prepares step number `step` with its rates.
    pub(crate) fn begin_step(
        &self,
        device: &mut Device,
        entries: &[Parameter],
        rates: &[[f32; 3]],
        step: u64,
    ) -> Result<()> {
        let Method::Adam(adam) = &self.method else { return Ok(()) };
        let mut weights = entries.iter().zip(rates).filter(|(entry, _)| entry.role == Role::Weight);
        let beta_1 = weights.next().map_or(0.0, |(_, rates)| rates[1]);
        adam.begin_step(device, beta_1, step)
    }

    /// Updates the parameters from the gradients.
    ///
    /// # Errors
    /// If the device fails.
    pub fn update(&self, device: &mut Device, network: &TrainableNetwork) -> tensor::Result<()> {
        let (dw, w, v) = (network.gradients, network.parameters.values, network.velocities);
        match &self.method {
            Method::Sgd => sgd::step(device, &self.segments, self.table, dw, w, v),
            Method::Adam(adam) => adam.update(device, self.table, network),
        }
    }

    /// Adam's second moments, laid out as the weights are.
    pub(crate) fn second_moments(&self) -> Option<Slot> {
        match &self.method {
            Method::Sgd => None,
            Method::Adam(adam) => Some(adam.second),
        }
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
        match &self.method {
            Method::Sgd => Ok(None), // the rate is inside the velocity
            Method::Adam(adam) => {
                adam.update_norm(device, self.table, network, idx, room).map(Some)
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
