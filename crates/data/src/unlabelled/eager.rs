//! Image files without classes, read at once.

use crate::decode::read_square;
use crate::{Error, ExifMode, ReadBuffer, Result, Source};
use augment::CentreSquare;
use std::path::PathBuf;

/// Images read from files, without classes.
pub struct UnlabelledImages {
    classes: Vec<String>,
    side: usize,
    names: Vec<PathBuf>,
    pixels: Vec<Vec<u8>>,
    remark: Option<String>,
}

impl UnlabelledImages {
    /// Reads `files` as squares. Also returns the errors of those that cannot be
    /// read, which are left out.
    pub fn read(
        files: &[PathBuf],
        square: impl Into<CentreSquare>,
        exif: ExifMode,
        classes: &[String],
    ) -> (UnlabelledImages, Vec<Error>) {
        let (mut names, mut pixels, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        let (mut oriented, mut first) = (0, None);
        let mut buffer = ReadBuffer::default();
        let square = square.into();
        for file in files {
            match read_square(file, square, exif, &mut buffer) {
                Ok((image, _)) => {
                    pixels.push(image.to_vec());
                    names.push(file.clone());
                    if buffer.is_oriented() {
                        oriented += 1;
                        first.get_or_insert(file);
                    }
                }
                Err(error) => bad.push(error),
            }
        }
        let remark = first.map(|first| exif.note(oriented, &first.display().to_string()));
        (
            UnlabelledImages {
                classes: classes.to_vec(),
                side: square.side,
                names,
                pixels,
                remark,
            },
            bad,
        )
    }
}

impl Source for UnlabelledImages {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.side, self.side)
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    fn label(&self, index: usize) -> u32 {
        assert!(index < self.len(), "image {index} of {}", self.len());
        0
    }

    fn name(&self, index: usize) -> String {
        self.names[index].display().to_string()
    }

    fn read<'a>(&'a self, index: usize, _: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        Ok(&self.pixels[index])
    }

    fn remarks(&self) -> Vec<String> {
        self.remark.iter().cloned().collect()
    }
}
