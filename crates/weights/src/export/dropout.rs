//! The scale that the paper's dropout has in tests, which other programs do not have.

use layers::{Row, RowInfo, Spec};
use std::collections::BTreeMap;

/// A network whose dropout does nothing in tests, and what its weights are multiplied by for that.
pub(super) struct Folded {
    /// The network. A row of dropout that still scales in tests could not be changed.
    pub spec: Spec,
    /// Its rows' names and outputs.
    pub rows: Vec<RowInfo>,
    /// The factor of a layer's weights, by the layer's name.
    pub factors: BTreeMap<String, f32>,
}

impl Folded {
    /// Moves the scale of each row of dropout into the weights of the next layer that has some. A
    /// halving is exact. If rows are between through which a factor cannot be moved, the row stays
    /// as it is, if `keeps` such rows are possible.
    ///
    /// # Errors
    /// A sentence, if they are not.
    pub fn new(spec: &Spec, keeps: bool) -> Result<Folded, String> {
        let rows = spec.describe().map_err(|error| error.to_string())?;
        let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
        let mut folded = Folded { spec: spec.clone(), rows, factors: BTreeMap::new() };
        // The rows of dropout whose scale is on its way, and the scale.
        let (mut waiting, mut factor) = (Vec::new(), 1.0f32);
        for (at, row) in spec.rows.iter().enumerate() {
            match row {
                Row::Dropout(dropout) if !dropout.inverted && dropout.drop > 0.0 => {
                    waiting.push(at);
                    factor *= 1.0 - dropout.drop;
                }
                Row::Conv(_) | Row::Local(_) | Row::Linear(_) => {
                    if !waiting.is_empty() {
                        folded.factors.insert(names[at].clone(), factor);
                    }
                    waiting.drain(..).for_each(|at| folded.invert(at));
                    factor = 1.0;
                }
                // f(c x) = c f(x) for c > 0.
                Row::Relu(_)
                | Row::LeakyRelu(_)
                | Row::Prelu(_)
                | Row::Pool(_)
                | Row::Dropout(_) => {}
                _ if waiting.is_empty() => {}
                _ if keeps => {
                    waiting.clear();
                    factor = 1.0;
                }
                _ => {
                    return Err(format!(
                        "its `{}` scales by {factor} in tests, and `{}` comes before the next \
                         weights, so that they cannot have the factor: export it to .onnx, or \
                         train it with `inverted = true` in the row of dropout",
                        names[waiting[0]], names[at]
                    ));
                }
            }
        }
        Ok(folded)
    }

    fn invert(&mut self, at: usize) {
        if let Row::Dropout(dropout) = &mut self.spec.rows[at] {
            dropout.inverted = true;
        }
    }
}
