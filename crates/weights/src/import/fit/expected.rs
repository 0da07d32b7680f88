//! The parameters of a network as other programs store them.

use super::layout::{Layout, Order};
use layers::{Role, Spec, layer_of};

/// A layer of a network as another program stores it.
pub(crate) struct Layer {
    pub name: String,
    pub parameters: Vec<Expected>,
}

pub(crate) struct Expected {
    pub name: String,
    pub role: Role,
    /// This program's shape.
    pub shape: Vec<usize>,
    /// The other program's.
    pub foreign: Vec<usize>,
    pub layout: Layout,
}

/// The layers of a network that have parameters.
pub(crate) fn layers(spec: &Spec, order: Order, reversed: bool) -> Result<Vec<Layer>, String> {
    let table = spec.describe().map_err(|error| error.to_string())?;
    let shapes = spec.parameter_shapes().map_err(|error| error.to_string())?;
    let mut layers: Vec<Layer> = Vec::new();
    for (name, shape) in shapes {
        let layer = layer_of(&name);
        let role = Role::of(&name);
        if layers.last().is_none_or(|last| last.name != layer) {
            layers.push(Layer { name: layer.to_string(), parameters: Vec::new() });
        }
        let is_first = layers.len() == 1;
        let shape = shape.dims().to_vec();
        let (foreign, layout) = match shape[..] {
            [filters, height, width, channels] => {
                let extents = [filters, channels, height * width];
                let foreign = match order {
                    Order::ChannelsFirst => vec![filters, channels, height, width],
                    Order::ChannelsLast => shape.clone(),
                };
                (foreign, Layout::of(order, extents, reversed && is_first))
            }
            [outputs, inputs] => {
                let (channels, area) = input_of(&table, layer, spec);
                let extents = [outputs, channels, area];
                (vec![outputs, inputs], Layout::of(order, extents, reversed && is_first))
            }
            _ => (shape.clone(), Layout::Same),
        };
        let own = Expected { name: name.clone(), role, shape, foreign, layout };
        layers.last_mut().expect("one was pushed").parameters.push(own);
    }
    Ok(layers)
}

/// Channels and pixels of what enters a row.
fn input_of(table: &[layers::RowInfo], layer: &str, spec: &Spec) -> (usize, usize) {
    let at = table.iter().position(|row| row.name == layer).unwrap_or(0);
    let shape = match at.checked_sub(1) {
        Some(below) => table[below].output.dims().to_vec(),
        None => spec.input.to_vec(),
    };
    match shape[..] {
        [height, width, channels] => (channels, height * width),
        _ => (shape.iter().product(), 1),
    }
}
