//! Weights files of other programs: what is typed about them, and where torchvision's lie.

use crate::cli::ImportArgs;
use crate::fault::{Fault, Result};
use crate::model_file::find_model;
use layers::{Row, Spec};
use std::env;
use std::path::{Path, PathBuf};
use toml::Value;
use weights::import::{ImportOptions, is_foreign};
use weights::{About, Input, Mean, Scale, Weights};

/// The name that stands for torchvision's weights of its AlexNet.
const TORCHVISION: &str = "torchvision";
const TORCHVISION_FILE: &str = "alexnet-owt-7be5be79.pth";

/// What was typed about a weights file.
///
/// # Errors
/// Exit code 2 if the file is this program's, which leaves nothing open, or for an unknown model.
pub fn options(weights: &Path, args: &ImportArgs) -> Result<ImportOptions> {
    if let Some(flag) = args.typed().filter(|_| !is_foreign(weights)) {
        return Err(own_file(flag, weights));
    }
    let model = args.model.as_deref().map(find_model).transpose()?;
    Ok(with_model(model, args.mean.clone()))
}

/// The error that a flag for files of other programs was given for one of this program.
pub fn own_file(flag: &str, path: &Path) -> Fault {
    Fault::usage(format!(
        "{flag}: {} is a file of this program, which states its network and mean",
        path.display()
    ))
}

/// Options for one network, or for any built-in one.
pub fn with_model(model: Option<Spec>, mean: Option<PathBuf>) -> ImportOptions {
    let networks = model.map_or_else(models::specs, |model| vec![model]);
    let mut options = ImportOptions::new(networks);
    options.mean = mean;
    options
}

/// Reads initial weights: a file of another program as the run's own network `model`, which need
/// not be built in, or else as any built-in one.
///
/// # Errors
/// As `read`; of two attempts the first.
pub fn own_first<T, E>(
    path: &Path,
    model: Option<&Spec>,
    mean: Option<&PathBuf>,
    mut read: impl FnMut(&ImportOptions) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let own = read(&with_model(model.cloned(), mean.cloned()));
    if own.is_ok() || model.is_none() || path.is_dir() || !is_foreign(path) {
        return own;
    }
    own.or_else(|first| read(&with_model(None, mean.cloned())).map_err(|_| first))
}

/// The metadata of a run's initial weights, in a run's folder or a file; `None` of a run without
/// weights. `model` is the run's own.
///
/// # Errors
/// Exit code 4 if they cannot be read, 2 if a mean is given for weights of this program.
pub fn about(typed: &Path, model: Option<&Spec>, mean: Option<PathBuf>) -> Result<Option<About>> {
    let path = resolve(typed)?;
    if mean.is_some() && (path.is_dir() || !is_foreign(&path)) {
        return Err(own_file("--init-mean", &path));
    }
    if path.is_dir() {
        return Ok(weights::run::newest_about(&path)?);
    }
    let about = own_first(&path, model, mean.as_ref(), |options| Weights::about(&path, options));
    Ok(Some(about?))
}

/// The name of the built-in model that these rows are, whatever its number of classes.
pub fn built_in(spec: &Spec) -> Option<String> {
    let model = models::find(&spec.name).ok()?.with_classes(spec.classes().ok()?).ok()?;
    (model == *spec).then_some(model.name)
}

/// A warning if a network scales dropout in training and its initial weights in tests, or vice versa.
pub fn dropout_warning(model: &Spec, init: &About) -> Option<String> {
    let scales = |spec: &Spec| {
        spec.rows.iter().find_map(|row| match row {
            Row::Dropout(dropout) => Some(if dropout.inverted { "training" } else { "tests" }),
            _ => None,
        })
    };
    let (own, theirs) = (scales(model)?, scales(&init.model)?);
    (own != theirs).then(|| {
        format!(
            "WARNING: dropout of `{}` scales in {own}, that of the initial weights in {theirs}: \
             activations of later layers change scale",
            model.name
        )
    })
}

/// The input of initial weights as a setting; the size of images only if the run's `model` takes
/// crops of the same size.
pub fn input(about: &About, model: &Spec) -> Value {
    let side = about.input.side.filter(|_| model.input == about.model.input);
    Value::try_from(Input { side, ..about.input }).expect("an input is a table")
}

/// The path that `typed` stands for: `torchvision` is the file to which torchvision downloads its
/// weights, unless there is a file or folder of that name.
pub fn path(typed: &Path) -> PathBuf {
    if typed == Path::new(TORCHVISION) && !typed.exists() {
        hub().join(TORCHVISION_FILE)
    } else {
        typed.to_path_buf()
    }
}

/// As [`path`], and checks that torchvision has downloaded its file.
///
/// # Errors
/// Exit code 4 if it has not; the message has the command that does.
pub fn resolve(typed: &Path) -> Result<PathBuf> {
    let path = path(typed);
    if path == typed || path.is_file() {
        return Ok(path);
    }
    let shown = path.display();
    let message = format!(
        "torchvision: there is no {shown}, where torchvision keeps the weights of its AlexNet: \
         download them with\n  curl -fL --create-dirs -o {shown} \
         https://download.pytorch.org/models/{TORCHVISION_FILE}"
    );
    Err(Fault::new(4, message))
}

/// PyTorch's folder of downloaded weights.
fn hub() -> PathBuf {
    let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let torch = folder("TORCH_HOME").or_else(|| Some(folder("XDG_CACHE_HOME")?.join("torch")));
    let home = || folder("HOME").unwrap_or_default().join(".cache/torch");
    torch.unwrap_or_else(home).join("hub/checkpoints")
}

/// How images enter a network, in one line.
pub fn input_text(input: &Input, mean: &[f32]) -> String {
    let numbers = |values: &[f64]| {
        let all: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
        all.join(" ")
    };
    let mean = match input.mean {
        Mean::Image => "mean image".to_string(),
        Mean::Color => {
            let mean: Vec<f64> = mean.iter().map(|&value| value.into()).collect();
            format!("mean {}", numbers(&mean))
        }
    };
    let scale = match input.scale {
        Scale::All(scale) => scale.to_string(),
        Scale::Channels(scales) => numbers(&scales),
    };
    format!("(pixel - {mean}) x {scale}")
}

/// A note on a file of another program.
pub fn note(path: &Path, about: &About, mean: &[f32]) -> String {
    let [height, width, _] = about.model.input;
    format!(
        "{}: weights of `{}`, {} classes, input {height} x {width}, {}",
        path.display(),
        about.model.name,
        about.classes.len(),
        input_text(&about.input, mean)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_one_line() {
        let input = Input::new(Mean::Color, 0.5);
        let text = input_text(&input, &[1.0, 2.0, 3.5]);
        assert_eq!(text, "(pixel - mean 1.0000 2.0000 3.5000) x 0.5");
        let input = Input::new(Mean::Image, Scale::Channels([0.1, 0.2, 0.3]));
        assert_eq!(input_text(&input, &[]), "(pixel - mean image) x 0.1000 0.2000 0.3000");
    }
}
