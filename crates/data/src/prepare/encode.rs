//! From a file of a collection to the bytes of a shard's member.

use super::PrepareOptions;
use crate::collection::{Collection, Item};
use crate::decode::Reason;
use crate::jpeg::Extent;
use crate::shards::{Form, Keep};
use crate::{Error, ReadBuffer, Result};
use augment::{Rectangle, Resizer, shorter_side_to};
use jpeg_encoder::{ColorType, SamplingFactor};
use std::path::Path;

/// Buffers larger than this are not kept from image to image: a thread that once met a giant would
/// hold its memory for good.
const KEPT_BYTES: usize = 32 << 20;

/// What a thread keeps between images.
pub(super) struct Encoder {
    options: PrepareOptions,
    buffer: ReadBuffer,
}

/// What is made of an image.
#[derive(Default)]
pub(super) struct Made {
    /// The member's bytes.
    pub(super) stored: Vec<u8>,
    /// Height and width.
    pub(super) size: (usize, usize),
    /// The pixels of the centre square, before they are encoded.
    pub(super) square: Vec<u8>,
    /// Why there is nothing.
    pub(super) failed: Option<Error>,
}

impl Encoder {
    pub(super) fn new(options: &PrepareOptions) -> Encoder {
        Encoder { options: *options, buffer: ReadBuffer::default() }
    }

    pub(super) fn make(&mut self, collection: &Collection, item: &Item, made: &mut Made) {
        made.failed = self.try_make(collection, item, made).err();
        if self.buffer.file.capacity() + self.buffer.decoded.pixels.capacity() > KEPT_BYTES {
            self.buffer = ReadBuffer::default();
        }
    }

    fn try_make(&mut self, collection: &Collection, item: &Item, made: &mut Made) -> Result<()> {
        let PrepareOptions { side, keep, form, exif, .. } = self.options;
        collection.read(item, &mut self.buffer.file)?;
        let bad = |reason: Reason| Error::image(Path::new(&item.name), reason);
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
        match form {
            Form::Raw => made.stored.extend_from_slice(&image.pixels),
            Form::Jpeg { quality } => {
                let mut encoder = jpeg_encoder::Encoder::new(&mut made.stored, quality);
                encoder.set_sampling_factor(SamplingFactor::F_2_2);
                let size = (u16::try_from(width), u16::try_from(height));
                let (Ok(width), Ok(height)) = size else {
                    let reason = format!("{width} x {height} pixels is too much for JPEG");
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
