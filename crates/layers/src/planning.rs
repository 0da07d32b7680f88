//! From a specification's rows to planned ones: the lifetime of every slot.

use crate::layer::{Gradients, Layer, Wires};
use crate::parameters::Parameters;
use crate::planned_row::PlannedRow;
use crate::spec::{Spec, SpecError};
use tensor::{DType, Planner, Shape, Slot, Target};

/// Words of a [`Network::clock`](crate::Network::clock).
pub(crate) const CLOCK: usize = 5;

/// A row's name and its layer.
pub(crate) type Named = (String, Box<dyn Layer>);

/// How long a row's output is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// Until its row's backward pass.
    UntilBackward,
    /// Until the next row has read it.
    UntilRead,
}

/// Every row's layer, each on the output of the one before.
pub(crate) fn build(spec: &Spec, images: usize) -> Result<Vec<Named>, SpecError> {
    assert!(images > 0, "a network for no images");
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

/// Claims every output in order, and ends the lives of those that are read once.
pub(crate) fn forward(
    layers: Vec<Named>,
    [input, clock]: [Slot; 2],
    parameters: &Parameters,
    outputs: Outputs,
    planner: &mut Planner,
    target: Target,
) -> Vec<PlannedRow> {
    let mut rows: Vec<PlannedRow> = Vec::with_capacity(layers.len());
    let (mut x, mut next_parameter) = (input, 0);
    // Before anything is released: what is kept shares memory with nothing.
    let mut keep = |layer: &dyn Layer| match layer.kept(target) {
        floats @ 1.. if outputs == Outputs::UntilRead => {
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
        if outputs == Outputs::UntilRead && x != input {
            planner.release(x);
            dead_after_forward.push(x);
        }
        let parameters = own.map(|idx| parameters.value(idx)).collect();
        let wires = Wires { x, y, parameters, kept, scratch, clock, gradients: None };
        rows.push(PlannedRow {
            name,
            layer,
            wires,
            dead_after_forward,
            dead_after_backward: Vec::new(),
        });
        x = y;
    }
    rows
}

/// Walks the rows backwards, down to the first that learns: finds a place for the gradient of each
/// input, and ends the lives of the row's output and of that output's gradient. `gradients` has
/// room for those of all parameters. Returns the slot of the gradient of the network's output.
pub(crate) fn backward(
    rows: &mut [PlannedRow],
    parameters: &Parameters,
    gradients: Slot,
    planner: &mut Planner,
    target: Target,
) -> Slot {
    let learns = |row: &PlannedRow| !row.wires.parameters.is_empty();
    let first = rows.iter().position(learns).unwrap_or(rows.len());
    let output = rows.last().expect("a network has rows").wires.y;
    let d_output = planner.claim(DType::F32, output.shape());
    let mut dy = d_output;
    let mut next_parameter = rows.iter().map(|row| row.wires.parameters.len()).sum();
    for idx in (first..rows.len()).rev() {
        let input_is_free = idx > first && !rows[idx - 1].layer.reads_output();
        let PlannedRow { layer, wires, dead_after_backward, .. } = &mut rows[idx];
        let dx = if idx == first {
            None
        } else if input_is_free && layer.writes_over_input() {
            Some(wires.x)
        } else {
            Some(planner.claim(DType::F32, wires.x.shape()))
        };
        // Gradients now lie where the forward pass had its scratch: backward has its own.
        let scratch = planner.claim(DType::F32, Shape::from([layer.scratch(target)]));
        let own = next_parameter - wires.parameters.len()..next_parameter;
        next_parameter = own.start;
        let d_parameters = own.map(|idx| parameters.view(gradients, idx)).collect();
        wires.gradients = Some(Gradients { dy, dx, parameters: d_parameters, scratch });
        *dead_after_backward = vec![scratch, dy];
        if wires.y != dy {
            dead_after_backward.push(wires.y);
        }
        dy = dx.unwrap_or(dy);
        dead_after_backward.iter().for_each(|&slot| planner.release(slot));
    }
    d_output
}
