//! Writes MATLAB's MAT-files, version 5, like MATLAB: numbers in their narrowest type, text as
//! UTF-16, short elements inside their tags.

use std::io::Write;

/// The value of a variable or field.
#[derive(Clone, Debug)]
pub enum Value {
    /// A row of numbers.
    Numbers(Vec<f64>),
    /// A row of characters.
    Text(String),
    /// A row of values.
    Cell(Vec<Value>),
    /// A column of structs: the names of the fields, and for each struct a row of values.
    Struct(Vec<String>, Vec<Vec<Value>>),
}

/// Options of a file's format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatFormat {
    /// Big-endian instead of little-endian.
    pub big_endian: bool,
    /// Compress each variable.
    pub compressed: bool,
    /// Text as UTF-8 instead of UTF-16.
    pub utf8: bool,
}

/// The bytes of a file with these variables.
pub fn file(variables: &[(&str, Value)], format: MatFormat) -> Vec<u8> {
    let mut bytes = b"MATLAB 5.0 MAT-file, made for a test".to_vec();
    bytes.resize(124, b' ');
    bytes.extend(format.bytes(0x0100, 2));
    bytes.extend(format.bytes(0x4D49, 2));
    for (name, value) in variables {
        let matrix = format.matrix(name, value);
        if format.compressed {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(&matrix).expect("memory");
            let packed = encoder.finish().expect("memory");
            bytes.extend(
                [format.bytes(15, 4), format.bytes(packed.len() as u64, 4), packed].concat(),
            );
        } else {
            bytes.extend(matrix);
        }
    }
    bytes
}

impl MatFormat {
    fn bytes(self, number: u64, width: usize) -> Vec<u8> {
        if self.big_endian {
            number.to_be_bytes()[8 - width..].to_vec()
        } else {
            number.to_le_bytes()[..width].to_vec()
        }
    }

    fn element(self, kind: u64, data: &[u8]) -> Vec<u8> {
        let len = data.len() as u64;
        let mut bytes = match len {
            1..=4 => self.bytes(len << 16 | kind, 4),
            _ => [self.bytes(kind, 4), self.bytes(len, 4)].concat(),
        };
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn numbers(self, numbers: &[f64]) -> Vec<u8> {
        let all = |most: f64| numbers.iter().all(|&n| n.fract() == 0.0 && n >= 0.0 && n <= most);
        let (kind, width) = match () {
            () if all(255.0) => (2, 1),
            () if all(65_535.0) => (4, 2),
            () => (9, 8),
        };
        let bits = |n: f64| if width == 8 { n.to_bits() } else { n as u64 };
        let data: Vec<u8> = numbers.iter().flat_map(|&n| self.bytes(bits(n), width)).collect();
        self.element(kind, &data)
    }

    fn matrix(self, name: &str, value: &Value) -> Vec<u8> {
        let text_len =
            |text: &str| if self.utf8 { text.chars().count() } else { text.encode_utf16().count() };
        let (class, rows, columns) = match value {
            Value::Numbers(numbers) => (6, 1, numbers.len()),
            Value::Text(text) => (4, 1, text_len(text)),
            Value::Cell(values) => (1, 1, values.len()),
            Value::Struct(_, rows) => (2, rows.len(), 1),
        };
        let words = |words: &[usize]| -> Vec<u8> {
            words.iter().flat_map(|&word| self.bytes(word as u64, 4)).collect()
        };
        let mut body = self.element(6, &words(&[class, 0]));
        body.extend(self.element(5, &words(&[rows, columns])));
        body.extend(self.element(1, name.as_bytes()));
        match value {
            Value::Numbers(numbers) => body.extend(self.numbers(numbers)),
            Value::Text(text) if self.utf8 => body.extend(self.element(16, text.as_bytes())),
            Value::Text(text) => {
                let units = text.encode_utf16().flat_map(|unit| self.bytes(u64::from(unit), 2));
                body.extend(self.element(4, &units.collect::<Vec<u8>>()));
            }
            Value::Cell(values) => values.iter().for_each(|v| body.extend(self.matrix("", v))),
            Value::Struct(fields, rows) => {
                const WIDTH: usize = 32;
                body.extend(self.element(5, &self.bytes(WIDTH as u64, 4)));
                let mut names = Vec::new();
                for field in fields {
                    names.extend(field.as_bytes());
                    names.resize(names.len().next_multiple_of(WIDTH), 0);
                }
                body.extend(self.element(1, &names));
                rows.iter().flatten().for_each(|v| body.extend(self.matrix("", v)));
            }
        }
        [self.bytes(14, 4), self.bytes(body.len() as u64, 4), body].concat()
    }
}
