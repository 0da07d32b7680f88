//! Images packed into a few large files: tar files in webdataset's layout.
//!
//! A prepared folder contains
//!
//! * `train-000000.tar`, ..., `val-000000.tar`, ...: members `000000123.jpg` (or `.rgb`, plain
//!   pixels) and `000000123.cls` (the label as decimal text); readable with any tar program;
//! * `train-000000.idx`, ...: the offset, label, size and checksum of every image, so that any
//!   image is read with one positioned read; see [`ShardIndex`] for the format;
//! * `mean.f32`: the mean image, side x side x 3 little-endian floats, which
//!   `numpy.fromfile` reads. It is not in the JSON, to keep that readable;
//! * `dataset.json`: everything else, see [`Manifest`]. It is written last: a folder with it is
//!   complete.
//!
//! [`Shards`] reads these, and tar files of other programs in webdataset's layout.

mod files;
mod index;
mod manifest;
mod rows;
mod source;
pub(crate) mod webdataset;
mod writer;

use crate::held_out::hold_out;
use std::path::Path;

pub(crate) use files::{collection, is_webdataset};
pub use index::{IndexEntry, ShardIndex};
pub use manifest::{Encoding, Keep, Manifest, SetCounts};
pub(crate) use manifest::{ManifestFields, first_decoder, hex, is_first_decoder};
pub use source::Shards;
pub(crate) use writer::{ShardWriter, write_durably, write_error};

/// Training and test images; without test images a tenth of each class is held out, with a note.
fn with_test_set<T: Clone>(
    dir: &Path,
    [train, test]: [Vec<T>; 2],
    notes: &mut Vec<String>,
    label_of: impl Fn(&T) -> u32,
) -> [Vec<T>; 2] {
    if !test.is_empty() {
        return [train, test];
    }
    let why = "no tar file is named `val` or `test`";
    let (train, test, note) = hold_out(dir, why, &train, label_of);
    notes.push(note);
    [train, test]
}

/// The names of a shard's tar file and index: `train-000003.tar` and `train-000003.idx`.
pub(crate) fn file_names(part: &str, shard: usize) -> [String; 2] {
    ["tar", "idx"].map(|ending| format!("{part}-{shard:06}.{ending}"))
}

#[cfg(test)]
mod tests;
