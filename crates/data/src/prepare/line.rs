//! Work on many things by many threads, whose results come out in order.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard};

/// Results that may wait for an earlier one, for each thread: enough that no thread waits because
/// one image is four times as large as the next.
const WAITING: usize = 4;

struct State<T> {
    next: usize,
    /// Results that have been handed over, and their buffers to be used again.
    done: BTreeMap<usize, Option<T>>,
    free: Vec<T>,
    stopped: bool,
}

struct Line<T> {
    state: Mutex<State<T>>,
    free: Condvar,
    done: Condvar,
}

/// Makes a result for each of `range` on `threads` threads and hands them to `take` in order, on
/// the caller's. Results are buffers that are used again: never more than a few for each thread.
/// Returns whether the end was reached: `false` if `stop` said so before.
///
/// # Errors
/// What `take` fails with; or that a thread panicked.
pub(super) fn in_order<S, T: Default + Send>(
    threads: usize,
    range: Range<usize>,
    stop: &(dyn Fn() -> bool + Sync),
    prepare: impl Fn() -> S + Sync,
    make: impl Fn(&mut S, usize, &mut T) + Sync,
    mut take: impl FnMut(usize, &T) -> Result<()>,
) -> Result<bool> {
    let buffers = (0..threads * (1 + WAITING)).map(|_| T::default()).collect();
    let state = State { next: range.start, done: BTreeMap::new(), free: buffers, stopped: false };
    let line = Line { state: Mutex::new(state), free: Condvar::new(), done: Condvar::new() };
    let work = || {
        let mut own = prepare();
        while let Some((at, mut result)) = line.begin(range.end, stop) {
            let made = catch_unwind(AssertUnwindSafe(|| make(&mut own, at, &mut result)));
            line.finish(at, made.is_ok().then_some(result));
            if made.is_err() {
                own = prepare();
            }
        }
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
        let _end = End(&line);
        let outcome = range.clone().try_fold(true, |_, at| match line.take(at) {
            None => Err(None),
            Some(None) => {
                let message = "while it was decoded or encoded".to_owned();
                Err(Some(Error::Panic { name: format!("image number {at}"), message }))
            }
            Some(Some(result)) => {
                take(at, &result).map_err(Some)?;
                line.give_back(result);
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

impl<T> Line<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// The next thing to make and a buffer for it; both together, so that what is due next is
    /// always in someone's hands.
    fn begin(&self, end: usize, stop: &(dyn Fn() -> bool + Sync)) -> Option<(usize, T)> {
        let told_to = stop();
        let mut state = self.lock();
        if told_to {
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

    /// The result that is due, once it is there; `None`: nobody makes it any more.
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

/// Sends the threads home, even if the caller's part panics: they would wait for ever.
struct End<'a, T>(&'a Line<T>);

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.free.notify_all();
    }
}
