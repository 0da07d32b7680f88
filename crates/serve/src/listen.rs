//! The address of a server.

use crate::error::{Error, Result};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The first port that is tried by default.
pub const PORT: u16 = 8080;
/// Number of ports that are tried.
const PORTS: u16 = 32;

/// Binds the requested address, or by default the first free port.
///
/// # Errors
/// [`Error::Address`], [`Error::Listen`]; by default [`Error::Ports`].
pub fn listen(named: Option<&str>) -> Result<TcpListener> {
    if let Some(named) = named {
        let address = named.to_string();
        return TcpListener::bind(named).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidInput => Error::Address { address },
            _ => Error::Listen { address, source },
        });
    }
    let refused = |source| Error::Ports { first: PORT, last: PORT + PORTS - 1, source };
    let mut last = None;
    for port in PORT..PORT + PORTS {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
            Err(error) => return Err(refused(error)),
        }
    }
    Err(refused(last.expect("some port was tried")))
}

/// The address of a listener.
///
/// # Errors
/// If the system call fails.
pub fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(Error::system("listen"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_use_are_skipped_and_an_address_in_use_is_an_error() {
        let held = [listen(None).unwrap(), listen(None).unwrap()];
        let [first, second] = held.each_ref().map(|listener| address(listener).unwrap());
        assert!(first.ip().is_loopback() && first.port() < second.port());
        let error = listen(Some(&first.to_string())).unwrap_err();
        assert!(matches!(error, Error::Listen { .. }), "{error:?}");
        assert!(error.to_string().contains("cannot listen there"), "{error}");
        let error = listen(Some("8080")).unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{error:?}");
        assert!(error.to_string().contains("an address and a port"), "{error}");
    }
}
