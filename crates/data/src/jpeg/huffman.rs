//! Huffman tables that give a coefficient's place and value at once.

use super::bits::Bits;

/// Bits that are looked up at once; longer codes are rare.
const LOOKED_UP: u32 = 11;

/// A step no code makes: the data is not what the table is for.
const BROKEN: u32 = 193;

/// What a code stands for: where the next coefficient lies, and how many bits follow that say what
/// it is. From the low byte up: bits of the code and those that follow, bits of the code, 63 less
/// those that follow, and the step from the last coefficient to this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Symbol(u32);

impl Symbol {
    /// The step at the end of a block: added to any place it is in 130..=192. Less one and modulo
    /// 128 it is the place after the last coefficient, where a zero does no harm.
    pub(super) const END: u32 = 129;

    fn new(length: u32, size: u32, step: u32) -> Symbol {
        Symbol((length + size) | length << 8 | (63 - size) << 16 | step << 24)
    }

    /// Bits of the code and the value, in the low byte.
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0
    }

    #[inline(always)]
    pub(super) fn step(self) -> usize {
        (self.0 >> 24) as usize
    }

    /// The value, from bits that begin with the code: if its first bit is 0, it is negative and all
    /// its bits are turned (ITU T.81, F.1.2.1).
    #[inline(always)]
    pub(super) fn value(self, held: u64) -> i32 {
        let bits = held.wrapping_shl(self.0 >> 8);
        let turn = !(bits as i64 >> 63);
        let size = ((bits ^ turn as u64) >> 1).wrapping_shr(self.0 >> 16);
        (size as i32 ^ turn as i32).wrapping_sub(turn as i32)
    }
}

/// Whether a table is for the first coefficient of a block or for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dc,
    Ac,
}

impl Kind {
    /// What a code of `length` bits for `byte` stands for.
    fn symbol(self, length: u32, byte: u8) -> Symbol {
        let (run, size) = (u32::from(byte >> 4), u32::from(byte & 15));
        match (self, run, size) {
            (Kind::Dc, 0, 0..=11) => Symbol::new(length, size, 0),
            (Kind::Ac, 0, 0) => Symbol::new(length, 0, Symbol::END),
            (Kind::Ac, 15, 0) | (Kind::Ac, _, 1..=10) => Symbol::new(length, size, run + 1),
            _ => Symbol::new(length, 0, BROKEN),
        }
    }
}

/// A code (ITU T.81, annex C).
#[derive(Debug)]
pub(super) struct Table {
    /// How many codes there are of each length from 1 bit up, and what they stand for.
    counts: [u8; 16],
    bytes: Vec<u8>,
    kind: Kind,
    /// For the next bits, what they begin with; zero, if the code is longer.
    short: Box<[Symbol; 1 << LOOKED_UP]>,
    /// For each length above: the first code that is longer, padded to 16 bits, and the number
    /// that, added to a code, makes its place in `bytes`.
    longer: [(u32, i32); 17],
    /// For the next bits, length and byte of the code that they begin with, as progressive scans
    /// need them; zero, if the code is longer. Made when needed.
    codes: Option<Box<[[u8; 2]; 1 << LOOKED_UP]>>,
    has_codes: bool,
}

impl Table {
    pub(super) fn new(kind: Kind) -> Table {
        let short = Box::new([Symbol::default(); 1 << LOOKED_UP]);
        Table {
            counts: [0; 16],
            bytes: Vec::new(),
            kind,
            short,
            longer: [(0, 0); 17],
            codes: None,
            has_codes: false,
        }
    }

    /// Becomes the code with these numbers of codes of each length, for these bytes. `None` if
    /// there is no such code.
    pub(super) fn fill(&mut self, counts: &[u8; 16], bytes: &[u8]) -> Option<()> {
        if *counts == self.counts && *bytes == self.bytes {
            return Some(()); // as most images have the same
        }
        self.counts = [u8::MAX; 16]; // should this fail, it is no code
        self.bytes.clear();
        self.has_codes = false;
        self.short.fill(Symbol::default());
        let (mut code, mut place) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = usize::from(counts[length as usize - 1]);
            self.longer[length as usize].1 = place as i32 - code as i32;
            for &byte in bytes.get(place..place + count)? {
                if code + 1 >= 1 << length || self.kind == Kind::Dc && byte > 15 {
                    return None; // no code is all ones
                }
                if length <= LOOKED_UP {
                    let rest = LOOKED_UP - length;
                    let start = (code << rest) as usize;
                    self.short[start..start + (1 << rest)].fill(self.kind.symbol(length, byte));
                }
                code += 1;
            }
            place += count;
            self.longer[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        self.counts = *counts;
        self.bytes.extend_from_slice(bytes);
        Some(())
    }

    /// What the bits begin with.
    #[inline(always)]
    pub(super) fn look(&self, held: u64) -> Symbol {
        let symbol = self.short[(held >> (64 - LOOKED_UP)) as usize];
        if symbol == Symbol::default() { self.look_longer(held) } else { symbol }
    }

    /// Whether several codes stand for the same.
    pub(super) fn repeats(&self) -> bool {
        let mut seen = [false; 256];
        self.bytes.iter().any(|&byte| std::mem::replace(&mut seen[usize::from(byte)], true))
    }

    /// Makes what [`Table::byte`] looks up.
    pub(super) fn make_codes(&mut self) {
        if self.has_codes {
            return;
        }
        let codes = self.codes.get_or_insert_with(|| Box::new([[0; 2]; 1 << LOOKED_UP]));
        codes.fill([0; 2]);
        let (mut start, mut place) = (0, 0);
        for length in 1..=LOOKED_UP {
            let size = 1 << (LOOKED_UP - length);
            for &byte in &self.bytes[place..][..usize::from(self.counts[length as usize - 1])] {
                codes[start..start + size].fill([length as u8, byte]);
                (start, place) = (start + size, place + 1);
            }
        }
        self.has_codes = true;
    }

    /// The byte that the next bits stand for, which are passed. 16 bits must be held.
    #[inline(always)]
    pub(super) fn byte(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let codes = self.codes.as_ref()?;
        let [length, byte] = codes[(bits.held() >> (64 - LOOKED_UP)) as usize];
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
    fn look_longer(&self, held: u64) -> Symbol {
        let symbol = self.longer(held).map(|(length, byte)| self.kind.symbol(length, byte));
        symbol.unwrap_or(Symbol::new(1, 0, BROKEN))
    }

    /// Length and byte of a code too long to be looked up.
    fn longer(&self, held: u64) -> Option<(u32, u8)> {
        let next = (held >> 48) as u32;
        let fits = |&length: &u32| next < self.longer[length as usize].0;
        let length = (LOOKED_UP + 1..=16).find(fits)?;
        let code = (next >> (16 - length)) as i32;
        let place = code + self.longer[length as usize].1;
        Some((length, *self.bytes.get(usize::try_from(place).ok()?)?))
    }
}
