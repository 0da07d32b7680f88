//! Explanations equal those that PyTorch computes by the same formulas on the same weights, as
//! `explain/make_explanations.py` recorded them.

use alexnet_inference::device::Placement;
use alexnet_inference::explain::{Explainer, HeatMap, Occlusion, occlusion};
use alexnet_inference::{Error, Image, Model, Views};
use augment::{CentreRounding, CentreSquare};
use data::{ExifMode, ReadBuffer, decode};
use evaluate::Evaluate;
use layers::{Spec, window};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tensor::Choice;
use weights::import::ImportOptions;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn expected() -> Value {
    serde_json::from_str(include_str!("explain/explanations.json")).unwrap()
}

fn cpu() -> Placement {
    Placement { device: Choice::Cpu, ..Placement::default() }
}

fn open(name: &str) -> Model {
    let import = folder("import");
    let spec = std::fs::read_to_string(import.join(format!("{name}.toml"))).unwrap();
    let options = ImportOptions::new(vec![Spec::from_toml(&spec).unwrap()]);
    let file = import.join(format!("{name}.safetensors"));
    Model::open_with(&file, &options, &mut |_| ()).unwrap()
}

fn explainer(model: &Model) -> Explainer {
    model.explainer(cpu(), &mut |text| panic!("{text}")).unwrap()
}

fn picture(case: &Value) -> Image {
    let path = folder("import").join(case["picture"].as_str().unwrap());
    let mut buffer = ReadBuffer::default();
    let square = CentreSquare { side: 32, rounding: CentreRounding::HalfEven };
    decode::read_square(&path, square, ExifMode::Ignore, &mut buffer).unwrap();
    buffer.image
}

/// Checks that values, recorded with five digits, differ by at most `most` times the largest
/// expected one.
fn check(found: &[f32], expected: &Value, most: f64, what: &str) {
    let expected: Vec<f64> =
        expected.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    assert!(largest > 0.0, "{what}: nothing to compare");
    let differences = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs());
    let worst = differences.fold(0.0, f64::max) / largest;
    assert!(worst <= most, "{what}: {worst}");
}

fn cases(name: &str) -> Vec<(Value, Image, usize)> {
    let expected = expected();
    let cases = expected["networks"][name].as_array().unwrap().clone();
    let whole = |case: Value| {
        let (image, class) = (picture(&case), case["class"].as_u64().unwrap() as usize);
        (case, image, class)
    };
    cases.into_iter().map(whole).collect()
}

#[test]
fn gradients_and_class_activation_maps_are_those_of_pytorch() {
    for name in ["small", "small-bn"] {
        let model = open(name);
        let mut explainer = explainer(&model);
        for (case, image, class) in cases(name) {
            let at = format!("{name}, {}", case["picture"]);
            check(&explainer.scores(&image).unwrap(), &case["scores"], 5e-5, &at);
            for (layer, values) in case["grad_cam"].as_object().unwrap() {
                let at = format!("{at}, {layer}");
                let map = explainer.grad_cam(&image, class, layer).unwrap();
                check(&map.values, &values[0], 1e-4, &at);
                check(&map.resized(32, 32).values, &values[1], 1e-4, &at);
            }
            for (guided, key) in [(false, "gradient"), (true, "guided")] {
                let found = explainer.saliency(&image, class, guided).unwrap();
                check(&found, &case[key], 1e-4, &format!("{at}, {key}"));
            }
        }
    }
}

#[test]
fn occlusion_is_that_of_pytorch() {
    let of = |key: &str| expected()[key].as_u64().unwrap() as usize;
    let squares = Occlusion { side: of("side"), stride: of("stride") };
    for name in ["small", "small-bn"] {
        let model = open(name);
        let mut predictor = model.predictor(5, cpu(), &mut |text| panic!("{text}")).unwrap();
        for (case, image, class) in cases(name) {
            let mut last = (0, 0);
            let mut watch = |done, all| {
                last = (done, all);
                true
            };
            let map = occlusion(&mut predictor, &model, &image, class, squares, &mut watch);
            let map = map.unwrap().unwrap();
            assert_eq!((last, map.height, map.width), ((36, 36), 32, 32));
            check(&map.values, &case["occlusion"], 1e-3, &format!("{name}, {}", case["picture"]));
            let stopped =
                occlusion(&mut predictor, &model, &image, class, squares, &mut |_, _| false);
            assert_eq!(stopped.unwrap(), None);
        }
    }
}

/// The paper's dropout halves outputs at test time, here before a pooling layer, too.
#[test]
fn the_rewritten_network_has_the_scores_of_the_original() {
    let mut model = open("small");
    model.weights.about.model.rows.iter_mut().for_each(|row| {
        if let layers::Row::Dropout(dropout) = row {
            dropout.inverted = false;
        }
    });
    let (_, image, _) = cases("small").swap_remove(1);
    let mut predictor = model.predictor(1, cpu(), &mut |_| ()).unwrap();
    predictor.test(&mut model.batch(&[&image], Views::Centre, 1)).unwrap();
    let mut expected = vec![0.0; 4];
    predictor.probabilities(&mut expected).unwrap();
    let scores = explainer(&model).scores(&image).unwrap();
    let sum: f32 = scores.iter().map(|score| score.exp()).sum();
    for (score, expected) in scores.iter().zip(expected) {
        assert!((score.exp() / sum - expected).abs() < 1e-6, "{scores:?}");
    }
}

#[test]
fn layers_without_maps_are_refused_and_the_last_convolution_is_found() {
    let model = open("small-bn");
    let mut explainer = explainer(&model);
    assert_eq!(explainer.last_convolution(), Some("relu3"));
    let (_, image, _) = cases("small-bn").swap_remove(0);
    let error = explainer.grad_cam(&image, 0, "fc4").unwrap_err();
    assert!(matches!(error, Error::NoMaps { .. }), "{error}");
    let error = explainer.grad_cam(&image, 0, "conv9").unwrap_err();
    assert!(matches!(error, Error::Layer(_)), "{error}");
    let mut unnamed = open("small");
    let rows = Spec::image("odd", 32, 32, 3).conv("conv1", 8, window(5)).dropout(0.5).lrn().rows;
    unnamed.weights.about.model.rows.splice(0..1, rows);
    let error = unnamed.explainer(cpu(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().starts_with("`lrn1`: no explanation by gradients"), "{error}");
}

#[test]
fn a_map_of_one_value_is_constant_and_one_of_its_size_unchanged() {
    let one = HeatMap { height: 1, width: 1, values: vec![0.5] };
    assert_eq!(one.resized(2, 3).values, [0.5; 6]);
    let map = HeatMap { height: 2, width: 2, values: vec![0.0, 1.0, 2.0, 3.0] };
    assert_eq!(map.resized(2, 2), map);
    assert_eq!(map.resized(1, 4).values, [1.0, 1.25, 1.75, 2.0]);
}
