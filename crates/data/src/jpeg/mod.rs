//! A JPEG decoder: baseline, extended and progressive, with 8 bits and Huffman coding. It can
//! decode only the part of an image that a crop shows.
//!
//! Its pixels are bit-identical to those of libjpeg-turbo's default settings (and so Pillow's),
//! whatever the part. It accepts what libjpeg accepts: grey, YCbCr, RGB, CMYK and YCCK, one scan or
//! many, sampling factors with integer ratios, any restart interval, bytes between segments. Other
//! kinds (arithmetic coding, 12 bits, lossless, hierarchical) are *unsupported*; everything else
//! that cannot be read is *damaged*, including what libjpeg only warns about: missing or surplus
//! coded data, invalid codes, restart markers out of order, scans that are missing or out of order.
//!
//! If one scan contains everything, as in nearly all files, samples near the part are computed
//! while the scan is read, and rows below the part are not read at all. Otherwise the coefficients
//! of all blocks are kept in memory until the last scan is read, in up to 256 MiB.
//!
//! The stages in order: [`markers`], [`header`], [`bits`], [`huffman`], [`blocks`] or
//! [`coefficients`] and [`progressive`], [`idct`], [`canvas`], [`colors`]; [`region`] computes what
//! is needed.

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
use bits::{ScanData, ScanError};
use canvas::Canvas;
use coefficients::Coefficients;
use header::JpegHeader;
use huffman::HuffmanTable;
use markers::Segments;
use region::DecodeRegion;

/// A decoder with its memory, which is reused between images.
#[derive(Debug, Default)]
pub(crate) struct Jpeg {
    header: JpegHeader,
    scan: ScanData,
    coefficients: Coefficients,
    canvas: Canvas,
    test_options: TestOptions,
}

/// Decoding options for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TestOptions {
    /// Keep coefficients even if there is a single scan.
    keeps: bool,
    /// Do not convert three channels to RGB.
    is_stored: bool,
}

/// The largest sum of a block's dequantised coefficients for which decoders must agree: that of a
/// white block. Beyond it, the decoder that tests compare with clamps intermediate values.
const LARGEST_SUM: u64 = 8 * 128;

/// How much of a file is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The whole file, so that all damage is detected.
    Whole,
    /// Down to the last row that is needed.
    Needed,
}

fn damaged(what: &str) -> Reason {
    Reason::Damaged(format!("incomplete JPEG ({what})"))
}

fn unsupported(what: &str) -> Reason {
    let how = "convert the JPEG file, for example with djpeg or ImageMagick";
    Reason::Unsupported(format!("{what} is not supported; {how}"))
}

fn too_large(header: &JpegHeader) -> Reason {
    let (height, width) = (header.height, header.width);
    let text = format!("{width} x {height} pixels is too large for a JPEG of several scans");
    Reason::UnusableSize(text)
}

impl Jpeg {
    /// Decodes the part of an image that `part` returns for its height and width. `into` gets the
    /// size of the image; its pixels outside the part are unspecified.
    ///
    /// # Errors
    /// If the file is damaged as far as it is read, or unsupported; or if `part` rejects its size.
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
            "{part:?} of {size:?} exceeds the image"
        );
        let region = DecodeRegion::of(&self.header, part);
        let to_end = extent == Extent::Whole || region.is_whole(&self.header);
        if self.header.is_single() && !self.test_options.keeps {
            self.decode_single(coded, &region, to_end, into)
        } else {
            let decoded = self.decode_scans(coded, &region, to_end, into);
            if self.test_options == TestOptions::default() {
                self.coefficients.release();
            }
            decoded
        }
    }

    /// For tests: decodes a whole image with coefficients kept even for a single scan; with
    /// `is_stored`, three channels are not converted. Returns whether a correct decoder with other
    /// rounding must agree within two levels. This does not hold for four channels, which must be
    /// converted; for coefficients too large for a valid picture; for halved channels too narrow to
    /// be interpolated, which only libjpeg and its relatives treat specially; and for Huffman
    /// tables with duplicate symbols.
    pub(crate) fn decode_kept(
        &mut self,
        bytes: &[u8],
        is_stored: bool,
        into: &mut Image,
    ) -> Result<bool, Reason> {
        self.test_options = TestOptions { keeps: true, is_stored };
        let whole = |height, width| Ok(Rectangle::whole((height, width)));
        let decoded = self.decode(bytes, whole, Extent::Whole, into);
        self.test_options = TestOptions::default();
        let Jpeg { header, coefficients, .. } = self;
        let is_tame = coefficients.largest_sum(header) <= LARGEST_SUM;
        let repeats = header.dc.iter().chain(&header.ac).any(HuffmanTable::repeats);
        decoded.map(|()| header.count < 4 && is_tame && !repeats && !canvas::is_narrow(header))
    }

    /// Decodes an image of one scan while it is read.
    fn decode_single(
        &mut self,
        coded: &[u8],
        region: &DecodeRegion,
        to_end: bool,
        into: &mut Image,
    ) -> Result<(), Reason> {
        let Jpeg { header, scan, canvas, .. } = self;
        let is_wrong = |fault: ScanError| damaged(fault.text());
        let rest = scan.fill(coded).map_err(is_wrong)?;
        canvas.reset(header, region);
        into.reshape(header.height, header.width);
        let work = SingleScan { header, scan, region, to_end, canvas, into: &mut into.pixels };
        pulp::Arch::new().dispatch(work).map_err(is_wrong)?;
        match header.read_to_scan(Segments::at(rest))? {
            None => Ok(()),
            Some(_) => Err(damaged("it has a surplus scan")),
        }
    }

    /// Reads all scans, then computes the pixels from their coefficients.
    fn decode_scans(
        &mut self,
        mut coded: &[u8],
        region: &DecodeRegion,
        to_end: bool,
        into: &mut Image,
    ) -> Result<(), Reason> {
        let Jpeg { header, scan, coefficients, canvas, test_options } = self;
        coefficients.reset(header)?;
        loop {
            let rest = scan.fill(coded).map_err(|fault| damaged(fault.text()))?;
            coefficients.read(header, scan, region.unit_rows.end, to_end)?;
            match header.read_to_scan(Segments::at(rest))? {
                None => break,
                Some((_, stray)) if stray > 0 => {
                    return Err(damaged("stray bytes between its scans"));
                }
                Some((next, _)) => coded = next,
            }
        }
        coefficients.check_complete(header)?;
        canvas.reset(header, region);
        if test_options.is_stored {
            canvas.leave_colors(header);
        }
        into.reshape(header.height, header.width);
        let into = &mut into.pixels;
        pulp::Arch::new().dispatch(MultiScan { header, coefficients, region, canvas, into });
        Ok(())
    }
}

/// [`blocks::decode`], compiled for the widest vectors of the processor. Everything it calls must
/// be inlined, or it would be compiled for the baseline processor.
struct SingleScan<'a> {
    header: &'a JpegHeader,
    scan: &'a ScanData,
    region: &'a DecodeRegion,
    to_end: bool,
    canvas: &'a mut Canvas,
    into: &'a mut [u8],
}

impl pulp::WithSimd for SingleScan<'_> {
    type Output = Result<(), ScanError>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Result<(), ScanError> {
        let SingleScan { header, scan, region, to_end, canvas, into } = self;
        blocks::decode(header, scan, region, to_end, canvas, into)
    }
}

/// [`Coefficients::paint`], likewise.
struct MultiScan<'a> {
    header: &'a JpegHeader,
    coefficients: &'a Coefficients,
    region: &'a DecodeRegion,
    canvas: &'a mut Canvas,
    into: &'a mut [u8],
}

impl pulp::WithSimd for MultiScan<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let MultiScan { header, coefficients, region, canvas, into } = self;
        coefficients.paint(header, region, canvas, into);
    }
}

#[cfg(test)]
mod tests;
