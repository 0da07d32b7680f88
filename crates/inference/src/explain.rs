//! Explanations of a class score: Grad-CAM, guided backpropagation, occlusion.
//!
//! ```text
//! Grad-CAM     max(0, sum over k of a_k A_k),  a_k: the mean over pixels of d score / d A_k
//! saliency     d score / d input
//! guided       the same, where every ReLU passes on only positive gradients
//! occlusion    p(class) of the image - p(class) of the image with a square in the mean colour
//! ```
//!
//! with `A_k` map `k` of a layer (Selvaraju et al. 2017; Simonyan et al. 2014; Springenberg et al.
//! 2015; Zeiler and Fergus 2014). The score is that before the softmax. Nothing is random: dropout
//! and batch normalisation are those of testing.

mod kernels;
mod occlusion;
mod rows;

pub use kernels::{Patch, ReceptiveField, Response, strongest};
pub use occlusion::{Occlusion, occlusion};

use crate::device::{self, Placement};
use crate::{Error, Model, NoSuchLayer, Result, Views};
use augment::Image;
use evaluate::Frame;
use layers::{Phase, Row, TrainableNetwork};
use rows::Differentiable;
use tensor::{Device, Planner};

/// Values over an image, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatMap {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// height x width values.
    pub values: Vec<f32>,
}

impl HeatMap {
    /// The map at another size, by bilinear interpolation between the centres of its values, as
    /// PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
    ///
    /// # Panics
    /// If one of the maps has no values.
    #[must_use]
    pub fn resized(&self, height: usize, width: usize) -> HeatMap {
        let along = |to: usize, from: usize| -> Vec<(usize, usize, f32)> {
            let place = |at: usize| {
                let position = (at as f32 + 0.5) * from as f32 / to as f32 - 0.5;
                let position = position.max(0.0);
                let low = (position as usize).min(from - 1);
                (low, (low + 1).min(from - 1), position - low as f32)
            };
            (0..to).map(place).collect()
        };
        let (down, across) = (along(height, self.height), along(width, self.width));
        let mut values = Vec::with_capacity(height * width);
        for &(top, bottom, v) in &down {
            for &(left, right, u) in &across {
                let at = |y: usize, x: usize| self.values[y * self.width + x];
                let above = at(top, left) * (1.0 - u) + at(top, right) * u;
                let below = at(bottom, left) * (1.0 - u) + at(bottom, right) * u;
                values.push(above * (1.0 - v) + below * v);
            }
        }
        HeatMap { height, width, values }
    }
}

/// A network with its backward pass, for one image at a time.
#[derive(Debug)]
pub struct Explainer {
    network: TrainableNetwork,
    frame: Frame,
    device: Device,
    /// Whether a planned row is a ReLU.
    is_relu: Vec<bool>,
    /// The planned rows' names.
    names: Vec<String>,
    model: Model,
}

impl Model {
    /// Opens the network with its backward pass on a device, for [explanations](crate::explain);
    /// `log` receives the reason for a fallback to the CPU. It takes the memory of two copies of the
    /// parameters: values and gradients.
    ///
    /// # Errors
    /// [`Error::Device`] if the device is not available or lacks memory; [`Error::NoExplanation`]
    /// if a row of the network has no backward pass at test time.
    pub fn explainer(&self, placement: Placement, log: &mut dyn FnMut(&str)) -> Result<Explainer> {
        let Differentiable { weights, names } = rows::differentiable(&self.weights)?;
        let (about, side) = (&weights.about, self.side());
        let plan = |device: &Device| -> Result<(TrainableNetwork, Frame, usize)> {
            let mut planner = Planner::new();
            let (spec, input) = (&about.model, (about.input.mean, [side; 2]));
            let frame = Frame::plan(spec, 1, spec.classes()?, input, &mut planner);
            let target = device.target();
            let network = TrainableNetwork::plan_as_written(spec, 1, &mut planner, target)?;
            Ok((network, frame, planner.total()))
        };
        let check = |plan: &(TrainableNetwork, Frame, usize), device: &mut Device| {
            let (network, frame, bytes) = plan;
            device.check_room(*bytes)?;
            device.rehearse(|device| {
                frame.preprocess(device, network.input)?;
                network.forward(device, Phase::Test)?;
                network.backward(device)
            })
        };
        let (mut device, (network, mut frame, bytes)) = device::open(placement, plan, check, log)?;
        device.reserve(bytes)?;
        weights.upload(&mut device, &network.parameters, &self.path)?;
        frame.set_input(&mut device, &weights.mean.values, weights.about.input.scale)?;
        let is_relu = about.model.rows.iter().map(|row| matches!(row, Row::Relu(_))).collect();
        let mut model = self.clone();
        model.weights.parameters = Vec::new(); // they are on the device
        Ok(Explainer { network, frame, device, is_relu, names, model })
    }
}

impl Explainer {
    /// The scores of the classes before the softmax, of the centre crop of a
    /// [square](Model::square) image.
    ///
    /// # Errors
    /// If the device fails.
    pub fn scores(&mut self, square: &Image) -> Result<Vec<f32>> {
        let batch = self.model.batch(&[square], Views::Centre, 1);
        self.frame.load(&mut self.device, &batch, 0..1)?;
        self.frame.preprocess(&mut self.device, self.network.input)?;
        self.network.forward(&mut self.device, Phase::Test)?;
        Ok(self.device.download(self.network.output)?)
    }

    /// The name of the last convolution, after the normalisation and activation that follow it:
    /// `relu5` in the paper's network.
    pub fn last_convolution(&self) -> Option<&str> {
        let rows = &self.model.weights.about.model.rows;
        let conv = rows.iter().rposition(|row| matches!(row, Row::Conv(_) | Row::Local(_)))?;
        let is_part = |row: &&Row| {
            let linear = matches!(row, Row::Linear(_) | Row::Dropout(_) | Row::Pool(_));
            !linear && !matches!(row, Row::Lrn(_))
        };
        let parts = rows[conv + 1..].iter().take_while(is_part).count();
        Some(&self.names[1 + conv + parts]) // the first name is that of the identity
    }

    /// The Grad-CAM of a class in the layer called `layer`, at the size of its maps.
    ///
    /// # Errors
    /// [`Error::Layer`] if there is no such layer, or it has no feature maps; [`Error::Device`].
    ///
    /// # Panics
    /// If there is no such class.
    pub fn grad_cam(&mut self, square: &Image, class: usize, layer: &str) -> Result<HeatMap> {
        NoSuchLayer::check(&self.model.weights.about.model, layer)?;
        let row = self.names.iter().position(|name| name == layer).unwrap_or_default();
        let output = self.network.rows()[row].output();
        let &[_, height, width, channels] = output.shape().dims() else {
            return Err(Error::NoMaps { layer: layer.to_string() });
        };
        self.scores(square)?;
        let maps = self.device.download::<f32>(output)?;
        let gradients = self.backward(class, row, false)?;
        let mut weights = vec![0.0f64; channels];
        for pixel in gradients.chunks_exact(channels) {
            weights.iter_mut().zip(pixel).for_each(|(sum, &g)| *sum += f64::from(g));
        }
        weights.iter_mut().for_each(|sum| *sum /= (height * width) as f64);
        let of_pixel = |pixel: &[f32]| {
            let terms = pixel.iter().zip(&weights).map(|(&x, weight)| f64::from(x) * weight);
            terms.sum::<f64>().max(0.0) as f32
        };
        let values = maps.chunks_exact(channels).map(of_pixel).collect();
        Ok(HeatMap { height, width, values })
    }

    /// The gradient of a class score with respect to the network's input, the pixels after the mean
    /// is subtracted and they are scaled: height x width x 3 values. `guided`: every ReLU passes on
    /// only positive gradients.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn saliency(&mut self, square: &Image, class: usize, guided: bool) -> Result<Vec<f32>> {
        self.scores(square)?;
        self.backward(class, 0, guided)
    }

    /// The gradient of a class score with respect to the output of a planned row, after a forward
    /// pass.
    fn backward(&mut self, class: usize, until: usize, guided: bool) -> Result<Vec<f32>> {
        let Explainer { network, device, is_relu, .. } = self;
        let mut one = vec![0.0f32; network.output.len()];
        one[class] = 1.0;
        device.upload(network.d_output, &one)?;
        for (idx, row) in network.rows().iter().enumerate().rev() {
            let slot = row.d_output().expect("the first row has a parameter");
            if idx == until {
                return Ok(device.download(slot)?);
            }
            if guided && is_relu[idx] {
                let mut gradients = device.download::<f32>(slot)?;
                gradients.iter_mut().for_each(|g| *g = g.max(0.0));
                device.upload(slot, &gradients)?;
            }
            row.backward(device)?;
        }
        unreachable!("`until` is a row")
    }
}
