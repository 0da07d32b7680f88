//! Data sets as Hugging Face hands them out: parquet files, and ImageNet's older archives.
//!
//! A parquet file of images has a column with the bytes of each image file, and one with labels;
//! what the classes are called stands in the file's metadata. Which set a file belongs to is in
//! its name: `data/train-00000-of-00294.parquet`, `default/test/0000.parquet`.
//!
//! * `find`: the files of a folder, by set
//! * `tables`: from those to labelled images
//! * `schema`: which columns hold images and labels
//! * `rows`: groups of rows, decoded when they are asked for
//! * `tars`: `train_images_0.tar.gz`, `val_images.tar.gz`
//!
//! Without the crate's feature `parquet` there are only the archives.

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
pub(crate) use {rows::Rows, tables::open};

#[cfg(not(feature = "parquet"))]
mod without;
#[cfg(not(feature = "parquet"))]
pub(crate) use without::{Rows, open};

use std::path::Path;

/// Whether `path` is a parquet file, or a folder with some.
pub(crate) fn is_at(path: &Path) -> bool {
    let files = find::files(path);
    path.is_file() && !files.is_empty() || files.iter().any(|file| find::split_of(file).is_some())
}

#[cfg(all(test, feature = "parquet"))]
mod tests;
