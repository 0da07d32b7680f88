//! Square images decoded from image files of any size.

use crate::decode::{ExifMode, square};
use crate::jpeg::Extent;
use crate::remarks::ImageRemarks;
use crate::{Crops, Error, ReadBuffer, Result};
use augment::{CentreSquare, Resizer};
use std::path::Path;

/// Decodes the image files of a source to `side` x `side` pixels: shorter side resized, then the
/// centre square.
#[derive(Debug)]
pub(crate) struct SquareDecoder {
    pub square: CentreSquare,
    pub exif: ExifMode,
    remarks: ImageRemarks,
}

impl SquareDecoder {
    /// For a source of `images` images.
    pub fn new(square: CentreSquare, exif: ExifMode, images: usize) -> SquareDecoder {
        SquareDecoder { square, exif, remarks: ImageRemarks::new(images) }
    }

    pub fn size(&self) -> (usize, usize) {
        (self.square.side, self.square.side)
    }

    /// Decodes image `index` of the source, the file `path`, whose bytes are in `buffer.file`.
    pub fn read<'a>(
        &self,
        index: usize,
        path: &Path,
        buffer: &'a mut ReadBuffer,
    ) -> Result<&'a [u8]> {
        let decoded = square(self.square, self.exif, buffer);
        let (_, is_enlarged) = decoded.map_err(|reason| Error::image(path, reason))?;
        self.remarks.add(index, buffer.is_oriented(), is_enlarged);
        Ok(&buffer.image.pixels)
    }

    /// As [`read`](Self::read), for [`Source::read_crops`](crate::Source::read_crops).
    pub fn read_crops(
        &self,
        index: usize,
        path: &Path,
        crops: Crops<'_>,
        buffer: &mut ReadBuffer,
    ) -> Result<()> {
        let part = crops.part(self.size());
        let part = |whole| Resizer::square_reach(whole, self.square, part);
        let decoded = buffer.decode_part(self.exif, part, Extent::Needed);
        decoded.map_err(|reason| Error::image(path, reason))?;
        let is_enlarged = buffer.decoded.height.min(buffer.decoded.width) < self.square.side;
        self.remarks.add(index, buffer.is_oriented(), is_enlarged);
        buffer.square_crops(self.square, crops);
        Ok(())
    }

    pub fn remarks(&self, name: impl Fn(usize) -> String) -> Vec<String> {
        self.remarks.messages(self.square.side, self.exif, name)
    }
}
