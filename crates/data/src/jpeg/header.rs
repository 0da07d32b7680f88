//! Parses the segments before and between scans: the frame, its tables, and the scan headers.

use super::colors::ColorEncoding;
use super::huffman::{HuffmanTable, TableKind};
use super::markers::{START_OF_SCAN, Segment, SegmentError, Segments};
use super::{damaged, standard, unsupported};
use crate::reason::Reason;

/// The position in a block of each coefficient in coding order. Positions beyond 63 occur only in
/// damaged files, and are harmless.
pub(super) const ZIGZAG: [u8; 128] = {
    let (mut table, mut at, mut sum) = ([63; 128], 0, 0);
    while sum < 15 {
        // Along each diagonal, alternately upwards and downwards.
        let mut step = 0;
        while step <= sum {
            let (y, x) = if sum % 2 == 0 { (sum - step, step) } else { (step, sum - step) };
            if y < 8 && x < 8 {
                table[at] = (y * 8 + x) as u8;
                at += 1;
            }
            step += 1;
        }
        sum += 1;
    }
    table
};

/// The limit of blocks in a unit of several components (ITU T.81, B.2.3).
const BLOCKS_OF_A_UNIT: usize = 10;

/// A component of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// The numbers of blocks per row and per column of a unit.
    pub(super) across: usize,
    pub(super) down: usize,
    /// The indices of its tables.
    quantised: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
    /// The quantisation steps at its first scan, row by row.
    pub(super) steps: [i32; 64],
    has_steps: bool,
}

impl Default for Component {
    fn default() -> Component {
        let (across, down, quantised, dc, ac) = (1, 1, 0, 0, 0);
        Component { id: 0, across, down, quantised, dc, ac, steps: [0; 64], has_steps: false }
    }
}

/// The header of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ScanHeader {
    /// The indices of its components (the first `count`), in the order of their blocks.
    order: [usize; 4],
    count: usize,
    /// First and last coefficient; successive approximation bits, high and low; as coded.
    pub(super) first: u8,
    pub(super) last: u8,
    pub(super) high: u8,
    pub(super) low: u8,
}

impl ScanHeader {
    pub(super) fn components(&self) -> &[usize] {
        &self.order[..self.count]
    }
}

/// The header of an image; its memory is reused.
#[derive(Debug)]
pub(super) struct JpegHeader {
    pub(super) height: usize,
    pub(super) width: usize,
    /// 1, 3 or 4; 0 before the frame.
    pub(super) count: usize,
    pub(super) components: [Component; 4],
    /// The largest sampling factors: blocks per row and per column of a unit.
    pub(super) max_factors: (usize, usize),
    pub(super) is_progressive: bool,
    /// Units between restart markers; 0 if there are none.
    pub(super) restart: usize,
    pub(super) dc: [HuffmanTable; 4],
    pub(super) ac: [HuffmanTable; 4],
    pub(super) scan: ScanHeader,
    /// Stray bytes before the first scan.
    pub(super) stray: usize,
    /// Quantisation steps, row by row.
    steps: [[i32; 64]; 4],
    /// Which tables this image has, one bit each.
    has: [u8; 3],
    is_jfif: bool,
    adobe: Option<u8>,
}

impl Default for JpegHeader {
    fn default() -> JpegHeader {
        JpegHeader {
            height: 0,
            width: 0,
            count: 0,
            components: [Component::default(); 4],
            max_factors: (1, 1),
            is_progressive: false,
            restart: 0,
            dc: [(); 4].map(|()| HuffmanTable::new(TableKind::Dc)),
            ac: [(); 4].map(|()| HuffmanTable::new(TableKind::Ac)),
            scan: ScanHeader::default(),
            stray: 0,
            steps: [[0; 64]; 4],
            has: [0; 3],
            is_jfif: false,
            adobe: None,
        }
    }
}

impl JpegHeader {
    /// Reads everything up to the first scan, and returns the rest.
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Reason> {
        (self.count, self.restart, self.has, self.stray) = (0, 0, [0; 3], 0);
        (self.is_jfif, self.adobe) = (false, None);
        let segments = Segments::of(bytes).ok_or_else(|| damaged("it has no start"))?;
        let (rest, stray) =
            self.read_to_scan(segments)?.ok_or_else(|| damaged("it has no pixels"))?;
        self.stray = stray;
        Ok(rest)
    }

    /// Reads segments up to the next scan. Returns the data after its header, and the number of
    /// stray bytes; `None` at the end of the image.
    pub(super) fn read_to_scan<'a>(
        &mut self,
        mut segments: Segments<'a>,
    ) -> Result<Option<(&'a [u8], usize)>, Reason> {
        let mut stray = 0;
        loop {
            let segment = segments.next().map_err(|broken| match broken {
                SegmentError::Ends => damaged("it ends too early"),
                SegmentError::Length(marker) => {
                    damaged(&format!("segment {marker:02X} has no length"))
                }
            })?;
            stray += segment.stray;
            match segment.marker {
                0xD9 => return Ok(None),
                START_OF_SCAN => {
                    self.scan(segment.content)?;
                    return Ok(Some((segments.rest(), stray)));
                }
                _ => self.segment(segment)?,
            }
        }
    }

    fn segment(&mut self, Segment { marker, content, .. }: Segment<'_>) -> Result<(), Reason> {
        match marker {
            0xC0..=0xC2 => self.frame(marker, content)?,
            0xC4 => self.codes(content).ok_or_else(|| damaged("an invalid Huffman table"))?,
            0xDB => self
                .quantisation(content)
                .ok_or_else(|| damaged("an invalid quantisation table"))?,
            0xDD => {
                let interval =
                    content.as_array().ok_or_else(|| damaged("an invalid restart interval"))?;
                self.restart = usize::from(u16::from_be_bytes(*interval));
            }
            // Shorter ones have another meaning.
            0xE0 => self.is_jfif |= content.len() >= 14 && content.starts_with(b"JFIF\0"),
            0xEE if content.len() >= 12 && content.starts_with(b"Adobe") => {
                self.adobe = Some(content[11]);
            }
            // Conditioning of arithmetic coding; the number of lines, which the frame has, too;
            // markers without content; application data and comments.
            0xCC | 0xDC | 0x01 | 0xD0..=0xD7 | 0xE0..=0xEF | 0xFE => (),
            0xC3 => return Err(unsupported("lossless coding")),
            0xC9..=0xCB => return Err(unsupported("arithmetic coding")),
            0xC5..=0xC7 | 0xCD..=0xCF | 0xDE | 0xDF => {
                return Err(unsupported("hierarchical coding"));
            }
            0xF7 => return Err(unsupported("JPEG-LS")),
            0xC8 | 0xF0..=0xFD => return Err(unsupported("an extension of JPEG")),
            0xD8 => return Err(damaged("it has two starts")),
            _ => return Err(damaged(&format!("{marker:02X} is not a marker"))),
        }
        Ok(())
    }

    /// ITU T.81, B.2.2.
    fn frame(&mut self, marker: u8, content: &[u8]) -> Result<(), Reason> {
        if self.count != 0 {
            return Err(damaged("it has two frames"));
        }
        let Some((&[bits, h1, h0, w1, w0, count], factors)) = content.split_first_chunk() else {
            return Err(damaged("its frame is truncated"));
        };
        let count = usize::from(count);
        if factors.len() != count * 3 || count == 0 {
            return Err(damaged("its frame is invalid"));
        }
        match bits {
            8 => (),
            12 => return Err(unsupported("12-bit JPEG")),
            _ => return Err(damaged(&format!("{bits} bits per sample"))),
        }
        if ![1, 3, 4].contains(&count) {
            return Err(unsupported(&format!("JPEG of {count} channels")));
        }
        self.height = usize::from(u16::from_be_bytes([h1, h0]));
        self.width = usize::from(u16::from_be_bytes([w1, w0]));
        if self.height == 0 && self.width > 0 {
            return Err(unsupported("a height that follows the pixels (DNL)"));
        }
        self.is_progressive = marker == 0xC2;
        self.components = [Component::default(); 4];
        for (to, &[id, factors, table]) in self.components.iter_mut().zip(factors.as_chunks().0) {
            let (across, down) = (usize::from(factors >> 4), usize::from(factors & 15));
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err(damaged(&format!("sampling factors {across} x {down}")));
            }
            // A single component is not interleaved: its factors are ignored.
            let factors = if count == 1 { (1, 1) } else { (across, down) };
            (to.id, to.quantised, (to.across, to.down)) = (id, usize::from(table), factors);
        }
        let all = &self.components[..count];
        let across = all.iter().map(|component| component.across).max().expect("not empty");
        let down = all.iter().map(|component| component.down).max().expect("not empty");
        let is_whole = |c: &Component| across % c.across == 0 && down % c.down == 0;
        if !all.iter().all(is_whole) {
            return Err(unsupported("sampling at non-integer ratios"));
        }
        (self.max_factors, self.count) = ((across, down), count);
        Ok(())
    }

    /// ITU T.81, B.2.4.1.
    fn quantisation(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((&number, rest)) = content.split_first() {
            let to = self.steps.get_mut(usize::from(number & 15))?;
            // 8 or 16 bits per step.
            let (steps, rest) = rest.split_at_checked(if number >> 4 == 0 { 64 } else { 128 })?;
            let wide = steps.len() / 64;
            for (step, &position) in steps.chunks(wide).zip(&ZIGZAG) {
                to[usize::from(position)] =
                    step.iter().fold(0, |value, &byte| value << 8 | i32::from(byte));
            }
            self.has[0] |= 1 << (number & 15);
            content = rest;
        }
        Some(())
    }

    /// ITU T.81, B.2.4.2.
    fn codes(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((&number, rest)) = content.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (bytes, rest) = rest.split_at_checked(total)?;
            let tables = match number >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return None,
            };
            tables.get_mut(usize::from(number & 15))?.fill(counts, bytes)?;
            self.has[1 + usize::from(number >> 4)] |= 1 << (number & 15);
            content = rest;
        }
        Some(())
    }

    /// ITU T.81, B.2.3.
    fn scan(&mut self, content: &[u8]) -> Result<(), Reason> {
        if self.count == 0 {
            return Err(damaged("it has no frame"));
        }
        let wrong = || damaged("a scan's header is invalid");
        let (&count, rest) = content.split_first().ok_or_else(wrong)?;
        let count = usize::from(count);
        let (pairs, end) = rest.split_at_checked(count * 2).ok_or_else(wrong)?;
        let &[first, last, bits] = end else { return Err(wrong()) };
        if !(1..=self.count).contains(&count) {
            return Err(wrong());
        }
        let mut scan =
            ScanHeader { order: [0; 4], count, first, last, high: bits >> 4, low: bits & 15 };
        for (at, &[id, tables]) in pairs.as_chunks().0.iter().enumerate() {
            let is_it = |&n: &usize| self.components[n].id == id && !scan.order[..at].contains(&n);
            let number = (0..self.count).find(is_it).ok_or_else(wrong)?;
            scan.order[at] = number;
            let component = &mut self.components[number];
            (component.dc, component.ac) = (usize::from(tables >> 4), usize::from(tables & 15));
        }
        let blocks = |&n: &usize| self.components[n].across * self.components[n].down;
        if count > 1 && scan.components().iter().map(blocks).sum::<usize>() > BLOCKS_OF_A_UNIT {
            return Err(unsupported("a unit of more than ten blocks"));
        }
        self.scan = scan;
        self.check_progression()?;
        self.take_tables()
    }

    /// Checks that a progressive scan may contain this band of coefficients.
    fn check_progression(&self) -> Result<(), Reason> {
        let ScanHeader { first, last, high, low, count, .. } = self.scan;
        let is_band = if first == 0 { last == 0 } else { first <= last && last < 64 && count == 1 };
        let is_step = low <= 13 && (high == 0 || high == low + 1);
        if !self.is_progressive || is_band && is_step {
            Ok(()) // sequential scans contain all coefficients, whatever these values are
        } else {
            Err(damaged("a scan of an impossible band of coefficients"))
        }
    }

    /// Checks that the scan's components have the tables they need, and assigns them.
    fn take_tables(&mut self) -> Result<(), Reason> {
        if !self.is_progressive && self.has[1..] == [0, 0] {
            let all = [(&mut self.dc, standard::DC), (&mut self.ac, standard::AC)];
            for (tables, codes) in all {
                for (table, (counts, bytes)) in tables.iter_mut().zip(codes) {
                    table.fill(&counts, bytes).expect("the standard's tables");
                }
            }
            (self.has[1], self.has[2]) = (3, 3);
        }
        let [has_steps, has_dc, has_ac] = self.has;
        let has = |tables: u8, number| number < 4 && tables >> number & 1 == 1;
        let (is_dc, is_ac) = if self.is_progressive {
            (self.scan.first == 0 && self.scan.high == 0, self.scan.first > 0)
        } else {
            (true, true)
        };
        for &number in &self.scan.order[..self.scan.count] {
            let component = &mut self.components[number];
            if is_dc && !has(has_dc, component.dc) || is_ac && !has(has_ac, component.ac) {
                return Err(damaged("a Huffman table is missing"));
            }
            if !component.has_steps {
                if !has(has_steps, component.quantised) {
                    return Err(damaged("a quantisation table is missing"));
                }
                component.steps = self.steps[component.quantised];
                component.has_steps = true;
            }
        }
        Ok(())
    }

    /// The colour encoding by libjpeg's rules, in which JFIF takes precedence.
    pub(super) fn colors(&self) -> ColorEncoding {
        let ids = [0, 1, 2].map(|n| self.components[n].id);
        match (self.count, self.is_jfif, self.adobe) {
            (1, ..) => ColorEncoding::Grey,
            (4, _, None | Some(0)) => ColorEncoding::Cmyk,
            (4, ..) => ColorEncoding::Ycck,
            (_, false, Some(0)) => ColorEncoding::Rgb,
            (_, false, None) if ids == *b"RGB" => ColorEncoding::Rgb,
            _ => ColorEncoding::Ycc,
        }
    }

    /// Whether the current scan contains everything, so that pixels can be computed while it is
    /// read.
    pub(super) fn is_single(&self) -> bool {
        !self.is_progressive && self.scan.count == self.count
    }

    /// The numbers of units per row and per column of the image.
    pub(super) fn units(&self) -> (usize, usize) {
        (self.width.div_ceil(self.max_factors.0 * 8), self.height.div_ceil(self.max_factors.1 * 8))
    }

    /// The columns and rows of samples of component `number`.
    pub(super) fn samples(&self, number: usize) -> (usize, usize) {
        let Component { across, down, .. } = self.components[number];
        let width = (self.width * across).div_ceil(self.max_factors.0);
        (width, (self.height * down).div_ceil(self.max_factors.1))
    }
}
