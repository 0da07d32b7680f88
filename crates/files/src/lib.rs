//! Files that are the old one or the new one, whatever happens in between.
//!
//! * [`atomic`]: files that are replaced whole, or not at all
//! * [`Output`]: the same for a file that is written piece by piece
//! * [`disk`]: what files are read and written through: the real disk, or in tests one that fails
//! * [`read`], [`read_to_string`], [`read_optional`], [`exists`]: regular files only; an error is
//!   no absence
//! * [`CsvRow`]: rows of tables that a spreadsheet may open
//! * [`escape`]: names of files as visible text
//! * [`numbers`]: counts, bytes, times and shares as people read them
//! * [`Error`]: a file that cannot be written, by its path
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

pub mod atomic;
mod csv;
pub mod disk;
mod error;
pub mod escape;
pub mod numbers;
mod output;

pub use csv::CsvRow;
pub use disk::{exists, free_bytes, read, read_optional, read_to_string};
pub use error::{Error, Result};
pub use output::Output;
