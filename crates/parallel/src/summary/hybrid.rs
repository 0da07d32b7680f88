//! Hybrid parallelism: a part of the images below the linear layers, a part of the units from there
//! on.

use super::Summary;
use super::table::{Crossing, Share, crossings, devices, devices_json, megabytes};
use crate::{DevicePlan, Mode};
use layers::hybrid::HybridTraffic;
use layers::{Row, Spec, SpecError};
use serde_json::{Value, json};
use train::recipe::Recipe;

impl Summary {
    /// The summary of a network `spec` whose linear layers exchange `traffic`, with a plan for each
    /// device.
    ///
    /// # Errors
    /// If its rows do not fit together.
    ///
    /// # Panics
    /// If there is no plan.
    pub fn of_hybrid(
        spec: &Spec,
        traffic: &[HybridTraffic],
        plans: &[DevicePlan],
        recipe: &Recipe,
    ) -> Result<Summary, SpecError> {
        let (rows, world) = (spec.describe()?, plans.len());
        let below = spec.rows.iter().take_while(|row| !matches!(row, Row::Linear(_))).count();
        let parameters: usize = rows[..below].iter().map(|row| row.parameters).sum();
        let macs = rows.iter().map(|row| row.macs / world).sum();
        let share = |plan: &DevicePlan| Share {
            parameters: plan.parameters().count(),
            macs,
            bytes: plan.memory().total,
        };
        let step = Step {
            shares: plans.iter().map(share).collect(),
            traffic,
            forward: traffic.iter().map(|traffic| traffic.bytes(recipe.batch)).sum(),
            common: 2 * (world - 1) * 4 * parameters,
        };
        Ok(Summary { mode: Mode::Hybrid, text: step.text(recipe), json: step.json(recipe.batch) })
    }
}

struct Step<'a> {
    shares: Vec<Share>,
    traffic: &'a [HybridTraffic],
    /// Bytes that are exchanged forward; backward has as many.
    forward: usize,
    /// Bytes of gradients and new values of the layers below the first linear one, which all
    /// devices hold.
    common: usize,
}

impl Step<'_> {
    fn text(&self, recipe: &Recipe) -> String {
        let (world, &Recipe { batch, shards, .. }) = (self.shares.len(), recipe);
        let mut text = format!(
            "\non {world} devices: 1/{world} of every batch below the first linear row, 1/{world} \
             of the units from there on, in {shards} micro-shards\n\n"
        );
        text += &devices(&self.shares);
        let crossing = |row: &HybridTraffic| {
            let (to, copies) = match &row.to {
                Some(layer) => (layer.clone(), (world - 1).to_string()),
                None => ("loss".to_string(), format!("{}/{world}", world - 1)),
            };
            let bytes = [row.bytes(1), row.bytes(batch)];
            Crossing { from: row.from.clone(), to, floats: row.floats, copies, bytes }
        };
        text += &crossings(&self.traffic.iter().map(crossing).collect::<Vec<_>>());
        let (forward, common) = (megabytes(self.forward), megabytes(self.common));
        text += &format!(
            "a step at batch {batch}: {forward} forward, and as much backward; {common} of \
             gradients and new values of what all have; no gradient of a linear layer's weights \
             crosses\n"
        );
        text
    }

    fn json(&self, batch: usize) -> Value {
        let row = |row: &HybridTraffic| {
            json!({
                "from": row.from,
                "to": row.to,
                "floats_per_image": row.floats,
                "forward_bytes": row.bytes(batch),
                "backward_bytes": row.bytes(batch),
            })
        };
        json!({
            "devices": devices_json(&self.shares),
            "traffic": self.traffic.iter().map(row).collect::<Vec<_>>(),
            "forward_bytes": self.forward,
            "backward_bytes": self.forward,
            "common_bytes": self.common,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{job, words};
    use super::*;
    use crate::plan;
    use layers::hybrid::traffic;
    use tensor::Target;

    #[test]
    fn alexnet_exchanges_what_was_computed_by_hand() {
        let spec = models::find("alexnet").unwrap();
        let recipe = Recipe { shards: 8, ..train::recipes::paper() };
        let job = job(&spec, &recipe);
        let plan = |rank| plan::hybrid(&job, (rank, 2), Target::Cpu { threads: 1 }).unwrap();
        let traffic = traffic(&spec, 2).unwrap();
        let summary = Summary::of_hybrid(&spec, &traffic, &[plan(0), plan(1)], &recipe);
        let Summary { text, json, .. } = summary.unwrap();
        assert!(text.contains("1/2 of the units from there on, in 8 micro-shards"), "{text}");
        let pool5 = ["pool5", "fc6", "9,216", "1", "36,864", "4,718,592"];
        assert_eq!(words(&text, "pool5"), pool5);
        let dropout7 = ["dropout7", "fc8", "4,096", "1", "16,384", "2,097,152"];
        assert_eq!(words(&text, "dropout7"), dropout7);
        assert_eq!(words(&text, "fc8"), ["fc8", "loss", "1,000", "1/2", "2,000", "256,000"]);
        // 2,334,080 weights and biases below fc6.
        assert!(text.contains("a step at batch 128: 9.2 MB forward, and as much"), "{text}");
        assert!(text.contains("18.7 MB of gradients and new values"), "{text}");
        assert_eq!(
            (&json["backward_bytes"], &json["common_bytes"]),
            (&9_168_896.into(), &18_672_640.into())
        );
        let sum: u64 = (0..2).map(|i| json["devices"][i]["parameters"].as_u64().unwrap()).sum();
        assert_eq!(sum, 60_965_224 + 2_334_080);
    }
}
