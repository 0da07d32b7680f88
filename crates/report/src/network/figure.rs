//! A network's diagram, as in the paper's Figure 2.

use crate::{Diagram, DiagramLayer};
use layers::{Row, RowInfo, Spec, SpecError};

/// The network's layers with weights, each with the rows after it as notes. A network with a layer
/// of two groups is drawn as two towers, as in the figure.
///
/// # Errors
/// If its rows do not fit together.
pub fn diagram(spec: &Spec) -> Result<Diagram, SpecError> {
    let mut stages: Vec<DiagramLayer> = Vec::new();
    let mut early = Vec::new();
    let mut seen = spec.input[0];
    let made = spec.describe()?;
    let towers = towers(spec, &made);
    for (row, made) in spec.rows.iter().zip(&made) {
        let (window, groups) = match row {
            Row::Conv(conv) => (Some(conv.window), conv.groups),
            Row::Local(local) => (Some(local.window), local.groups),
            Row::Linear(_) => (None, 1),
            _ => {
                let notes = stages.last_mut().map_or(&mut early, |stage| &mut stage.notes);
                notes.extend(note(row, &made.summary));
                seen = side(made);
                continue;
            }
        };
        let mut notes = std::mem::take(&mut early);
        notes.extend(note(row, &made.summary));
        stages.push(DiagramLayer {
            name: made.name.clone(),
            size: size(made),
            window: window.map(|window| window as f64 / seen as f64),
            crosses: groups < towers,
            notes,
        });
        seen = side(made);
    }
    Ok(Diagram { name: spec.name.clone(), input: spec.input, stages, towers })
}

/// Two, if some layer has two groups and all layers but the last can be halved. The other
/// requirements of [`layers::towers::split`] do not matter for the diagram.
fn towers(spec: &Spec, made: &[RowInfo]) -> usize {
    let has_two = spec.rows.iter().any(|row| match row {
        Row::Conv(conv) => conv.groups == 2,
        Row::Local(local) => local.groups == 2,
        _ => false,
    });
    let below = made.split_last().map_or(made, |(_, below)| below);
    if has_two && below.iter().all(|row| size(row)[2].is_multiple_of(2)) { 2 } else { 1 }
}

/// Height, width and channels; units are channels.
fn size(made: &RowInfo) -> [usize; 3] {
    match *made.output.dims() {
        [height, width, channels] => [height, width, channels],
        _ => [1, 1, made.output.len()],
    }
}

fn side(made: &RowInfo) -> usize {
    size(made)[0]
}

/// A short note on a row, if the diagram has one.
fn note(row: &Row, summary: &str) -> Option<String> {
    let windows = |side: usize, stride: usize| match stride {
        1 => format!("{side} x {side}"),
        stride => format!("{side} x {side}, stride {stride}"),
    };
    Some(match row {
        Row::Conv(conv) => windows(conv.window, conv.stride),
        Row::Local(local) => windows(local.window, local.stride) + ", untied",
        Row::Relu(_) => "ReLU".to_string(),
        Row::Tanh(_) => "tanh".to_string(),
        Row::Logistic(_) => "logistic".to_string(),
        Row::LeakyRelu(_) => "leaky ReLU".to_string(),
        Row::Prelu(_) => "PReLU".to_string(),
        Row::Gelu(_) => "GELU".to_string(),
        Row::Lrn(lrn) if lrn.within_channel => "LRN within maps".to_string(),
        Row::Lrn(_) => "LRN".to_string(),
        Row::BatchNorm(_) => "batch norm".to_string(),
        Row::LayerNorm(_) => "layer norm".to_string(),
        Row::Pool(_) => summary.to_string(),
        Row::Custom(custom) => custom.kind().to_string(),
        Row::Dropout(dropout) => format!("dropout {}", dropout.drop),
        Row::Linear(_) | Row::Exchange(_) | Row::LrnPool(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_network_is_drawn_as_in_its_figure() {
        let drawn = diagram(&models::find("alexnet").unwrap()).unwrap();
        assert_eq!((drawn.towers, drawn.stages.len()), (2, 8));
        let crossing = drawn.stages.iter().filter(|stage| stage.crosses);
        let names: Vec<&str> = crossing.map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, ["conv1", "conv3", "fc6", "fc7", "fc8"]);
        let conv2 = &drawn.stages[1];
        assert_eq!((conv2.size, conv2.window), ([27, 27, 256], Some(5.0 / 27.0)));
        assert_eq!(conv2.notes, ["5 x 5", "ReLU", "LRN", "max of 3 x 3, stride 2"]);
        assert_eq!((drawn.stages[7].size, drawn.stages[7].window), ([1, 1, 1000], None));
    }

    #[test]
    fn every_model_can_be_drawn() {
        for model in models::all() {
            let spec = models::find(model.name).unwrap();
            let drawn = diagram(&spec).unwrap();
            let learned = spec
                .rows
                .iter()
                .filter(|row| matches!(row, Row::Conv(_) | Row::Local(_) | Row::Linear(_)));
            assert_eq!(drawn.stages.len(), learned.count(), "{}", model.name);
        }
        // Dropout before the first layer is kept, and layers that cannot be halved are one tower.
        let odd = Spec::image("odd", 8, 8, 4)
            .dropout(0.5)
            .conv("conv1", 6, layers::window(3).groups(2))
            .linear("fc2", 5)
            .linear("fc3", 3);
        let drawn = diagram(&odd).unwrap();
        assert_eq!((drawn.towers, drawn.stages[0].notes[0].as_str()), (1, "dropout 0.5"));
    }
}
