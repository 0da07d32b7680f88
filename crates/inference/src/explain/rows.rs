//! A network that has, at test time, a gradient of its input: other rows, the same outputs.
//!
//! * An identity comes first: a ReLU with a slope of 1, whose output is the network's input.
//!   Planned networks have no gradients below their first row with a parameter.
//! * Dropout drops nothing; its factor at test time is in the weights of the next layer.
//! * Of equal maxima in a pooling window only the first receives the gradient, as in PyTorch:
//!   windows of zeros after a ReLU would count several times in Grad-CAM.
//! * Batch normalisation of feature maps is a convolution with windows of one pixel and one
//!   channel.

use crate::{Error, Result};
use layers::{Conv, NoOptions, Pad, Row};
use weights::{Values, Weights};

/// A network with the same outputs, whose rows all have gradients.
pub(super) struct Differentiable {
    /// Its rows are those of the original after one more.
    pub weights: Weights,
    /// The name of each row.
    pub names: Vec<String>,
}

/// The name of the identity that comes first, and of its slopes.
const FIRST: &str = "prelu";
const SLOPES: &str = "prelu.slope";

/// Rewrites a network.
///
/// # Errors
/// [`Error::NoExplanation`] naming a row that cannot be rewritten.
pub(super) fn differentiable(original: &Weights) -> Result<Differentiable> {
    let mut weights = original.clone();
    let spec = &original.about.model;
    let described = spec.describe()?;
    let mut rows = vec![Row::Prelu(NoOptions {})];
    let mut names = vec![FIRST.to_string()];
    let channels = spec.input[2];
    let slopes = Values { shape: vec![channels], values: vec![1.0; channels] };
    let mut parameters = vec![(SLOPES.to_string(), slopes)];
    let mut factor = 1.0f32;
    for (row, info) in spec.rows.iter().zip(&described) {
        let refused = |reason: &str| Error::NoExplanation {
            layer: info.name.clone(),
            reason: reason.to_string(),
        };
        if info.name == FIRST {
            return Err(refused("it comes before every layer with weights"));
        }
        let rewritten = match row {
            Row::Dropout(dropout) => {
                factor *= if dropout.inverted { 1.0 } else { 1.0 - dropout.drop };
                Row::Dropout(layers::Dropout { drop: 0.0, ..*dropout })
            }
            Row::BatchNorm(norm) => {
                let maps = info.output.dims().len() == 3;
                if !maps {
                    return Err(refused("batch normalisation without feature maps"));
                }
                let vectors = ["scale", "shift", "mean", "variance"]
                    .map(|role| take(&mut weights, &format!("{}.{role}", info.name)));
                let [Some(scale), Some(shift), Some(mean), Some(variance)] = vectors else {
                    return Err(refused("its parameters are missing"));
                };
                let (name, channels) = (info.name.clone(), scale.values.len());
                let factors = scale.values.iter().zip(&variance.values);
                let factors = factors.map(|(scale, v)| scale / (v + norm.epsilon).sqrt());
                let factors: Vec<f32> = factors.collect();
                let shifts = shift.values.iter().zip(&mean.values).zip(&factors);
                let shifts = shifts.map(|((shift, mean), f)| shift - mean * f).collect();
                let factors = factors.into_iter().map(|f| f * factor).collect();
                factor = 1.0;
                let weight = Values { shape: vec![channels, 1, 1, 1], values: factors };
                let bias = Values { shape: vec![channels], values: shifts };
                parameters.push((format!("{name}.weight"), weight));
                parameters.push((format!("{name}.bias"), bias));
                Row::Conv(affine(name, channels))
            }
            Row::Conv(Conv { name, .. })
            | Row::Linear(layers::Linear { name, .. })
            | Row::Local(layers::Local { name, .. }) => {
                let weight = format!("{name}.weight");
                let found = weights.parameters.iter_mut().find(|(name, _)| *name == weight);
                if let Some((_, tensor)) = found {
                    tensor.values.iter_mut().for_each(|value| *value *= factor);
                }
                factor = 1.0;
                row.clone()
            }
            // Of a positive factor these make the same factor.
            Row::Relu(_) | Row::LeakyRelu(_) | Row::Prelu(_) => row.clone(),
            Row::Pool(pool) => Row::Pool(layers::Pool { first_tie: true, ..pool.clone() }),
            _ if factor == 1.0 => row.clone(),
            _ => return Err(refused("it follows dropout without a layer with weights between")),
        };
        rows.push(rewritten);
        names.push(info.name.clone());
    }
    if factor != 1.0 {
        let (name, reason) = (names.pop().unwrap_or_default(), "no layer follows the dropout");
        return Err(Error::NoExplanation { layer: name, reason: reason.to_string() });
    }
    parameters.append(&mut weights.parameters);
    weights.parameters = parameters;
    weights.about.model.rows = rows;
    Ok(Differentiable { weights, names })
}

fn take(weights: &mut Weights, name: &str) -> Option<Values> {
    let at = weights.parameters.iter().position(|(found, _)| found == name)?;
    Some(weights.parameters.remove(at).1)
}

/// A factor and a term for each channel.
fn affine(name: String, channels: usize) -> Conv {
    Conv {
        name,
        filters: channels,
        window: 1,
        stride: 1,
        pad: Pad::default(),
        groups: channels,
        direct: true,
        towers: 1,
        relu: false,
        masked: false,
    }
}
