//! Detects a changed data set.

use crate::loader::ReadClock;
use crate::watch::watched;
use crate::{ReadBuffer, ReadTimeouts, ReadWatch, Result, Source};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The number of images whose pixels are hashed.
const SAMPLED_IMAGES: usize = 64;

/// A digest of a set: classes, size, number of images, every label and file name, and the pixels of
/// 64 evenly spaced images. Moving the folder does not change it; adding, removing or renaming
/// a file does.
///
/// An edited image is detected only if it is one of those 64; the mean image in the set's
/// [`Statistics`](crate::Statistics) detects more.
pub fn fingerprint(source: &dyn Source) -> String {
    digest(source, &ReadClock::new())
}

/// [`fingerprint`] on a separate thread. Meanwhile `watch` is called several times a second with
/// any stalled read; if it returns `false`, the result is `None`. The thread of a read that never
/// returns is leaked.
///
/// # Errors
/// [`Error::Stalled`](crate::Error::Stalled) if an image takes longer than the limit.
pub fn fingerprint_watched(
    source: &Arc<dyn Source>,
    timeouts: ReadTimeouts,
    watch: &mut ReadWatch,
) -> Result<Option<String>> {
    watched(source, 1, timeouts, watch, |source, clocks| digest(source, &clocks[0]))
}

fn digest(source: &dyn Source, clock: &ReadClock) -> String {
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
    let count = source.len().min(SAMPLED_IMAGES);
    for position in 0..count {
        let index = (position as u64 * source.len() as u64 / count as u64) as usize;
        clock.begin(index);
        let read = source.read(index, &mut buffer);
        clock.end();
        match read {
            Ok(pixels) => hash.update(pixels),
            Err(_) => hash.update(b"unreadable"), // training tolerates unreadable images, too
        }
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fake, Shapes, Subset};

    #[test]
    fn any_change_changes_the_fingerprint() {
        let set = |seed, count| Arc::new(Shapes::train(seed, 32, count));
        let one = fingerprint(&*set(1, 100));
        assert_eq!(one, fingerprint(&*set(1, 100)));
        assert_eq!(one.len(), 32);
        assert_ne!(one, fingerprint(&*set(2, 100)));
        assert_ne!(one, fingerprint(&*set(1, 101)));
        assert_ne!(one, fingerprint(&Subset::spread(set(1, 100), 99)));
        assert_ne!(one, fingerprint(&Fake::new(100, 32, 10)));
    }

    #[test]
    fn a_stalled_read_is_reported_and_can_be_stopped() {
        crate::watch::tests::check(fingerprint_watched, |source| fingerprint(&**source));
    }

    #[test]
    fn a_folder_may_be_moved_but_not_changed() {
        let [a, b] = [(); 2].map(|()| crate::scratch_dir::ScratchDir::new());
        for scratch in [&a, &b] {
            for name in ["train/cat/1.png", "train/cat/2.png", "train/dog/1.png"] {
                scratch.png(name, (9, 9), [7, 8, 9]);
            }
            scratch.png("val/cat/3.png", (9, 9), [1, 2, 3]);
            scratch.png("val/dog/3.png", (9, 9), [1, 2, 3]);
        }
        let of = |scratch: &crate::scratch_dir::ScratchDir| {
            let options = crate::DatasetOptions::with_side(8);
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
