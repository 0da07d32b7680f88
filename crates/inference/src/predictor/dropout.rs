//! Probabilities under sampled dropout masks: the networks that section 4.2 averages.

use super::Predictor;
use crate::{Error, Model, Result};
use data::Batch;
use layers::{Clock, Phase, Row};
use std::ops::Range;

impl Model {
    /// The layer whose output the first dropout reads. A predictor that keeps this output
    /// ([`Model::predictor_for_layers`]) can [sample masks](Predictor::sample_dropout).
    ///
    /// # Errors
    /// [`Error::NoDropout`] if the network has no dropout, or a row above it that trains
    /// differently in another way.
    pub fn below_dropout(&self) -> Result<String> {
        let spec = &self.weights.about.model;
        let refused = |reason: &str| Error::NoDropout {
            network: spec.name.clone(),
            reason: reason.to_string(),
        };
        let first = spec.rows.iter().position(|row| matches!(row, Row::Dropout(_)));
        let first = first.ok_or_else(|| refused("it has no dropout"))?;
        if spec.rows[first..].iter().any(|row| matches!(row, Row::BatchNorm(_) | Row::Custom(_))) {
            return Err(refused("it has a row above its dropout that sees the whole batch"));
        }
        let names = spec.describe()?;
        let below = first.checked_sub(1).map(|below| names[below].name.clone());
        below.ok_or_else(|| refused("its dropout is on the image"))
    }
}

impl Predictor {
    /// Computes a batch once up to its first dropout, then above it once for every mask in `masks`:
    /// `each` receives the mask's number and the probabilities of the whole batch. Masks are those
    /// of training steps of these numbers with this seed.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If the network has no dropout, or was opened without the output
    /// [below](Model::below_dropout) it.
    pub fn sample_dropout(
        &mut self,
        batch: &Batch,
        (seed, masks): (u64, Range<u32>),
        below: &str,
        each: &mut dyn FnMut(u32, &[f32]),
    ) -> Result<()> {
        let below = self.find_layer(below).expect("the output below the dropout is kept");
        self.load(batch)?;
        let Predictor { plan, device, .. } = self;
        let (rows, images) = (plan.network.rows(), batch.images as u32);
        plan.frame.preprocess(device, plan.network.input)?;
        for row in &rows[..=below] {
            row.forward(device, Phase::Test)?;
        }
        let mut probabilities = vec![0.0; plan.frame.images() * plan.frame.classes()];
        for mask in masks {
            plan.network.set_clock(device, Clock::new(seed, mask, images))?;
            for row in &rows[below + 1..] {
                row.forward(device, Phase::Train)?;
            }
            plan.frame.probabilities(device, plan.network.output)?;
            device.download_into(plan.frame.probabilities, &mut probabilities)?;
            each(mask, &probabilities);
        }
        Ok(())
    }
}
