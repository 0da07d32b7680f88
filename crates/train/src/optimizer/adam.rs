//! What Adam needs beside a network trained by SGD: second moments, and the divisors of a step. The
//! first moments are where velocities are.

use crate::Result;
use crate::optimizer::UpdateRule;
use crate::optimizer::norm::norm_of;
use crate::recipe;
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
    /// Whether it is AdamW.
    decoupled: bool,
    /// What gradients teach; nothing of other parameters.
    taught: Vec<Segment>,
    /// Running statistics, which a plain update moves; nothing of other parameters.
    statistics: Vec<Segment>,
}

impl Adam {
    /// Claims what it needs to update these segments.
    pub(super) fn plan(
        rule: &UpdateRule,
        network: &Network,
        segments: &[Segment],
        planner: &mut Planner,
    ) -> Adam {
        let Parameters { entries, values, .. } = &network.parameters;
        let where_statistic = |wanted: bool| {
            let part = |(entry, segment): (&layers::Parameter, &Segment)| {
                let len = if entry.role.is_statistic() == wanted { segment.len } else { 0 };
                Segment { len, ..*segment }
            };
            entries.iter().zip(segments).map(part).collect()
        };
        Adam {
            second: planner.claim(DType::F32, values.shape()),
            corrections: planner.claim(DType::F32, Shape::from([2])),
            decoupled: rule.optimizer == recipe::Optimizer::AdamW,
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
        let &Adam { corrections, decoupled, .. } = self;
        let hyperparameters = Hyperparameters { table, corrections, decoupled };
        adam::step(device, &self.taught, hyperparameters, dw, parameters.values, moments)?;
        if parameters.has_statistics() {
            sgd::step(device, &self.statistics, table, dw, parameters.values, first)
        } else {
            Ok(())
        }
    }

    /// The norm of a segment's last update, computed with the buffer `room`; `rates` are its rate,
    /// beta1 and decay. The update u of AdamW has the decay of the old weight: w + u.
    pub(super) fn update_norm(
        &self,
        device: &Device,
        rates: [f32; 3],
        network: &TrainableNetwork,
        segment: Segment,
        room: &mut [f32],
    ) -> Result<f64> {
        let mut corrections = [0.0; 2];
        device.download_into(self.corrections, &mut corrections)?;
        let ([rate, _, decay], [first, second]) =
            (rates.map(f64::from), corrections.map(f64::from));
        let adam = |m: f64, s: f64| m / first / ((s / second).sqrt() + f64::from(EPSILON));
        let here = |block: Slot| block.part(segment.start, Shape::from([segment.len]));
        let [w, m, s] = [network.parameters.values, network.velocities, self.second].map(here);
        if self.decoupled {
            return norm_of(device, [w, m, s], room, |[w, m, s]| {
                rate * (adam(m, s) + decay * w) / (1.0 - rate * decay)
            });
        }
        Ok(rate * norm_of(device, [m, s], room, |[m, s]| adam(m, s))?)
    }
}
