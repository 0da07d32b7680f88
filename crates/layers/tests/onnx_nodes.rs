//! ONNX's own tests of its operators, on every device, as `onnx_nodes/nodes.py` translates them into
//! rows. They are read from the Python package `onnx`, in `target/python`, which `.ci/run` makes, or
//! of the Python that `ALEXNET_PYTHON` names.

use alexnet_layers::{Network, Phase, Spec};
use kernels::softmax_loss::{self, Geometry, tally_shape};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tensor::{DType, Device, Planner, Shape};
use testkit::each_device;

/// ONNX's own tolerance is a relative 1e-3.
const TOLERANCE: f32 = 2e-5;

/// A test with one operator.
struct Case {
    name: String,
    images: usize,
    spec: Spec,
    parameters: HashMap<String, Vec<f32>>,
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Case {
    fn parse(line: &str) -> Case {
        let case: Value = serde_json::from_str(line).unwrap();
        let floats = |value: &Value| -> Vec<f32> {
            let values = value.as_array().unwrap().iter();
            values.map(|value| value.as_f64().unwrap() as f32).collect()
        };
        let parameters = case["parameters"].as_object().unwrap().iter();
        Case {
            name: case["name"].as_str().unwrap().to_string(),
            images: case["images"].as_u64().unwrap() as usize,
            spec: Spec::from_toml(case["spec"].as_str().unwrap()).unwrap(),
            parameters: parameters.map(|(name, of)| (name.clone(), floats(of))).collect(),
            x: floats(&case["x"]),
            y: floats(&case["y"]),
        }
    }

    /// The output of the operator.
    fn run(&self, device: &mut Device) -> Vec<f32> {
        if self.spec.rows.is_empty() {
            return self.softmax(device);
        }
        let mut planner = Planner::new();
        let names: Vec<String> =
            self.spec.describe().unwrap().into_iter().map(|row| row.name).collect();
        let (outputs, target) = ([names[0].as_str()], device.target());
        let network =
            Network::plan_with_outputs(&self.spec, self.images, &outputs, &mut planner, target);
        let network = network.unwrap();
        device.reserve(planner.total()).unwrap();
        for (at, entry) in network.parameters.entries.iter().enumerate() {
            let (layer, suffix) = entry.name.rsplit_once('.').unwrap();
            let own = self.parameters.get(suffix).filter(|_| layer == names[0]);
            let zeros = vec![0.0; entry.len()];
            device.upload(network.parameters.value(at), own.unwrap_or(&zeros)).unwrap();
        }
        network.prepare(device).unwrap();
        device.upload(network.input, &self.x).unwrap();
        let first = &network.rows()[0];
        first.forward(device, Phase::Infer).unwrap();
        device.download(first.output()).unwrap()
    }

    /// The softmax is a part of the loss, and no row.
    fn softmax(&self, device: &mut Device) -> Vec<f32> {
        let [_, _, classes] = self.spec.input;
        let g = Geometry { images: self.images, classes };
        let mut planner = Planner::new();
        let scores = Shape::from([self.images, classes]);
        let x = planner.claim(DType::F32, scores);
        let y = planner.claim(DType::F32, scores);
        let labels = planner.claim(DType::U32, Shape::from([self.images]));
        let tally = planner.claim(DType::F32, tally_shape(self.images));
        device.reserve(planner.total()).unwrap();
        device.upload(x, &self.x).unwrap();
        device.upload(labels, &vec![0u32; self.images]).unwrap();
        softmax_loss::forward(device, &g, x, labels, y, tally).unwrap();
        device.download(y).unwrap()
    }
}

/// The folder with the translated tests; `None`, reported, without the package.
fn translated() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = testkit::python();
    if !testkit::has_modules(&python, "numpy, onnx") {
        let message = format!("no {} with numpy and onnx (`cargo xtask python`)", python.display());
        testkit::python_is_missing("ONNX's node tests", &message);
        return None;
    }
    let folder = std::env::temp_dir().join(format!("alexnet-onnx-nodes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let script = root.join("tests/onnx_nodes/nodes.py");
    let output = Command::new(&python).arg(script).arg(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(folder)
}

#[test]
fn operators_compute_what_onnx_expects() {
    let Some(folder) = translated() else { return };
    let cases = std::fs::read_to_string(folder.join("cases.jsonl")).unwrap();
    let table = std::fs::read_to_string(folder.join("table.md")).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploy.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(&table), "docs/deploy.md needs this table of ONNX's tests:\n{table}");
    let cases: Vec<Case> = cases.lines().map(Case::parse).collect();
    assert!(cases.len() > 80, "{} cases", cases.len());
    each_device(|device| {
        for case in &cases {
            let (found, expected) = (case.run(device), &case.y);
            assert_eq!(found.len(), expected.len(), "{}", case.name);
            let largest = expected.iter().fold(1.0f32, |most, value| most.max(value.abs()));
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                let difference = (found - expected).abs();
                assert!(
                    difference <= TOLERANCE * largest,
                    "{}, {:?}: value {at} is {found}, not {expected}",
                    case.name,
                    case.spec.rows.first()
                );
            }
        }
    });
}
