//! What can go wrong between a program and its terminal.

use std::io;

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Output that is lost, or a signal without a handler.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A result cannot be written.
    #[error(
        "standard output: cannot write: {0}; part of the result is lost: free some space, or send \
         it elsewhere"
    )]
    Output(#[source] io::Error),
    /// The system refuses a handler of signals.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
}
