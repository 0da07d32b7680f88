//! Data sets as distributed by Hugging Face: parquet files, and ImageNet's older tar archives.
//!
//! A parquet file of images has a column with encoded image files, and one with labels; the class
//! names are in the file's metadata. The split is in the file's name:
//! `data/train-00000-of-00294.parquet`, `default/test/0000.parquet`.
//!
//! * `find`: the files of a folder, by split
//! * `tables`: the labelled images of these files
//! * `schema`: the columns of images and labels
//! * `rows`: row groups, decoded on demand
//! * `tars`: `train_images_0.tar.gz`, `val_images.tar.gz`
//!
//! Without the feature `parquet`, only the tar archives are supported.

mod find;
mod tars;

#[cfg(feature = "parquet")]
mod label;
#[cfg(feature = "parquet")]
mod rows;
#[cfg(feature = "parquet")]
mod schema;
#[cfg(feature = "parquet")]
mod tables;

pub(crate) use tars::is_at as has_tars;
pub(crate) use tars::open as open_tars;
#[cfg(feature = "parquet")]
pub(crate) use {rows::ParquetRows, tables::open};

#[cfg(not(feature = "parquet"))]
mod without;
#[cfg(not(feature = "parquet"))]
pub(crate) use without::{ParquetRows, open};

use std::path::Path;

/// Whether `path` is a parquet file, or a folder with some.
pub(crate) fn is_at(path: &Path) -> bool {
    let files = find::files(path);
    path.is_file() && !files.is_empty() || files.iter().any(|file| find::split_of(file).is_some())
}

#[cfg(all(test, feature = "parquet"))]
mod tests;
