//! Whether a set of images is the one it was.

use crate::loader::AtHand;
use crate::watch::watched;
use crate::{Patience, ReadBuffer, Result, Source, Watch};
use sha2::{Digest, Sha256};
use std::sync::Arc;

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
/// [`Error::Stalled`](crate::Error::Stalled) if an image takes longer than the patience's limit.
pub fn fingerprint_watched(
    source: &Arc<dyn Source>,
    patience: Patience,
    watch: &mut Watch,
) -> Result<Option<String>> {
    watched(source, 1, patience, watch, |source, hands| digest(source, &hands[0]))
}

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
    use crate::{Fake, Shapes, Subset};

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

    #[test]
    fn a_disk_that_does_not_answer_is_told_and_need_not_be_waited_for() {
        crate::watch::tests::check(fingerprint_watched, |source| fingerprint(&**source));
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
