//! A client of the server, and what all clients share.

use crate::app::App;
use crate::clients::Clients;
use crate::limits::Limits;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Memory is lent to uploads in pieces of this size.
pub const PIECE: usize = 1 << 16;

/// What all connections share.
pub struct Shared {
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
    pub shared: Arc<Shared>,
    pub number: u64,
}

impl Client {
    pub fn limits(&self) -> &Limits {
        &self.shared.app.limits
    }

    /// It has sent a piece of its request.
    pub fn heard(&self) {
        self.shared.clients.heard(self.number);
    }

    /// Memory for so many more [pieces](PIECE) of an upload, if there is some.
    pub fn memory(&self, pieces: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = u32::try_from(pieces).ok()?;
        Arc::clone(&self.shared.memory).try_acquire_many_owned(pieces).ok()
    }

    /// Its request has come whole: waits until it may be answered.
    pub async fn turn(&self) -> SemaphorePermit<'_> {
        self.shared.clients.asked(self.number);
        self.shared.answering.acquire().await.expect("never closed")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.clients.remove(self.number);
    }
}
