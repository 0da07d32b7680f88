//! Terminal output that never ends a run, progress, and signals.
//!
//! * [`output`]: results on standard output, notes on standard error
//! * [`progress`]: [`Observer`](evaluate::observe::Observer)s that draw a bar, print lines or JSON
//! * [`signals`]: Ctrl-C and other signals request an orderly [`Stop`](evaluate::Stop)
//!
//! Training with a progress bar, until it is done or Ctrl-C is pressed, needs a stop flag and an
//! observer:
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

mod error;
pub mod output;
pub mod progress;
pub mod signals;

pub use error::{Error, Result};
