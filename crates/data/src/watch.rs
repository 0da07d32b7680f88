//! Reading before the first batch, under a watch: a disk that does not answer is told of, need not
//! be waited for, and is an error in the end.

use crate::loader::{AtHand, Told};
use crate::parallel::thread_count;
use crate::{Error, Patience, Result, Source, Stalled};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Hears some times a second that something is waited for, and of an image that takes long; says
/// whether to go on.
pub type Watch<'a> = dyn FnMut(Option<&Stalled>) -> bool + 'a;

/// How often whoever waits is asked whether to go on.
const TICK: Duration = Duration::from_millis(50);

/// A hand for each of so many threads; 0: one for each core.
pub(crate) fn hands(threads: usize) -> Arc<[AtHand]> {
    (0..thread_count(threads)).map(|_| AtHand::new()).collect()
}

/// Has `work` done by a thread of its own and `threads` (0: one for each core) that it may start,
/// each of which says by its hand what it reads. While it is waited for, `watch` is asked; if it
/// says `false`, there is `None`. A read that never comes back leaves its thread behind.
///
/// # Errors
/// [`Error::Stalled`] if an image takes longer than the patience's limit.
pub(crate) fn watched<T: Send + 'static>(
    source: &Arc<dyn Source>,
    threads: usize,
    patience: Patience,
    watch: &mut Watch,
    work: impl FnOnce(&dyn Source, &[AtHand]) -> T + Send + 'static,
) -> Result<Option<T>> {
    let Patience { notice, limit } = patience;
    let hands = hands(threads);
    let (send, done) = channel();
    let (own, at_hand) = (Arc::clone(source), Arc::clone(&hands));
    let reader = std::thread::spawn(move || send.send(work(&*own, &at_hand)));
    let mut told = Told::default();
    loop {
        match done.recv_timeout(TICK) {
            Ok(made) => return Ok(Some(made)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                resume_unwind(reader.join().expect_err("it sends before it ends"))
            }
        }
        let longest = hands.iter().filter_map(|hand| Some((hand.waited()?, hand.image()))).max();
        let stalled = match longest {
            Some((waited, image)) if waited >= limit => {
                return Err(Error::Stalled { name: source.name(image), seconds: waited.as_secs() });
            }
            Some((waited, image)) if told.is_due(image, waited, notice) => {
                Some(Stalled { name: source.name(image), waited, limit })
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

    /// Forty images, of which the eighth comes when the gate is opened.
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

    /// What `read` makes under a watch is what is made without; it tells of the image that does not
    /// come, can be stopped, and is patient to a limit.
    pub(crate) fn check<T: PartialEq + Debug>(
        read: impl Fn(&Arc<dyn Source>, Patience, &mut Watch) -> Result<Option<T>>,
        unwatched: impl Fn(&Arc<dyn Source>) -> T,
    ) {
        let (source, open) = gated();
        let name = source.name(7);
        let patience = Patience { notice: Duration::from_millis(100), ..Patience::default() };
        // Told, and then it comes.
        let mut heard = Vec::new();
        let mut hear = |stalled: Option<&Stalled>| {
            heard.extend(stalled.cloned());
            open.fetch_or(stalled.is_some(), Ordering::SeqCst);
            true
        };
        let found = read(&source, patience, &mut hear).unwrap();
        assert_eq!(found, Some(unwatched(&source)));
        let [stalled] = &heard[..] else { panic!("{heard:?}") };
        assert!(stalled.name == name && stalled.waited >= patience.notice, "{stalled:?}");

        open.store(false, Ordering::SeqCst);
        let found = read(&source, patience, &mut |stalled| stalled.is_none());
        assert_eq!(found.unwrap(), None);

        let patience = Patience { limit: Duration::from_millis(150), ..patience };
        let error = read(&source, patience, &mut |_| true).unwrap_err();
        assert!(matches!(&error, Error::Stalled { name: at, .. } if *at == name), "{error}");
        open.store(true, Ordering::SeqCst); // lets the threads go
    }
}
