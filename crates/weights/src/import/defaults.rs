//! What the weights files of other programs do not say: how images enter, and the classes.

use super::fit::Fitted;
use super::{Format, TensorReader};
use crate::{About, Error, Input, Mean, Result, Scale, Values, Weights};
use layers::Spec;
use std::path::Path;

/// The mean colour of ImageNet's training images and the standard deviation of its channels, red,
/// green and blue, of pixels from 0 to 1: those of torchvision's weights.
const TORCHVISION_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const TORCHVISION_DEVIATION: [f64; 3] = [0.229, 0.224, 0.225];

/// The mean colour that Caffe's ImageNet models subtract, from pixels of 0 to 255; red, green, blue.
const CAFFE_MEAN: [f32; 3] = [122.678_91, 116.668_77, 104.006_99];

/// Shorter side of the images from which networks for ImageNet cut their crops.
const IMAGENET_SIDE: usize = 256;

/// The classes of ImageNet's contest of 2012: a line each with the id and, after a space, the name
/// that torchvision gives it. Ids and names come from WordNet 3.0, copyright 2006 by Princeton
/// University, whose licence allows any use with this notice.
const IMAGENET: &str = include_str!("imagenet.txt");

/// Reads weights of another program into the one of `networks` that they fit.
///
/// Images are taken to enter as the program's own networks for ImageNet have them: from Caffe blue
/// first and less the mean colour, from others normalised as torchvision does. A thousand classes
/// are ImageNet's; others are called by their numbers.
///
/// # Errors
/// [`Error::Unusable`] if the file cannot be read, fits none of the networks, or several of them;
/// [`Error::NotFinite`].
pub fn read(path: &Path, networks: &[Spec]) -> Result<Weights> {
    let mut file = super::open(path)?;
    let unusable = |reason: String| Error::Unusable { path: path.into(), reason };
    let format = file.format();
    let fitted = choose(&*file, networks)
        .map_err(|reason| unusable(format!("this is {format}: {reason}")))?;
    let parameters = fitted.read(&mut *file).map_err(unusable)?;
    let [height, width, _] = fitted.spec.input;
    let side = height.max(width);
    let side = if (200..=IMAGENET_SIDE).contains(&side) { IMAGENET_SIDE } else { side };
    let (mean, scale) = normalisation(format);
    let outputs = fitted.spec.classes().map_err(|error| unusable(error.to_string()))?;
    let (classes, class_names) = classes(outputs);
    let input = Input { mean: Mean::Color, scale, side: Some(side), exif: Default::default() };
    let about = About { format: Weights::FORMAT, classes, class_names, input, model: fitted.spec };
    let mean = Values { shape: vec![3], values: mean.to_vec() };
    Weights { about, mean, parameters }.finite(path)
}

fn choose(file: &dyn TensorReader, networks: &[Spec]) -> std::result::Result<Fitted, String> {
    let mut fitted = Fitted::among(file, networks)?;
    if file.format() == Format::Caffe
        && let Some(at) = fitted.iter().position(|fitted| fitted.spec.name == "caffe")
    {
        return Ok(fitted.swap_remove(at));
    }
    if fitted.len() == 1 {
        return Ok(fitted.remove(0));
    }
    let names: Vec<String> =
        fitted.iter().map(|fitted| format!("`{}`", fitted.spec.name)).collect();
    Err(format!(
        "its tensors fit {}, which differ in layers without weights: name the model",
        names.join(", ")
    ))
}

/// The mean of red, green and blue, of pixels from 0 to 255, and the scale.
fn normalisation(format: Format) -> ([f32; 3], Scale) {
    match format {
        Format::Caffe => (CAFFE_MEAN, Scale::All(1.0)),
        _ => (
            TORCHVISION_MEAN.map(|mean| (255.0 * mean) as f32),
            Scale::Channels(TORCHVISION_DEVIATION.map(|deviation| 1.0 / (255.0 * deviation))),
        ),
    }
}

/// Ids and names of so many classes.
fn classes(count: usize) -> (Vec<String>, Vec<String>) {
    let imagenet: Vec<(&str, &str)> =
        IMAGENET.lines().filter_map(|line| line.split_once(' ')).collect();
    if count != imagenet.len() {
        return ((0..count).map(|class| class.to_string()).collect(), Vec::new());
    }
    imagenet.into_iter().map(|(id, name)| (id.to_string(), name.to_string())).unzip()
}
