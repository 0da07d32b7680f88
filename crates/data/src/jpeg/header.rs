//! What the segments before and between scans say: the frame, its tables, and the scan to come.

use super::colors::Colors;
use super::huffman::{Kind, Table};
use super::markers::{Broken, START_OF_SCAN, Segment, Segments};
use super::{damaged, standard, unsupported};
use crate::reason::Reason;

/// Where the coefficients lie in a block, in the order in which they are coded; what lies behind
/// the last is broken, and harmless there.
pub(super) const ZIGZAG: [u8; 128] = {
    let (mut table, mut at, mut sum) = ([63; 128], 0, 0);
    while sum < 15 {
        // Along each diagonal, upwards in turn with downwards.
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

/// Blocks of a unit of several components (ITU T.81, B.2.3).
const BLOCKS_OF_A_UNIT: usize = 10;

/// A component of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks beside and above each other in a unit.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Which tables are its own.
    quantised: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
    /// Quantisation steps, row by row: those in force at its first scan.
    pub(super) steps: [i32; 64],
    has_steps: bool,
}

impl Default for Component {
    fn default() -> Component {
        let (across, down, quantised, dc, ac) = (1, 1, 0, 0, 0);
        Component { id: 0, across, down, quantised, dc, ac, steps: [0; 64], has_steps: false }
    }
}

/// A scan's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ScanHeader {
    /// Which components it holds: the first `count`, in the order of their blocks.
    order: [usize; 4],
    count: usize,
    /// First and last coefficient, and bits that came before and are left below: as coded.
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

/// What is known of the image, kept from image to image.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) height: usize,
    pub(super) width: usize,
    /// 1, 3 or 4; 0 before the frame.
    pub(super) count: usize,
    pub(super) components: [Component; 4],
    /// The largest factors: blocks beside and above each other in a unit of the image.
    pub(super) most: (usize, usize),
    pub(super) is_progressive: bool,
    /// Units between restart markers; 0: no such markers.
    pub(super) restart: usize,
    pub(super) dc: [Table; 4],
    pub(super) ac: [Table; 4],
    pub(super) scan: ScanHeader,
    /// Bytes before the first scan that belong to no segment.
    pub(super) stray: usize,
    /// Quantisation steps, row by row.
    steps: [[i32; 64]; 4],
    /// Which of the tables this image has, a bit each.
    has: [u8; 3],
    is_jfif: bool,
    adobe: Option<u8>,
}

impl Default for Header {
    fn default() -> Header {
        Header {
            height: 0,
            width: 0,
            count: 0,
            components: [Component::default(); 4],
            most: (1, 1),
            is_progressive: false,
            restart: 0,
            dc: [(); 4].map(|()| Table::new(Kind::Dc)),
            ac: [(); 4].map(|()| Table::new(Kind::Ac)),
            scan: ScanHeader::default(),
            stray: 0,
            steps: [[0; 64]; 4],
            has: [0; 3],
            is_jfif: false,
            adobe: None,
        }
    }
}

impl Header {
    /// Reads everything up to the first scan, and returns what follows.
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Reason> {
        (self.count, self.restart, self.has, self.stray) = (0, 0, [0; 3], 0);
        (self.is_jfif, self.adobe) = (false, None);
        let segments = Segments::of(bytes).ok_or_else(|| damaged("it has no start"))?;
        let (rest, stray) =
            self.read_to_scan(segments)?.ok_or_else(|| damaged("it has no pixels"))?;
        self.stray = stray;
        Ok(rest)
    }

    /// Reads segments up to the next scan. Returns what follows its header, and the number of bytes
    /// that belong to no segment; `None` at the end of the image.
    pub(super) fn read_to_scan<'a>(
        &mut self,
        mut segments: Segments<'a>,
    ) -> Result<Option<(&'a [u8], usize)>, Reason> {
        let mut stray = 0;
        loop {
            let segment = segments.next().map_err(|broken| match broken {
                Broken::Ends => damaged("it ends too early"),
                Broken::Length(marker) => damaged(&format!("segment {marker:02X} has no length")),
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
            0xC4 => self.codes(content).ok_or_else(|| damaged("a Huffman table is wrong"))?,
            0xDB => self
                .quantisation(content)
                .ok_or_else(|| damaged("a quantisation table is wrong"))?,
            0xDD => {
                let interval = content.as_array().ok_or_else(|| damaged("a wrong interval"))?;
                self.restart = usize::from(u16::from_be_bytes(*interval));
            }
            // Shorter ones mean something else.
            0xE0 => self.is_jfif |= content.len() >= 14 && content.starts_with(b"JFIF\0"),
            0xEE if content.len() >= 12 && content.starts_with(b"Adobe") => {
                self.adobe = Some(content[11]);
            }
            // Conditioning of arithmetic coding; a number of lines, which the frame has said;
            // markers without content; what programs and people have to say.
            0xCC | 0xDC | 0x01 | 0xD0..=0xD7 | 0xE0..=0xEF | 0xFE => (),
            0xC3 => return Err(unsupported("lossless coding")),
            0xC9..=0xCB => return Err(unsupported("arithmetic coding")),
            0xC5..=0xC7 | 0xCD..=0xCF | 0xDE | 0xDF => {
                return Err(unsupported("hierarchical coding"));
            }
            0xF7 => return Err(unsupported("JPEG-LS")),
            0xC8 | 0xF0..=0xFD => return Err(unsupported("an extension of JPEG")),
            0xD8 => return Err(damaged("it begins twice")),
            _ => return Err(damaged(&format!("{marker:02X} is no marker"))),
        }
        Ok(())
    }

    /// ITU T.81, B.2.2.
    fn frame(&mut self, marker: u8, content: &[u8]) -> Result<(), Reason> {
        if self.count != 0 {
            return Err(damaged("it has two frames"));
        }
        let Some((&[bits, h1, h0, w1, w0, count], factors)) = content.split_first_chunk() else {
            return Err(damaged("its frame is cut"));
        };
        let count = usize::from(count);
        if factors.len() != count * 3 || count == 0 {
            return Err(damaged("its frame is wrong"));
        }
        match bits {
            8 => (),
            12 => return Err(unsupported("12-bit JPEG")),
            _ => return Err(damaged(&format!("{bits} bits a sample"))),
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
            // A single component is not interleaved: its factors mean nothing.
            let factors = if count == 1 { (1, 1) } else { (across, down) };
            (to.id, to.quantised, (to.across, to.down)) = (id, usize::from(table), factors);
        }
        let all = &self.components[..count];
        let across = all.iter().map(|component| component.across).max().expect("not empty");
        let down = all.iter().map(|component| component.down).max().expect("not empty");
        let is_whole = |c: &Component| across % c.across == 0 && down % c.down == 0;
        if !all.iter().all(is_whole) {
            return Err(unsupported("sampling at ratios that are no whole numbers"));
        }
        (self.most, self.count) = ((across, down), count);
        Ok(())
    }

    /// ITU T.81, B.2.4.1.
    fn quantisation(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((&number, rest)) = content.split_first() {
            let to = self.steps.get_mut(usize::from(number & 15))?;
            // 16 bits a step, or 8.
            let (steps, rest) = rest.split_at_checked(if number >> 4 == 0 { 64 } else { 128 })?;
            let wide = steps.len() / 64;
            for (step, &place) in steps.chunks(wide).zip(&ZIGZAG) {
                to[usize::from(place)] =
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
        let wrong = || damaged("a scan's header is wrong");
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

    /// Whether the band of coefficients is one that a progressive scan may hold.
    fn check_progression(&self) -> Result<(), Reason> {
        let ScanHeader { first, last, high, low, count, .. } = self.scan;
        let is_band = if first == 0 { last == 0 } else { first <= last && last < 64 && count == 1 };
        let is_step = low <= 13 && (high == 0 || high == low + 1);
        if !self.is_progressive || is_band && is_step {
            Ok(()) // the values of a sequential scan do not matter: it holds all coefficients
        } else {
            Err(damaged("a scan of no possible coefficients"))
        }
    }

    /// Makes sure that the scan's components have the tables they need.
    fn take_tables(&mut self) -> Result<(), Reason> {
        if !self.is_progressive && self.has[1..] == [0, 0] {
            let all = [(&mut self.dc, standard::DC), (&mut self.ac, standard::AC)];
            for (tables, codes) in all {
                for (table, (counts, bytes)) in tables.iter_mut().zip(codes) {
                    table.fill(&counts, bytes).expect("the standard's own");
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

    /// How colours are stored: the rules of libjpeg, in whose order JFIF's word comes first.
    pub(super) fn colors(&self) -> Colors {
        let ids = [0, 1, 2].map(|n| self.components[n].id);
        match (self.count, self.is_jfif, self.adobe) {
            (1, ..) => Colors::Grey,
            (4, _, None | Some(0)) => Colors::Cmyk,
            (4, ..) => Colors::Ycck,
            (_, false, Some(0)) => Colors::Rgb,
            (_, false, None) if ids == *b"RGB" => Colors::Rgb,
            _ => Colors::Ycc,
        }
    }

    /// Whether the scan at hand is all there is: the components' pixels can be made as it is read.
    pub(super) fn is_single(&self) -> bool {
        !self.is_progressive && self.scan.count == self.count
    }

    /// Units beside and above each other in the image.
    pub(super) fn units(&self) -> (usize, usize) {
        (self.width.div_ceil(self.most.0 * 8), self.height.div_ceil(self.most.1 * 8))
    }

    /// Columns and rows of samples that component `number` has in the image.
    pub(super) fn samples(&self, number: usize) -> (usize, usize) {
        let Component { across, down, .. } = self.components[number];
        let width = (self.width * across).div_ceil(self.most.0);
        (width, (self.height * down).div_ceil(self.most.1))
    }
}
