//! Reads variables of MATLAB's MAT-files, version 5, as far as ILSVRC's `meta.mat` needs it.
//!
//! Numeric arrays, text, cells and structs are supported, in both byte orders, compressed or not.
//! Classes, functions and sparse matrices are skipped. The format is described in MathWorks'
//! "MAT-File Format". Files are untrusted: depth, memory and time are limited by the constants
//! below.

mod element;

use element::{Bytes, class, kind};
use flate2::read::ZlibDecoder;
use std::io::Read;

/// The limit of all compressed variables after decompression; ILSVRC-2010's take 10 MB.
const MAX_UNPACKED: u64 = 64 << 20;
/// The limit of nesting.
const DEEPEST: usize = 8;
/// The limit of values in a variable; ILSVRC-2012's `synsets` has 15,000.
const MAX_VALUES: usize = 1 << 19;
/// The limit of array elements and characters in a variable; ILSVRC-2010's `cost_matrix` has 10^6.
const MAX_ELEMENTS: usize = 1 << 22;
/// The limit of an array's dimensions.
const MAX_DIMENSIONS: usize = 16;

/// Why a MAT-file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatError {
    /// It is not a MAT-file of version 5.
    #[error("this is not a MAT-file of version 5{0}")]
    Header(&'static str),
    /// It ends inside an element.
    #[error("the MAT-file is truncated")]
    Truncated,
    /// An element violates the format.
    #[error("the MAT-file is invalid: {0}")]
    Element(&'static str),
    /// A compressed variable cannot be decompressed.
    #[error("the MAT-file's compressed data is invalid ({0})")]
    Compressed(String),
    /// A limit is exceeded.
    #[error("the MAT-file has too many {0}")]
    Limit(&'static str),
}

/// The value of a variable or field. Arrays are in column-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum MatValue {
    /// Numbers of any type, rounded to `f64`; only the real part of complex numbers.
    Numbers(Vec<f64>),
    /// Characters; those of a matrix are in column-major order.
    Text(String),
    /// Values of any kind.
    Cell(Vec<MatValue>),
    /// An array of structs with the same fields.
    Struct(MatStruct),
    /// An unsupported value: a class, a function, a sparse matrix.
    Other,
}

/// An array of structs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatStruct {
    /// The names of the fields.
    pub fields: Vec<String>,
    /// The values of the first struct in the order of the fields, then those of the second, and so
    /// on.
    pub values: Vec<MatValue>,
}

impl MatStruct {
    /// The values of each struct, in the order of the fields.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[MatValue]> {
        self.values.chunks_exact(self.fields.len().max(1))
    }

    /// The index of a field.
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field == name)
    }
}

impl MatValue {
    /// The text of a [`Text`](MatValue::Text).
    pub fn text(&self) -> Option<&str> {
        match self {
            MatValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if there is exactly one.
    pub fn number(&self) -> Option<f64> {
        match self {
            MatValue::Numbers(numbers) if numbers.len() == 1 => Some(numbers[0]),
            _ => None,
        }
    }
}

/// The variable `name` of the MAT-file in `file`; `None` if there is none.
///
/// # Errors
/// If the file is invalid or truncated before the variable's end, or exceeds a limit.
pub fn variable(file: &[u8], name: &str) -> Result<Option<MatValue>, MatError> {
    let mut bytes = Bytes::of_file(file)?;
    let mut unpacked_so_far = 0;
    while !bytes.is_empty() {
        let element = bytes.element()?;
        let unpacked;
        let element = match element.kind {
            kind::COMPRESSED => {
                unpacked = unpack(element.data, &mut unpacked_so_far)?;
                bytes.within(&unpacked).element()?
            }
            _ => element,
        };
        if element.kind == kind::MATRIX {
            let (found, head) = MatrixHeader::read(bytes.within(element.data))?;
            if found == name.as_bytes() {
                return ValueReader { values: 0, numbers: 0 }.value(head, 0).map(Some);
            }
        }
    }
    Ok(None)
}

/// Decompresses an element.
fn unpack(data: &[u8], so_far: &mut u64) -> Result<Vec<u8>, MatError> {
    let left = MAX_UNPACKED - *so_far;
    let mut unpacked = Vec::new();
    let result = ZlibDecoder::new(data).take(left + 1).read_to_end(&mut unpacked);
    if unpacked.len() as u64 > left {
        return Err(MatError::Limit("compressed bytes"));
    }
    result.map_err(|error| MatError::Compressed(error.to_string()))?;
    *so_far += unpacked.len() as u64;
    Ok(unpacked)
}

/// The header of a matrix, and the elements after it.
struct MatrixHeader<'a> {
    class: u8,
    /// The number of its values.
    count: usize,
    rest: Bytes<'a>,
}

impl<'a> MatrixHeader<'a> {
    /// Reads flags, dimensions and name; returns the name and the header.
    fn read(mut bytes: Bytes<'a>) -> Result<(&'a [u8], MatrixHeader<'a>), MatError> {
        if bytes.is_empty() {
            // A matrix without elements is an empty array of doubles.
            return Ok((&[], MatrixHeader { class: class::DOUBLE, count: 0, rest: bytes }));
        }
        let flags = bytes.expect(&[kind::U32], "a matrix without flags")?;
        let flags = flags.first_word(&bytes).ok_or(MatError::Element("a matrix without flags"))?;
        let dimensions = bytes.expect(&[kind::I32], "a matrix without dimensions")?;
        if dimensions.data.len() > 4 * MAX_DIMENSIONS {
            return Err(MatError::Limit("dimensions"));
        }
        let mut count = 1usize;
        for size in dimensions.numbers(&bytes)? {
            count = if size < 0.0 { usize::MAX } else { count.saturating_mul(size as usize) };
        }
        let name = bytes.expect(&[kind::I8, kind::U8, kind::UTF8], "a matrix without a name")?;
        Ok((name.data, MatrixHeader { class: flags as u8, count, rest: bytes }))
    }
}

/// Counts the values read, so that a small file cannot expand to a large value.
struct ValueReader {
    values: usize,
    numbers: usize,
}

impl ValueReader {
    fn value(&mut self, head: MatrixHeader, depth: usize) -> Result<MatValue, MatError> {
        self.values += 1;
        if depth > DEEPEST {
            return Err(MatError::Limit("nested levels"));
        }
        if self.values > MAX_VALUES {
            return Err(MatError::Limit("values"));
        }
        match head.class {
            class::CELL => Ok(MatValue::Cell(self.values(head.rest, head.count, depth)?)),
            class::STRUCT => self.structs(head, depth),
            class::CHAR => self.text(head),
            class::DOUBLE..=class::U64 => self.numbers(head),
            _ => Ok(MatValue::Other),
        }
    }

    /// `count` consecutive matrices; since each takes bytes, `count` needs no limit.
    fn values(
        &mut self,
        mut rest: Bytes,
        count: usize,
        depth: usize,
    ) -> Result<Vec<MatValue>, MatError> {
        let mut values = Vec::new();
        for _ in 0..count {
            let matrix = rest.expect(&[kind::MATRIX], "a cell element that is not a matrix")?;
            let (_, head) = MatrixHeader::read(rest.within(matrix.data))?;
            values.push(self.value(head, depth + 1)?);
        }
        Ok(values)
    }

    fn structs(&mut self, mut head: MatrixHeader, depth: usize) -> Result<MatValue, MatError> {
        let bytes = &mut head.rest;
        let width = bytes.expect(&[kind::I32], "a struct without the length of its names")?;
        let width = width.first_word(bytes).unwrap_or(0) as usize;
        let names = bytes.expect(&[kind::I8, kind::U8], "a struct without names")?;
        if width == 0 || width > 256 || !names.data.len().is_multiple_of(width) {
            return Err(MatError::Element("a struct with inconsistent field names"));
        }
        let until_zero = |name: &[u8]| {
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(width);
            String::from_utf8_lossy(&name[..end]).into_owned()
        };
        let fields: Vec<String> = names.data.chunks_exact(width).map(until_zero).collect();
        if fields.len() > 4096 {
            return Err(MatError::Limit("fields"));
        }
        let count = head.count.saturating_mul(fields.len());
        Ok(MatValue::Struct(MatStruct { fields, values: self.values(head.rest, count, depth)? }))
    }

    fn numbers(&mut self, mut head: MatrixHeader) -> Result<MatValue, MatError> {
        if head.count == 0 {
            return Ok(MatValue::Numbers(Vec::new()));
        }
        self.count(head.count)?;
        let element = head.rest.element()?;
        let numbers = element.numbers(&head.rest)?;
        if numbers.len() == head.count {
            Ok(MatValue::Numbers(numbers.collect()))
        } else {
            Err(MatError::Element("an array whose dimensions do not match its elements"))
        }
    }

    fn text(&mut self, mut head: MatrixHeader) -> Result<MatValue, MatError> {
        const DISAGREE: MatError =
            MatError::Element("a text whose dimensions do not match its characters");
        if head.count == 0 {
            return Ok(MatValue::Text(String::new()));
        }
        self.count(head.count)?;
        let element = head.rest.element()?;
        if element.data.len() > 4 * head.count {
            return Err(DISAGREE);
        }
        let (text, units) = element.text(&head.rest)?;
        // Dimensions count UTF-16 code units, or characters in files of some programs.
        if units == head.count || text.chars().count() == head.count {
            Ok(MatValue::Text(text))
        } else {
            Err(DISAGREE)
        }
    }

    fn count(&mut self, numbers: usize) -> Result<(), MatError> {
        self.numbers = self.numbers.saturating_add(numbers);
        (self.numbers <= MAX_ELEMENTS).then_some(()).ok_or(MatError::Limit("elements"))
    }
}

#[cfg(test)]
mod tests;
