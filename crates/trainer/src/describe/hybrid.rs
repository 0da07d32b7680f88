//! `alexnet describe --parallel hybrid`: what two devices have, and what crosses between them.

use super::run::Run;
use super::towers::{device_json, devices_table, megabytes, traffic_table};
use crate::fault::Result;
use layers::Row;
use layers::hybrid::{Traffic, traffic};
use serde_json::json;

/// What is told of a network.
struct Hybrid {
    /// Parameters, multiply-accumulates of an image and bytes of each device.
    devices: Vec<[usize; 3]>,
    traffic: Vec<Traffic>,
    /// Below the first linear row.
    parameters: usize,
}

impl Hybrid {
    fn of(run: &Run) -> Result<Hybrid> {
        let (spec, world) = (&run.spec, run.devices());
        let infos = spec.describe()?;
        let below = spec.rows.iter().take_while(|row| !matches!(row, Row::Linear(_))).count();
        let parameters = infos[..below].iter().map(|row| row.parameters).sum();
        let traffic = traffic(spec, world)?;
        // A part of the images below, a part of the units above.
        let macs: usize = infos.iter().map(|row| row.macs / world).sum();
        let device = |plan: &parallel::Plan| [plan.parameters().count(), macs, plan.memory().total];
        Ok(Hybrid { devices: run.plans()?.iter().map(device).collect(), traffic, parameters })
    }

    /// Bytes that cross forward; backward has as many.
    fn forward(&self, images: usize) -> usize {
        self.traffic.iter().map(|traffic| traffic.bytes(images)).sum()
    }

    /// Bytes of a step's gradients and new values of what all devices have.
    fn common(&self) -> usize {
        2 * (self.devices.len() - 1) * 4 * self.parameters
    }
}

pub(super) fn as_text(run: &Run) -> Result<String> {
    let (hybrid, images) = (Hybrid::of(run)?, run.batch());
    let (world, shards) = (hybrid.devices.len(), run.recipe().shards);
    let mut text = format!(
        "\non {world} devices: 1/{world} of every batch below the first linear row, 1/{world} of \
         the units from there on, in {shards} micro-shards\n\n"
    );
    text += &devices_table(&hybrid.devices);
    let line = |row: &Traffic| {
        let (to, copies) = match &row.to {
            Some(layer) => (layer.clone(), (world - 1).to_string()),
            None => ("loss".to_string(), format!("{}/{world}", world - 1)),
        };
        ([row.from.clone(), to], row.floats, copies, [row.bytes(1), row.bytes(images)])
    };
    text += &traffic_table(&hybrid.traffic.iter().map(line).collect::<Vec<_>>());
    let (forward, common) = (megabytes(hybrid.forward(images)), megabytes(hybrid.common()));
    text += &format!(
        "a step at batch {images}: {forward} forward, and as much backward; {common} of gradients \
         and new values of what all have; no gradient of a linear layer's weights crosses\n"
    );
    Ok(text)
}

pub(super) fn as_json(run: &Run) -> Result<serde_json::Value> {
    let (hybrid, images) = (Hybrid::of(run)?, run.batch());
    let row = |row: &Traffic| {
        json!({
            "from": row.from,
            "to": row.to,
            "floats_per_image": row.floats,
            "forward_bytes": row.bytes(images),
            "backward_bytes": row.bytes(images),
        })
    };
    Ok(json!({
        "devices": hybrid.devices.iter().map(device_json).collect::<Vec<_>>(),
        "traffic": hybrid.traffic.iter().map(row).collect::<Vec<_>>(),
        "forward_bytes": hybrid.forward(images),
        "backward_bytes": hybrid.forward(images),
        "common_bytes": hybrid.common(),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::typed;
    use super::*;

    #[test]
    fn alexnet_exchanges_what_was_computed_by_hand() {
        let run = typed("alexnet --parallel hybrid").unwrap();
        let text = as_text(&run).unwrap();
        assert!(text.contains("1/2 of the units from there on, in 8 micro-shards"), "{text}");
        let words = |start: &str| {
            let found = text.lines().find(|line| line.starts_with(start));
            let found = found.unwrap_or_else(|| panic!("{start}: {text}"));
            found.split_whitespace().map(str::to_string).collect::<Vec<_>>()
        };
        assert_eq!(words("pool5"), ["pool5", "fc6", "9,216", "1", "36,864", "4,718,592"]);
        assert_eq!(words("dropout7"), ["dropout7", "fc8", "4,096", "1", "16,384", "2,097,152"]);
        assert_eq!(words("fc8"), ["fc8", "loss", "1,000", "1/2", "2,000", "256,000"]);
        // 2,334,080 weights and biases below fc6.
        assert!(text.contains("a step at batch 128: 9.2 MB forward, and as much"), "{text}");
        assert!(text.contains("18.7 MB of gradients and new values"), "{text}");
        let json = as_json(&run).unwrap();
        assert_eq!(
            (&json["backward_bytes"], &json["common_bytes"]),
            (&9_168_896.into(), &18_672_640.into())
        );
        let sum: u64 = (0..2).map(|i| json["devices"][i]["parameters"].as_u64().unwrap()).sum();
        assert_eq!(sum, 60_965_224 + 2_334_080);
    }

    #[test]
    fn what_cannot_be_shared_is_refused() {
        let model = std::env::temp_dir().join(format!("flat-{}.toml", std::process::id()));
        let flat = layers::Spec::image("flat", 8, 8, 3).linear("fc1", 10);
        std::fs::write(&model, flat.to_toml()).unwrap();
        let told = |words: &str| as_text(&typed(&format!("{words} --parallel hybrid")).unwrap());
        let fault = told(model.to_str().unwrap()).unwrap_err();
        std::fs::remove_file(&model).unwrap();
        assert!(fault.code == 2 && fault.message.contains("`fc1`: no layer below"), "{fault:?}");
        let fault = told("alexnet --batch-size 7").unwrap_err();
        assert!(fault.code == 2 && fault.message.contains("--batch-size 8"), "{fault:?}");
    }
}
