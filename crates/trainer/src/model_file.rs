//! Models by name or in TOML files.

use crate::fault::{Fault, Result};
use data::bounded;
use layers::Spec;
use std::path::Path;

/// A built-in model, or one in a TOML file.
///
/// # Errors
/// Exit code 2 with the nearest name, or the file's fault.
pub fn find_model(name: &str) -> Result<Spec> {
    let is_file = name.ends_with(".toml") || Path::new(name).components().count() > 1;
    if !is_file {
        return models::find(name).map_err(Fault::usage);
    }
    let text = bounded::read_text_or_pipe(Path::new(name))
        .map_err(|error| Fault::usage(format!("{name}: cannot read the model: {error}")))?;
    model_of(&text, name)
}

/// A model as the text of a file `name` has it.
///
/// # Errors
/// Exit code 2.
pub fn model_of(text: &str, name: &str) -> Result<Spec> {
    let spec = Spec::from_toml(text).map_err(|error| Fault::usage(format!("{name}: {error}")))?;
    spec.describe()?;
    if spec.input[2] != 3 || spec.input.contains(&0) {
        let [height, width, channels] = spec.input;
        return Err(Fault::usage(format!(
            "{name}: input is {height} x {width} x {channels}; images are height x width x 3"
        )));
    }
    Ok(spec)
}
