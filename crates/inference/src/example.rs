//! A tiny network on disk, for the examples of the front page.

use layers::{Spec, window};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use weights::{About, Input, Mean, Values, Weights};

/// A folder with `weights.safetensors`: a network of two classes for 8 x 8 pixels.
///
/// # Panics
/// If the folder of temporary files cannot be written.
pub fn folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("alexnet-inference-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    let model = Spec::image("tiny", 8, 8, 3).conv("conv1", 4, window(3)).relu().linear("fc2", 2);
    let shapes = model.parameter_shapes().expect("a network that fits together");
    let parameters = shapes.into_iter().map(|(name, shape)| {
        let value = |i: usize| ((i * 37 % 101) as f32 / 50.0 - 1.0) * 0.2;
        let values = (0..shape.len()).map(value).collect();
        (name, Values { shape: shape.dims().to_vec(), values })
    });
    let weights = Weights {
        about: About {
            format: Weights::FORMAT,
            classes: vec!["n1".to_string(), "n2".to_string()],
            class_names: vec!["tench".to_string(), "goldfish".to_string()],
            input: Input::new(Mean::Color, 1.0 / 64.0),
            model: model.clone(),
        },
        mean: Values { shape: vec![3], values: vec![128.0; 3] },
        parameters: parameters.collect(),
    };
    weights.write(folder.join(Weights::FILE)).expect("a file that can be written");
    folder
}
