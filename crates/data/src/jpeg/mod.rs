//! A decoder for JPEG: baseline, extended and progressive, of 8 bits and Huffman codes, and for the
//! part of an image that a crop shows.
//!
//! Its pixels are those of libjpeg-turbo's default settings (and so Pillow's) bit for bit, whatever
//! the part. It takes what libjpeg takes: grey, YCbCr, RGB, CMYK and YCCK, one scan or many,
//! sampling factors whose ratios are whole numbers, any restart interval, bytes between segments.
//! What it does not read (arithmetic coding, 12 bits, lossless, hierarchical) is *unsupported*;
//! everything else that cannot be read is *damaged*, as is what libjpeg would only warn of: coded
//! data that are missing or left over, codes that do not exist, restart markers out of turn, scans
//! that are missing or out of order.
//!
//! If one scan holds everything, as in nearly all files, samples are made as it is read, those near
//! the wanted part only; and rows below it are not read at all. Otherwise the coefficients of all
//! blocks are kept until the last scan has been read, in up to 256 MiB.
//!
//! In the order of a file's way: [`markers`], [`header`], [`bits`], [`huffman`], [`blocks`] or
//! [`coefficients`] and [`progressive`], [`idct`], [`canvas`], [`colors`]; [`region`] says what is
//! needed.

mod bits;
mod blocks;
mod canvas;
mod coefficients;
mod colors;
mod header;
mod huffman;
mod idct;
pub(crate) mod markers;
mod progressive;
mod region;
mod standard;

use crate::reason::Reason;
use augment::{Image, Rectangle};
use bits::{Fault, Scan};
use canvas::Canvas;
use coefficients::Coefficients;
use header::Header;
use huffman::Table;
use markers::Segments;
use region::Region;

/// A decoder, with what it keeps from image to image so that it allocates nothing new.
#[derive(Debug, Default)]
pub(crate) struct Jpeg {
    header: Header,
    scan: Scan,
    coefficients: Coefficients,
    canvas: Canvas,
    trial: Trial,
}

/// Ways to decode that only tests take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Trial {
    /// Coefficients are kept even of a single scan.
    keeps: bool,
    /// Three channels are not converted to colours.
    is_stored: bool,
}

/// The largest sum of a block's coefficients, each times its step, where decoders must agree: that
/// of a white block. Beyond, the second decoder that tests ask limits values in the middle of its
/// transform.
const LARGEST_SUM: u64 = 8 * 128;

/// How much of a file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it: damage anywhere is found.
    Whole,
    /// Down to the last row that is needed.
    Needed,
}

fn damaged(what: &str) -> Reason {
    Reason::Damaged(format!("no whole JPEG ({what})"))
}

fn unsupported(what: &str) -> Reason {
    let how = "convert the JPEG file, for example with djpeg or ImageMagick";
    Reason::Unsupported(format!("{what} is not supported; {how}"))
}

fn too_large(header: &Header) -> Reason {
    let (height, width) = (header.height, header.width);
    let text = format!("{width} x {height} pixels is no usable size for a JPEG of several scans");
    Reason::UnusableSize(text)
}

impl Jpeg {
    /// Decodes the part of an image that `part` chooses, told height and width. `into` takes the
    /// size of the image; its pixels outside of the part are unspecified.
    ///
    /// # Errors
    /// If the file is damaged as far as it is read, or of another kind; or `part` refuses its size.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        part: impl FnOnce(usize, usize) -> Result<Rectangle, Reason>,
        extent: Extent,
        into: &mut Image,
    ) -> Result<(), Reason> {
        let coded = self.header.read(bytes)?;
        let size = (self.header.height, self.header.width);
        let part = part(size.0, size.1)?;
        let Rectangle { top, left, height, width } = part;
        assert!(
            height * width > 0 && top + height <= size.0 && left + width <= size.1,
            "{part:?} of {size:?} is not in the image"
        );
        let region = Region::of(&self.header, part);
        let to_end = extent == Extent::Whole || region.is_whole(&self.header);
        if self.header.is_single() && !self.trial.keeps {
            self.decode_single(coded, &region, to_end, into)
        } else {
            let decoded = self.decode_scans(coded, &region, to_end, into);
            if self.trial == Trial::default() {
                self.coefficients.release();
            }
            decoded
        }
    }

    /// The same of a whole image in a way that only tests take: coefficients are kept even of a
    /// single scan, and with `is_stored` three channels are left as they are stored. Returns
    /// whether a correct decoder with other roundings must come within two levels of that: not for
    /// four channels, which have to be converted; nor where coefficients are too large for any
    /// picture, or halved channels too narrow to be blended, which only libjpeg's kin minds; nor
    /// where codes repeat each other.
    pub(crate) fn decode_kept(
        &mut self,
        bytes: &[u8],
        is_stored: bool,
        into: &mut Image,
    ) -> Result<bool, Reason> {
        self.trial = Trial { keeps: true, is_stored };
        let whole = |height, width| Ok(Rectangle::whole((height, width)));
        let decoded = self.decode(bytes, whole, Extent::Whole, into);
        self.trial = Trial::default();
        let Jpeg { header, coefficients, .. } = self;
        let is_tame = coefficients.largest_sum(header) <= LARGEST_SUM;
        let repeats = header.dc.iter().chain(&header.ac).any(Table::repeats);
        decoded.map(|()| header.count < 4 && is_tame && !repeats && !canvas::is_narrow(header))
    }

    /// Decodes an image of one scan as it is read.
    fn decode_single(
        &mut self,
        coded: &[u8],
        region: &Region,
        to_end: bool,
        into: &mut Image,
    ) -> Result<(), Reason> {
        let Jpeg { header, scan, canvas, .. } = self;
        let is_wrong = |fault: Fault| damaged(fault.text());
        let rest = scan.fill(coded).map_err(is_wrong)?;
        canvas.reset(header, region);
        into.reshape(header.height, header.width);
        let work = Single { header, scan, region, to_end, canvas, into: &mut into.pixels };
        pulp::Arch::new().dispatch(work).map_err(is_wrong)?;
        match header.read_to_scan(Segments::at(rest))? {
            None => Ok(()),
            Some(_) => Err(damaged("it has a scan too many")),
        }
    }

    /// Reads all scans, then makes pixels of their coefficients.
    fn decode_scans(
        &mut self,
        mut coded: &[u8],
        region: &Region,
        to_end: bool,
        into: &mut Image,
    ) -> Result<(), Reason> {
        let Jpeg { header, scan, coefficients, canvas, trial } = self;
        coefficients.reset(header)?;
        loop {
            let rest = scan.fill(coded).map_err(|fault| damaged(fault.text()))?;
            coefficients.read(header, scan, region.unit_rows.end, to_end)?;
            match header.read_to_scan(Segments::at(rest))? {
                None => break,
                Some((_, stray)) if stray > 0 => {
                    return Err(damaged("bytes between its scans belong to none"));
                }
                Some((next, _)) => coded = next,
            }
        }
        coefficients.check_complete(header)?;
        canvas.reset(header, region);
        if trial.is_stored {
            canvas.leave_colors(header);
        }
        into.reshape(header.height, header.width);
        let into = &mut into.pixels;
        pulp::Arch::new().dispatch(Kept { header, coefficients, region, canvas, into });
        Ok(())
    }
}

/// The work of [`blocks::decode`], compiled for the widest vectors that the processor has. (What it
/// calls must be inlined, all of it, or would be compiled for the oldest processor.)
struct Single<'a> {
    header: &'a Header,
    scan: &'a Scan,
    region: &'a Region,
    to_end: bool,
    canvas: &'a mut Canvas,
    into: &'a mut [u8],
}

impl pulp::WithSimd for Single<'_> {
    type Output = Result<(), Fault>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Result<(), Fault> {
        let Single { header, scan, region, to_end, canvas, into } = self;
        blocks::decode(header, scan, region, to_end, canvas, into)
    }
}

/// The work of [`Coefficients::paint`], likewise.
struct Kept<'a> {
    header: &'a Header,
    coefficients: &'a Coefficients,
    region: &'a Region,
    canvas: &'a mut Canvas,
    into: &'a mut [u8],
}

impl pulp::WithSimd for Kept<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Kept { header, coefficients, region, canvas, into } = self;
        coefficients.paint(header, region, canvas, into);
    }
}

#[cfg(test)]
mod tests;
