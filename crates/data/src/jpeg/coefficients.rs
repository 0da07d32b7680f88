//! Images of several scans: the coefficients of all blocks are kept until the last scan is read.

use super::bits::{BitReader, ScanData, ScanError};
use super::blocks;
use super::canvas::Canvas;
use super::header::JpegHeader;
use super::huffman::HuffmanTable;
use super::idct;
use super::progressive::{self, Band};
use super::region::DecodeRegion;
use super::{damaged, too_large};
use crate::reason::Reason;

/// The limit of blocks of an image: 2^27 coefficients in 256 MiB.
const MAX_BLOCKS: usize = 1 << 21;
/// The memory kept between images, in blocks of a component: 16 MiB.
const KEPT_BLOCKS: usize = 1 << 17;
/// The limits of scans, and of the blocks of all scans, against malicious files.
const MAX_SCANS: usize = 500;
const MAX_VISITS: usize = 1 << 27;

/// Not contained in any scan so far.
const UNSEEN: u8 = u8::MAX;

/// The coefficients of a component, block by block and row by row.
#[derive(Debug, Default)]
struct Blocks {
    blocks: Vec<[i16; 64]>,
    /// Blocks per row, in complete units.
    across: usize,
    /// Blocks per row and rows of blocks with pixels; a scan of only this component consists of
    /// these.
    columns: usize,
    rows: usize,
}

/// The coefficients of an image; the memory is reused.
#[derive(Debug)]
pub(super) struct Coefficients {
    components: [Blocks; 4],
    /// For each component and coefficient, the number of low bits still missing.
    missing: [[u8; 64]; 4],
    scans: usize,
    visits: usize,
}

impl Default for Coefficients {
    fn default() -> Coefficients {
        let components = Default::default();
        Coefficients { components, missing: [[UNSEEN; 64]; 4], scans: 0, visits: 0 }
    }
}

impl Coefficients {
    /// Allocates zeros for an image.
    pub(super) fn reset(&mut self, header: &JpegHeader) -> Result<(), Reason> {
        let (across, down) = header.units();
        let own = |n: usize| header.components[n].across * header.components[n].down;
        let of_unit: usize = (0..header.count).map(own).sum();
        if across * down * of_unit > MAX_BLOCKS {
            return Err(too_large(header));
        }
        (self.missing, self.scans, self.visits) = ([[UNSEEN; 64]; 4], 0, 0);
        for (number, blocks) in self.components[..header.count].iter_mut().enumerate() {
            let component = &header.components[number];
            let (columns, rows) = header.samples(number);
            (blocks.columns, blocks.rows) = (columns.div_ceil(8), rows.div_ceil(8));
            blocks.across = across * component.across;
            blocks.blocks.clear();
            blocks.blocks.resize(blocks.across * down * component.down, [0; 64]);
        }
        Ok(())
    }

    /// Frees the memory of a large image.
    pub(super) fn release(&mut self) {
        for blocks in &mut self.components {
            if blocks.blocks.capacity() > KEPT_BLOCKS {
                blocks.blocks = Vec::new();
            }
        }
    }

    /// Reads the scan that `header` describes, down to row `last_row` of units; with `to_end`, the
    /// whole scan is read and verified.
    pub(super) fn read(
        &mut self,
        header: &mut JpegHeader,
        scan: &ScanData,
        last_row: usize,
        to_end: bool,
    ) -> Result<(), Reason> {
        self.count(header)?;
        let band = self.progress(header)?;
        if header.is_progressive {
            let parts = header.scan;
            for &number in parts.components() {
                let component = &header.components[number];
                match (band.first, band.high) {
                    (0, 0) => header.dc[component.dc & 3].make_codes(),
                    (0, _) => (),
                    _ => header.ac[component.ac & 3].make_codes(),
                }
            }
        }
        let read = match *header.scan.components() {
            [number] => self.alone(header, scan, band, number, last_row, to_end),
            _ => self.interleaved(header, scan, band, last_row, to_end),
        };
        read.map_err(|fault| damaged(fault.text()))
    }

    fn count(&mut self, header: &JpegHeader) -> Result<(), Reason> {
        let blocks = |&number: &usize| self.components[number].blocks.len();
        self.visits += header.scan.components().iter().map(blocks).sum::<usize>();
        self.scans += 1;
        if self.scans > MAX_SCANS || self.visits > MAX_VISITS {
            Err(damaged("it has too many scans"))
        } else {
            Ok(())
        }
    }

    /// Records the bits of a scan. Each bit must come once, from the highest down, and DC first.
    fn progress(&mut self, header: &JpegHeader) -> Result<Band, Reason> {
        let scan = header.scan;
        let band = if header.is_progressive {
            Band {
                first: scan.first.into(),
                last: scan.last.into(),
                high: scan.high.into(),
                low: scan.low.into(),
            }
        } else {
            Band { first: 0, last: 63, high: 0, low: 0 }
        };
        for &number in scan.components() {
            let missing = &mut self.missing[number];
            let is_early = band.first > 0 && missing[0] == UNSEEN;
            let before = if band.high == 0 { UNSEEN } else { band.high as u8 };
            let band_of = &mut missing[band.first..=band.last];
            if is_early || band_of.iter().any(|&missing| missing != before) {
                return Err(damaged("its scans are out of order"));
            }
            band_of.fill(band.low as u8);
        }
        Ok(band)
    }

    /// Checks that all bits of all coefficients have been read.
    pub(super) fn check_complete(&self, header: &JpegHeader) -> Result<(), Reason> {
        let all = self.missing[..header.count].as_flattened();
        if all.iter().all(|&missing| missing == 0) {
            Ok(())
        } else {
            Err(damaged("some of its scans are missing"))
        }
    }

    /// Reads a scan of one component, block by block.
    fn alone(
        &mut self,
        header: &JpegHeader,
        scan: &ScanData,
        band: Band,
        number: usize,
        last_row: usize,
        to_end: bool,
    ) -> Result<(), ScanError> {
        let component = &header.components[number];
        let Blocks { blocks, across, columns, rows } = &mut self.components[number];
        let mut reader = BlockReader::new(header, scan, band);
        let last_row = if to_end { *rows } else { (last_row * component.down).min(*rows) };
        for row in 0..last_row {
            for column in 0..*columns {
                reader.begin_unit()?;
                reader.block(number, &mut blocks[row * *across + column])?;
            }
            reader.check()?;
        }
        reader.finish(to_end)
    }

    /// Reads a scan of several components, unit by unit.
    fn interleaved(
        &mut self,
        header: &JpegHeader,
        scan: &ScanData,
        band: Band,
        last_row: usize,
        to_end: bool,
    ) -> Result<(), ScanError> {
        let (across, down) = header.units();
        let mut reader = BlockReader::new(header, scan, band);
        for row in 0..if to_end { down } else { last_row.min(down) } {
            for column in 0..across {
                reader.begin_unit()?;
                for &number in header.scan.components() {
                    let own = &header.components[number];
                    let Blocks { blocks, across, .. } = &mut self.components[number];
                    for y in row * own.down..(row + 1) * own.down {
                        for x in column * own.across..(column + 1) * own.across {
                            reader.block(number, &mut blocks[y * *across + x])?;
                        }
                    }
                }
            }
            reader.check()?;
        }
        reader.finish(to_end)
    }

    /// The largest sum of absolute dequantised coefficients over a block.
    pub(super) fn largest_sum(&self, header: &JpegHeader) -> u64 {
        let of_block = |block: &[i16; 64], steps: &[i32; 64]| {
            let products = block.iter().zip(steps);
            let size = |(&c, &step): (&i16, &i32)| (i64::from(c) * i64::from(step)).unsigned_abs();
            products.map(size).sum::<u64>()
        };
        let all = self.components[..header.count].iter().zip(&header.components);
        let sums =
            all.flat_map(|(own, c)| own.blocks.iter().map(|block| of_block(block, &c.steps)));
        sums.max().unwrap_or(0)
    }

    /// Computes the region's pixels. `into` are the pixels of the whole image.
    #[inline(always)]
    pub(super) fn paint(
        &self,
        header: &JpegHeader,
        region: &DecodeRegion,
        canvas: &mut Canvas,
        into: &mut [u8],
    ) {
        for unit_row in region.unit_rows.clone() {
            for number in 0..header.count {
                let (own, plane) = (&header.components[number], &mut canvas.planes[number]);
                let Blocks { blocks, across, .. } = &self.components[number];
                let columns =
                    region.unit_columns.start * own.across..region.unit_columns.end * own.across;
                for y in 0..own.down {
                    let row = &blocks[(unit_row * own.down + y) * across..][columns.clone()];
                    for (x, block) in row.iter().enumerate() {
                        let stride = plane.stride;
                        let to = plane.block(x, y);
                        idct::block(block, &own.steps, idct::last_of(block), to, stride);
                    }
                }
            }
            canvas.paint(header, region, unit_row, into);
        }
    }
}

/// Reads consecutive blocks.
struct BlockReader<'a> {
    header: &'a JpegHeader,
    scan: &'a ScanData,
    bits: BitReader<'a>,
    band: Band,
    means: [i32; 4],
    /// The number of following blocks without new bits.
    run: u32,
    interval: usize,
    left: usize,
}

impl<'a> BlockReader<'a> {
    fn new(header: &'a JpegHeader, scan: &'a ScanData, band: Band) -> BlockReader<'a> {
        let (bits, means, left) = (scan.bits(), [0; 4], header.restart);
        BlockReader { header, scan, bits, band, means, run: 0, interval: 0, left }
    }

    /// Skips a restart marker, if one is due.
    #[inline(always)]
    fn begin_unit(&mut self) -> Result<(), ScanError> {
        if self.header.restart > 0 {
            if self.left == 0 {
                self.scan.next_interval(self.interval, &mut self.bits)?;
                if self.run > 0 {
                    return Err(ScanError::Code);
                }
                (self.interval, self.left, self.means) =
                    (self.interval + 1, self.header.restart, [0; 4]);
            }
            self.left -= 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn block(&mut self, number: usize, block: &mut [i16; 64]) -> Result<(), ScanError> {
        let component = &self.header.components[number];
        let (dc, ac): (&HuffmanTable, &HuffmanTable) =
            (&self.header.dc[component.dc & 3], &self.header.ac[component.ac & 3]);
        let (bits, mean) = (&mut self.bits, &mut self.means[number]);
        let read = match (self.header.is_progressive, self.band) {
            (false, _) => blocks::block(bits, dc, ac, mean, block).map(drop),
            (_, Band { first: 0, high: 0, low, .. }) => {
                progressive::first_mean(bits, dc, mean, low, block)
            }
            (_, Band { first: 0, low, .. }) => {
                progressive::next_mean(bits, low, block);
                Some(())
            }
            (_, band @ Band { high: 0, .. }) => {
                progressive::first_bits(bits, ac, band, &mut self.run, block)
            }
            (_, band) => progressive::next_bits(bits, ac, band, &mut self.run, block),
        };
        // Zeros are read past the end, which may be an invalid code.
        read.ok_or_else(|| self.check().err().unwrap_or(ScanError::Code))
    }

    /// Checks that the reader has not passed the end of the interval.
    fn check(&self) -> Result<(), ScanError> {
        self.scan.holds(self.interval, &self.bits)
    }

    fn finish(&self, to_end: bool) -> Result<(), ScanError> {
        if !to_end {
            return self.check();
        }
        self.scan.finish(self.interval, &self.bits)?;
        if self.run > 0 { Err(ScanError::TooShort) } else { Ok(()) }
    }
}
