//! Images packed into a few large files: tar files as webdataset lays them out.
//!
//! A prepared folder holds
//!
//! * `train-000000.tar`, ..., `val-000000.tar`, ...: members `000000123.jpg` (or `.rgb`, bare
//!   pixels) and `000000123.cls` (the label as decimal text); any tar program opens them;
//! * `train-000000.idx`, ... beside each: where every image lies, its label, size and checksum, so
//!   that any image is one positioned read; see [`Index`] for the bytes;
//! * `mean.f32`: the mean image, side x side x 3 little-endian floats, which
//!   `numpy.fromfile` reads. It is no part of the JSON, which people want to read;
//! * `dataset.json`: all else that is known, see [`About`]. It is written last: where it is, the
//!   folder is whole.
//!
//! [`Shards`] reads these, and tar files that others wrote in webdataset's layout.

mod about;
mod files;
mod held_out;
mod index;
mod rows;
mod source;
pub(crate) mod webdataset;
mod writer;

pub use about::{About, Form, Keep, Part};
pub(crate) use about::{Parts, first_decoder, hex, is_first_decoder};
pub(crate) use files::{collection, is_webdataset};
pub use index::{Entry, Index};
pub use source::Shards;
pub(crate) use writer::{ShardWriter, write_durably, write_error};

/// The file names of a shard's two halves: `train-000003.tar` and `train-000003.idx`.
pub(crate) fn file_names(part: &str, shard: usize) -> [String; 2] {
    ["tar", "idx"].map(|ending| format!("{part}-{shard:06}.{ending}"))
}

#[cfg(test)]
mod tests;
