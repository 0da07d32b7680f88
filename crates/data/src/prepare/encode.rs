//! Encodes an image file as a member of a shard.

use super::PrepareOptions;
use crate::collection::{Collection, LabelledFile};
use crate::decode::Reason;
use crate::jpeg::Extent;
use crate::shards::{Encoding, Keep};
use crate::{Error, ReadBuffer, Result};
use augment::{Rectangle, Resizer, shorter_side_to};
use jpeg_encoder::{ColorType, SamplingFactor};
use std::path::Path;

/// Larger buffers are freed, so that one huge image does not occupy memory for the rest of the run.
const KEPT_BYTES: usize = 32 << 20;

/// A thread's memory, reused between images.
pub(super) struct Encoder {
    options: PrepareOptions,
    buffer: ReadBuffer,
}

/// An encoded image.
#[derive(Default)]
pub(super) struct EncodedImage {
    /// The bytes of the member.
    pub(super) stored: Vec<u8>,
    /// Height and width.
    pub(super) size: (usize, usize),
    /// The pixels of the centre square before encoding.
    pub(super) square: Vec<u8>,
    /// The error, if there is no image.
    pub(super) failed: Option<Error>,
}

impl Encoder {
    pub(super) fn new(options: &PrepareOptions) -> Encoder {
        Encoder { options: *options, buffer: ReadBuffer::default() }
    }

    pub(super) fn make(
        &mut self,
        collection: &Collection,
        file: &LabelledFile,
        made: &mut EncodedImage,
    ) {
        made.failed = self.try_make(collection, file, made).err();
        if self.buffer.file.capacity() + self.buffer.decoded.pixels.capacity() > KEPT_BYTES {
            self.buffer = ReadBuffer::default();
        }
    }

    fn try_make(
        &mut self,
        collection: &Collection,
        file: &LabelledFile,
        made: &mut EncodedImage,
    ) -> Result<()> {
        let PrepareOptions { side, keep, encoding, exif, .. } = self.options;
        collection.read(file, &mut self.buffer.file)?;
        let bad = |reason: Reason| Error::image(Path::new(&file.name), reason);
        let needed = |size| match keep {
            Keep::Centre => Resizer::square_reach(size, side, Rectangle::whole((side, side))),
            Keep::Whole => Rectangle::whole(size),
        };
        let decoded = self.buffer.decode_part(exif, needed, Extent::Whole);
        decoded.map_err(bad)?;
        let ReadBuffer { decoded, image, resizer, .. } = &mut self.buffer;
        let (height, width) = match keep {
            Keep::Centre => (side, side),
            Keep::Whole => shorter_side_to(side, (decoded.height, decoded.width)),
        };
        match keep {
            Keep::Centre => resizer.square(decoded, side, image),
            Keep::Whole => resizer.resize(decoded, height, width, image),
        }
        made.size = (height, width);
        made.square.resize(side * side * 3, 0);
        let (top, left) = ((height - side) / 2, (width - side) / 2);
        augment::crop(&image.pixels, width, top, left, (side, side), &mut made.square);
        made.stored.clear();
        match encoding {
            Encoding::Raw => made.stored.extend_from_slice(&image.pixels),
            Encoding::Jpeg { quality } => {
                let mut encoder = jpeg_encoder::Encoder::new(&mut made.stored, quality);
                encoder.set_sampling_factor(SamplingFactor::F_2_2);
                let size = (u16::try_from(width), u16::try_from(height));
                let (Ok(width), Ok(height)) = size else {
                    let reason = format!("{width} x {height} pixels is too large for JPEG");
                    return Err(bad(Reason::UnusableSize(reason)));
                };
                encoder.encode(&image.pixels, width, height, ColorType::Rgb).map_err(|error| {
                    bad(Reason::Unsupported(format!("cannot be encoded: {error}")))
                })?;
            }
        }
        Ok(())
    }
}
