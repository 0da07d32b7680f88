//! A parallel loop for work at start-up; idle threads take the next item.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `threads`, or one per core if that is 0.
pub(crate) fn thread_count(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        chosen => chosen,
    }
}

/// Runs `work` on every item. Each thread has a state made by `prepare`; the final states are
/// returned.
///
/// The assignment of items to threads is not deterministic: the work on one item must not depend
/// on another.
pub(crate) fn for_each<T: Send, S: Send>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    prepare: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) + Sync,
) -> Vec<S> {
    let items = Mutex::new(items);
    let take = || items.lock().expect("an iterator that panicked").next();
    let run = || {
        let mut state = prepare();
        while let Some(item) = take() {
            work(&mut state, item);
        }
        state
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count(threads)).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|p| resume_unwind(p))).collect()
    })
}

/// The next element of `all` that no thread has taken, for [`for_each`]'s `prepare`.
///
/// # Panics
/// If there are more threads than elements.
pub(crate) fn next<'a, T>(all: &'a [T], taken: &AtomicUsize) -> &'a T {
    &all[taken.fetch_add(1, Ordering::Relaxed)]
}
