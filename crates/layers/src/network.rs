//! A specification on a device: every row knows its slots.

use crate::fuse::fuse;
use crate::layer::{Crossing, Layer, Phase, Wires, exchange};
use crate::parameters::{Parameter, Parameters};
use crate::spec::{Spec, SpecError};
use tensor::{DType, Device, Planner, Result, Shape, Slot, Target};

/// What a network is planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forward and backward: every activation lives until its row's backward pass.
    Train,
    /// Forward only: an activation dies once the next row has read it.
    Infer,
}

/// A network for a fixed number of images, with every slot laid out.
#[derive(Debug)]
pub struct Network {
    rows: Vec<PlannedRow>,
    /// Images: `[images, height, width, channels]`.
    pub input: Slot,
    /// Class scores: `[images, classes]`.
    pub output: Slot,
    /// Where the loss writes the scores' gradient; absent in a network for inference.
    pub d_output: Option<Slot>,
    /// Weights and biases.
    pub parameters: Parameters,
    /// What a pass has to know, in words: `[seed low, seed high, step]`, for dropout; how many of
    /// the images count, being the first, and the bits of their share of the batch, a float, for
    /// batch normalisation.
    pub clock: Slot,
}

/// A row on a device, with its slots and those whose life ends with it.
#[derive(Debug)]
pub struct PlannedRow {
    name: String,
    layer: Box<dyn Layer>,
    wires: Wires,
    learns: bool,
    dead_after_forward: Vec<Slot>,
    dead_after_backward: Vec<Slot>,
}

impl Network {
    /// Lays out `spec` for `images` images and such a device. Rows are
    /// [fused](fuse) first.
    ///
    /// # Errors
    /// [`SpecError`] if rows do not fit together: it has the row's name and both shapes.
    pub fn plan(
        spec: &Spec,
        images: usize,
        mode: Mode,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<Network, SpecError> {
        spec.describe()?;
        Network::plan_as_written(&fuse(spec), images, mode, planner, target)
    }

    /// [`plan`](Self::plan) without fusing rows: slower, for whoever wants to see every row's own
    /// output, or to compare.
    ///
    /// # Errors
    /// As `plan`.
    pub fn plan_as_written(
        spec: &Spec,
        images: usize,
        mode: Mode,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<Network, SpecError> {
        spec.describe()?;
        Network::lay_out(spec, images, mode, Vec::new(), planner, target)
    }

    /// [`plan_as_written`](Self::plan_as_written) of rows that need not end in a classifier; the
    /// blocks of parameters have room for those of the rows `above`, too.
    pub(crate) fn lay_out(
        spec: &Spec,
        images: usize,
        mode: Mode,
        above: Vec<Parameter>,
        planner: &mut Planner,
        target: Target,
    ) -> std::result::Result<Network, SpecError> {
        assert!(images > 0, "a network for no images");
        let layers = build(spec, images)?;
        let train = mode == Mode::Train;

        let entries =
            layers.iter().flat_map(|(_, layer)| layer.parameters()).chain(above).collect();
        let parameters = Parameters::plan(entries, train, planner);
        let clock = planner.claim(DType::U32, Shape::from([CLOCK]));
        let [height, width, channels] = spec.input;
        let input = planner.claim(DType::F32, Shape::from([images, height, width, channels]));

        let mut rows = plan_forward(layers, input, clock, &parameters, mode, planner, target);
        let output = rows.last().map_or(input, |row| row.wires.y);
        let d_output = train.then(|| plan_backward(&mut rows, planner, target));
        planner.seal();
        Ok(Network { rows, input, output, d_output, parameters, clock })
    }

    /// Brings parameters into the form in which [`Phase::Infer`] reads them: packed and
    /// transformed filters. To be called once they are all there, and again if they change.
    /// Does nothing in a network planned to train.
    ///
    /// # Errors
    /// If the device fails.
    pub fn prepare(&self, device: &mut Device) -> Result<()> {
        let mut keepers = self.rows.iter().filter(|row| row.wires.kept.is_some());
        keepers.try_for_each(|row| row.layer.keep(device, &row.wires))
    }

    /// From `input` to `output`.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If this is a tower: its pass is [`towers::forward`](crate::towers::forward).
    pub fn forward(&self, device: &mut Device, phase: Phase) -> Result<()> {
        self.rows.iter().try_for_each(|row| row.forward(device, phase))
    }

    /// From `d_output` to every parameter's gradient. Overwrites the gradients of activations as it
    /// goes.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If the network was planned for inference, or is a tower.
    pub fn backward(&self, device: &mut Device) -> Result<()> {
        assert!(self.d_output.is_some(), "a network planned for inference has no backward pass");
        self.rows.iter().rev().try_for_each(|row| row.backward(device))
    }

    /// The rows in order, for whoever watches or times them one by one.
    pub fn rows(&self) -> &[PlannedRow] {
        &self.rows
    }
}

impl PlannedRow {
    /// As in [`RowInfo::name`](crate::RowInfo::name); a fused row has the name of its first.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it reads.
    pub fn input(&self) -> Slot {
        self.wires.x
    }

    /// Where it writes.
    pub fn output(&self) -> Slot {
        self.wires.y
    }

    /// Whether it has a backward pass: rows below the first that learns have none.
    pub fn goes_backward(&self) -> bool {
        self.wires.dy.is_some()
    }

    /// Whether its output is the output of a ReLU.
    pub fn rectifies(&self) -> bool {
        self.layer.rectifies()
    }

    /// Its part of [`Network::forward`].
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If it exchanges with other towers.
    pub fn forward(&self, device: &mut Device, phase: Phase) -> Result<()> {
        self.check_alone();
        self.run_forward(device, phase)
    }

    /// Its part of [`Network::backward`].
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If it exchanges with other towers.
    pub fn backward(&self, device: &mut Device) -> Result<()> {
        self.check_alone();
        if self.goes_backward() {
            self.layer.backward(device, &self.wires)?;
            bury(device, &self.dead_after_backward)?;
        }
        Ok(())
    }
}

impl PlannedRow {
    /// Without its exchange a tower would compute with what its memory happens to hold.
    fn check_alone(&self) {
        assert!(self.layer.exchange().is_none(), "a tower exchanges: use layers::towers::forward");
    }

    fn run_forward(&self, device: &mut Device, phase: Phase) -> Result<()> {
        self.layer.forward(device, &self.wires, phase)?;
        bury(device, &self.dead_after_forward)
    }

    /// [`forward`](Self::forward), before which `cross` does what an exchange row has to send and
    /// receive.
    pub(crate) fn forward_across<E: From<tensor::Error>>(
        &self,
        device: &mut Device,
        phase: Phase,
        cross: &mut impl FnMut(&mut Device, Crossing) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if let Some(exchange) = self.layer.exchange() {
            exchange::each(exchange, &self.wires, true, |crossing| cross(device, crossing))?;
        }
        Ok(self.run_forward(device, phase)?)
    }

    /// [`backward`](Self::backward), in which `cross` does what an exchange row has to send and
    /// receive.
    pub(crate) fn backward_across<E: From<tensor::Error>>(
        &self,
        device: &mut Device,
        cross: &mut impl FnMut(&mut Device, Crossing) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if !self.goes_backward() {
            return Ok(());
        }
        self.layer.backward(device, &self.wires)?;
        if let Some(exchange) = self.layer.exchange() {
            exchange::each(exchange, &self.wires, false, |crossing| cross(device, crossing))?;
        }
        Ok(bury(device, &self.dead_after_backward)?)
    }
}

/// Words of a [`Network::clock`].
const CLOCK: usize = 5;

type Named = (String, Box<dyn Layer>);

/// Every row's layer, each on the output of the one before.
fn build(spec: &Spec, images: usize) -> std::result::Result<Vec<Named>, SpecError> {
    spec.check_images(images)?;
    let [height, width, channels] = spec.input;
    let mut shape = Shape::from([images, height, width, channels]);
    let mut layers = Vec::with_capacity(spec.rows.len());
    for (row, name) in spec.rows.iter().zip(spec.names()) {
        let layer = spec.layer(row, &name, shape)?;
        shape = layer.output();
        layers.push((name, layer));
    }
    Ok(layers)
}

/// Claims every output in order. In a network for inference a row's input dies with the row.
fn plan_forward(
    layers: Vec<Named>,
    input: Slot,
    clock: Slot,
    parameters: &Parameters,
    mode: Mode,
    planner: &mut Planner,
    target: Target,
) -> Vec<PlannedRow> {
    let mut rows: Vec<PlannedRow> = Vec::with_capacity(layers.len());
    let (mut x, mut next_parameter) = (input, 0);
    // Before anything is released: what is kept shares memory with nothing.
    let mut keep = |layer: &dyn Layer| match layer.kept(target) {
        floats @ 1.. if mode == Mode::Infer => {
            Some(planner.claim(DType::F32, Shape::from([floats])))
        }
        _ => None,
    };
    let kept: Vec<_> = layers.iter().map(|(_, layer)| keep(layer.as_ref())).collect();
    for ((name, layer), kept) in layers.into_iter().zip(kept) {
        let y = planner.claim(DType::F32, layer.output());
        let scratch = planner.claim(DType::F32, Shape::from([layer.scratch(target)]));
        planner.release(scratch);
        let own = next_parameter..next_parameter + layer.parameters().len();
        next_parameter = own.end;
        let mut dead_after_forward = vec![scratch];
        if mode == Mode::Infer && x != input {
            planner.release(x);
            dead_after_forward.push(x);
        }
        let wires = Wires {
            x,
            y,
            dy: None,
            dx: None,
            parameters: own
                .clone()
                .map(|i| (parameters.value(i), parameters.gradient(i)))
                .collect(),
            kept,
            forward_scratch: scratch,
            backward_scratch: scratch,
            clock,
        };
        let (learns, dead_after_backward) = (!own.is_empty(), Vec::new());
        rows.push(PlannedRow {
            name,
            layer,
            wires,
            learns,
            dead_after_forward,
            dead_after_backward,
        });
        x = y;
    }
    rows
}

/// Walks the rows backwards: finds a place for the gradient of each input, and ends the lives of
/// the row's output and of that output's gradient. Returns the slot of the output's gradient.
fn plan_backward(rows: &mut [PlannedRow], planner: &mut Planner, target: Target) -> Slot {
    let first = rows.iter().position(|row| row.learns).unwrap_or(rows.len());
    let output = rows.last().expect("a network has rows").wires.y;
    let d_output = planner.claim(DType::F32, output.shape());
    let mut dy = d_output;
    for idx in (first..rows.len()).rev() {
        let input_is_free = idx > first && !rows[idx - 1].layer.reads_output();
        let PlannedRow { layer, wires, dead_after_backward, .. } = &mut rows[idx];
        wires.dy = Some(dy);
        wires.dx = match idx > first {
            true if input_is_free && layer.writes_over_input() => Some(wires.x),
            true => Some(planner.claim(DType::F32, wires.x.shape())),
            false => None,
        };
        // Gradients now lie where the forward pass had its scratch: backward has its own.
        let scratch = planner.claim(DType::F32, Shape::from([layer.scratch(target)]));
        wires.backward_scratch = scratch;
        *dead_after_backward = vec![scratch, dy];
        if wires.y != dy {
            dead_after_backward.push(wires.y);
        }
        dy = wires.dx.unwrap_or(dy);
        dead_after_backward.iter().for_each(|&slot| planner.release(slot));
    }
    d_output
}

/// In debug builds, fills slots nobody may read any more with NaN, so that a planner's mistake
/// shows.
fn bury(device: &mut Device, dead: &[Slot]) -> Result<()> {
    match cfg!(debug_assertions) {
        true => dead.iter().try_for_each(|&slot| device.poison(slot)),
        false => Ok(()),
    }
}
