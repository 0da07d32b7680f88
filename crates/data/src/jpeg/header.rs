//! The segments before the pixels.

use super::huffman::{Kind, Table};

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

/// A component of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Component {
    id: u8,
    /// Blocks beside and above each other in a unit.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Which tables are its own.
    pub(super) quantised: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// What is known before the pixels, kept from image to image.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) height: usize,
    pub(super) width: usize,
    /// 1 or 3.
    pub(super) count: usize,
    pub(super) components: [Component; 3],
    /// Units between restart markers; 0: no such markers.
    pub(super) restart: usize,
    /// Quantisation steps, row by row.
    pub(super) steps: [[i32; 64]; 4],
    pub(super) dc: [Table; 4],
    pub(super) ac: [Table; 4],
    /// Which of the tables this image has, a bit each.
    has: [u8; 3],
}

impl Default for Header {
    fn default() -> Header {
        Header {
            height: 0,
            width: 0,
            count: 0,
            components: [Component::default(); 3],
            restart: 0,
            steps: [[0; 64]; 4],
            dc: [(); 4].map(|()| Table::new(Kind::Dc)),
            ac: [(); 4].map(|()| Table::new(Kind::Ac)),
            has: [0; 3],
        }
    }
}

impl Header {
    /// Reads everything up to the pixels, and returns what follows. `None` if that is not a frame
    /// of a plain kind, once, with one scan of all its components.
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        (self.count, self.restart, self.has) = (0, 0, [0; 3]);
        let (mut is_ycc, mut is_other) = (false, false);
        let mut rest = bytes.strip_prefix(&[0xFF, 0xD8])?;
        loop {
            let &[0xFF, marker, high, low, ..] = rest else { return None };
            let len = usize::from(u16::from_be_bytes([high, low]));
            let segment = rest.get(4..2 + len)?;
            rest = &rest[2 + len..];
            match marker {
                0xC0 | 0xC1 if self.count == 0 => self.frame(segment)?,
                0xC4 => self.codes(segment)?,
                0xDB => self.quantisation(segment)?,
                0xDD => self.restart = usize::from(u16::from_be_bytes(*segment.as_array()?)),
                0xDA => {
                    self.scan(segment)?;
                    break;
                }
                0xE0 => is_ycc |= segment.starts_with(b"JFIF\0"),
                // Adobe's marker says how colours are stored: 1 is as in all other files.
                0xEE if segment.starts_with(b"Adobe") => match segment.get(11) {
                    Some(1) => is_ycc = true,
                    _ => is_other = true,
                },
                0xE0..=0xEF | 0xFE => (),
                _ => return None,
            }
        }
        let ids = self.components.map(|component| component.id);
        let is_plain = self.count == 1 || !is_other && (is_ycc || ids == [1, 2, 3]);
        is_plain.then_some(rest)
    }

    /// ITU T.81, B.2.2.
    fn frame(&mut self, segment: &[u8]) -> Option<()> {
        let (&[8, h1, h0, w1, w0, count], components) = segment.split_first_chunk()? else {
            return None;
        };
        self.height = usize::from(u16::from_be_bytes([h1, h0]));
        self.width = usize::from(u16::from_be_bytes([w1, w0]));
        self.count = usize::from(count);
        if ![1, 3].contains(&self.count) || components.len() != self.count * 3 {
            return None;
        }
        self.components = [Component::default(); 3];
        for (to, &[id, factors, table]) in self.components.iter_mut().zip(components.as_chunks().0)
        {
            to.id = id;
            (to.across, to.down) = (usize::from(factors >> 4), usize::from(factors & 15));
            to.quantised = usize::from(table);
        }
        let factors = self.components.map(|component| (component.across, component.down));
        let most = if self.count == 1 { 1 } else { 2 };
        let (across, down) = factors[0];
        let is_known = (1..=most).contains(&across) && (1..=most).contains(&down);
        let is_plain = factors[1..self.count].iter().all(|&chroma| chroma == (1, 1));
        (is_known && is_plain && self.height > 0 && self.width > 0).then_some(())
    }

    /// ITU T.81, B.2.4.1.
    fn quantisation(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&number, rest)) = segment.split_first() {
            let (steps, rest) = rest.split_first_chunk::<64>()?;
            let to = self.steps.get_mut(usize::from(number))?;
            for (&step, &place) in steps.iter().zip(&ZIGZAG) {
                to[usize::from(place)] = i32::from(step);
            }
            self.has[0] |= 1 << number;
            segment = rest;
        }
        Some(())
    }

    /// ITU T.81, B.2.4.2.
    fn codes(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&number, rest)) = segment.split_first() {
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
            segment = rest;
        }
        Some(())
    }

    /// ITU T.81, B.2.3: all components in the order of the frame, and all coefficients.
    fn scan(&mut self, segment: &[u8]) -> Option<()> {
        let (&count, rest) = segment.split_first()?;
        if self.count == 0 || usize::from(count) != self.count {
            return None;
        }
        let (pairs, end) = rest.split_at_checked(self.count * 2)?;
        if end != [0, 63, 0] {
            return None;
        }
        let [has_steps, has_dc, has_ac] = self.has;
        for (to, &[id, tables]) in self.components.iter_mut().zip(pairs.as_chunks().0) {
            (to.dc, to.ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            let has = |tables: u8, number| number < 4 && tables >> number & 1 == 1;
            let has_all = has(has_steps, to.quantised) && has(has_dc, to.dc) && has(has_ac, to.ac);
            if id != to.id || !has_all {
                return None;
            }
        }
        Some(())
    }
}
