//! Data parallelism: the whole network on every device; gradients and new values are exchanged.

use super::Summary;
use super::table::{Share, devices, devices_json, megabytes};
use crate::{DevicePlan, Mode};
use layers::{Spec, SpecError};
use serde_json::json;
use train::recipe::{Recipe, Wire};

impl Summary {
    /// The summary of a network `spec` with a plan for each device.
    ///
    /// # Errors
    /// If its rows do not fit together.
    ///
    /// # Panics
    /// If there is no plan.
    pub fn of_data(
        spec: &Spec,
        plans: &[DevicePlan],
        recipe: &Recipe,
    ) -> Result<Summary, SpecError> {
        let (world, macs) = (plans.len(), spec.macs()?);
        let share = |plan: &DevicePlan| Share {
            parameters: plan.parameters().count(),
            macs: macs / world,
            bytes: plan.memory().total,
        };
        let shares: Vec<Share> = plans.iter().map(share).collect();
        // All devices but one send each gradient once to its sum; each new value is sent as often.
        let values = 4 * (world - 1) * shares[0].parameters;
        let gradients = match recipe.wire {
            Wire::F32 => values,
            Wire::Bf16 => values / 2,
        };
        let json = json!({
            "devices": devices_json(&shares),
            "gradient_bytes": gradients,
            "value_bytes": values,
        });
        Ok(Summary { mode: Mode::Data, text: text(&shares, [gradients, values], recipe), json })
    }
}

/// `bytes` are those of a step's gradients and of its new values.
fn text(shares: &[Share], bytes: [usize; 2], recipe: &Recipe) -> String {
    let (world, [gradients, values]) = (shares.len(), bytes.map(megabytes));
    let Recipe { batch, shards, .. } = recipe;
    format!(
        "\non {world} devices: the whole network and 1/{world} of every batch on each, in {shards} \
         micro-shards\n\n{}\na step at batch {batch}: {gradients} of gradients, {values} of new \
         values\n",
        devices(shares)
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::*;
    use crate::plan;
    use tensor::Target;

    #[test]
    fn gradients_and_new_values_are_counted() {
        let spec = models::find("alexnet").unwrap();
        let summary = |world: usize, wire| {
            let recipe = Recipe { shards: 8, wire, ..train::recipes::paper() };
            let job = job(&spec, &recipe);
            let plan = |rank| plan::replica(&job, (rank, world), Target::Cpu { threads: 1 });
            let plans: Vec<DevicePlan> = (0..world).map(|rank| plan(rank).unwrap()).collect();
            Summary::of_data(&spec, &plans, &recipe).unwrap()
        };
        let Summary { text, json, .. } = summary(2, Wire::F32);
        assert!(text.contains("1/2 of every batch on each, in 8 micro-shards"), "{text}");
        // 60,965,224 values of four bytes.
        assert!(text.contains("128: 243.9 MB of gradients, 243.9 MB of new values"), "{text}");
        assert_eq!(json["devices"].as_array().unwrap().len(), 2);
        let Summary { text, json, .. } = summary(4, Wire::Bf16);
        assert!(text.contains("1/4 of every batch"), "{text}");
        assert_eq!(json["gradient_bytes"], 3 * 2 * 60_965_224_u64);
    }
}
