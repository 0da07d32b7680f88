//! A decoder for the JPEGs that most data sets are made of, and for the part of them that a crop
//! shows.
//!
//! It takes what it is sure of: 8 bits, Huffman coding, one sequential scan, grey or YCbCr with
//! full, halved or quartered chroma, and data that are sound as far as they are read. All else
//! (progressive, CMYK, odd markers, any damage) it leaves to the decoder that
//! [`decode`](crate::decode) falls back to, whose word on a broken file is final.
//!
//! All units must be read, as none says where the next begins, but only those near the wanted part
//! are made into samples, and rows below it are not read at all. The pixels are the same whatever
//! the part, and equal to libjpeg's (and so Pillow's) bit for bit.
//!
//! In the order of a file's way: [`header`], [`bits`], [`huffman`], [`blocks`], [`idct`],
//! [`canvas`]; [`region`] says what is needed.

mod bits;
mod blocks;
mod canvas;
mod header;
mod huffman;
mod idct;
mod region;

use augment::{Image, Rectangle};
use bits::Scan;
use canvas::Canvas;
use header::Header;
use region::Region;

/// Narrower images are not blended by libjpeg where chroma is halved.
const NARROWEST: usize = 5;

/// A decoder, with what it keeps from image to image so that it allocates nothing new.
#[derive(Debug, Default)]
pub(crate) struct Jpeg {
    header: Header,
    scan: Scan,
    canvas: Canvas,
}

/// How much of a file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it: damage anywhere is found.
    Whole,
    /// Down to the last row that is needed.
    Needed,
}

impl Jpeg {
    /// Decodes the part of an image that `part` chooses, told height and width. `into` takes the
    /// size of the image; its pixels outside of the part are unspecified.
    ///
    /// `None` if this is no image for this decoder, or `part` says so.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        part: impl FnOnce(usize, usize) -> Option<Rectangle>,
        extent: Extent,
        into: &mut Image,
    ) -> Option<()> {
        let Jpeg { header, scan, canvas } = self;
        let coded = header.read(bytes)?;
        if header.count == 3 && header.width < NARROWEST {
            return None;
        }
        let part = part(header.height, header.width)?;
        let Rectangle { top, left, height, width } = part;
        if top + height > header.height || left + width > header.width || height * width == 0 {
            return None;
        }
        scan.fill(coded)?;
        let region = Region::of(header, part);
        canvas.reset(header, &region);
        into.reshape(header.height, header.width);
        let to_end = extent == Extent::Whole || region.is_whole(header);
        let into = &mut into.pixels;
        pulp::Arch::new().dispatch(Work { header, scan, region: &region, to_end, canvas, into })
    }
}

/// The work of [`blocks::decode`], compiled for the widest vectors that the processor has. (What it
/// calls must be inlined, all of it, or would be compiled for the oldest processor.)
struct Work<'a> {
    header: &'a Header,
    scan: &'a Scan,
    region: &'a Region,
    to_end: bool,
    canvas: &'a mut Canvas,
    into: &'a mut [u8],
}

impl pulp::WithSimd for Work<'_> {
    type Output = Option<()>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Option<()> {
        let Work { header, scan, region, to_end, canvas, into } = self;
        blocks::decode(header, scan, region, to_end, canvas, into)
    }
}

#[cfg(test)]
mod tests;
