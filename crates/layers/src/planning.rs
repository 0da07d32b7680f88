//! Plans a specification's rows: claims and releases every slot.

use crate::clock::ClockSlot;
use crate::fuse::{NamedRows, RowNames};
use crate::layer::Layer;
use crate::parameters::Parameters;
use crate::planned_row::PlannedRow;
use crate::slots::{Gradients, LayerSlots};
use crate::spec::SpecError;
use tensor::{DType, Planner, Shape, Slot, Target};

/// A layer with the names of the rows that it computes.
pub(crate) type NamedLayer = (RowNames, Box<dyn Layer>);

/// How long a row's output stays in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// Until its row's backward pass.
    UntilBackward,
    /// Until the next row has read it.
    UntilRead,
}

/// Builds every row's layer on the output shape of the previous one.
pub(crate) fn build(rows: &NamedRows, images: usize) -> Result<Vec<NamedLayer>, SpecError> {
    let NamedRows { spec, names } = rows;
    assert!(images > 0, "a network for no images");
    spec.check_images(images)?;
    let [height, width, channels] = spec.input;
    let mut shape = Shape::from([images, height, width, channels]);
    let mut layers = Vec::with_capacity(spec.rows.len());
    for (row, names) in spec.rows.iter().zip(names) {
        let layer = spec.layer(row, &names.first, shape)?;
        shape = layer.output();
        layers.push((names.clone(), layer));
    }
    Ok(layers)
}

/// The types of a forward-only network's input and of every row's output: bf16 where the next row
/// rounds to bf16 anyway, except for the outputs of the rows called `own`.
pub(crate) fn value_types(layers: &[NamedLayer], own: &[&str], target: Target) -> Vec<DType> {
    let mut types = vec![DType::F32; layers.len() + 1];
    for (idx, (_, reader)) in layers.iter().enumerate().rev() {
        let is_written_in_bf16 = match idx.checked_sub(1).map(|writer| &layers[writer]) {
            Some((names, writer)) => writer.writes_bf16() && !own.contains(&&*names.last),
            None => true,
        };
        if is_written_in_bf16 && reader.rounds_input(target, types[idx + 1] == DType::Bf16) {
            types[idx] = DType::Bf16;
        }
    }
    types
}

/// Plans the forward pass: claims every output in order and, with [`Outputs::UntilRead`], releases
/// it once the next row has read it. `types` are those of the rows' outputs.
pub(crate) fn forward(
    layers: Vec<NamedLayer>,
    input: Slot,
    clock: ClockSlot,
    parameters: &Parameters,
    (outputs, types): (Outputs, &[DType]),
    planner: &mut Planner,
    target: Target,
) -> Vec<PlannedRow> {
    let mut rows: Vec<PlannedRow> = Vec::with_capacity(layers.len());
    let (mut x, mut next_parameter) = (input, 0);
    // Claimed before anything is released: packed weights must share memory with nothing.
    let mut claim_packed = |layer: &dyn Layer| match layer.packed_len(target) {
        floats @ 1.. if outputs == Outputs::UntilRead => {
            Some(planner.claim(DType::F32, Shape::from([floats])))
        }
        _ => None,
    };
    let packed: Vec<_> = layers.iter().map(|(_, layer)| claim_packed(layer.as_ref())).collect();
    for (((names, layer), packed), &dtype) in layers.into_iter().zip(packed).zip(types) {
        let y = planner.claim(dtype, layer.output());
        let scratch = planner.claim(DType::F32, Shape::from([layer.scratch(target)]));
        planner.release(scratch);
        let own = next_parameter..next_parameter + layer.parameters().len();
        next_parameter = own.end;
        let mut dead_after_forward = vec![scratch];
        if outputs == Outputs::UntilRead && x != input {
            planner.release(x);
            dead_after_forward.push(x);
        }
        let values = own.map(|idx| parameters.slot(idx)).collect();
        let clock = clock.slot();
        let slots =
            LayerSlots { x, y, parameters: values, packed, scratch, clock, gradients: None };
        rows.push(PlannedRow {
            names,
            layer,
            slots,
            readiness: parameters.readiness().clone(),
            dead_after_forward,
            dead_after_backward: Vec::new(),
        });
        x = y;
    }
    rows
}

/// Plans the backward pass, from the last row to the first with parameters: claims the gradient of
/// each input and releases the row's output and its gradient. `gradients` is the block of all
/// parameter gradients. Returns the slot of the gradient of the network's output.
pub(crate) fn backward(
    rows: &mut [PlannedRow],
    parameters: &Parameters,
    gradients: Slot,
    planner: &mut Planner,
    target: Target,
) -> Slot {
    let has_parameters = |row: &PlannedRow| !row.slots.parameters.is_empty();
    let first = rows.iter().position(has_parameters).unwrap_or(rows.len());
    let output = rows.last().expect("a network has rows").slots.y;
    let d_output = planner.claim(DType::F32, output.shape());
    let mut dy = d_output;
    let mut next_parameter = rows.iter().map(|row| row.slots.parameters.len()).sum();
    for idx in (first..rows.len()).rev() {
        let input_is_free = idx > first && !rows[idx - 1].layer.reads_output();
        let PlannedRow { layer, slots, dead_after_backward, .. } = &mut rows[idx];
        let dx = if idx == first {
            None
        } else if input_is_free && layer.writes_over_input() {
            Some(slots.x)
        } else {
            Some(planner.claim(DType::F32, slots.x.shape()))
        };
        // Gradients may occupy the forward pass's scratch memory: backward claims its own.
        let scratch = planner.claim(DType::F32, Shape::from([layer.scratch(target)]));
        let own = next_parameter - slots.parameters.len()..next_parameter;
        next_parameter = own.start;
        let d_parameters = own.map(|idx| parameters.view(gradients, idx)).collect();
        slots.gradients = Some(Gradients { dy, dx, parameters: d_parameters, scratch });
        *dead_after_backward = vec![scratch, dy];
        if slots.y != dy {
            dead_after_backward.push(slots.y);
        }
        dy = dx.unwrap_or(dy);
        dead_after_backward.iter().for_each(|&slot| planner.release(slot));
    }
    d_output
}
