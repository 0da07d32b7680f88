//! The linear layers, as far as they are on a device.

use super::{Draft, Shares};
use crate::layer::{self, Layer, Phase, Wires, dropout};
use crate::network::Network;
use crate::rows::Row;
use kernels::columns::{self, Geometry, Place};
use kernels::dropout::Columns;
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
    /// Seed and step for each pass, as [`Network::clock`] has them.
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
    between: Vec<Between>,
}

/// A row without weights: its output and that output's gradient.
#[derive(Debug)]
struct Between {
    layer: Box<dyn Layer>,
    y: Slot,
    dy: Slot,
}

/// A row and why it cannot be shared.
type Refusal = (String, String);

impl Head {
    pub(super) fn plan(
        shares: Shares,
        drafts: &[Draft],
        network: &Network,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<Head, Refusal> {
        let parameters = &network.parameters;
        let below = parameters.entries.len() - 2 * drafts.len();
        let mut stages = Vec::new();
        for (idx, draft) in drafts.iter().enumerate() {
            let slots = |entry: usize| {
                let gradient = parameters.gradient(entry).expect("planned to train");
                [parameters.value(entry), gradient]
            };
            let parameters = [below + 2 * idx, below + 2 * idx + 1].map(slots);
            stages.push(Stage::plan(&shares, draft, parameters, planner)?);
        }
        let images = shares.images;
        let most = |of: &dyn Fn(&Stage) -> usize| stages.iter().map(of).max().unwrap_or(0);
        let inputs = most(&|stage| stage.geometry.inputs);
        let block = most(&|stage| stage.whole.div_ceil(shares.shards));
        let scratch = most(&|stage| {
            let whole = linear::Geometry { images: images * shares.shards, ..stage.geometry };
            whole.scratch(target).max(stage.geometry.scratch(target))
        });
        let classes = stages.last().map_or(0, |last| last.whole);
        let mut floats = |shape| planner.claim(DType::F32, shape);
        let levels = 1 + shares.each().ilog2() as usize;
        Ok(Head {
            scores: floats(Shape::from([images, classes])),
            d_scores: floats(Shape::from([images, classes])),
            partials: (0..levels).map(|_| floats(Shape::from([images * inputs]))).collect(),
            block: floats(Shape::from([images * block])),
            scratch: floats(Shape::from([scratch])),
            clocks: planner.claim(DType::U32, Shape::from([shares.world, 3])),
            shares,
            stages,
        })
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
        let stage = self.stages.iter().find(|stage| stage.name == layer)?;
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
        device.upload(self.clock(pass), &clock)
    }

    fn clock(&self, pass: usize) -> Slot {
        self.clocks.part(3 * pass, Shape::from([3]))
    }

    /// The rows of a micro-shard in a slot that has those of a batch.
    fn rows(&self, batch: Slot, (pass, round): (usize, usize)) -> Slot {
        let (shard, images) = (pass * self.shares.each() + round, self.shares.images);
        let len = batch.len() / self.shares.shards;
        batch.part(shard * len, Shape::from([images, len / images]))
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
        let mut rows = (0..stage.between.len()).map(|idx| self.wires(stage, idx, of));
        stage.between.iter().try_for_each(|row| {
            let wires = rows.next().expect("as many");
            row.layer.forward(device, &wires, phase)
        })
    }

    /// From the gradient of a stage's output to that of its layer's, and to what the units here
    /// contribute to the gradient of its input: `[images, inputs]`, until the next call.
    pub fn backward(&self, device: &mut Device, stage: usize, of: (usize, usize)) -> Result<Slot> {
        let stage = &self.stages[stage];
        for (idx, row) in stage.between.iter().enumerate().rev() {
            row.layer.backward(device, &self.wires(stage, idx, of))?;
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

    /// The gradients of a stage's weights and biases, over the whole batch.
    pub fn backward_weights(&self, device: &mut Device, stage: usize) -> Result<()> {
        let Stage { geometry, weight: [_, dw], bias: [_, db], x, dy, .. } = self.stages[stage];
        let images = self.shares.images * self.shares.shards;
        let geometry = linear::Geometry { images, ..geometry };
        linear::backward_weights(device, &geometry, x, dy, dw, db, self.scratch)
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
            let (from, to) =
                (Place { width: outputs, first: start }, Place { width: count, first: 0 });
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

    /// Of row number `idx` above a stage's layer.
    fn wires(&self, stage: &Stage, idx: usize, of: (usize, usize)) -> Wires {
        let below =
            idx.checked_sub(1).map_or([stage.y, stage.dy], |idx| stage.between[idx].slots());
        let [x, dx] = below.map(|slot| self.rows(slot, of));
        let [y, dy] = stage.between[idx].slots().map(|slot| self.rows(slot, of));
        Wires {
            x,
            y,
            dy: Some(dy),
            dx: Some(dx),
            parameters: Vec::new(),
            kept: None,
            forward_scratch: self.scratch,
            backward_scratch: self.scratch,
            clock: self.clock(of.0),
        }
    }
}

impl Stage {
    fn plan(
        shares: &Shares,
        draft: &Draft,
        [weight, bias]: [[Slot; 2]; 2],
        planner: &mut Planner,
    ) -> std::result::Result<Stage, Refusal> {
        let &Draft { name, geometry, whole, ref between } = draft;
        let units = shares.units(whole, shares.rank);
        let (batch, width) = (shares.images * shares.shards, units.len());
        let mut floats = |width| planner.claim(DType::F32, Shape::from([batch, width]));
        let x = floats(geometry.inputs);
        let [y, dy] = [floats(width), floats(width)];
        let shape = Shape::from([shares.images, width]);
        let mut rows = Vec::new();
        for &(name, row) in between {
            let layer = match row {
                Row::Dropout(row) => {
                    let columns = Columns { width, first: units.start, whole };
                    let layer = dropout::plan_columns(row, name, shape, Some(columns));
                    layer.map(|layer| Box::new(layer) as Box<dyn Layer>)
                }
                row => layer::build(row, name, shape),
            };
            let layer = layer.map_err(|reason| (name.to_string(), reason))?;
            rows.push(Between { layer, y: floats(width), dy: floats(width) });
        }
        let name = name.to_string();
        Ok(Stage { name, geometry, whole, weight, bias, x, y, dy, between: rows })
    }

    /// The last row's, and its gradient.
    fn output(&self) -> [Slot; 2] {
        self.between.last().map_or([self.y, self.dy], Between::slots)
    }
}

impl Between {
    fn slots(&self) -> [Slot; 2] {
        [self.y, self.dy]
    }
}
