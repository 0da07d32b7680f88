//! Reads with a callback that can stop them, and with a time limit for reads that a disk does not
//! answer.

use crate::loader::{ReadClock, StallNotices};
use crate::parallel::thread_count;
use crate::{Error, ReadTimeouts, Result, Source, StalledRead};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// A callback during a read, called several times a second; it receives a stalled read if there is
/// one. Reading stops if it returns `false`.
pub type ReadWatch<'a> = dyn FnMut(Option<&StalledRead>) -> bool + 'a;

/// The interval between calls of the callback.
const TICK: Duration = Duration::from_millis(50);

/// A clock for each of `threads` threads (0: one per core).
pub(crate) fn clocks(threads: usize) -> Arc<[ReadClock]> {
    (0..thread_count(threads)).map(|_| ReadClock::new()).collect()
}

/// Runs `work` on a new thread. `work` may start `threads` threads (0: one per core) and reports
/// their current reads through its clocks. Meanwhile `watch` is called several times a second; if
/// it returns `false`, the result is `None`. The thread of a read that never returns is leaked.
///
/// # Errors
/// [`Error::Stalled`] if an image takes longer than the limit.
pub(crate) fn watched<T: Send + 'static>(
    source: &Arc<dyn Source>,
    threads: usize,
    timeouts: ReadTimeouts,
    watch: &mut ReadWatch,
    work: impl FnOnce(&dyn Source, &[ReadClock]) -> T + Send + 'static,
) -> Result<Option<T>> {
    let ReadTimeouts { notice, limit } = timeouts;
    let clocks = clocks(threads);
    let (send, done) = channel();
    let (own, worker_clocks) = (Arc::clone(source), Arc::clone(&clocks));
    let reader = std::thread::spawn(move || send.send(work(&*own, &worker_clocks)));
    let mut notices = StallNotices::default();
    loop {
        match done.recv_timeout(TICK) {
            Ok(result) => return Ok(Some(result)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                resume_unwind(reader.join().expect_err("it sends unless it panics"))
            }
        }
        let longest =
            clocks.iter().filter_map(|clock| Some((clock.waited()?, clock.image()))).max();
        let stalled = match longest {
            Some((waited, image)) if waited >= limit => {
                return Err(Error::Stalled { name: source.name(image), seconds: waited.as_secs() });
            }
            Some((waited, image)) if notices.is_due(image, waited, notice) => {
                Some(StalledRead { name: source.name(image), waited, limit })
            }
            _ => None,
        };
        if !watch(stalled.as_ref()) {
            return Ok(None);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::faulty::Faulty;
    use std::fmt::Debug;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Forty images; reading the eighth blocks until the flag is set.
    fn gated() -> (Arc<dyn Source>, Arc<AtomicBool>) {
        let open = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&open);
        let mut source = Faulty::new(40, (6, 6));
        source.on_read = Some(Box::new(move |index| {
            while index == 7 && !gate.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }));
        (Arc::new(source), open)
    }

    /// Checks that a watched `read` gives the result of `unwatched`, reports a stalled image, can
    /// be stopped, and fails after its limit.
    pub(crate) fn check<T: PartialEq + Debug>(
        read: impl Fn(&Arc<dyn Source>, ReadTimeouts, &mut ReadWatch) -> Result<Option<T>>,
        unwatched: impl Fn(&Arc<dyn Source>) -> T,
    ) {
        let (source, open) = gated();
        let name = source.name(7);
        let timeouts =
            ReadTimeouts { notice: Duration::from_millis(100), ..ReadTimeouts::default() };
        // A stall is reported; then the read succeeds.
        let mut heard = Vec::new();
        let mut hear = |stalled: Option<&StalledRead>| {
            heard.extend(stalled.cloned());
            open.fetch_or(stalled.is_some(), Ordering::SeqCst);
            true
        };
        let found = read(&source, timeouts, &mut hear).unwrap();
        assert_eq!(found, Some(unwatched(&source)));
        let [stalled] = &heard[..] else { panic!("{heard:?}") };
        assert!(stalled.name == name && stalled.waited >= timeouts.notice, "{stalled:?}");

        open.store(false, Ordering::SeqCst);
        let found = read(&source, timeouts, &mut |stalled| stalled.is_none());
        assert_eq!(found.unwrap(), None);

        let timeouts = ReadTimeouts { limit: Duration::from_millis(150), ..timeouts };
        let error = read(&source, timeouts, &mut |_| true).unwrap_err();
        assert!(matches!(&error, Error::Stalled { name: at, .. } if *at == name), "{error}");
        open.store(true, Ordering::SeqCst); // ends the blocked threads
    }
}
