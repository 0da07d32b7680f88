//! Remarks on a source's images for the user, collected while images are read.

use crate::decode::ExifMode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The first enlarged image, and all images whose EXIF orientation requires rotating or mirroring.
#[derive(Debug)]
pub(crate) struct ImageRemarks {
    /// The lowest index of an enlarged image; `usize::MAX` if there is none.
    first_enlarged: AtomicUsize,
    /// One bit per image, 64 images per element.
    oriented: Vec<AtomicU64>,
}

impl ImageRemarks {
    pub(crate) fn new(images: usize) -> ImageRemarks {
        let words = (0..images.div_ceil(64)).map(|_| AtomicU64::new(0));
        ImageRemarks { first_enlarged: AtomicUsize::new(usize::MAX), oriented: words.collect() }
    }

    /// Records the remarks on image `index`; an image may be recorded several times.
    pub(crate) fn add(&self, index: usize, is_oriented: bool, is_enlarged: bool) {
        if is_enlarged {
            self.first_enlarged.fetch_min(index, Ordering::Relaxed);
        }
        if is_oriented {
            self.oriented[index / 64].fetch_or(1 << (index % 64), Ordering::Relaxed);
        }
    }

    /// The messages for the user. Images were resized to `side`; `name` gives the name of an image.
    pub(crate) fn messages(
        &self,
        side: usize,
        exif: ExifMode,
        name: impl Fn(usize) -> String,
    ) -> Vec<String> {
        let mut messages = Vec::new();
        let first = self.first_enlarged.load(Ordering::Relaxed);
        if first != usize::MAX {
            messages.push(format!(
                "images smaller than {side} x {side} pixels are enlarged, {} among them",
                name(first)
            ));
        }
        let words = self.oriented.iter().map(|word| word.load(Ordering::Relaxed));
        let count: u32 = words.clone().map(u64::count_ones).sum();
        let first = words.enumerate().find(|&(_, word)| word != 0);
        if let Some((at, word)) = first {
            let first = name(at * 64 + word.trailing_zeros() as usize);
            messages.push(exif.note(count as usize, &first));
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_counts_once_and_the_first_is_the_example() {
        let remarks = ImageRemarks::new(130);
        let name = |index: usize| format!("image {index}");
        assert!(remarks.messages(8, ExifMode::Ignore, name).is_empty());
        [129, 70, 70, 128].into_iter().for_each(|index| remarks.add(index, true, false));
        [9, 3].into_iter().for_each(|index| remarks.add(index, false, true));
        let messages = remarks.messages(8, ExifMode::Ignore, name);
        assert!(messages[0].contains("8 x 8 pixels are enlarged, image 3"), "{messages:?}");
        assert!(messages[1].contains("3 images have an EXIF orientation"), "{messages:?}");
        assert!(
            messages[1].contains("image 70") && messages[1].contains("ignored"),
            "{messages:?}"
        );
        let messages = remarks.messages(8, ExifMode::Apply, name);
        assert!(messages[1].contains("applied"), "{messages:?}");
    }
}
