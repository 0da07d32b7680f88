//! Who is connected: a connection is being answered, or waits for its client.
//!
//! A client that sends nothing, sends slowly or does not read its answer costs other clients
//! nothing: of connections that wait for their client only so many stay, and when there are more,
//! the one whose client has been idle longest is closed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::task::AbortHandle;

/// All connections.
pub struct Clients {
    /// Maximum number of connections that wait for their client.
    max_waiting: usize,
    entries: Mutex<BTreeMap<u64, Entry>>,
}

struct Entry {
    /// Closes it.
    end: AbortHandle,
    /// Since when the client has been idle; `None` while a request is answered.
    idle_since: Option<Instant>,
    /// Whether its request is complete.
    is_complete: bool,
}

impl Clients {
    pub fn new(max_waiting: usize) -> Clients {
        Clients { max_waiting, entries: Mutex::default() }
    }

    /// Adds a connection that waits for its request.
    pub fn add(&self, number: u64, end: AbortHandle) {
        let entry = Entry { end, idle_since: Some(Instant::now()), is_complete: false };
        self.entries().insert(number, entry);
        self.close_idlest();
    }

    /// The client has sent something.
    pub fn received(&self, number: u64) {
        if let Some(entry) = self.entries().get_mut(&number) {
            entry.idle_since = Some(Instant::now());
        }
    }

    /// The request is complete; nothing more is expected from the client.
    pub fn request_complete(&self, number: u64) {
        if let Some(entry) = self.entries().get_mut(&number) {
            (entry.idle_since, entry.is_complete) = (None, true);
        }
    }

    /// The response is ready for the client to read.
    pub fn answered(&self, number: u64) {
        self.received(number);
        self.close_idlest();
    }

    /// The connection is closed.
    pub fn remove(&self, number: u64) {
        self.entries().remove(&number);
    }

    /// Whether some complete request has not been answered yet.
    pub fn has_unanswered(&self) -> bool {
        self.entries().values().any(|entry| entry.is_complete)
    }

    fn close_idlest(&self) {
        let mut entries = self.entries();
        let waiting =
            entries.iter().filter_map(|(&number, entry)| Some((entry.idle_since?, number)));
        let waiting: Vec<(Instant, u64)> = waiting.collect();
        let first = waiting.iter().min().filter(|_| waiting.len() > self.max_waiting);
        let closed = first.and_then(|(_, number)| entries.remove(number));
        drop(entries);
        closed.into_iter().for_each(|entry| entry.end.abort());
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_silent_client_goes_and_none_that_is_being_answered() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let clients = Clients::new(2);
            let tasks: Vec<_> =
                (0..5).map(|_| tokio::spawn(std::future::pending::<()>())).collect();
            let here = || clients.entries().keys().copied().collect::<Vec<_>>();
            let add = |number: u64| clients.add(number, tasks[number as usize].abort_handle());
            add(0);
            add(1);
            clients.received(0);
            add(2);
            assert_eq!(here(), [0, 2], "1 had been idle longer than 0");
            clients.request_complete(0);
            add(3);
            assert_eq!(here(), [0, 2, 3], "who is answered does not wait");
            assert!(clients.has_unanswered());
            clients.answered(0);
            assert_eq!(here(), [0, 3], "2 had been idle longest");
            clients.remove(0);
            clients.remove(7);
            assert_eq!(here(), [3]);
            assert!(!clients.has_unanswered());
            let mut ended = Vec::new();
            for task in tasks {
                tokio::task::yield_now().await;
                ended.push(task.is_finished());
            }
            assert_eq!(ended, [false, true, true, false, false]);
        });
    }
}
