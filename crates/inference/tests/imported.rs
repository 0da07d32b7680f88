//! Networks that PyTorch trained and saved, as `import/make_networks.py` makes them: the same
//! probabilities, logits and features as PyTorch's.

use alexnet_inference::device::Placement;
use alexnet_inference::{Classifier, Model, Options};
use augment::{CentreRounding, CentreSquare};
use data::{ExifMode, ReadBuffer, decode};
use layers::{Spec, window};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tensor::Choice;
use weights::import::ImportOptions;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(name)
}

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture("networks.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

/// The script's networks as rows.
fn networks() -> Vec<Spec> {
    let read = |name: &str| Spec::from_toml(&std::fs::read_to_string(fixture(name)).unwrap());
    ["small.toml", "small-bn.toml"].map(|name| read(name).unwrap()).to_vec()
}

fn open(file: &str) -> Model {
    let options = ImportOptions::new(networks());
    Model::open_with(fixture(file), &options, &mut |_| ()).unwrap()
}

/// The largest difference, in multiples of the largest expected value.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let worst = found.iter().zip(expected).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
    worst / largest
}

#[test]
fn probabilities_and_features_are_those_of_pytorch() {
    let expected = expected();
    let pictures: Vec<&str> = expected["pictures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    for name in ["small", "small-bn"] {
        let of_network = &expected["networks"][name];
        for ending in ["pth", "safetensors", "onnx"] {
            // An exporter folds batch normalisation into the convolutions before it.
            if (name, ending) == ("small-bn", "onnx") {
                continue;
            }
            let model = open(&format!("{name}.{ending}"));
            assert_eq!((model.weights.about.model.name.as_str(), model.classes().len()), (name, 4));
            let mut options = Options::default();
            options.placement = Placement { device: Choice::Cpu, ..Placement::default() };
            let classifier = Classifier::of(model, &options).unwrap();
            for (at, picture) in pictures.iter().enumerate() {
                let prediction = classifier.predict_file(fixture(picture)).unwrap();
                let probabilities = numbers(&of_network["probabilities"][at]);
                let worst = difference(&prediction.probabilities, &probabilities);
                assert!(worst <= 1e-3, "{name}.{ending}, {picture}: {worst}");
                let order = |p: &[f32]| {
                    let mut order: Vec<usize> = (0..p.len()).collect();
                    order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
                    order
                };
                assert_eq!(order(&prediction.probabilities), order(&probabilities));
            }
            for (at, picture) in pictures[..2].iter().enumerate() {
                let mut buffer = ReadBuffer::default();
                let path = fixture(picture);
                let square = CentreSquare { side: 32, rounding: CentreRounding::HalfEven };
                decode::read_square(&path, square, ExifMode::Ignore, &mut buffer).unwrap();
                let check = |layer: &str, expected: &Value, most: f32| {
                    let found = classifier.features(Some(layer), &buffer.image).unwrap();
                    let worst = difference(&found, &numbers(expected));
                    assert!(worst <= most, "{name}.{ending}, {picture}, {layer}: {worst}");
                };
                let last = if name == "small" { "fc4" } else { "fc5" };
                check(last, &of_network["logits"][at], 1e-5);
                for (layer, values) in of_network["layers"].as_object().unwrap() {
                    check(layer, &values[at], 1e-6);
                }
            }
        }
    }
}

#[test]
fn a_network_that_does_not_fit_is_compared_layer_by_layer() {
    let other = Spec::image("other", 32, 32, 3).conv("conv1", 8, window(5)).relu().linear("fc2", 7);
    let options = ImportOptions::new(vec![other]);
    let error = Model::open_with(fixture("small.pth"), &options, &mut |_| ()).unwrap_err();
    let error = error.to_string();
    for expected in [
        "this is a PyTorch file: its 4 layers do not fit `other`, which has 2:",
        "[8, 3, 5, 5] [8]",
        "[12, 8, 3, 3] [12] features.3",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
