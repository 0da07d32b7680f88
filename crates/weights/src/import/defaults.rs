//! What the weights files of other programs do not say: how images enter, and the classes.

use super::exported::Exported;
use super::fit::Fitted;
use super::{GraphLayer, TensorReader, read_mean};
use crate::{About, Error, Input, Mean, Result, Scale, Values, Weights};
use augment::{CentreRounding, ExifMode};
use layers::{Row, Spec};
use std::path::{Path, PathBuf};

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

/// What a weights file of another program leaves open.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ImportOptions {
    /// The networks that it may be; the number of classes is the file's.
    pub networks: Vec<Spec>,
    /// A file with the mean that the network subtracts from images ([`read_mean`]), with colours in
    /// the order of the network's input. By default the mean colour of ImageNet.
    pub mean: Option<PathBuf>,
}

impl ImportOptions {
    /// For a file that fits one of these networks.
    pub fn new(networks: Vec<Spec>) -> ImportOptions {
        ImportOptions { networks, mean: None }
    }
}

/// Reads weights of another program into the one of `options.networks` that they fit.
///
/// Images are taken to enter as the program's own networks for ImageNet have them: from Caffe blue
/// first and less the mean colour, from others normalised as torchvision does. A thousand classes
/// are ImageNet's; others are called by their numbers. An export of this program states its network,
/// classes and input itself.
///
/// # Errors
/// [`Error::Unusable`] if the file cannot be read, fits none of the networks, or several of them,
/// or if the mean cannot be used; [`Error::NotFinite`].
pub fn read(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Weights> {
    let path = path.as_ref();
    read_from(super::open(path)?, path, options)
}

/// [`read`] of an open file; `path` is for messages.
pub(crate) fn read_from(
    mut file: Box<dyn TensorReader>,
    path: &Path,
    options: &ImportOptions,
) -> Result<Weights> {
    let (fitted, about, mean) = recognise(path, &*file, options)?;
    let parameters = fitted.read(&mut *file);
    let parameters = parameters.map_err(|reason| Error::Unusable { path: path.into(), reason })?;
    Weights { about, mean, parameters }.finite(path)
}

/// The network, the classes and the input of a file that [`read`] reads, without its parameters.
///
/// # Errors
/// As [`read`].
pub fn about(path: impl AsRef<Path>, options: &ImportOptions) -> Result<About> {
    let path = path.as_ref();
    recognise(path, &*super::open(path)?, options).map(|(_, about, _)| about)
}

/// The network that an open file fits, and what the file does not have: metadata and the mean.
fn recognise(
    path: &Path,
    file: &dyn TensorReader,
    options: &ImportOptions,
) -> Result<(Fitted, About, Values)> {
    let unusable = |reason: String| Error::Unusable { path: path.into(), reason };
    let (format, is_bgr) = (file.format(), file.is_bgr());
    if let Some(exported) = Exported::of(file).map_err(unusable)? {
        return of_export(path, file, options, exported);
    }
    let fitted = choose(file, &options.networks)
        .map_err(|reason| unusable(format!("this is {format}: {reason}")))?;
    let [height, width, _] = fitted.spec.input;
    let side = height.max(width);
    let side = if (200..=IMAGENET_SIDE).contains(&side) { IMAGENET_SIDE } else { side };
    let (mean, scale) = normalisation(is_bgr);
    let (kind, side, mean) = match &options.mean {
        Some(file) => mean_of(file, is_bgr, side)?,
        None => (Mean::Color, side, Values { shape: vec![3], values: mean.to_vec() }),
    };
    let outputs = fitted.spec.classes().map_err(|error| unusable(error.to_string()))?;
    let (classes, class_names) = classes(outputs);
    let input = Input {
        mean: kind,
        scale,
        side: Some(side),
        exif: ExifMode::Ignore,
        centre: if is_bgr { CentreRounding::Down } else { CentreRounding::HalfEven },
    };
    let model = fitted.spec.clone();
    let about = About { format: Weights::FORMAT, classes, class_names, input, model };
    about.check(&mean).map_err(unusable)?;
    Ok((fitted, about, mean))
}

/// As [`recognise`], for an export of this program, which states its network, classes and input.
/// The caller's options come first: the only network among them, and a mean.
fn of_export(
    path: &Path,
    file: &dyn TensorReader,
    options: &ImportOptions,
    Exported { mut about, mut mean }: Exported,
) -> Result<(Fitted, About, Values)> {
    let unusable = |reason: String| Error::Unusable { path: path.into(), reason };
    let other = match &options.networks[..] {
        [only] if !is_alike(only, &about.model) => Some(only),
        _ => None,
    };
    let mut fitted = Fitted::new(file, other.unwrap_or(&about.model)).map_err(unusable)?;
    if other.is_some() {
        about.model = fitted.spec.clone();
    } else {
        fitted.spec = about.model.clone(); // with its dropout
    }
    if let Some(file) = &options.mean {
        let [height, width, _] = about.model.input;
        let (kind, side, values) =
            mean_of(file, false, about.input.side.unwrap_or(height.max(width)))?;
        (about.input.mean, about.input.side, mean) = (kind, Some(side), values);
    }
    about.check(&mean).map_err(unusable)?;
    Ok((fitted, about, mean))
}

/// Whether two networks differ at most in their names, classes and the scaling of dropout.
fn is_alike(a: &Spec, b: &Spec) -> bool {
    let rows = |spec: &Spec| {
        let mut rows = spec.clone().with_classes(1).map_or(Vec::new(), |spec| spec.rows);
        for row in &mut rows {
            if let Row::Dropout(dropout) = row {
                dropout.inverted = true;
            }
        }
        rows
    };
    a.input == b.input && rows(a) == rows(b)
}

/// The network that the file fits. Several may have equal parameters: where the format lists
/// layers, those with the same order of pooling and normalisation remain, and of the paper's
/// networks Caffe's.
fn choose(file: &dyn TensorReader, networks: &[Spec]) -> std::result::Result<Fitted, String> {
    let mut fitted = Fitted::among(file, networks)?;
    let graph = file.graph();
    let is_alike = |fitted: &Fitted| graph_of(&fitted.spec) == graph;
    if fitted.iter().any(is_alike) {
        fitted.retain(is_alike);
    }
    let is_caffe = |fitted: &Fitted| {
        let is_caffes =
            |row: &Row| matches!(row, Row::Lrn(lrn) if lrn.divide_alpha && lrn.k == 1.0);
        fitted.spec.rows.iter().any(is_caffes)
    };
    if file.is_bgr() && fitted.iter().any(is_caffe) {
        fitted.retain(is_caffe);
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

fn graph_of(spec: &Spec) -> Vec<GraphLayer> {
    let layer = |row: &Row| match row {
        Row::Conv(_) | Row::Local(_) | Row::Linear(_) => Some(GraphLayer::Weighted),
        Row::Lrn(_) => Some(GraphLayer::Lrn),
        Row::Pool(_) => Some(GraphLayer::Pool),
        _ => None,
    };
    spec.rows.iter().filter_map(layer).collect()
}

/// The mean of red, green and blue, of pixels from 0 to 255, and the scale.
fn normalisation(is_bgr: bool) -> ([f32; 3], Scale) {
    if is_bgr {
        return (CAFFE_MEAN, Scale::All(1.0));
    }
    (
        TORCHVISION_MEAN.map(|mean| (255.0 * mean) as f32),
        Scale::Channels(TORCHVISION_DEVIATION.map(|deviation| 1.0 / (255.0 * deviation))),
    )
}

/// The mean in a file, the side of the images that it is subtracted from, and its values: red,
/// green and blue, or `[side, side, 3]`. `side` is that of the images if it is a colour.
fn mean_of(path: &Path, is_bgr: bool, side: usize) -> Result<(Mean, usize, Values)> {
    let Values { shape, values } = read_mean(path)?;
    let channel = |at: usize| if is_bgr { 2 - at } else { at };
    let [_, height, width] = shape[..] else {
        let values = [0, 1, 2].map(|at| values[channel(at)]).to_vec();
        return Ok((Mean::Color, side, Values { shape, values }));
    };
    if height != width {
        let reason = format!(
            "this mean image has {height} x {width} pixels, and images are cut to squares: use the \
             mean colour, an array of three numbers"
        );
        return Err(Error::Unusable { path: path.into(), reason });
    }
    let area = height * width;
    let pixel = |at: usize| [0, 1, 2].map(|color| values[channel(color) * area + at]);
    let values = (0..area).flat_map(pixel).collect();
    Ok((Mean::Image, height, Values { shape: vec![height, width, 3], values }))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/caffe").join(name)
    }

    #[test]
    fn a_mean_is_put_into_the_order_of_this_program() {
        let stored = read_mean(fixture("mean3.npy")).unwrap().values;
        let (kind, side, colour) = mean_of(&fixture("mean3.npy"), true, 256).unwrap();
        assert_eq!((kind, side, colour.shape), (Mean::Color, 256, vec![3]));
        assert_eq!(colour.values, [stored[2], stored[1], stored[0]], "blue first in the file");
        let (_, _, colour) = mean_of(&fixture("mean3.npy"), false, 256).unwrap();
        assert_eq!(colour.values, stored);

        let folder = std::env::temp_dir().join(format!("alexnet-mean-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, shape: &str, count: usize| {
            let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((header.len() as u16).to_le_bytes());
            bytes.extend(header.as_bytes());
            bytes.extend((0..count).flat_map(|at| (at as f32).to_le_bytes()));
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let square = write("square.npy", "(3, 2, 2)", 12);
        let (kind, side, image) = mean_of(&square, true, 256).unwrap();
        assert_eq!((kind, side, image.shape), (Mean::Image, 2, vec![2, 2, 3]));
        assert_eq!(image.values[..6], [8.0, 4.0, 0.0, 9.0, 5.0, 1.0]);
        let wide = write("wide.npy", "(3, 2, 4)", 24);
        let error = mean_of(&wide, true, 256).unwrap_err().to_string();
        assert!(error.contains("has 2 x 4 pixels") && error.contains("wide.npy"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_thousand_classes_are_those_of_imagenet() {
        let (ids, names) = classes(1000);
        let of = |at: usize| (ids[at].as_str(), names[at].as_str());
        assert_eq!(of(0), ("n01440764", "tench"));
        assert_eq!(of(999), ("n15075141", "toilet tissue"));
        assert_eq!((of(134).1, of(517).1), ("crane bird", "crane"));
        assert_eq!(classes(2), (vec!["0".to_string(), "1".to_string()], Vec::new()));
    }

    #[test]
    fn the_order_of_layers_distinguishes_networks() {
        let pooled_first = Spec::image("caffenet", 8, 8, 3)
            .conv("conv1", 2, layers::window(3))
            .relu()
            .pool(layers::window(2).stride(2))
            .lrn()
            .linear("fc2", 2);
        use GraphLayer::{Lrn, Pool, Weighted};
        assert_eq!(graph_of(&pooled_first), [Weighted, Pool, Lrn, Weighted]);
    }
}
