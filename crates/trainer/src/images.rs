//! From the name of a data set to the two sources of a run, and what is told on the way.

use crate::fault::Result;
pub use data::Dataset as Images;
use data::{DatasetOptions, ExifMode, Labelling, ReadTimeouts, StalledRead, Statistics};
use evaluate::Stop;
use evaluate::observe::Observer;
use files::numbers::mebibytes;
use report::grouped;
use terminal::progress::Reading;

/// `shapes`, or a folder, with labels from where they come; as squares of `side`, upright or as
/// they are stored.
///
/// # Errors
/// Exit code 3, with the path and what to do.
pub fn open(
    (name, labelling): (&str, &Labelling),
    (side, exif): (usize, ExifMode),
    threads: usize,
    reading: &Reading,
) -> Result<Images> {
    let labelling = labelling.clone();
    let options = DatasetOptions { threads, labelling, exif, ..DatasetOptions::with_side(side) };
    let mut watch =
        |(done, of), stalled: Option<&StalledRead>| reading.watch("images read", of)(done, stalled);
    let set = data::open_watched(name, &options, ReadTimeouts::default(), &mut watch)?;
    Ok(set.expect("nobody stops it"))
}

/// Mean image and colours of the training images, as they are stored or measured.
///
/// # Errors
/// Exit code 3 if too many images cannot be read.
pub fn statistics(images: &Images, threads: usize, reading: &Reading) -> Result<Statistics> {
    let what = "images measured for their mean";
    let mut watch =
        |(done, of), stalled: Option<&StalledRead>| reading.watch(what, of)(done, stalled);
    let measured = images.measure(threads, ReadTimeouts::default(), &mut watch)?;
    Ok(measured.expect("nobody stops it"))
}

/// Finds out what these images are known by, which is then a part of their summary. `None` if a
/// stop was asked for while one was waited for.
///
/// # Errors
/// Exit code 3 if a disk does not answer.
pub fn identify<'a>(
    images: &'a mut Images,
    observer: &mut dyn Observer,
    stop: &Stop,
) -> Result<Option<&'a [String; 2]>> {
    Ok(images.identify(ReadTimeouts::default(), &mut |stalled| {
        stalled.into_iter().for_each(|stalled| observer.stalled(stalled));
        stop.requested().is_none()
    })?)
}

/// One line for people.
pub fn describe(images: &Images) -> String {
    let (height, width) = images.train.size();
    format!(
        "{}: {} training and {} test images of {height} x {width}, {} classes",
        images.name,
        grouped(images.train.len()),
        grouped(images.test.len()),
        images.train.classes().len(),
    )
}

/// One line on memory.
pub fn memory_line(memory: &train::plan::Memory, batch: usize) -> String {
    format!("{} at batch {batch} ({})", mebibytes(memory.total), memory_parts(memory))
}

/// Where it goes.
pub fn memory_parts(memory: &train::plan::Memory) -> String {
    let kept = if memory.adam { "moments" } else { "velocities" };
    let [parameters, activations] = [memory.parameters, memory.activations].map(mebibytes);
    format!("weights, gradients, {kept} {parameters}, activations {activations}")
}
