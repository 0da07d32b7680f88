//! `alexnet data stats`: how many images of each class, how large, in which colours.

use super::{exif_of, unread};
use crate::cli::StatsArgs;
use crate::console;
use crate::fault::Result;
use report::DatasetSummary;
use std::path::Path;
use terminal::progress::Reading;

/// Side of the squares whose colours are measured, where the images have none of their own: the
/// paper's.
const SIDE: usize = 256;

/// Runs the command.
///
/// # Errors
/// Exit code 3 if the data cannot be opened or no image can be read.
pub fn stats(args: &StatsArgs) -> Result<()> {
    let reading = Reading::new(args.output.progress);
    let (own, threads) = (data::stored_side(&args.data)?, args.workers.unwrap_or(0));
    let side = args.side.map(|side| side as usize).or(own).unwrap_or(SIDE);
    let exif = exif_of(&args.data, args.exif)?;
    let labelling = args.labelling.to_labelling()?;
    let options = unread(side, threads, exif, labelling);
    let mut set = data::open(&args.data, &options, &|_, _| ())?;
    let sizes = match own {
        Some(side) => vec![(side, side)],
        None => {
            let progress = |done, of| reading.say("headers read", done, of);
            let headers = data::verify::headers(Path::new(&args.data), threads, &progress)?;
            set.notes.extend(headers.oriented.map(|(count, first)| exif.note(count, &first)));
            headers.sizes
        }
    };
    let colors = reading.measure("images measured", &set.train, threads, set.train.len())?;
    let summary = DatasetSummary::new(set, &sizes, side, colors);
    console::result(args.output.json, || summary.to_json(), || summary.to_text())
}
