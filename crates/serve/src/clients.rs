//! Who is connected: a connection is being answered, or waits for its client.
//!
//! A client that sends nothing, sends slowly or does not read its answer costs other clients
//! nothing: of connections that wait for their client only so many stay, and when there are more,
//! the one whose client has been silent longest is closed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::task::AbortHandle;

/// All connections.
pub struct Clients {
    /// So many may wait for their client.
    most: usize,
    entries: Mutex<BTreeMap<u64, Entry>>,
}

struct Entry {
    /// Closes it.
    end: AbortHandle,
    /// Since when its client has been silent; nothing while it is being answered.
    silent: Option<Instant>,
    /// Whether its request has come whole.
    has_asked: bool,
}

impl Clients {
    pub fn new(most: usize) -> Clients {
        Clients { most, entries: Mutex::default() }
    }

    /// A connection that waits for its client's request.
    pub fn add(&self, number: u64, end: AbortHandle) {
        let entry = Entry { end, silent: Some(Instant::now()), has_asked: false };
        self.entries().insert(number, entry);
        self.close_most_silent();
    }

    /// Its client has sent something.
    pub fn heard(&self, number: u64) {
        if let Some(entry) = self.entries().get_mut(&number) {
            entry.silent = Some(Instant::now());
        }
    }

    /// Its request has come whole, and nothing is expected of its client.
    pub fn asked(&self, number: u64) {
        if let Some(entry) = self.entries().get_mut(&number) {
            (entry.silent, entry.has_asked) = (None, true);
        }
    }

    /// There is an answer, which its client has to read.
    pub fn answered(&self, number: u64) {
        self.heard(number);
        self.close_most_silent();
    }

    /// It is closed.
    pub fn remove(&self, number: u64) {
        self.entries().remove(&number);
    }

    /// Whether some request has come whole whose answer has not left.
    pub fn some_are_owed_an_answer(&self) -> bool {
        self.entries().values().any(|entry| entry.has_asked)
    }

    fn close_most_silent(&self) {
        let mut entries = self.entries();
        let waiting = entries.iter().filter_map(|(&number, entry)| Some((entry.silent?, number)));
        let waiting: Vec<(Instant, u64)> = waiting.collect();
        let first = waiting.iter().min().filter(|_| waiting.len() > self.most);
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
            clients.heard(0);
            add(2);
            assert_eq!(here(), [0, 2], "1 had been silent longer than 0");
            clients.asked(0);
            add(3);
            assert_eq!(here(), [0, 2, 3], "who is answered does not wait");
            assert!(clients.some_are_owed_an_answer());
            clients.answered(0);
            assert_eq!(here(), [0, 3], "2 was the most silent");
            clients.remove(0);
            clients.remove(7);
            assert_eq!(here(), [3]);
            assert!(!clients.some_are_owed_an_answer());
            let mut ended = Vec::new();
            for task in tasks {
                tokio::task::yield_now().await;
                ended.push(task.is_finished());
            }
            assert_eq!(ended, [false, true, true, false, false]);
        });
    }
}
