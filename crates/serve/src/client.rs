//! A client's connection, and the state that all connections share.

use crate::app::App;
use crate::clients::Clients;
use crate::limits::Limits;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Unit in which memory is granted to uploads, in bytes.
pub const PIECE: usize = 1 << 16;

/// The state that all connections share.
pub struct Shared {
    pub app: Arc<App>,
    pub clients: Clients,
    /// Permits for requests that are answered at the same time.
    pub answering: Semaphore,
    /// Permits for pieces of memory for uploads.
    pub memory: Arc<Semaphore>,
    /// Whether the server listens on a loopback address.
    pub loopback: bool,
}

/// The client of one connection.
pub struct Client {
    pub shared: Arc<Shared>,
    pub number: u64,
}

impl Client {
    pub fn limits(&self) -> &Limits {
        &self.shared.app.limits
    }

    /// The client has sent a part of its request.
    pub fn received(&self) {
        self.shared.clients.received(self.number);
    }

    /// Memory for `pieces` more [pieces](PIECE) of an upload, if available.
    pub fn memory(&self, pieces: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = u32::try_from(pieces).ok()?;
        Arc::clone(&self.shared.memory).try_acquire_many_owned(pieces).ok()
    }

    /// The request is complete: waits for its turn to be answered.
    pub async fn turn(&self) -> SemaphorePermit<'_> {
        self.shared.clients.request_complete(self.number);
        self.shared.answering.acquire().await.expect("never closed")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.clients.remove(self.number);
    }
}
