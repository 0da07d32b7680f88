//! `alexnet describe --parallel towers`: what two devices have, and what crosses between them.

use super::run::Run;
use crate::fault::Result;
use files::numbers::mebibytes;
use layers::towers::{Towers, Traffic, split};
use report::grouped;
use serde_json::json;

/// Parameters, multiply-accumulates of an image and bytes of each device; and what crosses.
fn told(run: &Run) -> Result<(Vec<[usize; 3]>, Towers)> {
    let towers = split(&run.settled()?, run.devices())?;
    let mut devices = Vec::new();
    for (tower, plan) in towers.specs.iter().zip(run.plans()?) {
        devices.push([tower.parameters()?, tower.macs()?, plan.memory().total]);
    }
    Ok((devices, towers))
}

pub(super) fn as_text(run: &Run) -> Result<String> {
    let ((devices, towers), images) = (told(run)?, run.batch());
    let mut text = format!("\nin {} towers, each on a device of its own\n\n", devices.len());
    text += &devices_table(&devices);
    let line = |row: &Traffic| {
        let names = [row.from.clone(), row.to.clone()];
        (names, row.floats, row.copies.to_string(), [row.bytes(1), row.bytes(images)])
    };
    text += &traffic_table(&towers.traffic.iter().map(line).collect::<Vec<_>>());
    text += &format!(
        "a step at batch {images}: {} forward, and as much backward; no weight and no gradient of \
         one crosses\n",
        megabytes(towers.bytes(images))
    );
    Ok(text)
}

pub(super) fn device_json(&[parameters, macs, bytes]: &[usize; 3]) -> serde_json::Value {
    json!({ "parameters": parameters, "macs": macs, "train_bytes": bytes })
}

/// A line a device: parameters, multiply-accumulates of an image, bytes.
pub(super) fn devices_table(devices: &[[usize; 3]]) -> String {
    let mut text =
        format!("{:<10}  {:>12}  {:>15}  {:>10}\n", "device", "parameters", "MACs", "training");
    for (index, &[parameters, macs, bytes]) in devices.iter().enumerate() {
        let (parameters, macs, bytes) = (grouped(parameters), grouped(macs), mebibytes(bytes));
        text += &format!("{:<10}  {parameters:>12}  {macs:>15}  {bytes:>10}\n", index + 1);
    }
    text
}

/// What crosses: from where into where, floats, copies, and bytes of an image and of a batch.
pub(super) type Line = ([String; 2], usize, String, [usize; 2]);

pub(super) fn traffic_table(lines: &[Line]) -> String {
    let mut text = format!(
        "\n{:<10}  {:<10}  {:>15}  {:>9}  {:>15}  {:>15}\n",
        "crosses", "into", "floats an image", "copies", "bytes an image", "bytes a batch"
    );
    let mut total = [0; 2];
    for ([from, to], floats, copies, bytes) in lines {
        let (floats, [one, all]) = (grouped(*floats), bytes.map(grouped));
        text += &format!("{from:<10}  {to:<10}  {floats:>15}  {copies:>9}  {one:>15}  {all:>15}\n");
        total.iter_mut().zip(bytes).for_each(|(total, bytes)| *total += bytes);
    }
    let ([one, all], blank) = (total.map(grouped), "");
    text +=
        &format!("{:<10}  {blank:<10}  {blank:>15}  {blank:>9}  {one:>15}  {all:>15}\n\n", "total");
    text
}

pub(super) fn as_json(run: &Run) -> Result<serde_json::Value> {
    let ((devices, towers), images) = (told(run)?, run.batch());
    let row = |row: &Traffic| {
        json!({
            "from": row.from,
            "to": row.to,
            "floats_per_image": row.floats,
            "copies": row.copies,
            "forward_bytes": row.bytes(images),
            "backward_bytes": row.bytes(images),
        })
    };
    Ok(json!({
        "devices": devices.iter().map(device_json).collect::<Vec<_>>(),
        "traffic": towers.traffic.iter().map(row).collect::<Vec<_>>(),
        "forward_bytes": towers.bytes(images),
        "backward_bytes": towers.bytes(images),
    }))
}

pub(super) fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::super::typed;
    use super::*;

    #[test]
    fn the_sources_towers_exchange_what_was_computed_by_hand() {
        let text = as_text(&typed("alexnet-source --parallel towers").unwrap()).unwrap();
        let line = |start: &str| {
            let found = text.lines().find(|line| line.starts_with(start));
            found
                .unwrap_or_else(|| panic!("{start}: {text}"))
                .split_whitespace()
                .collect::<Vec<_>>()
        };
        assert_eq!(line("pool2"), ["pool2", "conv3", "21,632", "2", "173,056", "22,151,168"]);
        assert_eq!(line("dropout7"), ["dropout7", "fc8", "2,048", "1", "8,192", "1,048,576"]);
        assert!(text.contains("a step at batch 128: 30.0 MB forward, and as much back"), "{text}");
        let json = as_json(&typed("alexnet-source --parallel towers").unwrap()).unwrap();
        assert_eq!(json["backward_bytes"], 30_015_488);
        let sum: u64 = (0..2).map(|i| json["devices"][i]["parameters"].as_u64().unwrap()).sum();
        assert_eq!(sum, 60_965_224);
    }

    #[test]
    fn a_network_without_towers_is_refused() {
        let run = |name: &str| typed(&format!("{name} --parallel towers")).unwrap();
        let sentence = |name| as_text(&run(name)).unwrap_err().message;
        assert!(sentence("torchvision").contains("no row has groups = 2"));
        assert!(sentence("alexnet").contains("`lrn1`: its windows cross the edge between towers"));
    }
}
