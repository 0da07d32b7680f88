//! Variables of MATLAB's MAT-files, version 5: as much as ILSVRC's `meta.mat` needs.
//!
//! Read are numbers of any width, texts, cells and structs, in both byte orders, compressed or not.
//! Classes, functions and sparse matrices are stepped over. The format is described in MathWorks'
//! "MAT-File Format". Files come from strangers: depth, memory and time are bounded by the
//! constants below, whatever the bytes say.

mod element;

use element::{Bytes, class, kind};
use flate2::read::ZlibDecoder;
use std::io::Read;

/// Bytes that all compressed variables together may unpack to; ILSVRC-2010's take 10 MB.
const MOST_UNPACKED: u64 = 64 << 20;
/// Structs in cells in structs, and so on.
const DEEPEST: usize = 8;
/// Values in a variable: ILSVRC-2012's `synsets` has 15,000.
const MOST_VALUES: usize = 1 << 19;
/// Numbers and letters in a variable: ILSVRC-2010's `cost_matrix` has a million.
const MOST_NUMBERS: usize = 1 << 22;
/// Dimensions of an array.
const MOST_DIMENSIONS: usize = 16;

/// A file that cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// It does not begin as a MAT-file of version 5 does.
    #[error("this is no MAT-file of version 5{0}")]
    Header(&'static str),
    /// Its end comes inside an element.
    #[error("the MAT-file is cut off")]
    Truncated,
    /// An element is not what the format asks for.
    #[error("the MAT-file is broken: {0}")]
    Element(&'static str),
    /// A compressed variable cannot be unpacked.
    #[error("the MAT-file's compressed data are broken ({0})")]
    Compressed(String),
    /// More of something than any honest file has.
    #[error("the MAT-file has more {0} than are read")]
    Limit(&'static str),
}

/// A variable's or field's contents. Arrays run along their first dimension fastest.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Numbers of any type, rounded to `f64`; of complex ones the real part.
    Numbers(Vec<f64>),
    /// Letters; a matrix of them comes column by column.
    Text(String),
    /// Values of any kind.
    Cell(Vec<Value>),
    /// An array of structs that have the same fields.
    Struct(Struct),
    /// Something that is not read: a class, a function, a sparse matrix.
    Other,
}

/// An array of structs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Struct {
    /// The fields' names.
    pub fields: Vec<String>,
    /// The first struct's values in the order of the fields, then the second's, and so on.
    pub values: Vec<Value>,
}

impl Struct {
    /// Each struct's values, in the order of the fields.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[Value]> {
        self.values.chunks_exact(self.fields.len().max(1))
    }

    /// Which place a field has.
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field == name)
    }
}

impl Value {
    /// The text, if this is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is a single one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Numbers(numbers) if numbers.len() == 1 => Some(numbers[0]),
            _ => None,
        }
    }
}

/// The variable called `name` of the MAT-file in `file`; nothing if there is none.
///
/// # Errors
/// If the file is broken or cut off before the variable's end, or is larger than the limits.
pub fn variable(file: &[u8], name: &str) -> Result<Option<Value>, Broken> {
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
            let (found, head) = Head::read(bytes.within(element.data))?;
            if found == name.as_bytes() {
                return Reader { values: 0, numbers: 0 }.value(head, 0).map(Some);
            }
        }
    }
    Ok(None)
}

/// The element that a compressed one holds.
fn unpack(data: &[u8], so_far: &mut u64) -> Result<Vec<u8>, Broken> {
    let left = MOST_UNPACKED - *so_far;
    let mut unpacked = Vec::new();
    let result = ZlibDecoder::new(data).take(left + 1).read_to_end(&mut unpacked);
    if unpacked.len() as u64 > left {
        return Err(Broken::Limit("compressed bytes"));
    }
    result.map_err(|error| Broken::Compressed(error.to_string()))?;
    *so_far += unpacked.len() as u64;
    Ok(unpacked)
}

/// A matrix up to its contents.
struct Head<'a> {
    class: u8,
    /// How many values it has.
    count: usize,
    rest: Bytes<'a>,
}

impl<'a> Head<'a> {
    /// Reads flags, dimensions and name; returns the name beside what follows.
    fn read(mut bytes: Bytes<'a>) -> Result<(&'a [u8], Head<'a>), Broken> {
        if bytes.is_empty() {
            // A matrix without any element is an empty one of doubles.
            return Ok((&[], Head { class: class::DOUBLE, count: 0, rest: bytes }));
        }
        let flags = bytes.expect(&[kind::U32], "a matrix without flags")?;
        let flags = flags.first_word(&bytes).ok_or(Broken::Element("a matrix without flags"))?;
        let dimensions = bytes.expect(&[kind::I32], "a matrix without dimensions")?;
        if dimensions.data.len() > 4 * MOST_DIMENSIONS {
            return Err(Broken::Limit("dimensions"));
        }
        let mut count = 1usize;
        for size in dimensions.numbers(&bytes)? {
            count = if size < 0.0 { usize::MAX } else { count.saturating_mul(size as usize) };
        }
        let name = bytes.expect(&[kind::I8, kind::U8, kind::UTF8], "a matrix without a name")?;
        Ok((name.data, Head { class: flags as u8, count, rest: bytes }))
    }
}

/// Counts what has been read, so that small files cannot become large values.
struct Reader {
    values: usize,
    numbers: usize,
}

impl Reader {
    fn value(&mut self, head: Head, depth: usize) -> Result<Value, Broken> {
        self.values += 1;
        if depth > DEEPEST {
            return Err(Broken::Limit("layers"));
        }
        if self.values > MOST_VALUES {
            return Err(Broken::Limit("values"));
        }
        match head.class {
            class::CELL => Ok(Value::Cell(self.values(head.rest, head.count, depth)?)),
            class::STRUCT => self.structs(head, depth),
            class::CHAR => self.text(head),
            class::DOUBLE..=class::U64 => self.numbers(head),
            _ => Ok(Value::Other),
        }
    }

    /// `count` matrices, one after the other; each takes bytes, so there are no more than fit.
    fn values(
        &mut self,
        mut rest: Bytes,
        count: usize,
        depth: usize,
    ) -> Result<Vec<Value>, Broken> {
        let mut values = Vec::new();
        for _ in 0..count {
            let matrix = rest.expect(&[kind::MATRIX], "something in a cell that is no matrix")?;
            let (_, head) = Head::read(rest.within(matrix.data))?;
            values.push(self.value(head, depth + 1)?);
        }
        Ok(values)
    }

    fn structs(&mut self, mut head: Head, depth: usize) -> Result<Value, Broken> {
        let bytes = &mut head.rest;
        let width = bytes.expect(&[kind::I32], "a struct without the length of its names")?;
        let width = width.first_word(bytes).unwrap_or(0) as usize;
        let names = bytes.expect(&[kind::I8, kind::U8], "a struct without names")?;
        if width == 0 || width > 256 || !names.data.len().is_multiple_of(width) {
            return Err(Broken::Element("the names of a struct's fields do not add up"));
        }
        let until_zero = |name: &[u8]| {
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(width);
            String::from_utf8_lossy(&name[..end]).into_owned()
        };
        let fields: Vec<String> = names.data.chunks_exact(width).map(until_zero).collect();
        if fields.len() > 4096 {
            return Err(Broken::Limit("fields"));
        }
        let count = head.count.saturating_mul(fields.len());
        Ok(Value::Struct(Struct { fields, values: self.values(head.rest, count, depth)? }))
    }

    fn numbers(&mut self, mut head: Head) -> Result<Value, Broken> {
        if head.count == 0 {
            return Ok(Value::Numbers(Vec::new()));
        }
        self.count(head.count)?;
        let element = head.rest.element()?;
        let numbers = element.numbers(&head.rest)?;
        if numbers.len() == head.count {
            Ok(Value::Numbers(numbers.collect()))
        } else {
            Err(Broken::Element("an array's dimensions and numbers do not agree"))
        }
    }

    fn text(&mut self, mut head: Head) -> Result<Value, Broken> {
        const DISAGREE: Broken = Broken::Element("a text's dimensions and letters do not agree");
        if head.count == 0 {
            return Ok(Value::Text(String::new()));
        }
        self.count(head.count)?;
        let element = head.rest.element()?;
        if element.data.len() > 4 * head.count {
            return Err(DISAGREE);
        }
        let (text, units) = element.text(&head.rest)?;
        // Dimensions count units of UTF-16, or letters where the writer is kind.
        if units == head.count || text.chars().count() == head.count {
            Ok(Value::Text(text))
        } else {
            Err(DISAGREE)
        }
    }

    fn count(&mut self, numbers: usize) -> Result<(), Broken> {
        self.numbers = self.numbers.saturating_add(numbers);
        (self.numbers <= MOST_NUMBERS).then_some(()).ok_or(Broken::Limit("numbers"))
    }
}

#[cfg(test)]
mod tests;
