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
        // Rows above reuse its memory.
        let input = device.download::<f32>(rows[below].output())?;
        let mut probabilities = vec![0.0; plan.frame.images() * plan.frame.classes()];
        for mask in masks {
            device.upload(rows[below].output(), &input)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Placement;
    use crate::{Image, Views};
    use layers::Spec;
    use tensor::Choice;
    use weights::{About, Input, Mean, Values, Weights};

    fn model(spec: Spec) -> Model {
        let shapes = spec.parameter_shapes().unwrap();
        let parameters = shapes.into_iter().map(|(name, shape)| {
            let value = |i: usize| ((i * 37 % 101) as f32 / 50.0 - 1.0) * 0.1;
            let values = (0..shape.len()).map(value).collect();
            (name, Values { shape: shape.dims().to_vec(), values })
        });
        let weights = Weights {
            about: About {
                format: Weights::FORMAT,
                classes: vec!["a".into(), "b".into()],
                class_names: Vec::new(),
                input: Input::new(Mean::Color, 1.0 / 64.0),
                model: spec.clone(),
            },
            mean: Values { shape: vec![3], values: vec![128.0; 3] },
            parameters: parameters.collect(),
        };
        Model { weights, path: "tiny".into() }
    }

    /// A mask's probabilities do not depend on the masks before it, and masks differ.
    #[test]
    fn each_mask_starts_from_the_same_activations() {
        let spec = Spec::image("tiny", 8, 8, 3).linear("fc1", 64).relu().dropout(0.5);
        let spec = spec.linear("fc2", 32).relu().dropout(0.5).linear("fc3", 2);
        let model = model(spec);
        let below = model.below_dropout().unwrap();
        assert_eq!(below, "relu1");
        let placement = Placement { device: Choice::Cpu, threads: 1, precision: None };
        let mut predictor =
            model.predictor_for_layers(3, placement, &[&below], &mut |_| ()).unwrap();
        let images = [[200, 30, 90], [20, 240, 10]].map(|color| Image::filled(8, 8, color));
        let batch = model.batch(&[&images[0], &images[1]], Views::Centre, 3);
        let mut sample = |masks: Range<u32>| {
            let mut all = Vec::new();
            let mut keep = |_, probabilities: &[f32]| all.push(probabilities[..4].to_vec());
            predictor.sample_dropout(&batch, (7, masks), &below, &mut keep).unwrap();
            all
        };
        let (all, last) = (sample(0..20), sample(19..20));
        assert_eq!(all[19], last[0]);
        assert!(all.iter().flatten().all(|p| (0.0..=1.0).contains(p)), "{all:?}");
        assert!(all.iter().any(|one| *one != all[0]), "{all:?}");
    }

    #[test]
    fn networks_without_masks_are_refused() {
        let spec = Spec::image("tiny", 8, 8, 3).linear("fc1", 2);
        let error = model(spec).below_dropout().unwrap_err().to_string();
        assert_eq!(error, "tiny: no masks to sample: it has no dropout");
    }
}
