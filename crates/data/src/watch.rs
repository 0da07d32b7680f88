//! Reads many images with a callback that can stop reading, and with a time limit for each image
//! in case a disk does not respond.

use crate::loader::{ReadClock, StallNotices};
use crate::parallel::thread_count;
use crate::{Error, ReadTimeouts, Result, Source, StalledRead};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// A callback that is called several times a second while images are read. Its argument is a
/// stalled read whenever one is to be reported. Reading stops if it returns `false`.
pub type ReadWatch<'a> = dyn FnMut(Option<&StalledRead>) -> bool + 'a;

/// The interval between calls of the callback.
const TICK: Duration = Duration::from_millis(50);

/// A clock for each of `threads` threads (0: one per core).
pub(crate) fn clocks(threads: usize) -> Arc<[ReadClock]> {
    (0..thread_count(threads)).map(|_| ReadClock::new()).collect()
}

/// Runs `work` on a new thread. `work` may start `threads` threads (0: one per core); each of them
/// starts its own of the given clocks when it begins to read an image. Meanwhile `watch` is called
/// several times a second; if it returns `false`, the result is `None`. `work` is not waited for
/// after that or after an error: a thread whose read never returns is leaked.
///
/// # Errors
/// [`Error::Stalled`] if reading one image takes longer than the limit.
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
    let (work_source, work_clocks) = (Arc::clone(source), Arc::clone(&clocks));
    let reader = std::thread::spawn(move || send.send(work(&*work_source, &work_clocks)));
    let mut notices = StallNotices::default();
    loop {
        match done.recv_timeout(TICK) {
            Ok(result) => return Ok(Some(result)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                resume_unwind(reader.join().expect_err("the thread sends unless it panics"))
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

    /// Forty images, and a flag: reading the eighth image blocks until the flag is set.
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

    /// Checks that `read` returns the same as `unwatched`, reports a stalled image, can be stopped,
    /// and fails if an image takes longer than the limit.
    pub(crate) fn check<T: PartialEq + Debug>(
        read: impl Fn(&Arc<dyn Source>, ReadTimeouts, &mut ReadWatch) -> Result<Option<T>>,
        unwatched: impl Fn(&Arc<dyn Source>) -> T,
    ) {
        let (source, open) = gated();
        let name = source.name(7);
        let timeouts =
            ReadTimeouts { notice: Duration::from_millis(100), ..ReadTimeouts::default() };
        // A stall is reported; then the read succeeds.
        let mut reports = Vec::new();
        let mut watch = |stalled: Option<&StalledRead>| {
            reports.extend(stalled.cloned());
            open.fetch_or(stalled.is_some(), Ordering::SeqCst);
            true
        };
        let result = read(&source, timeouts, &mut watch).unwrap();
        assert_eq!(result, Some(unwatched(&source)));
        let [stalled] = &reports[..] else { panic!("{reports:?}") };
        assert!(stalled.name == name && stalled.waited >= timeouts.notice, "{stalled:?}");

        // The callback stops a stalled read.
        open.store(false, Ordering::SeqCst);
        let result = read(&source, timeouts, &mut |stalled| stalled.is_none());
        assert_eq!(result.unwrap(), None);

        // A stalled read fails after the limit.
        let timeouts = ReadTimeouts { limit: Duration::from_millis(150), ..timeouts };
        let error = read(&source, timeouts, &mut |_| true).unwrap_err();
        assert!(matches!(&error, Error::Stalled { name: at, .. } if *at == name), "{error}");
        open.store(true, Ordering::SeqCst); // lets the blocked threads end
    }
}
