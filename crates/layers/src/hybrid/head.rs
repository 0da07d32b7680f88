//! The linear layers, as far as they are on a device.

use super::{Between, Draft, Shares};
use crate::layer::{Gradients, Phase, Wires};
use crate::network::TrainableNetwork;
use kernels::columns::{self, ColumnRange, Geometry};
use kernels::{activation, linear};
use std::ops::Range;
use tensor::{DType, Device, Planner, Result, Shape, Slot, Target};

/// A device's share of the linear layers' units. Each stage is a layer with the rows up to the next
/// one; it works on one micro-shard at a time, and its slots hold a whole batch, so that gradients
/// of weights are one sum over all of its images.
///
/// Micro-shards are named by `(pass, round)`: number `round` of device `pass`.
#[derive(Debug)]
pub struct Head {
    shares: Shares,
    stages: Vec<Stage>,
    /// Scores of one micro-shard, of all classes: `[images, classes]`.
    pub scores: Slot,
    /// Their gradient.
    pub d_scores: Slot,
    /// Seed and step for each pass.
    clocks: Slot,
    /// Gradients of a stage's input, as sums over blocks of units; one a level of the tree.
    partials: Vec<Slot>,
    /// One block's columns of a gradient.
    block: Slot,
    scratch: Slot,
}

#[derive(Debug)]
struct Stage {
    name: String,
    geometry: linear::Geometry,
    /// Units of all devices.
    whole: usize,
    /// Value and gradient.
    weight: [Slot; 2],
    bias: [Slot; 2],
    /// `[batch, inputs]`.
    x: Slot,
    /// `[batch, units]`: the layer's own output, and its gradient.
    y: Slot,
    dy: Slot,
    between: Vec<PlannedRow>,
}

/// A row above a layer with its slots, for each micro-shard and for the batch.
#[derive(Debug)]
struct PlannedRow {
    row: Between,
    of_shards: Vec<RowSlots>,
    of_batch: RowSlots,
}

#[derive(Clone, Debug)]
struct RowSlots {
    wires: Wires,
    gradients: Gradients,
}

impl Head {
    /// The network's parameters end in those of the drafts.
    pub(super) fn plan(
        shares: Shares,
        drafts: Vec<Draft>,
        network: &TrainableNetwork,
        planner: &mut Planner,
        target: Target,
    ) -> Head {
        let here: usize = drafts.iter().map(|draft| draft.parameters().len()).sum();
        let parameters = &network.parameters;
        let mut next = (parameters.entries.len() - here..parameters.entries.len())
            .map(|idx| [parameters.value(idx), network.gradient(idx)]);
        let images = shares.images;
        let scratch = drafts.iter().map(|draft| draft.scratch(images * shares.shards, target));
        let scratch = scratch.max().unwrap_or(0);
        let scratch = planner.claim(DType::F32, Shape::from([scratch]));
        let clocks = planner.claim(DType::U32, Shape::from([shares.world, 3]));
        let plan = |draft| Stage::plan(&shares, draft, &mut next, (scratch, clocks), planner);
        let stages: Vec<Stage> = drafts.into_iter().map(plan).collect();
        let most = |of: &dyn Fn(&Stage) -> usize| stages.iter().map(of).max().unwrap_or(0);
        let inputs = most(&|stage| stage.geometry.inputs);
        let block = most(&|stage| stage.whole.div_ceil(shares.shards));
        let classes = stages.last().map_or(0, |last| last.whole);
        let mut floats = |shape| planner.claim(DType::F32, shape);
        let levels = 1 + shares.each().ilog2() as usize;
        Head {
            scores: floats(Shape::from([images, classes])),
            d_scores: floats(Shape::from([images, classes])),
            partials: (0..levels).map(|_| floats(Shape::from([images * inputs]))).collect(),
            block: floats(Shape::from([images * block])),
            scratch,
            clocks,
            shares,
            stages,
        }
    }

    /// Which images and which units are whose.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// How many layers.
    pub fn stages(&self) -> usize {
        self.stages.len()
    }

    /// Which of a layer's units are here, and how many it has; nothing if it is not one of these
    /// layers.
    pub fn units(&self, layer: &str) -> Option<(Range<usize>, usize)> {
        let has = |stage: &&Stage| {
            stage.name == layer || stage.between.iter().any(|above| above.row.name == layer)
        };
        let stage = self.stages.iter().find(has)?;
        Some((self.shares.units(stage.whole, self.shares.rank), stage.whole))
    }

    /// For each stage: how many numbers of an image it sees.
    pub fn inputs(&self) -> impl Iterator<Item = usize> {
        self.stages.iter().map(|stage| stage.geometry.inputs)
    }

    /// What a stage sees of a micro-shard: `[images, inputs]`.
    pub fn input(&self, stage: usize, of: (usize, usize)) -> Slot {
        self.rows(self.stages[stage].x, of)
    }

    /// What a stage makes of a micro-shard here: `[images, units]`.
    pub fn output(&self, stage: usize, of: (usize, usize)) -> Slot {
        self.rows(self.stages[stage].output()[0], of)
    }

    /// Where the gradient of [`output`](Self::output) is to be put.
    pub fn d_output(&self, stage: usize, of: (usize, usize)) -> Slot {
        self.rows(self.stages[stage].output()[1], of)
    }

    /// The outputs of ReLUs for a micro-shard, each with its layer's name.
    pub fn rectified(&self, of: (usize, usize)) -> impl Iterator<Item = (&str, Slot)> {
        let rectified = self.stages.iter().filter(|stage| stage.geometry.relu);
        rectified.map(move |stage| (stage.name.as_str(), self.rows(stage.y, of)))
    }

    /// Sets what names the dropout masks of a pass.
    ///
    /// # Errors
    /// If the device fails, here and below.
    pub fn set_clock(&self, device: &mut Device, pass: usize, clock: [u32; 3]) -> Result<()> {
        device.upload(self.clocks.part(3 * pass, Shape::from([3])), &clock)
    }

    fn shard(&self, (pass, round): (usize, usize)) -> usize {
        pass * self.shares.each() + round
    }

    /// The rows of a micro-shard in a slot that has those of a batch.
    fn rows(&self, batch: Slot, of: (usize, usize)) -> Slot {
        self.shares.rows(batch, self.shard(of))
    }

    /// From a stage's [`input`](Self::input) to its [`output`](Self::output).
    pub fn forward(
        &self,
        device: &mut Device,
        stage: usize,
        of: (usize, usize),
        phase: Phase,
    ) -> Result<()> {
        let Stage { geometry, weight: [w, _], bias: [b, _], .. } = self.stages[stage];
        let stage = &self.stages[stage];
        let (x, y) = (self.rows(stage.x, of), self.rows(stage.y, of));
        linear::forward(device, &geometry, x, w, b, y, self.scratch)?;
        let shard = self.shard(of);
        let mut rows = stage.between.iter();
        rows.try_for_each(|above| {
            above.row.layer.forward(device, &above.of_shards[shard].wires, phase)
        })
    }

    /// From the gradient of a stage's output to that of its layer's, and to what the units here
    /// contribute to the gradient of its input: `[images, inputs]`, until the next call.
    pub fn backward(&self, device: &mut Device, stage: usize, of: (usize, usize)) -> Result<Slot> {
        let stage = &self.stages[stage];
        let shard = self.shard(of);
        for above in stage.between.iter().rev() {
            let RowSlots { wires, gradients } = &above.of_shards[shard];
            above.row.layer.backward(device, wires, gradients)?;
        }
        let (y, dy) = (self.rows(stage.y, of), self.rows(stage.dy, of));
        if stage.geometry.relu {
            activation::mask_by_relu(device, y, dy)?;
        }
        let Shares { rank, .. } = self.shares;
        let each = self.shares.each();
        self.sum_blocks(device, stage, dy, rank * each..(rank + 1) * each, 0)?;
        Ok(self.partial(stage, 0))
    }

    /// The gradients of a stage's parameters, over the whole batch.
    pub fn backward_weights(&self, device: &mut Device, stage: usize) -> Result<()> {
        let Stage { geometry, weight: [_, dw], bias: [_, db], x, dy, .. } = self.stages[stage];
        let images = self.shares.images * self.shares.shards;
        let geometry = linear::Geometry { images, ..geometry };
        linear::backward_weights(device, &geometry, x, dy, dw, db, self.scratch)?;
        for above in &self.stages[stage].between {
            if let Some(layer) = &above.row.of_batch {
                layer.backward(device, &above.of_batch.wires, &above.of_batch.gradients)?;
            }
        }
        Ok(())
    }

    /// Into the partial of `level`: what some blocks of units contribute to the gradient of the
    /// input, as a binary tree.
    fn sum_blocks(
        &self,
        device: &mut Device,
        stage: &Stage,
        dy: Slot,
        blocks: Range<usize>,
        level: usize,
    ) -> Result<()> {
        let dx = self.partial(stage, level);
        if blocks.len() == 1 {
            return self.block_gradient(device, stage, (dy, dx), blocks);
        }
        let middle = usize::midpoint(blocks.start, blocks.end);
        self.sum_blocks(device, stage, dy, blocks.start..middle, level)?;
        self.sum_blocks(device, stage, dy, middle..blocks.end, level + 1)?;
        columns::add(device, &Geometry::vector(dx.len()), self.partial(stage, level + 1), dx)
    }

    /// `dx` = the columns of `dy` that belong to a block, times its weights.
    fn block_gradient(
        &self,
        device: &mut Device,
        stage: &Stage,
        (dy, dx): (Slot, Slot),
        block: Range<usize>,
    ) -> Result<()> {
        let linear::Geometry { images, inputs, outputs, .. } = stage.geometry;
        let first = self.shares.units(stage.whole, self.shares.rank).start;
        let units = self.shares.of_blocks(stage.whole, block);
        let (count, start) = (units.len(), units.start - first);
        let mut own = dy;
        if count < outputs {
            own = self.block.part(0, Shape::from([images, count]));
            let (from, to) = (
                ColumnRange { width: outputs, first: start },
                ColumnRange { width: count, first: 0 },
            );
            columns::copy(device, &Geometry { rows: images, count, x: from, y: to }, dy, own)?;
        }
        let w = stage.weight[0].part(start * inputs, Shape::from([count, inputs]));
        let geometry = linear::Geometry { outputs: count, relu: false, ..stage.geometry };
        linear::backward_input(device, &geometry, own, w, dx, self.scratch)
    }

    fn partial(&self, stage: &Stage, level: usize) -> Slot {
        let linear::Geometry { images, inputs, .. } = stage.geometry;
        self.partials[level].part(0, Shape::from([images, inputs]))
    }
}

impl Stage {
    fn plan(
        shares: &Shares,
        draft: Draft,
        parameters: &mut impl Iterator<Item = [Slot; 2]>,
        (scratch, clocks): (Slot, Slot),
        planner: &mut Planner,
    ) -> Stage {
        let Draft { name, geometry, whole, between } = draft;
        let mut next = || parameters.next().expect("laid out for all drafts");
        let [weight, bias] = [next(), next()];
        let (batch, units) = (shares.images * shares.shards, geometry.outputs);
        let mut floats = |width| planner.claim(DType::F32, Shape::from([batch, width]));
        let (x, y, dy) = (floats(geometry.inputs), floats(units), floats(units));
        let (mut below, mut rows) = ([y, dy], Vec::new());
        for row in between {
            let own = row.layer.parameters().len();
            let [y, dy] = [floats(units), floats(units)];
            let (values, gradients) = parameters.take(own).map(|[w, dw]| (w, dw)).unzip();
            let wires = Wires {
                x: below[0],
                y,
                parameters: values,
                kept: None,
                scratch,
                clock: clocks.part(0, Shape::from([3])),
                gradients: None,
            };
            // Each micro-shard's dx has been computed.
            let gradients = Gradients { dy, dx: None, parameters: gradients, scratch };
            let of_batch = RowSlots { wires, gradients };
            let of_shard = |shard: usize| {
                let [x, y, dy, dx] = [below[0], y, dy, below[1]].map(|s| shares.rows(s, shard));
                let clock = clocks.part(shard / shares.each() * 3, Shape::from([3]));
                let RowSlots { wires, gradients } = of_batch.clone();
                let wires = Wires { x, y, clock, ..wires };
                RowSlots { wires, gradients: Gradients { dy, dx: Some(dx), ..gradients } }
            };
            let of_shards = (0..shares.shards).map(of_shard).collect();
            rows.push(PlannedRow { row, of_shards, of_batch });
            below = [y, dy];
        }
        Stage { name, geometry, whole, weight, bias, x, y, dy, between: rows }
    }

    /// The last row's, and its gradient.
    fn output(&self) -> [Slot; 2] {
        self.between
            .last()
            .map_or([self.y, self.dy], |last| [last.of_batch.wires.y, last.of_batch.gradients.dy])
    }
}

impl Draft {
    /// Floats of scratch memory that any of its passes needs.
    fn scratch(&self, batch: usize, target: Target) -> usize {
        let of_batch = linear::Geometry { images: batch, ..self.geometry };
        let layers = self.between.iter().flat_map(|row| [Some(&row.layer), row.of_batch.as_ref()]);
        let rows = layers.flatten().map(|layer| layer.scratch(target)).max().unwrap_or(0);
        rows.max(of_batch.scratch(target)).max(self.geometry.scratch(target))
    }
}

impl Shares {
    /// The rows of a micro-shard in a slot that has those of a batch.
    fn rows(&self, batch: Slot, shard: usize) -> Slot {
        let len = batch.len() / self.shards;
        batch.part(shard * len, Shape::from([self.images, len / self.images]))
    }
}
