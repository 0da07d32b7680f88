//! What a source notices about its images while they are read, to be reported once.

use crate::decode::ExifMode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Which images were enlarged, and which have an EXIF orientation other than the stored one.
#[derive(Debug)]
pub(crate) struct Seen {
    first_enlarged: AtomicUsize,
    /// A bit for each image.
    oriented: Vec<AtomicU64>,
}

impl Seen {
    pub(crate) fn new(images: usize) -> Seen {
        let words = (0..images.div_ceil(64)).map(|_| AtomicU64::new(0));
        Seen { first_enlarged: AtomicUsize::new(usize::MAX), oriented: words.collect() }
    }

    pub(crate) fn enlarged(&self, index: usize) {
        self.first_enlarged.fetch_min(index, Ordering::Relaxed);
    }

    pub(crate) fn oriented(&self, index: usize) {
        self.oriented[index / 64].fetch_or(1 << (index % 64), Ordering::Relaxed);
    }

    /// What is to be reported of images that are brought to `side`.
    pub(crate) fn remarks(
        &self,
        side: usize,
        exif: ExifMode,
        name: impl Fn(usize) -> String,
    ) -> Vec<String> {
        let mut remarks = Vec::new();
        let first = self.first_enlarged.load(Ordering::Relaxed);
        if first != usize::MAX {
            remarks.push(format!(
                "images smaller than {side} x {side} pixels are enlarged, {} among them",
                name(first)
            ));
        }
        let words = self.oriented.iter().map(|word| word.load(Ordering::Relaxed));
        let count: u32 = words.clone().map(u64::count_ones).sum();
        let first = words.enumerate().find(|&(_, word)| word != 0);
        if let Some((at, word)) = first {
            let first = name(at * 64 + word.trailing_zeros() as usize);
            remarks.push(exif.note(count as usize, &first));
        }
        remarks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_counts_once_and_the_first_is_the_example() {
        let seen = Seen::new(130);
        let name = |index: usize| format!("image {index}");
        assert!(seen.remarks(8, ExifMode::Ignore, name).is_empty());
        [129, 70, 70, 128].into_iter().for_each(|index| seen.oriented(index));
        [9, 3].into_iter().for_each(|index| seen.enlarged(index));
        let remarks = seen.remarks(8, ExifMode::Ignore, name);
        assert!(remarks[0].contains("8 x 8 pixels are enlarged, image 3"), "{remarks:?}");
        assert!(remarks[1].contains("3 images have an EXIF orientation"), "{remarks:?}");
        assert!(remarks[1].contains("image 70") && remarks[1].contains("ignored"), "{remarks:?}");
        let remarks = seen.remarks(8, ExifMode::Apply, name);
        assert!(remarks[1].contains("applied"), "{remarks:?}");
    }
}
