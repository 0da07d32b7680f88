//! What Adam needs beside a network trained by SGD: second moments, and the divisors of a step. The
//! first moments are where velocities are.

use crate::Result;
use kernels::adam::{self, EPSILON, Hyperparameters, Moments};
use kernels::sgd::{self, Segment};
use layers::{Network, Parameters, TrainableNetwork};
use tensor::{DType, Device, Planner, Shape, Slot};

/// Slots, and what is updated how.
#[derive(Debug)]
pub(super) struct Adam {
    /// Laid out as the weights are.
    pub(super) second: Slot,
    corrections: Slot,
    /// What gradients teach; nothing of other parameters.
    taught: Vec<Segment>,
    /// Running statistics, which a plain update moves; nothing of other parameters.
    statistics: Vec<Segment>,
}

impl Adam {
    /// Claims what it needs.
    pub(super) fn plan(network: &Network, planner: &mut Planner) -> Adam {
        let Parameters { entries, values, .. } = &network.parameters;
        let where_statistic = |wanted: bool| {
            let segment = |entry: &layers::Parameter| {
                let len = if entry.role.is_statistic() == wanted { entry.len() } else { 0 };
                Segment { start: entry.start, len }
            };
            entries.iter().map(segment).collect()
        };
        Adam {
            second: planner.claim(DType::F32, values.shape()),
            corrections: planner.claim(DType::F32, Shape::from([2])),
            taught: where_statistic(false),
            statistics: where_statistic(true),
        }
    }

    /// Before step number `step`.
    pub(super) fn begin_step(&self, device: &mut Device, beta_1: f32, step: u64) -> Result<()> {
        let corrections = adam::corrections(f64::from(beta_1), step);
        Ok(device.upload(self.corrections, &corrections)?)
    }

    /// Gradients to new parameters.
    pub(super) fn update(
        &self,
        device: &mut Device,
        table: Slot,
        network: &TrainableNetwork,
    ) -> tensor::Result<()> {
        let (parameters, dw, first) = (&network.parameters, network.gradients, network.velocities);
        let moments = Moments { first, second: self.second };
        let corrections = self.corrections;
        let hyperparameters = Hyperparameters { table, corrections, decoupled: false };
        adam::step(device, &self.taught, hyperparameters, dw, parameters.values, moments)?;
        if parameters.has_statistics() {
            sgd::step(device, &self.statistics, table, dw, parameters.values, first)
        } else {
            Ok(())
        }
    }

    /// The norm of a parameter's last update, looked at through `room`.
    pub(super) fn update_norm(
        &self,
        device: &Device,
        table: Slot,
        network: &TrainableNetwork,
        idx: usize,
        room: &mut [f32],
    ) -> Result<f64> {
        let (mut rule, mut corrections) = ([0.0; 3], [0.0; 2]);
        device.download_into(table.part(3 * idx, Shape::from([3])), &mut rule)?;
        device.download_into(self.corrections, &mut corrections)?;
        let first = network.velocity(idx);
        let second = network.parameters.view(self.second, idx);
        let half = room.len() / 2;
        let (m, s) = room.split_at_mut(half);
        let mut sum = 0.0;
        for start in (0..first.len()).step_by(half) {
            let count = half.min(first.len() - start);
            let piece = |slot: Slot| slot.part(start, Shape::from([count]));
            device.download_into(piece(first), &mut m[..count])?;
            device.download_into(piece(second), &mut s[..count])?;
            for (&m, &s) in m[..count].iter().zip(&s[..count]) {
                let root = f64::from(s / corrections[1]).sqrt() + f64::from(EPSILON);
                sum += (f64::from(m / corrections[0]) / root).powi(2);
            }
        }
        Ok(f64::from(rule[0]) * sum.sqrt())
    }
}
