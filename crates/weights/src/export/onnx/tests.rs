//! Models, decoded.

use super::super::Names;
use super::super::tensors::tensors;
use super::*;
use crate::export::Format;
use crate::{Input, Values, Weights};
use augment::ExifMode;
use layers::{Lrn, Spec, window};
use std::collections::HashSet;

/// Weights of ones.
fn weights(model: Spec) -> Weights {
    let shapes = model.parameter_shapes().unwrap().into_iter();
    let parameters = shapes.map(|(name, shape)| {
        let (shape, values) = (shape.dims().to_vec(), vec![1.0; shape.len()]);
        (name, Values { shape, values })
    });
    let classes = model.classes().unwrap();
    let about = About {
        format: Weights::FORMAT,
        classes: (0..classes).map(|class| class.to_string()).collect(),
        class_names: Vec::new(),
        input: Input::new(Mean::Color, 1.0),
        model: model.clone(),
    };
    let mean = Values { shape: vec![3], values: vec![1.0; 3] };
    Weights { about, mean, parameters: parameters.collect() }
}

/// Layers that are called as values of the graph: a name occurs once, before it is used.
#[test]
fn names_of_layers_may_be_those_of_the_graph() {
    let names = [
        "input",
        "image",
        "mean",
        "scale",
        "float",
        "centred",
        "scaled",
        "logits",
        "softmax",
        "probabilities",
        "input_2",
        "a.weight",
        "a",
    ];
    let conv = |spec: Spec, name: &&str| spec.conv(name, 4, window(1)).tanh();
    let model = names.iter().fold(Spec::image("net", 6, 6, 3), conv);
    let mut model = model
        .lrn_with(Lrn { towers: 2, size: 4, ..Lrn::default() })
        .conv("lrn1.tower0", 4, window(1))
        .conv("fc.flat", 4, window(1))
        .gelu()
        .linear("fc", 3)
        .tanh()
        .linear("fc.flat_2", 3);
    for row in &mut model.rows {
        if let layers::Row::Tanh(tanh) = row {
            (tanh.outer, tanh.inner) = (1.7159, 0.6667);
        }
    }
    let weights = weights(model);
    let folded = Folded::new(&weights.about.model, true).unwrap();
    let tensors = tensors(&weights, &folded, Names::Layers).unwrap();
    let exported = Exported { about: weights.about.clone(), mean: weights.mean.clone() };
    for (preprocess, probabilities) in [(false, false), (true, true)] {
        let options =
            ExportOptions { preprocess, probabilities, ..ExportOptions::new(Format::Onnx) };
        let model = model_of(&exported, &tensors, &options);
        let graph = GraphProto::decode(&model.graph[..]).unwrap();
        let mut values: HashSet<&str> = tensors.iter().map(|tensor| &tensor.name[..]).collect();
        assert_eq!(values.len(), tensors.len());
        assert!(values.insert(graph.inputs[0].name()));
        let mut nodes = HashSet::new();
        for node in &graph.nodes {
            assert!(node.inputs.iter().all(|input| values.contains(&input[..])), "{node:?}");
            assert!(values.insert(&node.outputs[0]), "{} twice", node.outputs[0]);
            assert!(nodes.insert(&node.name), "{} twice", node.name);
        }
        let outputs: Vec<&str> = graph.outputs.iter().map(ValueInfo::name).collect();
        assert_eq!(outputs, [if probabilities { "probabilities" } else { "logits" }]);
        assert_eq!(graph.nodes.last().unwrap().outputs, outputs);
        assert_eq!(graph.inputs[0].name(), if preprocess { "image" } else { "input" });
    }
}

fn model_of(exported: &Exported, tensors: &[ExportTensor<'_>], options: &ExportOptions) -> Model {
    model(exported, &exported.entries().unwrap(), tensors, options).unwrap()
}

#[test]
fn the_orientation_of_images_is_in_the_metadata() {
    let model = Spec::image("net", 6, 6, 3).linear("fc", 2);
    let mut about = weights(model).about;
    for (exif, word, part) in [
        (ExifMode::Ignore, "ignore", "an image whose shorter side"),
        (ExifMode::Apply, "apply", "an image, turned as its EXIF orientation tells, whose shorter"),
    ] {
        about.input.exif = exif;
        let mean = Values { shape: vec![3], values: vec![1.0; 3] };
        let exported = Exported { about: about.clone(), mean };
        let entries = entries(&exported, &[], &ExportOptions::new(Format::Onnx));
        let value = |key: &str| &entries.iter().find(|entry| entry.key == key).unwrap().value;
        assert_eq!(value("exif"), word);
        assert!(value("input").contains(part), "{}", value("input"));
    }
}

#[test]
fn the_longest_file_has_two_gibibytes_less_a_byte() {
    check_length((1 << 31) - 1).unwrap();
    let reason = check_length(1 << 31).unwrap_err();
    assert!(reason.contains("2147483648 bytes"), "{reason}");
}
