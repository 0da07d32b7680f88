//! A client of the server, and what all clients share.

use super::App;
use super::clients::Clients;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Memory is lent to uploads in pieces of this size.
pub const PIECE: usize = 1 << 16;

/// What clients may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that are answered at a time; others wait until one is.
    pub answering: usize,
    /// Connections that wait for their client at a time: see [`Clients`].
    pub waiting: usize,
    /// Bytes of an upload.
    pub bytes: usize,
    /// Bytes of all uploads together.
    pub all_bytes: usize,
    /// Images of a request.
    pub images: usize,
    /// Pixels of an image.
    pub pixels: usize,
    /// Until a request's head, and then its body, must have come.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            answering: 16,
            waiting: 64,
            bytes: 32 << 20,
            all_bytes: 512 << 20,
            images: 32,
            pixels: 64_000_000,
            patience: Duration::from_secs(30),
        }
    }
}

/// What all connections share.
pub struct Server {
    pub app: Arc<App>,
    pub clients: Clients,
    /// A permit for each request that may be answered now.
    pub answering: Semaphore,
    /// A permit for each piece of memory that uploads may still take.
    pub memory: Arc<Semaphore>,
    /// Whether only this machine reaches it.
    pub loopback: bool,
}

/// The client of one connection.
pub struct Client {
    pub server: Arc<Server>,
    pub number: u64,
}

impl Client {
    pub fn limits(&self) -> &Limits {
        &self.server.app.limits
    }

    /// It has sent a piece of its request.
    pub fn heard(&self) {
        self.server.clients.heard(self.number);
    }

    /// Memory for so many more [pieces](PIECE) of an upload, if there is some.
    pub fn memory(&self, pieces: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = u32::try_from(pieces).ok()?;
        Arc::clone(&self.server.memory).try_acquire_many_owned(pieces).ok()
    }

    /// Its request has come whole: waits until it may be answered.
    pub async fn turn(&self) -> SemaphorePermit<'_> {
        self.server.clients.asked(self.number);
        self.server.answering.acquire().await.expect("never closed")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.server.clients.remove(self.number);
    }
}
