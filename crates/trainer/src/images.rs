//! Opens the data set of a run and reports progress.

use crate::fault::Result;
pub use data::Dataset as Images;
use data::{DatasetOptions, ReadTimeouts, StalledRead, Statistics};
use evaluate::Stop;
use evaluate::observe::Observer;
use terminal::progress::Reading;

/// Opens `shapes` or a folder, with a progress bar.
///
/// # Errors
/// Exit code 3, with the path and what to do.
pub fn open(name: &str, options: &DatasetOptions, reading: &Reading) -> Result<Images> {
    let mut watch =
        |(done, of), stalled: Option<&StalledRead>| reading.watch("images read", of)(done, stalled);
    let set = data::open_watched(name, options, ReadTimeouts::default(), &mut watch)?;
    Ok(set.expect("it is never stopped"))
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
    Ok(measured.expect("it is never stopped"))
}

/// Computes the fingerprints of the images, which become a part of their summary. `None` if the
/// user stopped the program meanwhile.
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
