//! The fixtures, and what their scripts say that they hold.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The path of a fixture of a program.
pub fn fixture(program: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(program).join(name)
}

/// A tensor that a fixture holds.
pub struct Expected {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// The tensors of a program's file, by the JSON file that was written with it.
pub fn expected(program: &str, file: &str) -> Vec<Expected> {
    let json = fixture("", &format!("{program}.json"));
    let text = std::fs::read_to_string(json).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let row = |row: &Value| Expected {
        name: row["name"].as_str().unwrap().into(),
        shape: numbers(&row["shape"]).iter().map(|&extent| extent as usize).collect(),
        values: numbers(&row["values"]).iter().map(|&value| value as f32).collect(),
    };
    all[file].as_array().unwrap().iter().map(row).collect()
}
