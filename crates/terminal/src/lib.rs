//! The terminal: output whose errors do not end a run, progress, and signals.
//!
//! * [`output`]: results on standard output, notes on standard error
//! * [`chart`]: a curve as lines of text
//! * [`dashboard`]: a run on the whole screen
//! * [`progress`]: [`Observer`](evaluate::observe::Observer)s that draw a bar, print lines or JSON
//! * [`signals`]: Ctrl-C and other signals request an orderly [`Stop`](evaluate::Stop)
//!
//! Training needs a stop flag, which Ctrl-C sets, and an observer, which draws the progress bar:
//!
//! ```
//! use alexnet_terminal::progress::{Progress, observer};
//!
//! let stop = alexnet_terminal::signals::listen()?;
//! let mut observer = observer(Progress::Auto);
//! observer.note("training begins");
//! assert_eq!(stop.requested(), None);
//! # Ok::<(), alexnet_terminal::Error>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod chart;
pub mod dashboard;
mod error;
pub mod output;
pub mod progress;
pub mod signals;

pub use error::{Error, Result};
