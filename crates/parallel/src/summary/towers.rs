//! Towers: each device's part of the network, and the activations that are exchanged.

use super::Summary;
use super::table::{Crossing, Share, crossings, devices, devices_json, megabytes};
use crate::{DevicePlan, Mode};
use layers::SpecError;
use layers::towers::{TowerTraffic, Towers};
use serde_json::{Value, json};

impl Summary {
    /// The summary of a network in `towers` with a plan for each, in steps of `batch` images.
    ///
    /// # Errors
    /// If a tower's rows do not fit together.
    pub fn of_towers(
        towers: &Towers,
        plans: &[DevicePlan],
        batch: usize,
    ) -> Result<Summary, SpecError> {
        let mut shares = Vec::new();
        for (tower, plan) in towers.specs.iter().zip(plans) {
            let (parameters, macs) = (tower.parameters()?, tower.macs()?);
            shares.push(Share { parameters, macs, bytes: plan.memory().total });
        }
        let (text, json) = (text(&shares, towers, batch), json(&shares, towers, batch));
        Ok(Summary { mode: Mode::Towers, text, json })
    }
}

fn text(shares: &[Share], towers: &Towers, batch: usize) -> String {
    let mut text = format!("\nin {} towers, each on a device of its own\n\n", shares.len());
    text += &devices(shares);
    let crossing = |row: &TowerTraffic| Crossing {
        from: row.from.clone(),
        to: row.to.clone(),
        floats: row.floats,
        copies: row.copies.to_string(),
        bytes: [row.bytes(1), row.bytes(batch)],
    };
    text += &crossings(&towers.traffic.iter().map(crossing).collect::<Vec<_>>());
    text += &format!(
        "a step at batch {batch}: {} forward, and as much backward; no weight and no gradient of \
         one crosses\n",
        megabytes(towers.bytes(batch))
    );
    text
}

fn json(shares: &[Share], towers: &Towers, batch: usize) -> Value {
    let row = |row: &TowerTraffic| {
        json!({
            "from": row.from,
            "to": row.to,
            "floats_per_image": row.floats,
            "copies": row.copies,
            "forward_bytes": row.bytes(batch),
            "backward_bytes": row.bytes(batch),
        })
    };
    json!({
        "devices": devices_json(shares),
        "traffic": towers.traffic.iter().map(row).collect::<Vec<_>>(),
        "forward_bytes": towers.bytes(batch),
        "backward_bytes": towers.bytes(batch),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{job, words};
    use super::*;
    use crate::plan;
    use layers::towers::{on_one_device, split};
    use tensor::Target;

    #[test]
    fn the_sources_towers_exchange_what_was_computed_by_hand() {
        let spec = on_one_device(&models::find("alexnet-source").unwrap(), 2).unwrap();
        let recipe = train::recipes::paper();
        let towers = split(&spec, 2).unwrap();
        let targets = [Target::Cpu { threads: 1 }; 2];
        let plans = plan::towers(&job(&spec, &recipe), &towers, &targets).unwrap();
        let Summary { text, json, .. } = Summary::of_towers(&towers, &plans, 128).unwrap();
        let pool2 = ["pool2", "conv3", "21,632", "2", "173,056", "22,151,168"];
        assert_eq!(words(&text, "pool2"), pool2);
        let dropout7 = ["dropout7", "fc8", "2,048", "1", "8,192", "1,048,576"];
        assert_eq!(words(&text, "dropout7"), dropout7);
        assert!(text.contains("a step at batch 128: 30.0 MB forward, and as much back"), "{text}");
        assert_eq!(json["backward_bytes"], 30_015_488);
        let sum: u64 = (0..2).map(|i| json["devices"][i]["parameters"].as_u64().unwrap()).sum();
        assert_eq!(sum, 60_965_224);
    }
}
