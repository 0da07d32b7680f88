//! `alexnet distance`: the perceptual distance of two images.

use crate::cli::{DistanceArgs, MachineArgs};
use crate::console;
use crate::fault::Result;
use crate::trained::placement;
use augment::ExifMode;
use data::ReadBuffer;
use data::decode::read_whole;
use inference::Image;
use inference::device::Placement;
use inference::lpips::Lpips;
use serde_json::json;
use std::path::Path;
use tensor::Precision;

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3, 4, 6 as `alexnet --help` lists them.
pub fn distance(args: &DistanceArgs) -> Result<()> {
    let files: Vec<&Path> = args.lpips.iter().map(AsRef::as_ref).collect();
    let lpips = Lpips::open(&files)?;
    let (first, second) = (read(&args.first)?, read(&args.second)?);
    let place = place(&args.machine)?;
    let distance = lpips.distance([&first, &second], place, &mut |text| console::note(text))?;
    if args.json {
        console::println(json!({ "lpips": distance }))
    } else {
        console::println(format_args!("{distance:.6}"))
    }
}

/// Where to compute: in f32 unless another precision is typed, as small distances are differences
/// of features, which tf32, a GPU's default, rounds to three digits.
fn place(args: &MachineArgs) -> Result<Placement> {
    let place = placement(args)?;
    Ok(Placement { precision: place.precision.or(Some(Precision::F32)), ..place })
}

/// The pixels of an image file, as they are stored.
fn read(path: &Path) -> Result<Image> {
    let mut buffer = ReadBuffer::default();
    read_whole(path, ExifMode::Ignore, &mut buffer)?;
    Ok(buffer.decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_precision_is_f32_unless_another_is_typed() {
        let precision = |typed: Option<&str>| {
            let precision = typed.map(str::to_string);
            place(&MachineArgs { precision, ..MachineArgs::default() }).unwrap().precision
        };
        assert_eq!(precision(None), Some(Precision::F32));
        assert_eq!(precision(Some("tf32")), Some(Precision::Tf32));
    }
}
