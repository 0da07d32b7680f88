//! Convolutions by data, linear layers by units ("One weird trick for parallelizing convolutional
//! neural networks", arXiv 1404.5997).
//!
//! Below its first linear row a network has few weights and most of the arithmetic: every device
//! has all of that, and computes it for its own images. From there on nearly all weights lie: a
//! device has a share of every layer's units, and computes them for everybody's images, one
//! micro-shard after the other.
//!
//! * [`Shares`]: which images and which units are whose
//! * [`plan`]: what a device has: a [`TrainableNetwork`] up to the features, and a [`Head`]
//! * [`Head`]: the linear layers, as far as they are here; what has to be sent or received between
//!   its stages is left to whoever calls them
//! * [`traffic`]: what crosses, and how many bytes

mod head;
#[cfg(test)]
mod tests;

use crate::fuse::fuse;
use crate::layer::{self, Layer, dropout, weight_and_bias};
use crate::network::TrainableNetwork;
use crate::parameters::Parameter;
use crate::rows::Row;
use crate::spec::{Spec, SpecError};
pub use head::Head;
use kernels::dropout::Columns;
use kernels::linear;
use std::ops::Range;
use tensor::{Planner, Shape, Target};

/// How a batch, and the units of linear layers, are shared among devices.
///
/// A batch is cut into micro-shards, and the units of every layer into as many blocks. A device has
/// a run of either. Sums over units are sums over blocks, added up in a binary tree, whoever
/// computes them: so bits depend on the number of blocks, not on that of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Images of a micro-shard.
    pub images: usize,
    /// Micro-shards of a batch, and blocks of units: a power of two.
    pub shards: usize,
    /// This device.
    pub rank: usize,
    /// All devices: a power of two, at most as many as there are micro-shards.
    pub world: usize,
}

impl Shares {
    /// Micro-shards, and blocks, of a device.
    pub fn each(&self) -> usize {
        self.shards / self.world
    }

    /// The units of some blocks of a layer with `units`: blocks are as equal as can be.
    fn of_blocks(&self, units: usize, blocks: Range<usize>) -> Range<usize> {
        blocks.start * units / self.shards..blocks.end * units / self.shards
    }

    /// The units that a device has of a layer with `units`.
    pub fn units(&self, units: usize, rank: usize) -> Range<usize> {
        self.of_blocks(units, rank * self.each()..(rank + 1) * self.each())
    }

    /// Those of each device.
    pub fn units_of_all(&self, units: usize) -> impl Iterator<Item = Range<usize>> {
        (0..self.world).map(move |rank| self.units(units, rank))
    }
}

/// A network whose linear layers are to be shared.
#[derive(Debug)]
struct Cut {
    /// As it runs.
    fused: Spec,
    names: Vec<String>,
    /// The first linear row.
    first: usize,
    /// Numbers that the rows below it make of an image.
    features: usize,
}

/// Finds where a network is to be cut.
///
/// # Errors
/// [`SpecError::Row`] if nothing below learns, or a layer has too few units for `shards` blocks.
fn cut(spec: &Spec, shards: usize) -> Result<Cut, SpecError> {
    spec.describe()?;
    let fused = fuse(spec);
    let infos = fused.describe()?;
    let refused = |row: usize, reason: String| {
        let (network, row) = (spec.name.clone(), infos[row].name.clone());
        Err(SpecError::Row { network, row, reason })
    };
    let is_linear = |row: &Row| matches!(row, Row::Linear(_));
    let first = fused.rows.iter().position(is_linear).expect("a network ends in a linear row");
    if infos[..first].iter().all(|row| row.parameters == 0) {
        let reason = "no layer below its first linear row learns, so that there is nothing to be \
                      shared by images; use --parallel data, or a network with convolutions";
        return refused(first, reason.to_string());
    }
    for (idx, row) in fused.rows.iter().enumerate() {
        if let Row::Linear(linear) = row
            && linear.outputs < shards
        {
            let reason = format!(
                "its {} units cannot be shared as {shards} blocks, one a micro-shard at least: \
                 use fewer --micro-shards",
                linear.outputs
            );
            return refused(idx, reason);
        }
    }
    let (features, names) = (infos[first - 1].output.len(), fused.names());
    Ok(Cut { names, first, features, fused })
}

/// A linear layer with what follows it, before it has slots.
#[derive(Debug)]
struct Draft {
    name: String,
    /// Of the units that are here, for a micro-shard.
    geometry: linear::Geometry,
    /// Units of all devices.
    whole: usize,
    /// Rows up to the next linear one.
    between: Vec<Between>,
}

/// A row whose outputs depend on one unit each.
#[derive(Debug)]
struct Between {
    name: String,
    layer: Box<dyn Layer>,
    /// The same for all images of a batch, if it has parameters.
    of_batch: Option<Box<dyn Layer>>,
}

impl Cut {
    fn drafts(&self, shares: &Shares) -> Result<Vec<Draft>, SpecError> {
        let mut drafts: Vec<Draft> = Vec::new();
        let mut inputs = self.features;
        for (name, row) in self.names.iter().zip(&self.fused.rows).skip(self.first) {
            match (row, drafts.last_mut()) {
                (Row::Linear(linear), _) => {
                    let (whole, relu, name) = (linear.outputs, linear.relu, name.clone());
                    let outputs = shares.units(whole, shares.rank).len();
                    let images = shares.images;
                    let geometry = linear::Geometry { images, inputs, outputs, relu };
                    drafts.push(Draft { name, geometry, whole, between: Vec::new() });
                    inputs = whole;
                }
                (row, Some(below)) => {
                    let row = between(shares, below.whole, name, row);
                    below.between.push(row.map_err(|reason| SpecError::Row {
                        network: self.fused.name.clone(),
                        row: name.clone(),
                        reason,
                    })?);
                }
                (_, None) => unreachable!("the first of these rows is linear"),
            }
        }
        Ok(drafts)
    }
}

/// A row above a layer with `whole` units, for those that are here.
fn between(shares: &Shares, whole: usize, name: &str, row: &Row) -> Result<Between, String> {
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
            _ => Err("units of this row cannot be shared; use --parallel data".to_string()),
        }
    };
    let layer = build(shares.images)?;
    let of_batch = if layer.parameters().is_empty() {
        None
    } else {
        Some(build(shares.images * shares.shards)?)
    };
    Ok(Between { name: name.to_string(), layer, of_batch })
}

impl Draft {
    fn parameters(&self) -> Vec<Parameter> {
        let linear::Geometry { inputs, outputs, .. } = self.geometry;
        let own = weight_and_bias(&self.name, Shape::from([outputs, inputs]), inputs);
        own.into_iter().chain(self.between.iter().flat_map(|row| row.layer.parameters())).collect()
    }
}

/// Lays out what a device has: everything below the first linear row for the images of one
/// micro-shard, then its share of the units for a whole batch. The network's output are the
/// features that the head sees; its parameters are all that are here, in the order of the rows.
///
/// # Errors
/// [`SpecError`], naming the row that does not fit or cannot be shared.
pub fn plan(
    spec: &Spec,
    shares: Shares,
    planner: &mut Planner,
    target: Target,
) -> Result<(TrainableNetwork, Head), SpecError> {
    let cut = cut(spec, shares.shards)?;
    let drafts = cut.drafts(&shares)?;
    let below = Spec { rows: cut.fused.rows[..cut.first].to_vec(), ..cut.fused.clone() };
    let above = drafts.iter().flat_map(Draft::parameters).collect();
    let network = TrainableNetwork::plan_part(&below, shares.images, above, planner, target)?;
    let head = Head::plan(shares, drafts, &network, planner, target);
    Ok((network, head))
}

/// What crosses between devices in front of a linear layer, or behind the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The row whose output crosses.
    pub from: String,
    /// The layer that sees it; nothing if it is the loss.
    pub to: Option<String>,
    /// Floats of an image, on all devices together.
    pub floats: usize,
    world: usize,
}

impl Traffic {
    /// Bytes that cross in the forward pass for so many images, all directions together; the
    /// backward pass has as many, the other way. A layer's input goes to all other devices; scores
    /// only to the one whose images they are of.
    pub fn bytes(&self, images: usize) -> usize {
        let others = 4 * self.floats * images * (self.world - 1);
        if self.to.is_some() { others } else { others / self.world }
    }
}

/// What a network's linear layers have to exchange among `world` devices.
///
/// # Errors
/// As [`plan`].
pub fn traffic(spec: &Spec, world: usize) -> Result<Vec<Traffic>, SpecError> {
    let cut = cut(spec, world)?;
    let shares = Shares { images: 1, shards: world, rank: 0, world };
    let drafts = cut.drafts(&shares)?;
    let name = |draft: &Draft| draft.between.last().map_or(&draft.name, |last| &last.name).clone();
    let mut made = Vec::new();
    let mut from = cut.names[cut.first - 1].clone();
    for draft in &drafts {
        let (to, floats) = (Some(draft.name.clone()), draft.geometry.inputs);
        made.push(Traffic { from, to, floats, world });
        from = name(draft);
    }
    let floats = drafts.last().map_or(0, |last| last.whole);
    made.push(Traffic { from, to: None, floats, world });
    Ok(made)
}
