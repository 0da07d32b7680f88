//! Data parallelism for convolutions, model parallelism for linear layers ("One weird trick for
//! parallelizing convolutional neural networks", arXiv 1404.5997).
//!
//! Below its first linear row a network has few weights and most of the arithmetic: every device
//! holds all of it and computes it for its own images. The linear layers have nearly all weights:
//! every device holds a share of each layer's units and computes them for the images of all
//! devices, one micro-shard at a time.
//!
//! * [`Shares`]: assigns images and units to devices
//! * [`plan`]: plans one device: a [`TrainableNetwork`] up to the features, and a [`Head`]
//! * [`Head`]: this device's share of the linear layers; the caller sends and receives activations
//!   and gradients between its stages
//! * [`traffic`]: the bytes exchanged

mod head;
#[cfg(test)]
mod tests;

use crate::fuse::{NamedRows, RowNames, fuse_except};
use crate::layer::{self, Layer, dropout, weight_and_bias};
use crate::network::{OptimizerState, TrainableNetwork};
use crate::parameters::Parameter;
use crate::rows::Row;
use crate::spec::{Spec, SpecError};
pub use head::Head;
use kernels::dropout::Columns;
use kernels::linear;
use std::ops::Range;
use tensor::{Planner, Shape, Target};

/// How a batch, and the units of linear layers, are divided among devices.
///
/// A batch is divided into micro-shards, and the units of every layer into as many blocks. A device
/// has a contiguous range of both. Sums over units are sums over blocks in a fixed binary tree, so
/// results depend on the number of blocks, not on the number of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Images of a micro-shard.
    pub images: usize,
    /// Micro-shards of a batch, and blocks of units: a power of two.
    pub shards: usize,
    /// Index of this device.
    pub rank: usize,
    /// Number of devices: a power of two, at most the number of micro-shards.
    pub world: usize,
}

impl Shares {
    /// Number of micro-shards, and of blocks, per device.
    pub fn each(&self) -> usize {
        self.shards / self.world
    }

    /// The units of a range of blocks of a layer with `units` units.
    fn of_blocks(&self, units: usize, blocks: Range<usize>) -> Range<usize> {
        blocks.start * units / self.shards..blocks.end * units / self.shards
    }

    /// The units of a layer with `units` units that device `rank` holds.
    pub fn units(&self, units: usize, rank: usize) -> Range<usize> {
        self.of_blocks(units, rank * self.each()..(rank + 1) * self.each())
    }

    /// The units of each device.
    pub fn units_of_all(&self, units: usize) -> impl Iterator<Item = Range<usize>> {
        (0..self.world).map(move |rank| self.units(units, rank))
    }
}

/// A network divided at its first linear row.
#[derive(Debug)]
struct DividedNetwork {
    fused: NamedRows,
    /// Index of the first linear row.
    first: usize,
    /// Number of features of an image, the input of that row.
    features: usize,
}

/// Divides a network at its first linear row.
///
/// # Errors
/// [`SpecError::Row`] if no row below has parameters, or a layer has fewer than `shards` units.
fn divide(spec: &Spec, shards: usize) -> Result<DividedNetwork, SpecError> {
    spec.describe()?;
    let fused = fuse_except(spec, &[]);
    let infos = fused.spec.describe()?;
    let refused = |row: usize, reason: String| {
        let (network, row) = (spec.name.clone(), fused.names[row].first.clone());
        Err(SpecError::Row { network, row, reason })
    };
    let is_linear = |row: &Row| matches!(row, Row::Linear(_));
    let first = fused.spec.rows.iter().position(is_linear).expect("a network ends in a linear row");
    if infos[..first].iter().all(|row| row.parameters == 0) {
        let reason = "no layer before the first linear row has parameters, so hybrid parallelism \
                      does not apply; use data parallelism, or a network with convolutions";
        return refused(first, reason.to_string());
    }
    for (idx, row) in fused.spec.rows.iter().enumerate() {
        if let Row::Linear(linear) = row
            && linear.outputs < shards
        {
            let reason = format!(
                "its {} units cannot be divided into {shards} blocks, one per micro-shard: use \
                 fewer micro-shards",
                linear.outputs
            );
            return refused(idx, reason);
        }
    }
    let features = infos[first - 1].output.len();
    Ok(DividedNetwork { first, features, fused })
}

/// A linear layer and the rows up to the next one, before they have slots.
#[derive(Debug)]
struct UnplannedStage {
    name: String,
    /// This device's units, for one micro-shard.
    geometry: linear::Geometry,
    /// Number of units on all devices.
    whole: usize,
    /// The rows up to the next linear one.
    unitwise: Vec<UnitwiseRow>,
}

/// A row each of whose outputs depends on one unit, e.g. an activation or dropout.
#[derive(Debug)]
struct UnitwiseRow {
    name: String,
    layer: Box<dyn Layer>,
    /// The same layer for a whole batch, if it has parameters.
    of_batch: Option<Box<dyn Layer>>,
}

impl DividedNetwork {
    /// This device's share of the linear layers.
    fn stages(&self, shares: &Shares) -> Result<Vec<UnplannedStage>, SpecError> {
        let mut stages: Vec<UnplannedStage> = Vec::new();
        let mut inputs = self.features;
        let NamedRows { spec, names } = &self.fused;
        for (RowNames { first: name, .. }, row) in names.iter().zip(&spec.rows).skip(self.first) {
            match (row, stages.last_mut()) {
                (Row::Linear(linear), _) => {
                    let (whole, relu, name) = (linear.outputs, linear.relu, name.clone());
                    let outputs = shares.units(whole, shares.rank).len();
                    let images = shares.images;
                    let geometry = linear::Geometry { images, inputs, outputs, relu };
                    stages.push(UnplannedStage { name, geometry, whole, unitwise: Vec::new() });
                    inputs = whole;
                }
                (row, Some(below)) => {
                    let row = unitwise(shares, below.whole, name, row);
                    below.unitwise.push(row.map_err(|reason| SpecError::Row {
                        network: spec.name.clone(),
                        row: name.clone(),
                        reason,
                    })?);
                }
                (_, None) => unreachable!("the first of these rows is linear"),
            }
        }
        Ok(stages)
    }
}

/// A row after a linear layer with `whole` units, for this device's units.
fn unitwise(shares: &Shares, whole: usize, name: &str, row: &Row) -> Result<UnitwiseRow, String> {
    let units = shares.units(whole, shares.rank);
    let build = |images: usize| -> Result<Box<dyn Layer>, String> {
        let shape = Shape::from([images, units.len()]);
        match row {
            Row::Dropout(row) => {
                let columns = Columns { width: units.len(), first: units.start, whole };
                Ok(Box::new(dropout::plan_columns(row, name, shape, Some(columns))?))
            }
            Row::Relu(_)
            | Row::LeakyRelu(_)
            | Row::Prelu(_)
            | Row::Gelu(_)
            | Row::Tanh(_)
            | Row::Logistic(_) => layer::build(row, name, shape),
            _ => Err("hybrid parallelism cannot divide this row; use data parallelism".to_string()),
        }
    };
    let layer = build(shares.images)?;
    let of_batch = if layer.parameters().is_empty() {
        None
    } else {
        Some(build(shares.images * shares.shards)?)
    };
    Ok(UnitwiseRow { name: name.to_string(), layer, of_batch })
}

impl UnplannedStage {
    fn parameters(&self) -> Vec<Parameter> {
        let linear::Geometry { inputs, outputs, .. } = self.geometry;
        let own = weight_and_bias(&self.name, Shape::from([outputs, inputs]), inputs);
        own.into_iter().chain(self.unitwise.iter().flat_map(|row| row.layer.parameters())).collect()
    }
}

/// Plans one device: all rows below the first linear row for the images of one micro-shard, and its
/// share of the linear layers for a whole batch. The network's output are the features, the head's
/// input; its parameters are all of this device's, in the order of the rows.
///
/// # Errors
/// [`SpecError`], naming the row that does not fit or cannot be divided.
pub fn plan(
    spec: &Spec,
    shares: Shares,
    planner: &mut Planner,
    target: Target,
) -> Result<(TrainableNetwork, Head), SpecError> {
    let divided = divide(spec, shares.shards)?;
    let stages = divided.stages(&shares)?;
    let below = divided.fused.first(divided.first);
    let above = stages.iter().flat_map(UnplannedStage::parameters).collect();
    let state = OptimizerState::Planned;
    let network =
        TrainableNetwork::plan_part(&below, shares.images, (above, state), planner, target)?;
    let head = Head::plan(shares, stages, &network, planner, target);
    Ok((network, head))
}

/// One exchange between devices, before a linear layer or after the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HybridTraffic {
    /// The row whose output is sent.
    pub from: String,
    /// The layer that reads it; `None` for the loss.
    pub to: Option<String>,
    /// Floats per image, on all devices together.
    pub floats: usize,
    world: usize,
}

impl HybridTraffic {
    /// Bytes sent by all devices in the forward pass of `images` images; the backward pass sends as
    /// many. A layer's input is sent to all other devices; scores only to the device that has the
    /// images.
    pub fn bytes(&self, images: usize) -> usize {
        let others = 4 * self.floats * images * (self.world - 1);
        if self.to.is_some() { others } else { others / self.world }
    }
}

/// The exchanges of a network's linear layers between `world` devices.
///
/// # Errors
/// As [`plan`].
pub fn traffic(spec: &Spec, world: usize) -> Result<Vec<HybridTraffic>, SpecError> {
    let divided = divide(spec, world)?;
    let shares = Shares { images: 1, shards: world, rank: 0, world };
    let stages = divided.stages(&shares)?;
    let mut traffic = Vec::new();
    let mut from = divided.fused.names[divided.first - 1].first.clone();
    for stage in &stages {
        let (to, floats) = (Some(stage.name.clone()), stage.geometry.inputs);
        traffic.push(HybridTraffic { from, to, floats, world });
        from = stage.unitwise.last().map_or(&stage.name, |last| &last.name).clone();
    }
    let floats = stages.last().map_or(0, |last| last.whole);
    traffic.push(HybridTraffic { from, to: None, floats, world });
    Ok(traffic)
}
