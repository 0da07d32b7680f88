//! Whether a protobuf message is Caffe's or ONNX's: its first bytes allow a guess only.

use super::protobuf::{Problem, read};
use super::{Format, Source, TensorReader, caffe, onnx};
use std::path::Path;

/// Opens a file that is probably of format `guess`, Caffe's or ONNX's, and may be of the other.
///
/// # Errors
/// A sentence without the path.
pub(super) fn open(
    source: &Source,
    path: &Path,
    guess: Format,
) -> Result<Box<dyn TensorReader>, String> {
    let bytes = read(source)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let as_caffe =
        || caffe::open(bytes.clone()).map(|file| Box::new(file) as Box<dyn TensorReader>);
    let as_onnx = || onnx::open(bytes.clone(), folder).map(|file| Box::new(file) as _);
    let attempts: [&dyn Fn() -> Result<Box<dyn TensorReader>, Problem>; 2] = match guess {
        Format::Caffe => [&as_caffe, &as_onnx],
        _ => [&as_onnx, &as_caffe],
    };
    let mut damage = None;
    for attempt in attempts {
        match attempt() {
            Ok(file) => return Ok(file),
            Err(Problem::Content(reason)) => return Err(reason),
            Err(Problem::Decode(reason)) => damage = damage.or(Some(reason)),
            Err(Problem::Other) => {}
        }
    }
    Err(match damage {
        Some(reason) => format!(
            "this is neither an intact Caffe model nor an intact ONNX model ({reason}): download \
             or export it again"
        ),
        None => {
            "this is a protobuf file without the weights of a Caffe or ONNX model: a network's \
                 definition, or a file of another program"
                .into()
        }
    })
}
