//! Stubs for builds without support for parquet files.

use crate::collection::Collection;
use crate::{Error, Result};
use std::path::Path;

/// Rows of parquet files, which do not exist here.
#[derive(Debug)]
pub(crate) enum ParquetRows {}

impl ParquetRows {
    pub(crate) fn stated_bytes(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn read(&self, _: u32, _: u32, _: u32) -> std::result::Result<Vec<u8>, String> {
        match *self {}
    }
}

/// # Errors
/// Always.
pub(crate) fn open(path: &Path, _: &(dyn Fn(u64, u64) + Sync)) -> Result<Collection> {
    let remedy = "build with the feature `parquet` of alexnet-data";
    Err(Error::layout(path, "parquet files, which this build does not support", remedy))
}
