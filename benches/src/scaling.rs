//! What a step costs on many devices, on paper: an alpha-beta model with overlap.
//!
//! A message of n bytes takes alpha + n / beta. Devices stand in hosts; a ring runs inside a host,
//! and between hosts each device has its share of the wire. What a device computes takes the longer
//! of its floating-point operations and its bytes, divided by the share of that floor that real
//! kernels reach. Three ways to divide the work, by the devices' number N:
//!
//! * **data**: each device has the whole network and its own images. A row's gradients are reduced
//!   while the rows below it still compute (Krizhevsky's "replicas", everyone's default today).
//! * **towers**: pairs of devices, each with half of every layer and all of the pair's images
//!   (section 3.5 of the paper); what crosses is what [`layers::towers`] says, and nothing hides
//!   it. Pairs are replicas of each other.
//! * **hybrid**: convolutions by data; linear layers by units among the devices of a host, with
//!   every device's images in turn ("One weird trick", arXiv 1404.5997, scheme b): while one
//!   device's features are being worked on, the next one's are on their way. Hosts are replicas of
//!   each other.
//!
//! The model knows nothing of stragglers, of loading, or of two rings that share a wire: it is the
//! best that wires allow. A test holds it to the times that were published for one to eight K20s;
//! `--measure` to two devices of this machine.

mod machine;
mod measured;
mod table;
#[cfg(test)]
mod tests;

pub use machine::{Link, Machine};
pub use measured::{Held, Measured, measure};
pub use table::run;

use layers::towers::{self, Towers};
use layers::{Spec, SpecError};

/// How the work of a step is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Replicas.
    Data,
    /// Pairs of towers.
    Towers,
    /// Convolutions by data, linear layers by units.
    Hybrid,
}

impl Mode {
    /// All three.
    pub const ALL: [Mode; 3] = [Mode::Data, Mode::Towers, Mode::Hybrid];

    /// As `--parallel` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Data => "data",
            Mode::Towers => "towers",
            Mode::Hybrid => "hybrid",
        }
    }
}

/// A row of the network, for one image.
#[derive(Clone, Copy, Debug)]
struct Row {
    macs: f64,
    /// Floats of its input.
    input: f64,
    /// Floats of its output.
    output: f64,
    parameters: f64,
    /// Whether gradients go below it.
    is_first: bool,
    is_linear: bool,
}

/// A network as the model sees it.
#[derive(Clone, Debug)]
pub struct Network {
    rows: Vec<Row>,
    /// Between two towers; absent where the network does not come apart.
    towers: Option<Towers>,
}

/// Bytes of a float.
const FLOAT: f64 = 4.0;

impl Network {
    /// Of a network's rows.
    ///
    /// # Errors
    /// If they do not fit together.
    pub fn new(spec: &Spec) -> Result<Network, SpecError> {
        let [height, width, channels] = spec.input;
        let (mut input, mut is_first) = ((height * width * channels) as f64, true);
        let mut rows = Vec::new();
        for (kind, row) in spec.rows.iter().zip(spec.describe()?) {
            let output = row.output.len() as f64;
            rows.push(Row {
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
        Ok(Network { rows, towers: towers::split(spec, 2).ok() })
    }

    /// Seconds of a step in which every device has `images` images, so many that N devices learn
    /// from N times as many; nothing where the network or the number does not allow the mode.
    pub fn step(&self, machine: &Machine, mode: Mode, devices: usize, images: f64) -> Option<f64> {
        match mode {
            Mode::Data => Some(self.data(machine, devices, images)),
            Mode::Towers if devices == 1 => Some(self.data(machine, 1, images)),
            Mode::Towers => self.towers(machine, devices, images),
            Mode::Hybrid => Some(self.hybrid(machine, devices, images)),
        }
    }

    /// Replicas: a channel reduces gradients, in the order in which they are ready, while rows
    /// below compute.
    fn data(&self, machine: &Machine, devices: usize, images: f64) -> f64 {
        let forward: f64 = self.rows.iter().map(|row| row.forward(machine, images, 1.0)).sum();
        let reduce = |row: &Row| machine.all_reduce(devices, FLOAT * row.parameters);
        let backward = overlapped(0.0, self.rows.iter().rev(), machine, images, reduce);
        forward + backward + self.update(machine, self.parameters(|_| true))
    }

    /// Pairs: half of every row for the images of both, and what crosses in the open; then the
    /// reduction among pairs.
    fn towers(&self, machine: &Machine, devices: usize, images: f64) -> Option<f64> {
        let towers = self.towers.as_ref().filter(|_| devices.is_multiple_of(2))?;
        let images = 2.0 * images;
        let half = |row: &Row| Row {
            macs: row.macs / 2.0,
            input: row.input / 2.0,
            output: row.output / 2.0,
            parameters: row.parameters / 2.0,
            ..*row
        };
        let rows: Vec<Row> = self.rows.iter().map(half).collect();
        let forward: f64 = rows.iter().map(|row| row.forward(machine, images, 1.0)).sum();
        // Both directions at once: a tower sends while it receives.
        let crossing = |traffic: &towers::TowerTraffic| {
            machine.inside.time(FLOAT * traffic.floats as f64 * images)
        };
        let crossing: f64 = towers.traffic.iter().map(crossing).sum();
        let reduce = |row: &Row| machine.among_pairs(devices, FLOAT * row.parameters);
        let backward = overlapped(0.0, rows.iter().rev(), machine, images, reduce);
        let update = self.update(machine, rows.iter().map(|row| row.parameters).sum());
        Some(forward + backward + 2.0 * crossing + update)
    }

    fn hybrid(&self, machine: &Machine, devices: usize, images: f64) -> f64 {
        let (inside, hosts) = machine.hosts(devices);
        let n = inside as f64;
        let below: Vec<&Row> = self.rows.iter().take_while(|row| !row.is_linear).collect();
        let above = &self.rows[below.len()..];
        let forward: f64 = below.iter().map(|row| row.forward(machine, images, 1.0)).sum();

        // A pass: one device's images through everyone's share of the units, and back.
        let compute: f64 = above
            .iter()
            .map(|row| row.forward(machine, images, n) + row.backward(machine, images, n))
            .sum();
        let mut crossing = 0.0;
        let mut input = below.last().map_or(0.0, |row| row.output);
        for row in above.iter().filter(|row| row.is_linear) {
            // What the layer sees goes to all; in the backward pass its gradients come back.
            crossing += 2.0 * machine.all_gather_inside(inside, FLOAT * input * images);
            input = row.output;
        }
        let passes = compute + crossing + (n - 1.0) * compute.max(crossing);

        let shares = self.parameters(|row| row.is_linear) / n;
        let first = machine.all_reduce_between(hosts, FLOAT * shares);
        let reduce = |row: &Row| machine.all_reduce(devices, FLOAT * row.parameters);
        let backward = overlapped(first, below.iter().rev().copied(), machine, images, reduce);
        let update = self.update(machine, shares + self.parameters(|row| !row.is_linear));
        forward + passes + backward + update
    }

    fn parameters(&self, which: impl Fn(&Row) -> bool) -> f64 {
        self.rows.iter().filter(|row| which(row)).map(|row| row.parameters).sum()
    }

    /// Weight, gradient and velocity read, weight and velocity written.
    fn update(&self, machine: &Machine, parameters: f64) -> f64 {
        machine.compute(0.0, 5.0 * FLOAT * parameters)
    }
}

impl Row {
    /// Seconds for so many images, where a row with units is divided among `share` devices.
    fn forward(&self, machine: &Machine, images: f64, share: f64) -> f64 {
        let bytes = FLOAT * (images * (self.input + self.output) + self.parameters) / share;
        machine.compute(2.0 * self.macs * images / share, bytes)
    }

    /// Both gradients, or the weights' alone in the first row that learns, whose input's gradient
    /// nobody writes.
    fn backward(&self, machine: &Machine, images: f64, share: f64) -> f64 {
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

/// A backward pass with a reduction after each row's, one after another beside it, the first of
/// them `channel` seconds after the pass begins.
fn overlapped<'a>(
    mut channel: f64,
    rows: impl Iterator<Item = &'a Row>,
    machine: &Machine,
    images: f64,
    reduce: impl Fn(&Row) -> f64,
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
