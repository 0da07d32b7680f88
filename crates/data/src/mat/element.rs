//! A data element: a tag with type and length, and its bytes.

use super::MatError;

/// Data types of elements.
pub(super) mod kind {
    pub const I8: u32 = 1;
    pub const U8: u32 = 2;
    pub const I16: u32 = 3;
    pub const U16: u32 = 4;
    pub const I32: u32 = 5;
    pub const U32: u32 = 6;
    pub const SINGLE: u32 = 7;
    pub const DOUBLE: u32 = 9;
    pub const I64: u32 = 12;
    pub const U64: u32 = 13;
    pub const MATRIX: u32 = 14;
    pub const COMPRESSED: u32 = 15;
    pub const UTF8: u32 = 16;
    pub const UTF16: u32 = 17;
    pub const UTF32: u32 = 18;
}

/// Array types of matrices. Numeric arrays are `DOUBLE..=U64`, whatever type they are stored as.
pub(super) mod class {
    pub const CELL: u8 = 1;
    pub const STRUCT: u8 = 2;
    pub const CHAR: u8 = 4;
    pub const DOUBLE: u8 = 6;
    pub const U64: u8 = 15;
}

/// The remaining bytes, and their byte order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
    big_endian: bool,
}

/// An element; its bytes are in the file's byte order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) kind: u32,
    pub(super) data: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// The bytes after a file's header of 128 bytes.
    pub(super) fn of_file(file: &'a [u8]) -> Result<Bytes<'a>, MatError> {
        let Some((header, rest)) = file.split_first_chunk::<128>() else {
            return Err(MatError::Header(": it is shorter than a header"));
        };
        // The letters MI as the integer 0x4D49, after the version 0x0100.
        let big_endian = match &header[124..] {
            [0x00, 0x01, b'I', b'M'] => false,
            [0x01, 0x00, b'M', b'I'] => true,
            [0x00, 0x02, b'I', b'M'] => {
                return Err(MatError::Header(" but of 7.3; save it with MATLAB's option -v7"));
            }
            _ => return Err(MatError::Header("")),
        };
        Ok(Bytes { rest, big_endian })
    }

    /// Other bytes in the same byte order.
    pub(super) fn within<'b>(&self, bytes: &'b [u8]) -> Bytes<'b> {
        Bytes { rest: bytes, big_endian: self.big_endian }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element.
    pub(super) fn element(&mut self) -> Result<Element<'a>, MatError> {
        let word = self.take_u32()?;
        // Up to four bytes of data are stored in the tag's eight.
        let small = (word >> 16) as usize;
        if small > 0 {
            let data = self.take(4)?.get(..small);
            let data = data.ok_or(MatError::Element("a small element of more than four bytes"))?;
            return Ok(Element { kind: word & 0xFFFF, data });
        }
        let len = self.take_u32()? as usize;
        let data = self.take(len)?;
        // Compressed elements have no padding, and the last element of a file may lack it.
        if word != kind::COMPRESSED {
            let padding = len.next_multiple_of(8) - len;
            self.rest = &self.rest[padding.min(self.rest.len())..];
        }
        Ok(Element { kind: word, data })
    }

    /// The next element, if its type is one of `kinds`.
    pub(super) fn expect(
        &mut self,
        kinds: &[u32],
        otherwise: &'static str,
    ) -> Result<Element<'a>, MatError> {
        let element = self.element()?;
        kinds.contains(&element.kind).then_some(element).ok_or(MatError::Element(otherwise))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], MatError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(MatError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_u32(&mut self) -> Result<u32, MatError> {
        let bytes = self.take(4)?;
        Ok(if self.big_endian { big(bytes) } else { little(bytes) } as u32)
    }
}

impl<'a> Element<'a> {
    /// The first 32-bit integer.
    pub(super) fn first_word(&self, order: &Bytes) -> Option<u32> {
        let bytes = self.data.get(..4)?;
        Some(if order.big_endian { big(bytes) } else { little(bytes) } as u32)
    }

    /// All numbers of any type.
    pub(super) fn numbers(
        &self,
        order: &Bytes,
    ) -> Result<impl ExactSizeIterator<Item = f64> + use<'a>, MatError> {
        let (width, convert): (usize, fn(u64) -> f64) = match self.kind {
            kind::I8 => (1, |bits| f64::from(bits as i8)),
            kind::U8 => (1, |bits| bits as f64),
            kind::I16 => (2, |bits| f64::from(bits as i16)),
            kind::U16 => (2, |bits| bits as f64),
            kind::I32 => (4, |bits| f64::from(bits as i32)),
            kind::U32 => (4, |bits| bits as f64),
            kind::SINGLE => (4, |bits| f64::from(f32::from_bits(bits as u32))),
            kind::DOUBLE => (8, f64::from_bits),
            kind::I64 => (8, |bits| bits as i64 as f64),
            kind::U64 => (8, |bits| bits as f64),
            _ => return Err(MatError::Element("numbers of an unknown type")),
        };
        if !self.data.len().is_multiple_of(width) {
            return Err(MatError::Element("an incomplete number"));
        }
        let bits = if order.big_endian { big } else { little };
        Ok(self.data.chunks_exact(width).map(move |bytes| convert(bits(bytes))))
    }

    /// The text, and its length in code units.
    pub(super) fn text(&self, order: &Bytes) -> Result<(String, usize), MatError> {
        let bits = if order.big_endian { big } else { little };
        let units = |width: usize| {
            let whole = self.data.len().is_multiple_of(width);
            whole.then(|| self.data.chunks_exact(width).map(bits)).ok_or(INCOMPLETE)
        };
        match self.kind {
            kind::I8 | kind::U8 | kind::UTF8 => {
                let text = match std::str::from_utf8(self.data) {
                    Ok(text) => text.to_owned(),
                    // Older programs wrote Latin-1, whose codes equal the first ones of Unicode.
                    Err(_) => self.data.iter().map(|&byte| char::from(byte)).collect(),
                };
                Ok((text, self.data.len()))
            }
            kind::U16 | kind::UTF16 => {
                let letters = char::decode_utf16(units(2)?.map(|unit| unit as u16));
                let text = letters.map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
                Ok((text.collect(), self.data.len() / 2))
            }
            kind::U32 | kind::UTF32 => {
                let letters = units(4)?.map(|unit| char::from_u32(unit as u32));
                let text = letters.map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
                Ok((text.collect(), self.data.len() / 4))
            }
            _ => Err(MatError::Element("text of an unknown encoding")),
        }
    }
}

const INCOMPLETE: MatError = MatError::Element("an incomplete character");

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn big(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}
