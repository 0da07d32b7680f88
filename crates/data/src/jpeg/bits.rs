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

/// What is wrong with coded data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No marker ends the scan.
    NoEnd,
    /// A restart marker is out of turn.
    OutOfTurn,
    /// Bits that are no code, or stand for what cannot be.
    Code,
    /// A piece holds less than its units.
    TooShort,
    /// A piece holds more than its units.
    TooLong,
}

impl Fault {
    pub(super) fn text(self) -> &'static str {
        match self {
            Fault::NoEnd => "it ends too early",
            Fault::OutOfTurn => "a restart marker is out of turn",
            Fault::Code => "the coded pixels are not what they should be",
            Fault::TooShort => "coded pixels are missing",
            Fault::TooLong => "there are more coded pixels than its size needs",
        }
    }
}

/// Whole zero bytes that some encoders add to a scan; libjpeg passes over fewer than eight.
const PADDING: usize = 7;

impl Scan {
    /// Takes the data that `coded` begins with, up to the marker behind the scan. Returns what
    /// follows, from that marker on.
    pub(super) fn fill<'a>(&mut self, coded: &'a [u8]) -> Result<&'a [u8], Fault> {
        self.bytes.clear();
        self.ends.clear();
        let mut rest = coded;
        loop {
            let at = memchr::memchr(0xFF, rest).ok_or(Fault::NoEnd)?;
            self.bytes.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            let padding = rest[1..].iter().take_while(|&&byte| byte == 0xFF).count();
            let marker = *rest.get(1 + padding).ok_or(Fault::NoEnd)?;
            match marker {
                0 => self.bytes.push(0xFF),
                0xD0..=0xD7 if usize::from(marker & 7) == self.ends.len() % 8 => {
                    self.ends.push(self.bytes.len());
                }
                0xD0..=0xD7 => return Err(Fault::OutOfTurn),
                _ => break,
            }
            rest = &rest[2 + padding..];
        }
        self.ends.push(self.bytes.len());
        self.bytes.extend([0; MARGIN]);
        Ok(rest)
    }

    pub(super) fn bits(&self) -> Bits<'_> {
        Bits { bytes: &self.bytes, at: 0, held: 0, count: 0 }
    }

    /// Moves `bits` from the end of piece `number` to the start of the next. They must be at its
    /// end: within its last byte, and not beyond.
    pub(super) fn next_piece(&self, number: usize, bits: &mut Bits<'_>) -> Result<(), Fault> {
        let end = *self.ends.get(number).ok_or(Fault::TooShort)?;
        self.check_end(end, 0, bits)?;
        // The last piece is followed by none.
        if number + 1 == self.ends.len() {
            return Err(Fault::TooShort);
        }
        *bits = Bits { bytes: bits.bytes, at: end, held: 0, count: 0 };
        Ok(())
    }

    /// Whether `bits` are at the end of piece `number`, and that is the last one. (A restart marker
    /// may come behind it: some encoders write one after each interval.)
    pub(super) fn finish(&self, number: usize, bits: &Bits<'_>) -> Result<(), Fault> {
        let (end, all) =
            (self.ends[number.min(self.ends.len() - 1)], *self.ends.last().expect("one"));
        if all == end {
            self.check_end(end, PADDING, bits)
        } else {
            self.check_end(end, 0, bits).and(Err(Fault::TooLong))
        }
    }

    /// Whether `bits` are within the byte before `end`, or at most `padding` zeros follow.
    fn check_end(&self, end: usize, padding: usize, bits: &Bits<'_>) -> Result<(), Fault> {
        let read = bits.read().ok_or(Fault::Code)?.div_ceil(8);
        if read > end {
            return Err(Fault::TooShort);
        }
        let left = &self.bytes[read..end];
        let is_padding = left.len() <= padding && left.iter().all(|&byte| byte == 0);
        if is_padding { Ok(()) } else { Err(Fault::TooLong) }
    }

    /// Whether `bits` have not been read beyond piece `number`.
    pub(super) fn holds(&self, number: usize, bits: &Bits<'_>) -> Result<(), Fault> {
        let end = self.ends.get(number).ok_or(Fault::TooShort)?;
        if bits.at * 8 <= end * 8 + bits.count as usize { Ok(()) } else { Err(Fault::TooShort) }
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

    /// The next `count` bits as a number, no more than are held and 32.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let bits = (self.held >> 32) as u32;
        self.skip(count);
        bits.checked_shr(32 - count).unwrap_or(0)
    }

    /// The next bit.
    #[inline(always)]
    pub(super) fn bit(&mut self) -> bool {
        if self.count == 0 {
            self.refill();
        }
        let is_one = self.held >> 63 == 1;
        self.skip(1);
        is_one
    }

    /// How many bits have been read since the scan's start.
    fn read(&self) -> Option<usize> {
        (self.at * 8).checked_sub(self.count as usize)
    }
}
