//! The parts of a step, with their operations and bytes.

use super::PlannedNetwork;
use crate::StepMode;
use crate::layer_products::{Layer, products};
use crate::step_part::{Operation, Pass, StepPart, Work};
use layers::Spec;
use tensor::{Planner, Slot, Target};

/// The parts of a training step of `images` images, without allocating memory.
///
/// # Panics
/// If the network does not fit together.
pub(crate) fn parts_of(spec: &Spec, images: usize) -> Vec<StepPart> {
    let table = spec.describe().expect("a network that fits together");
    let classes = spec.classes().expect("a classifier");
    let (planner, target) = (&mut Planner::new(), Target::Cpu { threads: 1 });
    let network = PlannedNetwork::new(spec, images, StepMode::Train, planner, target);
    parts(spec, &network.expect("a network that fits together"), &table, images, classes)
}

/// Every part with its operations and bytes.
pub(super) fn parts(
    spec: &Spec,
    planned: &PlannedNetwork,
    table: &[layers::RowInfo],
    images: usize,
    classes: usize,
) -> Vec<StepPart> {
    let network = planned.network();
    const FLOAT: f64 = 4.0;
    let info = |name: &str| table.iter().find(|row| row.name == name).expect("a described row");
    let part = |name: &str, pass, flops: f64, bytes: f64, operation| StepPart {
        name: name.to_string(),
        pass,
        flops,
        bytes,
        work: Work::Bytes,
        mask: 0.0,
        operation,
    };
    let work = |row: &layers::PlannedRow, pass, first| match Layer::of(spec, row, images) {
        Some(layer) => Work::Products(products(&layer, pass, first)),
        None => Work::Bytes,
    };
    let size = |slot: Slot| slot.range().len() as f64;
    let bytes = network.input.len() as f64 + size(network.input);
    let mut parts = vec![part("preprocess", Pass::Forward, 0.0, bytes, Operation::Preprocess)];
    let entries = network.parameters.entries.iter().enumerate();
    let stored = entries.filter(|(idx, _)| network.parameters.is_stored(*idx));
    let stored: Vec<_> = stored.map(|(_, entry)| entry).collect();
    for (idx, row) in network.rows().iter().enumerate() {
        let (macs, parameters) = (info(row.name()).macs, info(row.name()).parameters as f64);
        let own = stored.iter().filter(|entry| entry.layer() == row.name());
        let in_bf16: usize = own.map(|entry| entry.len()).sum();
        let flops = 2.0 * (macs * images) as f64;
        let weights = FLOAT * (parameters - in_bf16 as f64 / 2.0);
        let bytes = size(row.input()) + size(row.output()) + weights;
        let forward = part(row.name(), Pass::Forward, flops, bytes, Operation::Forward(idx));
        parts.push(StepPart { work: work(row, Pass::Forward, false), ..forward });
    }
    let scores = FLOAT * (images * classes) as f64;
    parts.push(part("softmax_loss", Pass::Forward, 0.0, 2.0 * scores, Operation::Loss));
    if let PlannedNetwork::Infer(_) = planned {
        return parts;
    }
    let mut first = true;
    let mut backward = Vec::new();
    for (idx, row) in network.rows().iter().enumerate().filter(|(_, row)| row.has_backward()) {
        let (macs, parameters) = (info(row.name()).macs, info(row.name()).parameters as f64);
        let (x, y) = (row.input().len() as f64, row.output().len() as f64);
        // The first trainable row computes no input gradient.
        let products = if first { 1.0 } else { 2.0 };
        let flops = products * 2.0 * (macs * images) as f64;
        let dx = if first { 0.0 } else { x };
        let bytes = FLOAT * (x + y + dx + 2.0 * parameters);
        let part = part(row.name(), Pass::Backward, flops, bytes, Operation::Backward(idx));
        let work = work(row, Pass::Backward, first);
        let is_masked = matches!(work, Work::Products(_)) && row.reads_output();
        let mask = if is_masked { 3.0 * FLOAT * y } else { 0.0 }; // y, dy read; dy written
        backward.push(StepPart { work, mask, ..part });
        first = false;
    }
    parts.extend(backward.into_iter().rev());
    let update = 5.0 * FLOAT * network.parameters.count() as f64; // dw, w, v read; w, v written
    parts.push(part("sgd", Pass::Backward, 0.0, update, Operation::Update));
    parts
}
