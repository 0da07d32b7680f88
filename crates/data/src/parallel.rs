//! Work at start-up, shared among threads: whoever is free takes the next piece.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of threads that 0 stands for: one for each core.
pub(crate) fn thread_count(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        chosen => chosen,
    }
}

/// Does `work` on every item; `prepare` makes what each thread keeps for itself, and what that has
/// become is returned.
///
/// Which thread gets which item is left to chance: the work on one must not depend on that of
/// another.
pub(crate) fn for_each<T: Send, S: Send>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    prepare: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) + Sync,
) -> Vec<S> {
    let items = Mutex::new(items);
    let take = || items.lock().expect("an iterator that panicked").next();
    let life = || {
        let mut state = prepare();
        while let Some(item) = take() {
            work(&mut state, item);
        }
        state
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count(threads)).map(|_| scope.spawn(life)).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|p| resume_unwind(p))).collect()
    })
}

/// The one of `all` that no thread has had yet, for [`for_each`]'s `prepare`.
///
/// # Panics
/// If there are more threads.
pub(crate) fn next<'a, T>(all: &'a [T], taken: &AtomicUsize) -> &'a T {
    &all[taken.fetch_add(1, Ordering::Relaxed)]
}
