//! Huffman tables that decode a coefficient's position and value in one lookup.

use super::bits::BitReader;

/// The number of bits per lookup; longer codes are rare.
const LOOKUP_BITS: u32 = 11;

/// A step that no valid code has.
const INVALID: u32 = 193;

/// A decoded symbol: the distance to the next coefficient and the number of its value bits. From
/// the low byte up: bits of the code and the value; bits of the code; 63 minus bits of the value;
/// and the step from the previous coefficient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Symbol(u32);

impl Symbol {
    /// The step at the end of a block: added to any position, the sum is in 130..=192. Minus one
    /// and modulo 128, it is the position after the last coefficient, where a zero is harmless.
    pub(super) const END: u32 = 129;

    fn new(length: u32, size: u32, step: u32) -> Symbol {
        Symbol((length + size) | length << 8 | (63 - size) << 16 | step << 24)
    }

    /// The number of bits of the code and the value, in the low byte.
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0
    }

    #[inline(always)]
    pub(super) fn step(self) -> usize {
        (self.0 >> 24) as usize
    }

    /// The value, from bits that start with the code: if its first bit is 0, it is negative and its
    /// bits are inverted (ITU T.81, F.1.2.1).
    #[inline(always)]
    pub(super) fn value(self, held: u64) -> i32 {
        let bits = held.wrapping_shl(self.0 >> 8);
        let mask = !(bits as i64 >> 63);
        let size = ((bits ^ mask as u64) >> 1).wrapping_shr(self.0 >> 16);
        (size as i32 ^ mask as i32).wrapping_sub(mask as i32)
    }
}

/// Whether a table is for DC or AC coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableKind {
    Dc,
    Ac,
}

impl TableKind {
    /// The symbol of a code of `length` bits for `byte`.
    fn symbol(self, length: u32, byte: u8) -> Symbol {
        let (run, size) = (u32::from(byte >> 4), u32::from(byte & 15));
        match (self, run, size) {
            (TableKind::Dc, 0, 0..=11) => Symbol::new(length, size, 0),
            (TableKind::Ac, 0, 0) => Symbol::new(length, 0, Symbol::END),
            (TableKind::Ac, 15, 0) | (TableKind::Ac, _, 1..=10) => {
                Symbol::new(length, size, run + 1)
            }
            _ => Symbol::new(length, 0, INVALID),
        }
    }
}

/// A Huffman table (ITU T.81, annex C).
#[derive(Debug)]
pub(super) struct HuffmanTable {
    /// The number of codes of each length from 1 bit up, and their symbols.
    counts: [u8; 16],
    bytes: Vec<u8>,
    kind: TableKind,
    /// The symbol for the next bits; zero if the code is longer.
    short: Box<[Symbol; 1 << LOOKUP_BITS]>,
    /// For each longer length: the first longer code, padded to 16 bits, and the offset from a code
    /// to its index in `bytes`.
    longer: [(u32, i32); 17],
    /// Length and byte of the code for the next bits, for progressive scans; zero if the code is
    /// longer. Computed when needed.
    codes: Option<Box<[[u8; 2]; 1 << LOOKUP_BITS]>>,
    has_codes: bool,
}

impl HuffmanTable {
    pub(super) fn new(kind: TableKind) -> HuffmanTable {
        let short = Box::new([Symbol::default(); 1 << LOOKUP_BITS]);
        HuffmanTable {
            counts: [0; 16],
            bytes: Vec::new(),
            kind,
            short,
            longer: [(0, 0); 17],
            codes: None,
            has_codes: false,
        }
    }

    /// Builds the table for these numbers of codes of each length and these bytes. `None` if there
    /// is no such code.
    pub(super) fn fill(&mut self, counts: &[u8; 16], bytes: &[u8]) -> Option<()> {
        if *counts == self.counts && *bytes == self.bytes {
            return Some(()); // most images have the same tables
        }
        self.counts = [u8::MAX; 16]; // marks the table as invalid in case of an error
        self.bytes.clear();
        self.has_codes = false;
        self.short.fill(Symbol::default());
        let (mut code, mut position) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = usize::from(counts[length as usize - 1]);
            self.longer[length as usize].1 = position as i32 - code as i32;
            for &byte in bytes.get(position..position + count)? {
                if code + 1 >= 1 << length || self.kind == TableKind::Dc && byte > 15 {
                    return None; // a code must not be all ones
                }
                if length <= LOOKUP_BITS {
                    let rest = LOOKUP_BITS - length;
                    let start = (code << rest) as usize;
                    self.short[start..start + (1 << rest)].fill(self.kind.symbol(length, byte));
                }
                code += 1;
            }
            position += count;
            self.longer[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        self.counts = *counts;
        self.bytes.extend_from_slice(bytes);
        Some(())
    }

    /// The symbol at the start of the bits.
    #[inline(always)]
    pub(super) fn look_up(&self, held: u64) -> Symbol {
        let symbol = self.short[(held >> (64 - LOOKUP_BITS)) as usize];
        if symbol == Symbol::default() { self.look_up_longer(held) } else { symbol }
    }

    /// Whether several codes have the same symbol.
    pub(super) fn repeats(&self) -> bool {
        let mut seen = [false; 256];
        self.bytes.iter().any(|&byte| std::mem::replace(&mut seen[usize::from(byte)], true))
    }

    /// Builds the lookup table of [`HuffmanTable::byte`].
    pub(super) fn make_codes(&mut self) {
        if self.has_codes {
            return;
        }
        let codes = self.codes.get_or_insert_with(|| Box::new([[0; 2]; 1 << LOOKUP_BITS]));
        codes.fill([0; 2]);
        let (mut start, mut position) = (0, 0);
        for length in 1..=LOOKUP_BITS {
            let size = 1 << (LOOKUP_BITS - length);
            for &byte in &self.bytes[position..][..usize::from(self.counts[length as usize - 1])] {
                codes[start..start + size].fill([length as u8, byte]);
                (start, position) = (start + size, position + 1);
            }
        }
        self.has_codes = true;
    }

    /// The byte at the start of the bits, which are skipped. At least 16 bits must be held.
    #[inline(always)]
    pub(super) fn byte(&self, bits: &mut BitReader<'_>) -> Option<u8> {
        let codes = self.codes.as_ref()?;
        let [length, byte] = codes[(bits.held() >> (64 - LOOKUP_BITS)) as usize];
        if length != 0 {
            bits.skip(u32::from(length));
            return Some(byte);
        }
        let (length, byte) = self.longer(bits.held())?;
        bits.skip(length);
        Some(byte)
    }

    #[cold]
    #[inline(never)]
    fn look_up_longer(&self, held: u64) -> Symbol {
        let symbol = self.longer(held).map(|(length, byte)| self.kind.symbol(length, byte));
        symbol.unwrap_or(Symbol::new(1, 0, INVALID))
    }

    /// Length and byte of a code too long for the lookup.
    fn longer(&self, held: u64) -> Option<(u32, u8)> {
        let next = (held >> 48) as u32;
        let fits = |&length: &u32| next < self.longer[length as usize].0;
        let length = (LOOKUP_BITS + 1..=16).find(fits)?;
        let code = (next >> (16 - length)) as i32;
        let position = code + self.longer[length as usize].1;
        Some((length, *self.bytes.get(usize::try_from(position).ok()?)?))
    }
}
