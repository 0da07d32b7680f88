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

impl Predictor {
    /// The planned row whose output is called `name`. A fused ReLU is found as the row into which
    /// it was fused; a convolution or linear layer includes the activation after it.
    ///
    /// # Errors
    /// [`NoSuchLayer`], with the nearest name.
    pub fn find_layer(&self, spec: &Spec, name: &str) -> std::result::Result<usize, NoSuchLayer> {
        let rows = self.network().rows();
        let planned = |name: &str| rows.iter().position(|row| row.name() == name);
        let described = spec.describe().unwrap_or_default(); // it was planned: it can be described
        let names: Vec<&str> = described.iter().map(|row| row.name.as_str()).collect();
        if let Some(at) = names.iter().position(|&other| other == name) {
            // A row that is not planned was fused into the nearest planned row before it.
            let row = names[..=at].iter().rev().find_map(|above| planned(above));
            let row = row.expect("the first row is always planned");
            let next = rows.get(row + 1).map_or("", |next| next.name());
            let kinds = ["relu", "tanh", "logistic", "leaky_relu", "prelu", "gelu"];
            let activation = kinds.iter().any(|kind| next.starts_with(kind));
            return Ok(if activation && described[at].parameters > 0 { row + 1 } else { row });
        }
        let hint = nearest(name, names.iter().copied());
        let hint = hint.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Err(NoSuchLayer { name: name.to_string(), hint, all: names.join(", ") })
    }

    /// The last row before the classifier and its dropout, fc7 in the paper's network. Similar
    /// images have near outputs (section 6.1).
    pub fn last_hidden_layer(&self) -> Option<usize> {
        let rows = self.network().rows();
        let (_classifier, below) = rows.split_last()?;
        below.iter().rposition(|row| !row.name().starts_with("dropout"))
    }

    /// The name of a planned row, and the shape of its output for one image.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn layer(&self, row: usize) -> (&str, Vec<usize>) {
        let row = &self.network().rows()[row];
        (row.name(), row.output().shape().dims()[1..].to_vec())
    }

    /// Computes a batch up to the last of `rows`, which ascend; `each` receives the output of each
    /// row for the whole batch, image by image, channels last.
    ///
    /// # Errors
    /// If the device fails.
    pub fn activations(
        &mut self,
        batch: &Batch,
        rows: &[usize],
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        let last = rows.last().map_or(0, |&last| last + 1);
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
                each(idx, &device.download::<f32>(row.output())?);
            }
        }
        Ok(())
    }
}
