//! Image files without classes, read on demand.

use crate::decode::read_square;
use crate::{Error, ExifMode, ReadBuffer, Result, Source};
use augment::CentreSquare;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Image files as a source. A file that cannot be read becomes a grey image and is recorded in
/// [`bad`](Self::bad), so that the other images can still be used, however many are bad.
pub struct UnlabelledFiles {
    classes: Vec<String>,
    square: CentreSquare,
    exif: ExifMode,
    files: Vec<PathBuf>,
    grey: Vec<u8>,
    bad: Mutex<BTreeMap<usize, Error>>,
    /// Images with an EXIF orientation that differs from the stored one.
    oriented: Mutex<BTreeSet<usize>>,
}

impl UnlabelledFiles {
    /// `files` as squares, with the classes of the network that predicts them.
    pub fn new(
        files: Vec<PathBuf>,
        square: impl Into<CentreSquare>,
        exif: ExifMode,
        classes: &[String],
    ) -> UnlabelledFiles {
        let square = square.into();
        let grey = vec![128; square.side * square.side * 3];
        let (classes, bad, oriented) = (classes.to_vec(), Mutex::default(), Mutex::default());
        UnlabelledFiles { classes, square, exif, files, grey, bad, oriented }
    }

    /// The path of image `index`.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index]
    }

    /// The images that could not be read so far, with their errors.
    pub fn bad(&self) -> MutexGuard<'_, BTreeMap<usize, Error>> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for UnlabelledFiles {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.square.side, self.square.side)
    }

    fn len(&self) -> usize {
        self.files.len()
    }

    fn label(&self, index: usize) -> u32 {
        assert!(index < self.len(), "image {index} of {}", self.len());
        0
    }

    fn name(&self, index: usize) -> String {
        self.files[index].display().to_string()
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        match read_square(&self.files[index], self.square, self.exif, buffer).map(drop) {
            Ok(()) => {
                if buffer.is_oriented() {
                    self.oriented.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
                }
                Ok(&buffer.image.pixels)
            }
            Err(error) => {
                self.bad().insert(index, error);
                Ok(&self.grey)
            }
        }
    }

    fn remarks(&self) -> Vec<String> {
        let oriented = self.oriented.lock().unwrap_or_else(PoisonError::into_inner);
        let first =
            oriented.first().map(|&first| self.exif.note(oriented.len(), &self.name(first)));
        first.into_iter().collect()
    }
}
