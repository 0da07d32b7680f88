//! `alexnet distance`: the perceptual distance of two images.

use crate::cli::DistanceArgs;
use crate::console;
use crate::fault::Result;
use crate::trained::placement;
use augment::ExifMode;
use data::ReadBuffer;
use data::decode::read_whole;
use inference::Image;
use inference::lpips::Lpips;
use serde_json::json;
use std::path::Path;

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3, 4, 6 as `alexnet --help` lists them.
pub fn distance(args: &DistanceArgs) -> Result<()> {
    let files: Vec<&Path> = args.lpips.iter().map(AsRef::as_ref).collect();
    let lpips = Lpips::open(&files)?;
    let (first, second) = (read(&args.first)?, read(&args.second)?);
    let place = placement(&args.machine)?;
    let distance = lpips.distance([&first, &second], place, &mut |text| console::note(text))?;
    if args.json {
        console::println(json!({ "lpips": distance }))
    } else {
        console::println(format_args!("{distance:.6}"))
    }
}

/// The pixels of an image file, as they are stored.
fn read(path: &Path) -> Result<Image> {
    let mut buffer = ReadBuffer::default();
    read_whole(path, ExifMode::Ignore, &mut buffer)?;
    Ok(buffer.decoded)
}
