//! What can go wrong when a network is served.

use std::io;

/// A server that cannot be opened, or that ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network cannot be opened on the device.
    #[error(transparent)]
    Inference(#[from] inference::Error),

    /// Where it was to listen is no address with a port.
    #[error("{address}: say an address and a port, as in 127.0.0.1:8080 or [::1]:8080")]
    Address {
        /// What was named.
        address: String,
    },

    /// It cannot listen where it was to: the port is taken, or the address is not this machine's.
    #[error("{address}: cannot listen there: {source}")]
    Listen {
        /// What was named.
        address: String,
        /// Why.
        source: io::Error,
    },

    /// No address was named, and none of the usual ports is free.
    #[error("cannot listen on ports {first} to {last} of 127.0.0.1: {source}")]
    Ports {
        /// The first of them.
        first: u16,
        /// The last.
        last: u16,
        /// What was said of the last that was tried.
        source: io::Error,
    },

    /// The system refuses what every server needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },

    /// The thread that computes has ended, which it does only if it panics.
    #[error("the network's thread has ended: the message above says why")]
    Ended,
}

impl Error {
    /// For `map_err`.
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> Error + Copy {
        move |source| Error::System { what, source }
    }
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
