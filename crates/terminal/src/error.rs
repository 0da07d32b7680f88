//! Errors of terminal output and signals.

use std::io;

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Output cannot be written, the screen cannot be used, or a signal handler cannot be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A result cannot be written.
    #[error(
        "standard output: cannot write: {0}; part of the result is lost: free some space, or \
         redirect it elsewhere"
    )]
    Output(#[source] io::Error),
    /// The screen cannot be used.
    #[error("the terminal: {0}")]
    Screen(#[source] io::Error),
    /// A signal handler cannot be installed.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
}
