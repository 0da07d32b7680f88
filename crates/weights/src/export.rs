//! Trained networks as files of other programs.
//!
//! [`write()`] writes a file of one of the [formats](Format), reads it back with
//! [`import`](crate::import) and compares its tensors, and the scores of a batch with them, before
//! the file gets its name: a file that is there is whole. Of an ONNX file the tensors are compared,
//! and the network of its metadata computes the scores; its graph is not run.
//!
//! | format | content |
//! |---|---|
//! | [`PyTorch`](Format::PyTorch) | a state dict of `torch.save`, for `torch.load` |
//! | [`Safetensors`](Format::Safetensors) | the same tensors |
//! | [`Npz`](Format::Npz) | the same tensors, as NumPy's `savez` writes them |
//! | [`Onnx`](Format::Onnx) | the whole network, opset 17, for any number of images |
//! | [`Own`](Format::Own) | this program's own file |
//!
//! Other programs store filters as `[filters, channels, height, width]` and flatten maps in that
//! order; tensors are transposed accordingly. They compute nothing where this program's dropout
//! scales down in tests: that factor is multiplied into the weights of the next layer. Every format
//! also has this program's metadata: network, classes, mean and scale of the input.

mod archive;
mod check;
mod dropout;
mod npz;
mod onnx;
mod out;
mod pytorch;
mod safetensors;
mod tensors;

use crate::import::exported::Exported;
use crate::{Error, Result, Weights};
use dropout::Folded;
use out::Out;
use std::fmt;
use std::path::Path;
use tensors::tensors;

/// A kind of file that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// This program's own file.
    Own,
    /// `torch.save` of a state dict.
    PyTorch,
    /// Safetensors.
    Safetensors,
    /// NumPy's archive of arrays.
    Npz,
    /// ONNX's `ModelProto`.
    Onnx,
}

impl Format {
    /// The format that a file's name ends in; `.safetensors` is that of other programs.
    pub fn of(path: impl AsRef<Path>) -> Option<Format> {
        let ending = path.as_ref().extension()?.to_str()?.to_ascii_lowercase();
        Some(match ending.as_str() {
            "pth" | "pt" => Format::PyTorch,
            "safetensors" => Format::Safetensors,
            "npz" => Format::Npz,
            "onnx" => Format::Onnx,
            _ => return None,
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Own => "this program's file",
            Format::PyTorch => "a PyTorch file",
            Format::Safetensors => "a safetensors file",
            Format::Npz => "a NumPy archive",
            Format::Onnx => "an ONNX model",
        })
    }
}

/// The names of tensors in files that have no graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Names {
    /// Those of the layers: `conv1.weight`.
    #[default]
    Layers,
    /// Places in two `nn.Sequential`, as in torchvision's `alexnet` and `vgg`: `features.0.weight`,
    /// and `classifier.1.weight` from the first dropout or linear layer on.
    Sequential,
}

/// How a network is exported.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ExportOptions {
    /// The format.
    pub format: Format,
    /// The names of tensors; not for ONNX, whose tensors are named after layers.
    pub names: Names,
    /// ONNX: the input is bytes `[images, height, width, 3]`, and the graph begins with the mean and
    /// the scale, instead of floats `[images, 3, height, width]` to which both were applied.
    pub preprocess: bool,
    /// ONNX: the graph ends with a softmax, so that its outputs are probabilities and not scores.
    pub probabilities: bool,
    /// Threads that compute the comparison; 0 for one per core.
    pub threads: usize,
}

impl ExportOptions {
    /// The defaults of a format.
    pub fn new(format: Format) -> ExportOptions {
        let (preprocess, probabilities) = (false, false);
        ExportOptions { format, names: Names::default(), preprocess, probabilities, threads: 0 }
    }
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExportSummary {
    /// Its tensors.
    pub tensors: usize,
    /// Its size.
    pub bytes: u64,
    /// The layers whose weights were multiplied by the scale of dropout in tests, with the factor.
    pub folded: Vec<(String, f32)>,
}

/// Writes `weights` to `path`, replacing a file that is there, and checks the file before it gets
/// its name. `progress` receives the bytes that are written and their number, and stops the export
/// if it returns false; after the last byte it is asked between the parts of the check, too.
///
/// Returns `None` if it was stopped. An export that fails or is stopped leaves nothing behind.
///
/// # Errors
/// [`Error::Export`] if the format cannot have this network, [`Error::ExportDiffers`] if the file
/// that was read back computes something else, [`Error::File`] if it cannot be written,
/// [`Error::NotFinite`].
pub fn write(
    weights: &Weights,
    path: impl AsRef<Path>,
    options: &ExportOptions,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Option<ExportSummary>> {
    let path = path.as_ref();
    let refused = |reason: String| Error::Export { path: path.into(), reason };
    if let Some(tensor) = weights.first_not_finite() {
        return Err(Error::NotFinite { path: path.into(), tensor });
    }
    weights.about.check(&weights.mean).map_err(refused)?;
    let (shape, values) = (&weights.mean.shape, weights.mean.values.len());
    if values != shape.iter().product::<usize>() {
        return Err(refused(format!("its mean has {values} values instead of {shape:?}")));
    }
    if options.format == Format::Own {
        return own(weights, path, progress);
    }
    weights.check_shapes().map_err(refused)?;
    let is_onnx = options.format == Format::Onnx;
    let folded = Folded::new(&weights.about.model, is_onnx).map_err(refused)?;
    let names = if is_onnx { Names::Layers } else { options.names };
    let tensors = tensors(weights, &folded, names).map_err(refused)?;
    let mut about = weights.about.clone();
    about.model = folded.spec.clone();
    let exported = Exported { about, mean: weights.mean.clone() };
    let metadata = exported.entries().map_err(refused)?;
    let model = is_onnx.then(|| onnx::model(&exported, &metadata, &tensors, options));
    let model = model.transpose().map_err(refused)?;
    let mut out = Out::create(path, progress)?;
    let written = match options.format {
        Format::PyTorch => pytorch::write(&tensors, &metadata, &mut out),
        Format::Safetensors => safetensors::write(&tensors, &metadata, &mut out),
        Format::Npz => npz::write(&tensors, &metadata, &mut out),
        Format::Onnx => {
            onnx::write(&model.expect("it was made for this format"), &tensors, &mut out)
        }
        Format::Own => unreachable!("written above"),
    };
    if !out.finished(written)? {
        return Ok(None);
    }
    let (factors, threads) = (&folded.factors, options.threads);
    let check = |file: &Path, goes_on: &mut dyn FnMut() -> bool| {
        check::check(file, path, weights, factors, &exported, threads, goes_on)
    };
    let Some(bytes) = out.finish(check)? else { return Ok(None) };
    let folded = folded.factors.into_iter().collect();
    Ok(Some(ExportSummary { tensors: tensors.len(), bytes, folded }))
}

/// Writes this program's own file.
fn own(
    weights: &Weights,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Option<ExportSummary>> {
    let contents = weights.to_bytes();
    let mut out = Out::create(path, progress)?;
    out.expect(contents.len() as u64);
    let written = out.write(&contents);
    if !out.finished(written)? {
        return Ok(None);
    }
    let bytes = out.finish(|file, goes_on| {
        let read = Weights::read(file)?;
        let is_same = read.about.to_toml() == weights.about.to_toml()
            && read.mean == weights.mean
            && check::are_same(&weights.parameters, &read.parameters, |_| 1.0);
        if is_same { Ok(goes_on()) } else { Err(check::differs(path)) }
    })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let (tensors, folded) = (weights.parameters.len(), Vec::new());
    Ok(Some(ExportSummary { tensors, bytes, folded }))
}

#[cfg(test)]
mod tests;
