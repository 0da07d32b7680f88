//! Atomic file replacement, and other file access.
//!
//! * [`atomic`]: writes files that are replaced completely or not at all
//! * [`Output`]: the same for a file that is written in pieces
//! * [`StoredZip`], [`npy_header`]: zip archives without compression, and NumPy's arrays in them
//! * [`disk`]: the interface of file operations: the real disk, or a failing one in tests
//! * [`read`], [`read_to_string`], [`read_optional`], [`exists`]: regular files only; an error is
//!   not treated as absence
//! * [`CsvRow`]: rows of tables that are safe to open in a spreadsheet
//! * [`escape`]: makes control characters visible
//! * [`numbers`]: formats counts, bytes, durations and percentages
//! * [`Error`]: a write error with its path
//!
//! ```
//! let path = std::env::temp_dir().join("alexnet-files-example");
//! alexnet_files::atomic::write(&path, b"whole or not at all")?;
//! assert_eq!(alexnet_files::read(&path)?, b"whole or not at all");
//! std::fs::remove_file(path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod atomic;
mod csv;
pub mod disk;
mod error;
pub mod escape;
mod npy;
pub mod numbers;
mod output;
mod stored_zip;

pub use csv::CsvRow;
pub use disk::{exists, free_bytes, read, read_optional, read_to_string};
pub use error::{Error, Result};
pub use npy::npy_header;
pub use output::Output;
pub use stored_zip::StoredZip;
