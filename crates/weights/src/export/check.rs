//! Reads an exported file back and compares what it computes.

use crate::import::exported::Exported;
use crate::import::{ImportOptions, open_as, read_from};
use crate::{Error, Result, Values, Weights};
use layers::{Network, Phase, Role, layer_of};
use random::{Purpose, Stream};
use std::collections::BTreeMap;
use std::path::Path;
use tensor::{Device, Planner};

/// Images of the batch.
const IMAGES: usize = 2;

/// The largest difference of two scores, in multiples of the largest score. A factor other than a
/// half rounds the weights that it is multiplied into.
const MOST: f32 = 1e-4;

/// Reads `file`, which will be called `path`, and compares its metadata with what was exported, its
/// tensors bit by bit with the scaled ones of the network, and its scores of random images with the
/// network's. False if `goes_on`, which is asked after each of these parts, ended it.
pub(super) fn check(
    file: &Path,
    path: &Path,
    weights: &Weights,
    factors: &BTreeMap<String, f32>,
    exported: &Exported,
    threads: usize,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<bool> {
    let options = ImportOptions::new(vec![exported.about.model.clone()]);
    let read = read_from(open_as(file, path)?, path, &options)?;
    if read.about.to_toml() != exported.about.to_toml() || read.mean != exported.mean {
        return Err(differs(path));
    }
    if !goes_on() {
        return Ok(false);
    }
    let factor = |name: &str| match Role::of(name) {
        Role::Weight => factors.get(layer_of(name)).copied().unwrap_or(1.0),
        _ => 1.0,
    };
    if !are_same(&weights.parameters, &read.parameters, factor) {
        return Err(differs(path));
    }
    if !goes_on() {
        return Ok(false);
    }
    let before = scores(weights, path, threads)?;
    if !goes_on() {
        return Ok(false);
    }
    let after = scores(&read, path, threads)?;
    let largest = before.iter().fold(0.0f32, |most, score| most.max(score.abs()));
    let is_close = |(a, b): (&f32, &f32)| (a - b).abs() <= MOST * largest;
    if before.len() == after.len() && before.iter().zip(&after).all(is_close) {
        Ok(goes_on())
    } else {
        Err(differs(path))
    }
}

/// Whether parameters are bit-identical to those before, of each of which the weights were
/// multiplied by the factor of the parameter's name.
pub(super) fn are_same(
    before: &[(String, Values)],
    after: &[(String, Values)],
    factor: impl Fn(&str) -> f32,
) -> bool {
    let is_same = |(name, before): &(String, Values)| {
        let Some((_, after)) = after.iter().find(|(own, _)| own == name) else { return false };
        let factor = factor(name);
        let values = before.values.iter().zip(&after.values);
        before.shape == after.shape
            && values.into_iter().all(|(a, b)| (a * factor).to_bits() == b.to_bits())
    };
    before.len() == after.len() && before.iter().all(is_same)
}

pub(super) fn differs(path: &Path) -> Error {
    Error::ExportDiffers { path: path.into() }
}

/// The scores of random images, on the CPU.
fn scores(weights: &Weights, path: &Path, threads: usize) -> Result<Vec<f32>> {
    let refused =
        |error: layers::SpecError| Error::Export { path: path.into(), reason: error.to_string() };
    let (mut planner, mut device) = (Planner::new(), Device::cpu(threads));
    let spec = &weights.about.model;
    let network = Network::plan(spec, IMAGES, &mut planner, device.target()).map_err(refused)?;
    device.reserve(planner.total())?;
    weights.upload(&mut device, &network.parameters, path)?;
    network.prepare(&mut device)?;
    device.upload(network.input, &images(weights))?;
    device.enter(|device| {
        network.forward(device, Phase::Infer)?;
        Ok(device.download(network.output)?)
    })
}

/// Random pixels, less the mean colour and times the scale.
fn images(weights: &Weights) -> Vec<f32> {
    let mean = &weights.mean.values;
    let pixels = (mean.len() / 3).max(1) as f64;
    let scales = weights.about.input.scale.channels();
    let colour = |channel: usize| {
        let sum: f64 = mean.iter().skip(channel).step_by(3).map(|&value| f64::from(value)).sum();
        sum / pixels
    };
    let colours = [0, 1, 2].map(colour);
    let len = weights.about.model.input.iter().product::<usize>();
    let image = |index: u32| {
        let mut stream = Stream::new(0, Purpose::Test, 0, index);
        (0..len).map(move |at| {
            let pixel = f64::from(stream.between(0.0, 255.0));
            ((pixel - colours[at % 3]) * scales[at % 3]) as f32
        })
    };
    (0..IMAGES as u32).flat_map(image).collect()
}
