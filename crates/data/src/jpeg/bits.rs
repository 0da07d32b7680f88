//! The coded data of a scan as a bit stream.

/// Zeros after the data, because words of eight bytes are read even past the end.
const MARGIN: usize = 16;

/// A scan without byte stuffing: the intervals between restart markers, concatenated.
#[derive(Debug, Default)]
pub(super) struct ScanData {
    bytes: Vec<u8>,
    /// The end of each interval.
    ends: Vec<usize>,
}

/// An error in coded data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanError {
    /// The scan has no end marker.
    NoEnd,
    /// A restart marker is out of order.
    OutOfTurn,
    /// An invalid code or value.
    Code,
    /// An interval has fewer units than expected.
    TooShort,
    /// An interval has more units than expected.
    TooLong,
}

impl ScanError {
    pub(super) fn text(self) -> &'static str {
        match self {
            ScanError::NoEnd => "it ends too early",
            ScanError::OutOfTurn => "a restart marker is out of order",
            ScanError::Code => "the coded pixels are invalid",
            ScanError::TooShort => "coded pixels are missing",
            ScanError::TooLong => "there are more coded pixels than expected",
        }
    }
}

/// Zero bytes that some encoders append to a scan; libjpeg tolerates fewer than eight.
const PADDING: usize = 7;

impl ScanData {
    /// Reads the data at the start of `coded`, up to the marker after the scan. Returns the rest,
    /// starting at that marker.
    pub(super) fn fill<'a>(&mut self, coded: &'a [u8]) -> Result<&'a [u8], ScanError> {
        self.bytes.clear();
        self.ends.clear();
        let mut rest = coded;
        loop {
            let at = memchr::memchr(0xFF, rest).ok_or(ScanError::NoEnd)?;
            self.bytes.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            let padding = rest[1..].iter().take_while(|&&byte| byte == 0xFF).count();
            let marker = *rest.get(1 + padding).ok_or(ScanError::NoEnd)?;
            match marker {
                0 => self.bytes.push(0xFF),
                0xD0..=0xD7 if usize::from(marker & 7) == self.ends.len() % 8 => {
                    self.ends.push(self.bytes.len());
                }
                0xD0..=0xD7 => return Err(ScanError::OutOfTurn),
                _ => break,
            }
            rest = &rest[2 + padding..];
        }
        self.ends.push(self.bytes.len());
        self.bytes.extend([0; MARGIN]);
        Ok(rest)
    }

    pub(super) fn bits(&self) -> BitReader<'_> {
        BitReader { bytes: &self.bytes, at: 0, held: 0, count: 0 }
    }

    /// Moves `bits` from the end of interval `number` to the start of the next. They must be within
    /// the last byte of that interval.
    pub(super) fn next_interval(
        &self,
        number: usize,
        bits: &mut BitReader<'_>,
    ) -> Result<(), ScanError> {
        let end = *self.ends.get(number).ok_or(ScanError::TooShort)?;
        self.check_end(end, 0, bits)?;
        // There is no interval after the last one.
        if number + 1 == self.ends.len() {
            return Err(ScanError::TooShort);
        }
        *bits = BitReader { bytes: bits.bytes, at: end, held: 0, count: 0 };
        Ok(())
    }

    /// Checks that `bits` are at the end of interval `number`, and that it is the last one. A final
    /// restart marker is allowed, because some encoders write one after each interval.
    pub(super) fn finish(&self, number: usize, bits: &BitReader<'_>) -> Result<(), ScanError> {
        let (end, all) =
            (self.ends[number.min(self.ends.len() - 1)], *self.ends.last().expect("one"));
        if all == end {
            self.check_end(end, PADDING, bits)
        } else {
            self.check_end(end, 0, bits).and(Err(ScanError::TooLong))
        }
    }

    /// Checks that `bits` are in the byte before `end`, or that at most `padding` zeros follow.
    fn check_end(&self, end: usize, padding: usize, bits: &BitReader<'_>) -> Result<(), ScanError> {
        let read = bits.read().ok_or(ScanError::Code)?.div_ceil(8);
        if read > end {
            return Err(ScanError::TooShort);
        }
        let left = &self.bytes[read..end];
        let is_padding = left.len() <= padding && left.iter().all(|&byte| byte == 0);
        if is_padding { Ok(()) } else { Err(ScanError::TooLong) }
    }

    /// Checks that `bits` have not been read beyond interval `number`.
    pub(super) fn holds(&self, number: usize, bits: &BitReader<'_>) -> Result<(), ScanError> {
        let end = self.ends.get(number).ok_or(ScanError::TooShort)?;
        if bits.at * 8 <= end * 8 + bits.count as usize { Ok(()) } else { Err(ScanError::TooShort) }
    }
}

/// A bit reader, most significant bit first.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The first byte that is not completely held.
    at: usize,
    /// The next bits, left-aligned: `count` of them, then more that will be read again.
    held: u64,
    count: u32,
}

impl BitReader<'_> {
    /// Ensures that 56 bits are held; beyond the end they are zero.
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

    /// The held bits, left-aligned.
    #[inline(always)]
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Skips `count` bits (only its low byte counts), at most those that are held.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.held = self.held.wrapping_shl(count);
        self.count = self.count.wrapping_sub(count & 0xFF);
    }

    /// The next `count` bits as an integer: at most 32, and at most those that are held.
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

    /// The number of bits read since the start of the scan.
    fn read(&self) -> Option<usize> {
        (self.at * 8).checked_sub(self.count as usize)
    }
}
