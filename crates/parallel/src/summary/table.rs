//! Tables of devices and of the activations that they exchange.

use files::numbers::{grouped, mebibytes};
use serde_json::{Value, json};

/// The share of one device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// The number of elements of weights, biases and statistics.
    pub(super) parameters: usize,
    /// Multiply-accumulates per image.
    pub(super) macs: usize,
    /// Bytes of memory for training.
    pub(super) bytes: usize,
}

/// Activations that are exchanged between two rows.
#[derive(Clone, Debug)]
pub(super) struct Crossing {
    /// The row before.
    pub(super) from: String,
    /// The row after.
    pub(super) to: String,
    /// Floats per image.
    pub(super) floats: usize,
    /// How often they are sent.
    pub(super) copies: String,
    /// Bytes per image and per batch.
    pub(super) bytes: [usize; 2],
}

/// The devices as JSON.
pub(super) fn devices_json(shares: &[Share]) -> Value {
    let share = |share: &Share| {
        let Share { parameters, macs, bytes } = share;
        json!({ "parameters": parameters, "macs": macs, "train_bytes": bytes })
    };
    shares.iter().map(share).collect()
}

/// A table with a line for each device.
pub(super) fn devices(shares: &[Share]) -> String {
    let mut text =
        format!("{:<10}  {:>12}  {:>15}  {:>10}\n", "device", "parameters", "MACs", "training");
    for (index, &Share { parameters, macs, bytes }) in shares.iter().enumerate() {
        let (parameters, macs, bytes) = (grouped(parameters), grouped(macs), mebibytes(bytes));
        text += &format!("{:<10}  {parameters:>12}  {macs:>15}  {bytes:>10}\n", index + 1);
    }
    text
}

/// A table with a line for each crossing, and their sum.
pub(super) fn crossings(crossings: &[Crossing]) -> String {
    let mut text = format!(
        "\n{:<10}  {:<10}  {:>15}  {:>9}  {:>15}  {:>15}\n",
        "crosses", "into", "floats an image", "copies", "bytes an image", "bytes a batch"
    );
    let mut total = [0; 2];
    for Crossing { from, to, floats, copies, bytes } in crossings {
        let (floats, [one, all]) = (grouped(*floats), bytes.map(grouped));
        text += &format!("{from:<10}  {to:<10}  {floats:>15}  {copies:>9}  {one:>15}  {all:>15}\n");
        total.iter_mut().zip(bytes).for_each(|(total, bytes)| *total += bytes);
    }
    let ([one, all], blank) = (total.map(grouped), "");
    text +=
        &format!("{:<10}  {blank:<10}  {blank:>15}  {blank:>9}  {one:>15}  {all:>15}\n\n", "total");
    text
}

/// Formats bytes like `30.0 MB`.
pub(super) fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
