//! The coded data of a scan, as bits.

/// Words are read eight bytes at a time, past the end too: so many zeros follow the data.
const MARGIN: usize = 16;

/// A scan without its stuffing: what lies between restart markers, one piece after another.
#[derive(Debug, Default)]
pub(super) struct Scan {
    bytes: Vec<u8>,
    /// Where each piece ends.
    ends: Vec<usize>,
}

impl Scan {
    /// Takes the data that `coded` begins with, up to the end of the image. `None` if something
    /// else ends it, or a restart marker is out of turn.
    pub(super) fn fill(&mut self, coded: &[u8]) -> Option<()> {
        self.bytes.clear();
        self.ends.clear();
        let mut rest = coded;
        loop {
            let at = memchr::memchr(0xFF, rest)?;
            self.bytes.extend_from_slice(&rest[..at]);
            match rest.get(at + 1)? {
                0 => self.bytes.push(0xFF),
                marker @ 0xD0..=0xD7 if usize::from(marker & 7) == self.ends.len() % 8 => {
                    self.ends.push(self.bytes.len());
                }
                0xD9 => break,
                _ => return None,
            }
            rest = &rest[at + 2..];
        }
        self.ends.push(self.bytes.len());
        self.bytes.extend([0; MARGIN]);
        Some(())
    }

    /// The number of pieces.
    pub(super) fn pieces(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bits(&self) -> Bits<'_> {
        Bits { bytes: &self.bytes, at: 0, held: 0, count: 0 }
    }

    /// Moves `bits` from the end of piece `number` to the start of the next. `None` if they are not
    /// at its end: within its last byte, and not beyond.
    pub(super) fn next_piece(&self, number: usize, bits: &mut Bits<'_>) -> Option<()> {
        let end = *self.ends.get(number)?;
        let read = (bits.at * 8).checked_sub(bits.count as usize)?;
        if read > end * 8 || read + 8 <= end * 8 {
            return None;
        }
        *bits = Bits { bytes: bits.bytes, at: end, held: 0, count: 0 };
        Some(())
    }

    /// Whether `bits` have not been read beyond piece `number`.
    pub(super) fn holds(&self, number: usize, bits: &Bits<'_>) -> bool {
        self.ends.get(number).is_some_and(|end| bits.at * 8 <= end * 8 + bits.count as usize)
    }
}

/// A reader of bits, highest first.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The first byte of which not all bits count as held.
    at: usize,
    /// The next bits, from the top down: `count` of them, then more that will be read again.
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// Makes sure that 56 bits are held; beyond the end they are zeros.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let word = match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            Some(&bytes) => u64::from_be_bytes(bytes),
            None => 0,
        };
        self.held |= word >> (self.count & 63);
        self.at += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    /// The bits held, the next at the top.
    #[inline(always)]
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Passes over `count` bits, the low byte of what is given: no more than are held.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.held = self.held.wrapping_shl(count);
        self.count = self.count.wrapping_sub(count & 0xFF);
    }
}
