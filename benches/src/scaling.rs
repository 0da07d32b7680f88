//! Step times on many devices by an alpha-beta model with overlap.
//!
//! A message of n bytes takes alpha + n / beta. Devices are grouped in hosts: a ring runs inside a
//! host, and between hosts each device has its share of the network. Computation takes the larger
//! of operations and bytes at the peak rates, divided by the efficiency of real kernels. Three
//! modes for N devices:
//!
//! * **data**: each device has the whole network and its own images. A row's gradients are reduced
//!   while the rows below it compute.
//! * **towers**: pairs of devices, each with half of every layer and all images of the pair
//!   (section 3.5 of the paper). [`layers::towers`] gives the traffic, which is not overlapped.
//!   Pairs are replicas of each other.
//! * **hybrid**: data parallelism for convolutions; the units of linear layers are divided among
//!   the devices of a host, which process every device's images one after another ("One weird
//!   trick", arXiv 1404.5997, scheme b). While one device's features are processed, the next one's
//!   are transferred. Hosts are replicas of each other.
//!
//! The model ignores stragglers, loading, and rings that share a link, so its times are lower
//! bounds. A test compares it with published times of one to eight K20s, and `--measure` with two
//! devices of this machine.

mod cluster;
mod measured;
mod table;
#[cfg(test)]
mod tests;

pub use cluster::{Cluster, Link};
pub use measured::{Measurements, ModeComparison, measure};
pub use table::run;

use layers::towers::{self, Towers};
use layers::{Spec, SpecError};

/// A parallel mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallelism {
    /// Replicas.
    Data,
    /// Pairs of towers.
    Towers,
    /// Convolutions by data, linear layers by units.
    Hybrid,
}

impl Parallelism {
    /// All three.
    pub const ALL: [Parallelism; 3] = [Parallelism::Data, Parallelism::Towers, Parallelism::Hybrid];

    /// Its name for `--parallel`.
    pub fn name(self) -> &'static str {
        match self {
            Parallelism::Data => "data",
            Parallelism::Towers => "towers",
            Parallelism::Hybrid => "hybrid",
        }
    }
}

/// The cost of a row, for one image.
#[derive(Clone, Copy, Debug)]
struct RowCost {
    macs: f64,
    /// Floats of its input.
    input: f64,
    /// Floats of its output.
    output: f64,
    parameters: f64,
    /// Whether no row below it has parameters.
    is_first: bool,
    is_linear: bool,
}

/// The costs of a network.
#[derive(Clone, Debug)]
pub struct CostModel {
    rows: Vec<RowCost>,
    /// The traffic between two towers; absent if the network cannot be split.
    towers: Option<Towers>,
}

/// Bytes per float.
const FLOAT: f64 = 4.0;

impl CostModel {
    /// The costs of a network's rows.
    ///
    /// # Errors
    /// If they do not fit together.
    pub fn new(spec: &Spec) -> Result<CostModel, SpecError> {
        let [height, width, channels] = spec.input;
        let (mut input, mut is_first) = ((height * width * channels) as f64, true);
        let mut rows = Vec::new();
        for (kind, row) in spec.rows.iter().zip(spec.describe()?) {
            let output = row.output.len() as f64;
            rows.push(RowCost {
                macs: row.macs as f64,
                input,
                output,
                parameters: row.parameters as f64,
                is_first,
                is_linear: matches!(kind, layers::Row::Linear(_)),
            });
            is_first &= row.parameters == 0;
            input = output;
        }
        Ok(CostModel { rows, towers: towers::split(spec, 2).ok() })
    }

    /// Seconds of a step with `images` images per device; `None` if the network or the number of
    /// devices does not allow the mode.
    pub fn step(
        &self,
        machine: &Cluster,
        mode: Parallelism,
        devices: usize,
        images: f64,
    ) -> Option<f64> {
        match mode {
            Parallelism::Data => Some(self.data(machine, devices, images)),
            Parallelism::Towers if devices == 1 => Some(self.data(machine, 1, images)),
            Parallelism::Towers => self.towers(machine, devices, images),
            Parallelism::Hybrid => Some(self.hybrid(machine, devices, images)),
        }
    }

    /// Replicas: gradients are reduced in order while the rows below compute.
    fn data(&self, machine: &Cluster, devices: usize, images: f64) -> f64 {
        let forward: f64 = self.rows.iter().map(|row| row.forward(machine, images, 1.0)).sum();
        let reduce = |row: &RowCost| machine.all_reduce(devices, FLOAT * row.parameters);
        let backward = overlapped(0.0, self.rows.iter().rev(), machine, images, reduce);
        forward + backward + self.update(machine, self.parameters(|_| true))
    }

    /// Pairs: half of every row for the images of both, with traffic that is not overlapped; then
    /// the reduction among pairs.
    fn towers(&self, machine: &Cluster, devices: usize, images: f64) -> Option<f64> {
        let towers = self.towers.as_ref().filter(|_| devices.is_multiple_of(2))?;
        let images = 2.0 * images;
        let half = |row: &RowCost| RowCost {
            macs: row.macs / 2.0,
            input: row.input / 2.0,
            output: row.output / 2.0,
            parameters: row.parameters / 2.0,
            ..*row
        };
        let rows: Vec<RowCost> = self.rows.iter().map(half).collect();
        let forward: f64 = rows.iter().map(|row| row.forward(machine, images, 1.0)).sum();
        // Both directions at once: a tower sends while it receives.
        let crossing = |traffic: &towers::TowerTraffic| {
            machine.inside.time(FLOAT * traffic.floats as f64 * images)
        };
        let crossing: f64 = towers.traffic.iter().map(crossing).sum();
        let reduce = |row: &RowCost| machine.among_pairs(devices, FLOAT * row.parameters);
        let backward = overlapped(0.0, rows.iter().rev(), machine, images, reduce);
        let update = self.update(machine, rows.iter().map(|row| row.parameters).sum());
        Some(forward + backward + 2.0 * crossing + update)
    }

    fn hybrid(&self, machine: &Cluster, devices: usize, images: f64) -> f64 {
        let (inside, hosts) = machine.hosts(devices);
        let n = inside as f64;
        let below: Vec<&RowCost> = self.rows.iter().take_while(|row| !row.is_linear).collect();
        let above = &self.rows[below.len()..];
        let forward: f64 = below.iter().map(|row| row.forward(machine, images, 1.0)).sum();

        // A pass: one device's images through all shares of the units, forward and backward.
        let compute: f64 = above
            .iter()
            .map(|row| row.forward(machine, images, n) + row.backward(machine, images, n))
            .sum();
        let mut crossing = 0.0;
        let mut input = below.last().map_or(0.0, |row| row.output);
        for row in above.iter().filter(|row| row.is_linear) {
            // All devices receive the layer's input; backward they return its gradients.
            crossing += 2.0 * machine.all_gather_inside(inside, FLOAT * input * images);
            input = row.output;
        }
        let passes = compute + crossing + (n - 1.0) * compute.max(crossing);

        let shares = self.parameters(|row| row.is_linear) / n;
        let first = machine.all_reduce_between(hosts, FLOAT * shares);
        let reduce = |row: &RowCost| machine.all_reduce(devices, FLOAT * row.parameters);
        let backward = overlapped(first, below.iter().rev().copied(), machine, images, reduce);
        let update = self.update(machine, shares + self.parameters(|row| !row.is_linear));
        forward + passes + backward + update
    }

    fn parameters(&self, which: impl Fn(&RowCost) -> bool) -> f64 {
        self.rows.iter().filter(|row| which(row)).map(|row| row.parameters).sum()
    }

    /// Reads weight, gradient and velocity; writes weight and velocity.
    fn update(&self, machine: &Cluster, parameters: f64) -> f64 {
        machine.compute(0.0, 5.0 * FLOAT * parameters)
    }
}

impl RowCost {
    /// Seconds of the forward pass of a row that is divided among `share` devices.
    fn forward(&self, machine: &Cluster, images: f64, share: f64) -> f64 {
        let bytes = FLOAT * (images * (self.input + self.output) + self.parameters) / share;
        machine.compute(2.0 * self.macs * images / share, bytes)
    }

    /// Seconds of the backward pass; the first trainable row computes no input gradient.
    fn backward(&self, machine: &Cluster, images: f64, share: f64) -> f64 {
        if self.is_first && self.parameters == 0.0 {
            return 0.0;
        }
        let gradients = if self.is_first { 1.0 } else { 2.0 };
        let dx = if self.is_first { 0.0 } else { self.input };
        let floats = images * (self.input + self.output + dx) + 2.0 * self.parameters;
        let bytes = FLOAT * floats / share;
        machine.compute(gradients * 2.0 * self.macs * images / share, bytes)
    }
}

/// Seconds of a backward pass, overlapped with one reduction per row; the reductions run one after
/// another and start `channel` seconds after the pass.
fn overlapped<'a>(
    mut channel: f64,
    rows: impl Iterator<Item = &'a RowCost>,
    machine: &Cluster,
    images: f64,
    reduce: impl Fn(&RowCost) -> f64,
) -> f64 {
    let mut now = 0.0f64;
    for row in rows {
        now += row.backward(machine, images, 1.0);
        if row.parameters > 0.0 {
            channel = channel.max(now) + reduce(row);
        }
    }
    now.max(channel)
}
