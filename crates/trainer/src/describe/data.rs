//! `alexnet describe --parallel data`: what each device takes, and what crosses between them.

use super::run::Run;
use super::towers::{device_json, devices_table, megabytes};
use crate::fault::Result;
use serde_json::json;
use train::recipe::Wire;

/// What is told of a network.
struct Data {
    /// Parameters, multiply-accumulates of an image and bytes of each device.
    devices: Vec<[usize; 3]>,
    /// Bytes of a step's gradients, and of the new values that come back.
    bytes: [usize; 2],
}

impl Data {
    fn of(run: &Run) -> Result<Data> {
        let (plans, macs, world) = (run.plans()?, run.spec.macs()?, run.devices());
        let device =
            |plan: &parallel::Plan| [plan.parameters().count(), macs / world, plan.memory().total];
        // Each device but one sends each number once: to its sum, and back.
        let values = 4 * (world - 1) * plans[0].parameters().count();
        let gradients = match run.recipe().wire {
            Wire::F32 => values,
            Wire::Bf16 => values / 2,
        };
        Ok(Data { devices: plans.iter().map(device).collect(), bytes: [gradients, values] })
    }
}

pub(super) fn as_text(run: &Run) -> Result<String> {
    let Data { devices, bytes } = Data::of(run)?;
    let (world, [gradients, values]) = (devices.len(), bytes.map(megabytes));
    let (batch, shards) = (run.batch(), run.recipe().shards);
    let mut text = format!(
        "\non {world} devices: the whole network and 1/{world} of every batch on each, in {shards} \
         micro-shards\n\n"
    );
    text += &devices_table(&devices);
    text +=
        &format!("\na step at batch {batch}: {gradients} of gradients, {values} of new values\n");
    Ok(text)
}

pub(super) fn as_json(run: &Run) -> Result<serde_json::Value> {
    let Data { devices, bytes: [gradients, values] } = Data::of(run)?;
    Ok(json!({
        "devices": devices.iter().map(device_json).collect::<Vec<_>>(),
        "gradient_bytes": gradients,
        "value_bytes": values,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::typed;
    use super::*;

    #[test]
    fn gradients_go_and_values_come_back() {
        let told = |words: &str| {
            let run = typed(&format!("alexnet --parallel data {words}")).unwrap();
            (as_text(&run).unwrap(), as_json(&run).unwrap())
        };
        let (text, json) = told("");
        assert!(text.contains("1/2 of every batch on each, in 8 micro-shards"), "{text}");
        // 60,965,224 numbers of four bytes.
        assert!(text.contains("128: 243.9 MB of gradients, 243.9 MB of new values"), "{text}");
        assert_eq!(json["devices"].as_array().unwrap().len(), 2);
        let (text, json) = told("--device cpu,cpu,cpu,cpu --set recipe.wire=bf16");
        assert!(text.contains("1/4 of every batch"), "{text}");
        assert_eq!(json["gradient_bytes"], 3 * 2 * 60_965_224_u64);
    }
}
