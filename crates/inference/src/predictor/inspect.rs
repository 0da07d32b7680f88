//! Activations of layers.

use super::Predictor;
use data::Batch;
use evaluate::Tally;
use layers::{Phase, Spec, nearest};
use tensor::Result;

/// The network has no layer of the requested name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no layer `{name}`{hint} (there are {all})")]
pub struct NoSuchLayer {
    name: String,
    hint: String,
    all: String,
}

impl NoSuchLayer {
    /// Checks that `spec` has a layer called `name`.
    pub(crate) fn check(spec: &Spec, name: &str) -> std::result::Result<(), NoSuchLayer> {
        let described = spec.describe().unwrap_or_default(); // if it cannot, planning has failed
        let names: Vec<&str> = described.iter().map(|row| row.name.as_str()).collect();
        if names.contains(&name) {
            return Ok(());
        }
        let hint = nearest(name, names.iter().copied());
        let hint = hint.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Err(NoSuchLayer { name: name.to_string(), hint, all: names.join(", ") })
    }
}

impl Predictor {
    /// The planned row with the output of the layer called `name`. `None` if there is no such
    /// layer, or if a later row was fused into it; [`InferencePlan::with_outputs`] prevents that.
    ///
    /// [`InferencePlan::with_outputs`]: crate::InferencePlan::with_outputs
    pub fn find_layer(&self, name: &str) -> Option<usize> {
        self.network().rows().iter().position(|row| row.output_name() == name)
    }

    /// The planned row with the output of the layer called `name`, after the activation that
    /// follows it: feature maps as they are usually drawn.
    pub fn find_activated(&self, name: &str) -> Option<usize> {
        let rows = self.network().rows();
        let row = rows.iter().position(|row| row.name() == name)?;
        let next = rows.get(row + 1).map_or("", |next| next.name());
        let kinds = ["relu", "tanh", "logistic", "leaky_relu", "prelu", "gelu"];
        let is_activation = kinds.iter().any(|kind| next.starts_with(kind));
        Some(if is_activation { row + 1 } else { row })
    }

    /// The last row before the classifier and its dropout, fc7 in the paper's network. Similar
    /// images have near outputs (section 6.1).
    pub fn last_hidden_layer(&self) -> Option<usize> {
        let rows = self.network().rows();
        let (_classifier, below) = rows.split_last()?;
        below.iter().rposition(|row| !row.name().starts_with("dropout"))
    }

    /// The name of the layer whose output a planned row computes: `relu7` where the ReLU after
    /// `fc7` was fused into it.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn output_name(&self, row: usize) -> &str {
        self.network().rows()[row].output_name()
    }

    /// The name of a planned row, and the shape of its output for one image.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn layer(&self, row: usize) -> (&str, Vec<usize>) {
        let row = &self.network().rows()[row];
        (row.name(), row.output().shape().dims()[1..].to_vec())
    }

    /// Computes a batch up to the last of `rows`; `each` receives the output of each
    /// row for the whole batch, image by image, channels last. In bf16 on a CPU, outputs that the
    /// next row rounds are rounded, unless [`InferencePlan::with_outputs`] names them.
    ///
    /// [`InferencePlan::with_outputs`]: crate::InferencePlan::with_outputs
    ///
    /// # Errors
    /// If the device fails.
    pub fn activations(
        &mut self,
        batch: &Batch,
        rows: &[usize],
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let last = rows.iter().max().map_or(0, |&last| last + 1);
        self.activations_up_to(last, batch, rows, each)
    }

    /// [`test_on`](Self::test_on) and [`activations`](Self::activations) in one pass: `each`
    /// receives the outputs of `rows`, and probabilities are those of the batch.
    ///
    /// # Errors
    /// If the device fails.
    pub fn test_with_activations(
        &mut self,
        batch: &Batch,
        rows: &[usize],
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<Tally> {
        self.activations_up_to(self.network().rows().len(), batch, rows, each)?;
        let Predictor { plan, device, .. } = self;
        plan.frame.probabilities(device, plan.network.output)?;
        plan.frame.tally(device)
    }

    fn activations_up_to(
        &mut self,
        end: usize,
        batch: &Batch,
        rows: &[usize],
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.load(batch)?;
        let Predictor { plan, device, .. } = self;
        plan.frame.preprocess(device, plan.network.input)?;
        for (idx, row) in plan.network.rows()[..end].iter().enumerate() {
            row.forward(device, Phase::Test)?;
            if rows.contains(&idx) {
                each(idx, &row.output_values(device)?);
            }
        }
        Ok(())
    }
}
