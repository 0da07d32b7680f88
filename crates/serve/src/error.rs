//! Errors of the server.

use std::io;

/// A server that cannot be opened, or that ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network cannot be opened on the device.
    #[error(transparent)]
    Inference(#[from] inference::Error),

    /// The address is not an address with a port.
    #[error("{address}: needs an address and a port, as in 127.0.0.1:8080 or [::1]:8080")]
    Address {
        /// The requested address.
        address: String,
    },

    /// The port is in use, or the address is not this machine's.
    #[error("{address}: cannot listen there: {source}")]
    Listen {
        /// The requested address.
        address: String,
        /// The cause.
        source: io::Error,
    },

    /// No address was requested, and none of the default ports is free.
    #[error("cannot listen on ports {first} to {last} of 127.0.0.1: {source}")]
    Ports {
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
        /// The error for the last port.
        source: io::Error,
    },

    /// A system call failed.
    #[error("cannot {what}: {source}")]
    System {
        /// The operation.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },

    /// The inference thread has panicked.
    #[error("the network's thread has ended: see the message above")]
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
