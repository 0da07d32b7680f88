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
    let typed = [("--model", args.model.is_some()), ("--mean", args.mean.is_some())];
    if let Some((flag, _)) = typed.iter().find(|(_, is_typed)| *is_typed)
        && !is_foreign(weights)
    {
        return Err(Fault::usage(format!(
            "{flag}: {} is a file of this program, which states its network and mean",
            weights.display()
        )));
    }
    let model = args.model.as_deref().map(find_model).transpose()?;
    Ok(with_model(model, args.mean.clone()))
}

/// Options for one network, or for any built-in one.
pub fn with_model(model: Option<Spec>, mean: Option<PathBuf>) -> ImportOptions {
    let networks = model.map_or_else(models::specs, |model| vec![model]);
    let mut options = ImportOptions::new(networks);
    options.mean = mean;
    options
}

/// The metadata of a run's initial weights, in a run's folder or a file, for which the run's own
/// model comes first; `None` of a run without weights.
///
/// # Errors
/// Exit code 4 if they cannot be read, 2 for an unknown model.
pub fn about(typed: &Path, model: Option<&str>, mean: Option<PathBuf>) -> Result<Option<About>> {
    let path = resolve(typed)?;
    if path.is_dir() {
        return Ok(weights::run::newest_about(&path).map_err(train::Error::from)?);
    }
    let of = |model| Weights::about(&path, &with_model(model, mean.clone()));
    let about = match model.map(find_model).transpose()? {
        Some(model) => of(Some(model)).or_else(|first| of(None).map_err(|_| first)),
        None => of(None),
    };
    Ok(Some(about.map_err(train::Error::from)?))
}

/// The name of the built-in model that these rows are, whatever its number of classes.
pub fn built_in(spec: &Spec) -> Option<String> {
    let model = models::find(&spec.name).ok()?.with_classes(spec.classes().ok()?).ok()?;
    (model == *spec).then_some(model.name)
}

/// A warning if a network's dropout scales at another time than that of its initial weights.
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
            "WARNING: dropout of `{}` scales in {own}, that of the initial weights in {theirs}: the \
             layers after it see other values than before",
            model.name
        )
    })
}

/// The input of initial weights as a setting; the size of images only if the run's model takes
/// crops of the same size.
///
/// # Errors
/// Exit code 2 for an unknown model.
pub fn input(about: &About, model: Option<&str>) -> Result<Value> {
    let is_same = model.map(find_model).transpose()?.is_some_and(|m| m.input == about.model.input);
    let side = about.input.side.filter(|_| is_same);
    Ok(Value::try_from(Input { side, ..about.input }).expect("an input is a table"))
}

/// The path that `typed` stands for: `torchvision` is the file that torchvision has downloaded,
/// unless there is a file or folder of that name.
///
/// # Errors
/// Exit code 4 if torchvision has not downloaded it; the message has the command that does.
pub fn resolve(typed: &Path) -> Result<PathBuf> {
    if typed != Path::new(TORCHVISION) || typed.exists() {
        return Ok(typed.to_path_buf());
    }
    let path = hub().join(TORCHVISION_FILE);
    if path.is_file() {
        return Ok(path);
    }
    let shown = path.display();
    Err(Fault {
        code: 4,
        message: format!(
            "torchvision: there is no {shown}, where torchvision keeps the weights of its AlexNet: \
             download them with\n  curl -fL --create-dirs -o {shown} \
             https://download.pytorch.org/models/{TORCHVISION_FILE}"
        ),
    })
}

/// PyTorch's folder of downloaded weights.
fn hub() -> PathBuf {
    let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let torch = folder("TORCH_HOME").or_else(|| Some(folder("XDG_CACHE_HOME")?.join("torch")));
    let home = || folder("HOME").unwrap_or_default().join(".cache/torch");
    torch.unwrap_or_else(home).join("hub/checkpoints")
}

/// Whether classes have numbers for ids, as those of a file without names.
pub fn has_numbers_only(classes: &[String]) -> bool {
    classes.iter().enumerate().all(|(at, class)| *class == at.to_string())
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

    #[test]
    fn classes_without_names_are_numbers() {
        let texts = |all: &[&str]| all.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        assert!(has_numbers_only(&texts(&["0", "1", "2"])));
        assert!(!has_numbers_only(&texts(&["0", "2"])));
        assert!(!has_numbers_only(&texts(&["cat", "dog"])));
    }
}
