//! The learned perceptual distance of two images: LPIPS (Zhang, Isola, Efros, Shechtman and Wang
//! 2018), version 0.1, on the convolutions of torchvision's `alexnet`.
//!
//! ```text
//! d(a, b) = sum over l of  mean over y, x of  sum over c of  w_l[c] (f_l(a) - f_l(b))[y, x, c]^2
//! ```
//!
//! f_l is the output of the l-th of five ReLUs, divided by its length over the channels of each
//! pixel; w_l are learned from people's judgements. Pixels enter as from -1 to 1, less a shift and
//! divided by a scale for each channel.

use crate::device::Placement;
use crate::model::Model;
use crate::{Error, Result};
use augment::{ColorShift, Image};
use data::Batch;
use layers::{Row, Spec, layer_of};
use std::path::{Path, PathBuf};
use weights::import::{TensorReader, open};
use weights::{About, Input, Mean, Scale, Values, Weights};

/// Added to the length of a pixel's features.
const EPSILON: f64 = 1e-10;

/// Shift and scale of red, green and blue.
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];

/// The modules of the five convolutions in torchvision's `features`.
const MODULES: [usize; 5] = [0, 3, 6, 8, 10];

/// The learned parts of the distance.
#[derive(Clone, Debug)]
pub struct Lpips {
    /// Weights and biases of the five convolutions, in this program's layout.
    parameters: Vec<(String, Values)>,
    /// w: for each convolution a weight for each of its filters.
    weights: Vec<Vec<f32>>,
    path: PathBuf,
}

impl Lpips {
    /// Reads the state dict of the package `lpips` (`lpips.LPIPS(net="alex")`); or two files:
    /// torchvision's weights of `alexnet`, and the package's `weights/v0.1/alex.pth`.
    ///
    /// # Errors
    /// [`Error::Weights`] if a file cannot be read or has other tensors.
    pub fn open(paths: &[impl AsRef<Path>]) -> Result<Lpips> {
        let path = paths.first().map_or(Path::new(""), AsRef::as_ref).to_path_buf();
        let files = paths.iter().map(open).collect::<weights::Result<Vec<_>>>();
        let read = read(&mut files?);
        let (parameters, weights) = read.map_err(|reason| weights::Error::Unusable {
            path: path.clone(),
            reason: format!("{reason}; LPIPS needs the state dict of `lpips.LPIPS(net=\"alex\")`"),
        })?;
        Ok(Lpips { parameters, weights, path })
    }

    /// The distance of two images of one size: 0 for equal ones, and rarely above 1.
    ///
    /// # Errors
    /// [`Error::Pixels`] if an image is not valid, [`Error::Sizes`] if they differ in size,
    /// [`Error::Network`] if they are too small for the convolutions, [`Error::Device`].
    pub fn distance(
        &self,
        [a, b]: [&Image; 2],
        placement: Placement,
        log: &mut dyn FnMut(&str),
    ) -> Result<f64> {
        for &Image { height, width, ref pixels } in [a, b] {
            if pixels.is_empty() || pixels.len() != 3 * height * width {
                return Err(Error::Pixels { height, width, bytes: pixels.len() });
            }
        }
        if (a.height, a.width) != (b.height, b.width) {
            return Err(Error::Sizes { first: [a.height, a.width], second: [b.height, b.width] });
        }
        let model = self.model(a.height, a.width)?;
        let names = ["relu1", "relu2", "relu3", "relu4", "relu5"];
        let mut predictor = model.predictor_for_layers(2, placement, &names, log)?;
        let find = |name: &&str| predictor.find_layer(name).expect("it was named when opening");
        let rows: Vec<usize> = names.iter().map(find).collect();
        let mut sum = 0.0;
        predictor.activations(&batch(a, b), &rows, &mut |row, outputs: &[f32]| {
            let layer = rows.iter().position(|&own| own == row).expect("a row that was asked for");
            sum += distance_in_layer(outputs, &self.weights[layer]);
        })?;
        Ok(sum)
    }

    /// The convolutions as a network on images of one size. Its classifier is never computed.
    fn model(&self, height: usize, width: usize) -> Result<Model> {
        let spec = convolutions(height, width);
        let mut parameters = self.parameters.clone();
        for (name, shape) in spec.parameter_shapes()? {
            if layer_of(&name) == CLASSIFIER {
                let values = vec![0.0; shape.len()];
                parameters.push((name, Values { shape: shape.dims().to_vec(), values }));
            }
        }
        // ((p / 127.5 - 1) - shift) / scale = (p - 127.5 (1 + shift)) / (127.5 scale)
        let mean = SHIFT.map(|shift| (127.5 * (1.0 + f64::from(shift))) as f32).to_vec();
        let scale = SCALE.map(|scale| 1.0 / (127.5 * f64::from(scale)));
        let (classes, class_names) = (vec!["0".to_string()], Vec::new());
        let input = Input::new(Mean::Color, Scale::Channels(scale));
        let about = About { format: Weights::FORMAT, classes, class_names, input, model: spec };
        let mean = Values { shape: vec![3], values: mean };
        Ok(Model { weights: Weights { about, mean, parameters }, path: self.path.clone() })
    }
}

/// The name of the row that ends the network, as every one does.
const CLASSIFIER: &str = "fc6";

/// Torchvision's network up to its fifth ReLU.
fn convolutions(height: usize, width: usize) -> Spec {
    let full = models::alexnet::torchvision(1);
    let is_relu = |row: &Row| matches!(row, Row::Relu(_));
    let relus = full.rows.iter().enumerate().filter(|(_, row)| is_relu(row));
    let (fifth, _) = relus.take(MODULES.len()).last().expect("it has more");
    let rows = full.rows[..=fifth].to_vec();
    Spec { name: "lpips".into(), input: [height, width, 3], rows }.linear(CLASSIFIER, 1)
}

/// Both images, as they are.
fn batch(a: &Image, b: &Image) -> Batch {
    Batch {
        pixels: [&a.pixels[..], &b.pixels].concat().into(),
        views: vec![[0; 3]; 2],
        tints: vec![ColorShift::NONE; 2],
        labels: vec![0; 2],
        samples: vec![0, 1],
        images: 2,
        ..Batch::default()
    }
}

/// The distance in one layer of both images' outputs, channels last.
fn distance_in_layer(outputs: &[f32], weights: &[f32]) -> f64 {
    let (a, b) = outputs.split_at(outputs.len() / 2);
    let pixels = a.chunks_exact(weights.len()).zip(b.chunks_exact(weights.len()));
    let length = |pixel: &[f32]| {
        let squares: f64 = pixel.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        squares.sqrt() + EPSILON
    };
    let of_pixel = |(a, b): (&[f32], &[f32])| -> f64 {
        let lengths = (length(a), length(b));
        let terms = a.iter().zip(b).zip(weights).map(|((&a, &b), &weight)| {
            let difference = f64::from(a) / lengths.0 - f64::from(b) / lengths.1;
            f64::from(weight) * difference * difference
        });
        terms.sum()
    };
    let count = (a.len() / weights.len()) as f64;
    pixels.map(of_pixel).sum::<f64>() / count
}

/// The parameters of the convolutions, and the weights of the five layers.
type Learned = (Vec<(String, Values)>, Vec<Vec<f32>>);

fn read(files: &mut [Box<dyn TensorReader>]) -> std::result::Result<Learned, String> {
    let mut find = |names: &[String], shape: &[usize]| {
        for file in files.iter_mut() {
            let at = file.tensors().iter().position(|tensor| names.contains(&tensor.name));
            let Some(at) = at else { continue };
            let found = &file.tensors()[at].shape;
            if found != shape {
                return Err(format!("`{}` is {found:?}, not {shape:?}", names[0]));
            }
            let values = file.read(at)?;
            if values.iter().any(|value| !value.is_finite()) {
                return Err(format!("`{}` has a value that is not finite", names[0]));
            }
            return Ok(values);
        }
        Err(format!("it has no tensor `{}`", names.join("` or `")))
    };
    let (mut parameters, mut weights) = (Vec::new(), Vec::new());
    // The smallest image is enough for the shapes.
    let shapes = convolutions(64, 64).parameter_shapes().map_err(|error| error.to_string())?;
    for (at, module) in MODULES.iter().enumerate() {
        let own = |suffix: &str| format!("conv{}.{suffix}", at + 1);
        let names = |suffix: &str| {
            [
                format!("net.slice{}.{module}.{suffix}", at + 1),
                format!("features.{module}.{suffix}"),
            ]
        };
        let shape = shapes.iter().find(|(name, _)| *name == own("weight")).expect("a row").1;
        let [filters, height, width, channels] = shape.dims()[..] else { unreachable!("filters") };
        let values = find(&names("weight"), &[filters, channels, height, width])?;
        let area = height * width;
        let values = values.chunks_exact(channels * area).flat_map(|filter| {
            (0..area).flat_map(move |at| (0..channels).map(move |c| filter[c * area + at]))
        });
        let values = Values { shape: shape.dims().to_vec(), values: values.collect() };
        parameters.push((own("weight"), values));
        let bias = find(&names("bias"), &[filters])?;
        parameters.push((own("bias"), Values { shape: vec![filters], values: bias }));
        let names = [format!("lin{at}.model.1.weight"), format!("lins.{at}.model.1.weight")];
        weights.push(find(&names, &[1, filters, 1, 1])?);
    }
    Ok((parameters, weights))
}

#[cfg(test)]
mod tests;
