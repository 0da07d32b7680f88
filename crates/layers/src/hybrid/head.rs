//! A device's share of the linear layers.

use super::{Shares, UnitwiseRow, UnplannedStage};
use crate::clock::Readiness;
use crate::network::TrainableNetwork;
use crate::slots::{Gradients, LayerSlots, Phase};
use kernels::columns::{self, ColumnRange, Geometry};
use kernels::operands::{BackwardInput, BackwardWeights, Forward};
use kernels::{activation, linear};
use std::ops::Range;
use tensor::{DType, Device, Planner, Result, Shape, Slot, Target};

/// A device's share of the linear layers' units. A stage is a linear layer with the rows up to the
/// next one. It computes one micro-shard at a time, but its slots hold a whole batch, so that
/// weight gradients are one sum over all images.
///
/// A micro-shard is identified by `(pass, round)`: micro-shard number `round` of device `pass`.
#[derive(Debug)]
pub struct Head {
    shares: Shares,
    stages: Vec<LinearStage>,
    /// Scores of one micro-shard, of all classes: `[images, classes]`.
    pub scores: Slot,
    /// The gradient of the scores.
    pub d_scores: Slot,
    /// Seed and step of each pass.
    clocks: Slot,
    readiness: Readiness,
    /// Partial sums of a stage's input gradient, one slot per level of the tree.
    partials: Vec<Slot>,
    /// The columns of one block of an output gradient.
    block: Slot,
    scratch: Slot,
}

#[derive(Debug)]
struct LinearStage {
    name: String,
    geometry: linear::Geometry,
    /// Number of units on all devices.
    whole: usize,
    /// Values and gradients.
    weight: [Slot; 2],
    bias: [Slot; 2],
    /// `[batch, inputs]`.
    x: Slot,
    /// `[batch, units]`: the linear layer's output, and its gradient.
    y: Slot,
    dy: Slot,
    unitwise: Vec<PlannedUnitwiseRow>,
}

/// A unitwise row with its slots for each micro-shard and for the batch.
#[derive(Debug)]
struct PlannedUnitwiseRow {
    row: UnitwiseRow,
    of_shards: Vec<RowSlots>,
    of_batch: RowSlots,
}

#[derive(Clone, Debug)]
struct RowSlots {
    slots: LayerSlots,
    gradients: Gradients,
}

impl Head {
    /// Plans the stages; their parameters are the last ones of `network`.
    pub(super) fn plan(
        shares: Shares,
        stages: Vec<UnplannedStage>,
        network: &TrainableNetwork,
        planner: &mut Planner,
        target: Target,
    ) -> Head {
        let own: usize = stages.iter().map(|stage| stage.parameters().len()).sum();
        let parameters = &network.parameters;
        let mut next = (parameters.entries.len() - own..parameters.entries.len())
            .map(|idx| [parameters.value(idx), network.gradient(idx)]);
        let images = shares.images;
        let scratch = stages.iter().map(|stage| stage.scratch(images * shares.shards, target));
        let scratch = scratch.max().unwrap_or(0);
        let scratch = planner.claim(DType::F32, Shape::from([scratch]));
        let clocks = planner.claim(DType::U32, Shape::from([shares.world, 3]));
        let plan = |stage| LinearStage::plan(&shares, stage, &mut next, scratch, clocks, planner);
        let stages: Vec<LinearStage> = stages.into_iter().map(plan).collect();
        let max = |of: &dyn Fn(&LinearStage) -> usize| stages.iter().map(of).max().unwrap_or(0);
        let inputs = max(&|stage| stage.geometry.inputs);
        let block = max(&|stage| stage.whole.div_ceil(shares.shards));
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
            readiness: Readiness::default(),
            shares,
            stages,
        }
    }

    /// How images and units are divided among the devices.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// Number of linear layers.
    pub fn stages(&self) -> usize {
        self.stages.len()
    }

    /// This device's units of a layer, and the layer's number of units; `None` if the layer is not
    /// in the head.
    pub fn units(&self, layer: &str) -> Option<(Range<usize>, usize)> {
        let has = |stage: &&LinearStage| {
            stage.name == layer || stage.unitwise.iter().any(|planned| planned.row.name == layer)
        };
        let stage = self.stages.iter().find(has)?;
        Some((self.shares.units(stage.whole, self.shares.rank), stage.whole))
    }

    /// Number of inputs of each stage, for one image.
    pub fn inputs(&self) -> impl Iterator<Item = usize> {
        self.stages.iter().map(|stage| stage.geometry.inputs)
    }

    /// A stage's input for a micro-shard: `[images, inputs]`.
    pub fn input(&self, stage: usize, of: (usize, usize)) -> Slot {
        self.rows(self.stages[stage].x, of)
    }

    /// A stage's output for a micro-shard, of this device's units: `[images, units]`.
    pub fn output(&self, stage: usize, of: (usize, usize)) -> Slot {
        self.rows(self.stages[stage].output()[0], of)
    }

    /// The gradient of [`output`](Self::output), which the caller writes.
    pub fn d_output(&self, stage: usize, of: (usize, usize)) -> Slot {
        self.rows(self.stages[stage].output()[1], of)
    }

    /// The outputs of ReLUs for a micro-shard, each with its layer's name.
    pub fn rectified(&self, of: (usize, usize)) -> impl Iterator<Item = (&str, Slot)> {
        let rectified = self.stages.iter().filter(|stage| stage.geometry.relu);
        rectified.map(move |stage| (stage.name.as_str(), self.rows(stage.y, of)))
    }

    /// Sets seed and step of a pass, from which dropout masks are drawn.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_clock(&self, device: &mut Device, pass: usize, clock: [u32; 3]) -> Result<()> {
        device.upload(self.clocks.part(3 * pass, Shape::from([3])), &clock)?;
        self.readiness.set_clock();
        Ok(())
    }

    fn shard(&self, (pass, round): (usize, usize)) -> usize {
        pass * self.shares.each() + round
    }

    /// The rows of a micro-shard in a slot of a whole batch.
    fn rows(&self, batch: Slot, of: (usize, usize)) -> Slot {
        self.shares.rows(batch, self.shard(of))
    }

    /// From a stage's [`input`](Self::input) to its [`output`](Self::output).
    ///
    /// # Errors
    /// [`Error::Misuse`](tensor::Error::Misuse) in [`Phase::Train`] without a
    /// [clock](Self::set_clock) that a row reads; if the device fails.
    pub fn forward(
        &self,
        device: &mut Device,
        stage: usize,
        of: (usize, usize),
        phase: Phase,
    ) -> Result<()> {
        let LinearStage { geometry, weight: [w, _], bias: [b, _], .. } = self.stages[stage];
        let stage = &self.stages[stage];
        let (x, y) = (self.rows(stage.x, of), self.rows(stage.y, of));
        linear::forward(device, &geometry, Forward { x, w, b, y, scratch: self.scratch })?;
        let shard = self.shard(of);
        let mut rows = stage.unitwise.iter();
        rows.try_for_each(|planned| {
            let UnitwiseRow { layer, name, .. } = &planned.row;
            if phase == Phase::Train && layer.reads_clock() && !device.is_rehearsing() {
                self.readiness.check_clock(name)?;
            }
            layer.forward(device, &planned.of_shards[shard].slots, phase)
        })
    }

    /// From the gradient of a stage's output to this device's contribution to the gradient of its
    /// input: `[images, inputs]`, valid until the next call.
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(&self, device: &mut Device, stage: usize, of: (usize, usize)) -> Result<Slot> {
        let stage = &self.stages[stage];
        let shard = self.shard(of);
        for planned in stage.unitwise.iter().rev() {
            let RowSlots { slots, gradients } = &planned.of_shards[shard];
            planned.row.layer.backward(device, slots, gradients)?;
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

    /// Computes the gradients of a stage's parameters, over the whole batch.
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward_weights(&self, device: &mut Device, stage: usize) -> Result<()> {
        let LinearStage { geometry, weight: [_, dw], bias: [_, db], x, dy, .. } =
            self.stages[stage];
        let images = self.shares.images * self.shares.shards;
        let geometry = linear::Geometry { images, ..geometry };
        let weights = BackwardWeights { x, dy, dw, db, scratch: self.scratch };
        linear::backward_weights(device, &geometry, weights)?;
        for planned in &self.stages[stage].unitwise {
            if let Some(layer) = &planned.row.of_batch {
                layer.backward(device, &planned.of_batch.slots, &planned.of_batch.gradients)?;
            }
        }
        Ok(())
    }

    /// Sums the contributions of a range of blocks to the input gradient, as a binary tree, into
    /// the partial sum of `level`.
    fn sum_blocks(
        &self,
        device: &mut Device,
        stage: &LinearStage,
        dy: Slot,
        blocks: Range<usize>,
        level: usize,
    ) -> Result<()> {
        let dx = self.partial(stage, level);
        if blocks.len() == 1 {
            return self.block_gradient(device, stage, dy, dx, blocks);
        }
        let middle = usize::midpoint(blocks.start, blocks.end);
        self.sum_blocks(device, stage, dy, blocks.start..middle, level)?;
        self.sum_blocks(device, stage, dy, middle..blocks.end, level + 1)?;
        columns::add(device, &Geometry::vector(dx.len()), self.partial(stage, level + 1), dx)
    }

    /// `dx` = a block's columns of `dy` times its weights.
    fn block_gradient(
        &self,
        device: &mut Device,
        stage: &LinearStage,
        dy: Slot,
        dx: Slot,
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
        let operands = BackwardInput { dy: own, w, dx, scratch: self.scratch };
        linear::backward_input(device, &geometry, operands)
    }

    fn partial(&self, stage: &LinearStage, level: usize) -> Slot {
        let linear::Geometry { images, inputs, .. } = stage.geometry;
        self.partials[level].part(0, Shape::from([images, inputs]))
    }
}

impl LinearStage {
    fn plan(
        shares: &Shares,
        stage: UnplannedStage,
        parameters: &mut impl Iterator<Item = [Slot; 2]>,
        scratch: Slot,
        clocks: Slot,
        planner: &mut Planner,
    ) -> LinearStage {
        let UnplannedStage { name, geometry, whole, unitwise } = stage;
        let mut next = || parameters.next().expect("planned for all stages");
        let [weight, bias] = [next(), next()];
        let (batch, units) = (shares.images * shares.shards, geometry.outputs);
        let mut floats = |width| planner.claim(DType::F32, Shape::from([batch, width]));
        let (x, y, dy) = (floats(geometry.inputs), floats(units), floats(units));
        let (mut below, mut rows) = ([y, dy], Vec::new());
        for row in unitwise {
            let own = row.layer.parameters().len();
            let [y, dy] = [floats(units), floats(units)];
            let (values, gradients) = parameters.take(own).map(|[w, dw]| (w, dw)).unzip();
            let slots = LayerSlots {
                x: below[0],
                y,
                parameters: values,
                packed: None,
                scratch,
                clock: clocks.part(0, Shape::from([3])),
                gradients: None,
            };
            // dx is computed per micro-shard.
            let gradients = Gradients { dy, dx: None, parameters: gradients, scratch };
            let of_batch = RowSlots { slots, gradients };
            let of_shard = |shard: usize| {
                let [x, y, dy, dx] = [below[0], y, dy, below[1]].map(|s| shares.rows(s, shard));
                let clock = clocks.part(shard / shares.each() * 3, Shape::from([3]));
                let RowSlots { slots, gradients } = of_batch.clone();
                let slots = LayerSlots { x, y, clock, ..slots };
                RowSlots { slots, gradients: Gradients { dy, dx: Some(dx), ..gradients } }
            };
            let of_shards = (0..shares.shards).map(of_shard).collect();
            rows.push(PlannedUnitwiseRow { row, of_shards, of_batch });
            below = [y, dy];
        }
        LinearStage { name, geometry, whole, weight, bias, x, y, dy, unitwise: rows }
    }

    /// The output of the stage's last row, and its gradient.
    fn output(&self) -> [Slot; 2] {
        self.unitwise
            .last()
            .map_or([self.y, self.dy], |last| [last.of_batch.slots.y, last.of_batch.gradients.dy])
    }
}

impl UnplannedStage {
    /// Floats of scratch memory for any of its passes.
    fn scratch(&self, batch: usize, target: Target) -> usize {
        let of_batch = linear::Geometry { images: batch, ..self.geometry };
        let layers = self.unitwise.iter().flat_map(|row| [Some(&row.layer), row.of_batch.as_ref()]);
        let rows = layers.flatten().map(|layer| layer.scratch(target)).max().unwrap_or(0);
        rows.max(of_batch.scratch(target)).max(self.geometry.scratch(target))
    }
}

impl Shares {
    /// The rows of a micro-shard in a slot of a whole batch.
    fn rows(&self, batch: Slot, shard: usize) -> Slot {
        let len = batch.len() / self.shards;
        batch.part(shard * len, Shape::from([self.images, len / self.images]))
    }
}
