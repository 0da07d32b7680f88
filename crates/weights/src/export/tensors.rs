//! A network's parameters under the names and in the layout of other programs.

use super::Names;
use super::dropout::Folded;
use crate::import::fit::{Layout, Order, layers};
use crate::import::names::suffix;
use crate::weights::check_shape;
use crate::{Values, Weights};
use ::layers::{Role, Row};
use std::borrow::Cow;

/// A tensor of the file. Its values are made when they are written.
pub(super) struct ExportTensor<'w> {
    pub name: String,
    /// The extents in the file.
    pub shape: Vec<usize>,
    values: &'w Values,
    layout: Layout,
    factor: f32,
}

impl ExportTensor<'_> {
    /// The elements in the order of the file.
    pub fn values(&self) -> Cow<'_, [f32]> {
        let mut values = self.layout.invert(&self.values.values);
        if self.factor != 1.0 {
            values.to_mut().iter_mut().for_each(|value| *value *= self.factor);
        }
        values
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.values.len()
    }

    /// Their size in the file.
    pub fn bytes(&self) -> u64 {
        4 * self.len() as u64
    }
}

/// The tensors of a network, in its order.
///
/// # Errors
/// A sentence, if a parameter is missing, or two have the same name in other programs.
pub(super) fn tensors<'w>(
    weights: &'w Weights,
    folded: &Folded,
    names: Names,
) -> Result<Vec<ExportTensor<'w>>, String> {
    let spec = &folded.spec;
    let mut tensors: Vec<ExportTensor<'_>> = Vec::new();
    for layer in layers(spec, Order::ChannelsFirst, false)? {
        let prefix = prefix(folded, &layer.name, names);
        let factor = folded.factors.get(&layer.name).copied().unwrap_or(1.0);
        for parameter in layer.parameters {
            let found = weights.parameters.iter().find(|(name, _)| *name == parameter.name);
            let found = found.map(|(_, values)| values);
            let values = check_shape(&parameter.name, found, &parameter.shape)?;
            let name = format!("{prefix}.{}", suffix(parameter.role));
            if tensors.iter().any(|tensor| tensor.name == name) {
                return Err(format!(
                    "`{}` and another parameter would both be called `{name}`: other programs have \
                     one weight and one bias for a layer; export this program's own file",
                    parameter.name
                ));
            }
            tensors.push(ExportTensor {
                name,
                shape: parameter.foreign,
                values,
                layout: parameter.layout,
                factor: if parameter.role == Role::Weight { factor } else { 1.0 },
            });
        }
    }
    Ok(tensors)
}

/// The name of a layer in the file.
fn prefix(folded: &Folded, layer: &str, names: Names) -> String {
    if names == Names::Layers {
        return layer.to_string();
    }
    let is_classifier = |row: &Row| matches!(row, Row::Dropout(_) | Row::Linear(_));
    let rows = &folded.spec.rows;
    let features = rows.iter().position(is_classifier).unwrap_or(rows.len());
    let at = folded.rows.iter().position(|row| row.name == layer).expect("a row of the network");
    if at < features { format!("features.{at}") } else { format!("classifier.{}", at - features) }
}
