//! Whether a set of images is the one it was.

use crate::loader::{AtHand, Told};
use crate::{Error, Patience, ReadBuffer, Result, Source, Stalled};
use sha2::{Digest, Sha256};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How many images are looked at pixel by pixel.
const LOOKED_AT: usize = 64;

/// A digest of a set: its classes, size, number of images, each image's label and file name, and
/// the pixels of a few that are spread over the set. A folder that has moved is still the same set;
/// one in which a file was added, removed or renamed is another.
///
/// An edited image shows only if it is one of those few. Whoever has the set's
/// [`Statistics`](crate::Statistics) can compare their mean image, too.
pub fn fingerprint(source: &dyn Source) -> String {
    digest(source, &AtHand::new())
}

/// [`fingerprint`], made by a thread of its own. While it is waited for, `watch` is asked some
/// times a second whether to go on, and told of an image that takes long; if it says `false`, there
/// is `None`. A read that never comes back leaves its thread behind.
///
/// # Errors
/// [`Error::Stalled`] if an image takes longer than the patience's limit.
pub fn fingerprint_watched(
    source: &Arc<dyn Source>,
    patience: Patience,
    watch: &mut dyn FnMut(Option<&Stalled>) -> bool,
) -> Result<Option<String>> {
    let Patience { notice, limit } = patience;
    let at_hand = Arc::new(AtHand::new());
    let (send, done) = channel();
    let (own, hand) = (Arc::clone(source), Arc::clone(&at_hand));
    let reader = std::thread::spawn(move || send.send(digest(&*own, &hand)));
    let mut told = Told::default();
    loop {
        match done.recv_timeout(TICK) {
            Ok(digest) => return Ok(Some(digest)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                resume_unwind(reader.join().expect_err("it sends before it ends"))
            }
        }
        let image = at_hand.image();
        let waited = at_hand.waited().unwrap_or_default();
        if waited >= limit {
            return Err(Error::Stalled { name: source.name(image), seconds: waited.as_secs() });
        }
        let due = told.is_due(image, waited, notice);
        let stalled = due.then(|| Stalled { name: source.name(image), waited, limit });
        if !watch(stalled.as_ref()) {
            return Ok(None);
        }
    }
}

/// How often whoever waits is asked whether to go on.
const TICK: Duration = Duration::from_millis(50);

fn digest(source: &dyn Source, at_hand: &AtHand) -> String {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    source.classes().iter().for_each(|class| text(class));
    let (height, width) = source.size();
    text(&format!("{} images of {height} x {width}", source.len()));
    for index in 0..source.len() {
        let name = source.name(index);
        text(name.rsplit(['/', '\\']).next().unwrap_or(&name));
        text(&source.label(index).to_string());
    }
    let mut buffer = ReadBuffer::default();
    let count = source.len().min(LOOKED_AT);
    for position in 0..count {
        let index = (position as u64 * source.len() as u64 / count as u64) as usize;
        at_hand.begin(index);
        let read = source.read(index, &mut buffer);
        at_hand.end();
        match read {
            Ok(pixels) => hash.update(pixels),
            Err(_) => hash.update(b"unreadable"), // training copes with that, and so does this
        }
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty::Faulty;
    use crate::{Fake, Shapes, Subset};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn any_change_gives_another() {
        let set = |seed, count| Arc::new(Shapes::train(seed, 32, count));
        let one = fingerprint(&*set(1, 100));
        assert_eq!(one, fingerprint(&*set(1, 100)));
        assert_eq!(one.len(), 32);
        assert_ne!(one, fingerprint(&*set(2, 100)));
        assert_ne!(one, fingerprint(&*set(1, 101)));
        assert_ne!(one, fingerprint(&Subset::spread(set(1, 100), 99)));
        assert_ne!(one, fingerprint(&Fake::new(100, 32, 10)));
    }

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

    #[test]
    fn a_disk_that_does_not_answer_is_told_and_need_not_be_waited_for() {
        let (source, open) = gated();
        let name = source.name(7);
        let patience = Patience { notice: Duration::from_millis(100), ..Patience::default() };
        // Told, and then it comes: the same digest as unwatched.
        let mut heard = Vec::new();
        let mut hear = |stalled: Option<&Stalled>| {
            heard.extend(stalled.cloned());
            open.fetch_or(stalled.is_some(), Ordering::SeqCst);
            true
        };
        let found = fingerprint_watched(&source, patience, &mut hear).unwrap();
        assert_eq!(found, Some(fingerprint(&*source)));
        let [stalled] = &heard[..] else { panic!("{heard:?}") };
        assert!(stalled.name == name && stalled.waited >= patience.notice, "{stalled:?}");

        open.store(false, Ordering::SeqCst);
        let found = fingerprint_watched(&source, patience, &mut |stalled| stalled.is_none());
        assert_eq!(found.unwrap(), None);

        let patience = Patience { limit: Duration::from_millis(150), ..patience };
        let error = fingerprint_watched(&source, patience, &mut |_| true).unwrap_err();
        assert!(matches!(&error, Error::Stalled { name: at, .. } if *at == name), "{error}");
        open.store(true, Ordering::SeqCst); // lets the threads go
    }

    #[test]
    fn a_folder_may_move_and_its_files_may_not_change() {
        let [a, b] = [(); 2].map(|()| crate::scratch_dir::ScratchDir::new());
        for scratch in [&a, &b] {
            for name in ["train/cat/1.png", "train/cat/2.png", "train/dog/1.png"] {
                scratch.png(name, (9, 9), [7, 8, 9]);
            }
            scratch.png("val/cat/3.png", (9, 9), [1, 2, 3]);
            scratch.png("val/dog/3.png", (9, 9), [1, 2, 3]);
        }
        let of = |scratch: &crate::scratch_dir::ScratchDir| {
            let options = crate::Options::with_side(8);
            let name = scratch.path().display().to_string();
            fingerprint(&*crate::open(&name, &options, &|_, _| ()).unwrap().train)
        };
        assert_eq!(of(&a), of(&b));
        b.png("train/cat/1.png", (9, 9), [7, 8, 10]);
        assert_ne!(of(&a), of(&b));
        b.png("train/cat/1.png", (9, 9), [7, 8, 9]);
        assert_eq!(of(&a), of(&b));
        std::fs::rename(b.path().join("train/cat/1.png"), b.path().join("train/dog/0.png"))
            .unwrap();
        assert_ne!(of(&a), of(&b));
    }
}
