//! A parallel loop whose results are used in order.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard};

/// Results per thread that may wait for an earlier one, so that threads stay busy even if one image
/// is four times as large as the next.
const WAITING: usize = 4;

struct QueueState<T> {
    next: usize,
    /// Finished results, and free buffers for new ones.
    done: BTreeMap<usize, Option<T>>,
    free: Vec<T>,
    stopped: bool,
}

struct Queue<T> {
    state: Mutex<QueueState<T>>,
    free: Condvar,
    done: Condvar,
}

/// Calls `make` for each index of `range` on `threads` threads, and `take` with the results in
/// order on the calling thread. Results are buffers that are reused, a few per thread. Returns
/// `false` if `stop` ended the loop early.
///
/// # Errors
/// The error of `take`; or [`Error::Panic`] if `make` panicked.
pub(super) fn for_each<S, T: Default + Send>(
    threads: usize,
    range: Range<usize>,
    stop: &(dyn Fn() -> bool + Sync),
    prepare: impl Fn() -> S + Sync,
    make: impl Fn(&mut S, usize, &mut T) + Sync,
    mut take: impl FnMut(usize, &T) -> Result<()>,
) -> Result<bool> {
    let buffers = (0..threads * (1 + WAITING)).map(|_| T::default()).collect();
    let state =
        QueueState { next: range.start, done: BTreeMap::new(), free: buffers, stopped: false };
    let queue = Queue { state: Mutex::new(state), free: Condvar::new(), done: Condvar::new() };
    let work = || {
        let mut own = prepare();
        while let Some((at, mut result)) = queue.begin(range.end, stop) {
            let made = catch_unwind(AssertUnwindSafe(|| make(&mut own, at, &mut result)));
            queue.finish(at, made.is_ok().then_some(result));
            if made.is_err() {
                own = prepare();
            }
        }
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
        let _guard = StopGuard(&queue);
        let outcome = range.clone().try_fold(true, |_, at| match queue.take(at) {
            None => Err(None),
            Some(None) => {
                let message = "while it was decoded or encoded".to_owned();
                Err(Some(Error::Panic { name: format!("image number {at}"), message }))
            }
            Some(Some(result)) => {
                take(at, &result).map_err(Some)?;
                queue.give_back(result);
                Ok(true)
            }
        });
        match outcome {
            Ok(_) => Ok(true),
            Err(None) => Ok(false),
            Err(Some(error)) => Err(error),
        }
    })
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// The next index and a buffer for its result. Both are taken under one lock, so that the next
    /// result due always has a thread.
    fn begin(&self, end: usize, stop: &(dyn Fn() -> bool + Sync)) -> Option<(usize, T)> {
        let is_stopping = stop();
        let mut state = self.lock();
        if is_stopping {
            state.stopped = true;
            self.free.notify_all();
            self.done.notify_all();
        }
        loop {
            if state.stopped || state.next == end {
                return None;
            }
            if let Some(buffer) = state.free.pop() {
                state.next += 1;
                return Some((state.next - 1, buffer));
            }
            state = self.free.wait(state).expect("as above");
        }
    }

    fn finish(&self, at: usize, result: Option<T>) {
        self.lock().done.insert(at, result);
        self.done.notify_all();
    }

    /// The result `at`, once it is finished; `None` if the loop was stopped.
    fn take(&self, at: usize) -> Option<Option<T>> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(result) = state.done.remove(&at) {
                return Some(result);
            }
            state = self.done.wait(state).expect("as above");
        }
    }

    fn give_back(&self, buffer: T) {
        self.lock().free.push(buffer);
        self.free.notify_one();
    }
}

/// Stops the threads when it is dropped, even if `take` panics; they would wait forever.
struct StopGuard<'a, T>(&'a Queue<T>);

impl<T> Drop for StopGuard<'_, T> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.free.notify_all();
    }
}
