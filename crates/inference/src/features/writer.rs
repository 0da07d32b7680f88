//! Files of feature vectors, written as a stream.

use crate::Result;
use data::Source;
use files::{CsvRow, Output};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The format of a file of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorFormat {
    /// `features` F32 `[images, length]`; `labels` U32 `[images]`, if there are classes.
    Safetensors,
    /// NumPy's: the matrix; labels, if there are classes, in a file of their own beside it.
    Npy,
    /// A line an image: image, name, class, the numbers.
    Csv,
}

/// A file with one vector per image. The vector of an image that could not be read is all NaN, so
/// that row numbers are image numbers.
pub struct Writer<'a> {
    file: Output,
    format: VectorFormat,
    /// The separate file of labels, if any.
    labels: Option<PathBuf>,
    labelled: bool,
    source: &'a dyn Source,
    length: usize,
}

impl<'a> Writer<'a> {
    /// Creates a file for the images of `source`, each with a vector of `length` elements.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File).
    pub fn create(
        path: &Path,
        format: VectorFormat,
        source: &'a dyn Source,
        length: usize,
        labelled: bool,
    ) -> Result<Writer<'a>> {
        let beside = labelled && format == VectorFormat::Npy;
        let beside = beside.then(|| path.with_extension("labels.npy"));
        let mut file = Output::create(path)?;
        let images = source.len();
        match format {
            VectorFormat::Safetensors => {
                file.write(&safetensors_header(images, length, labelled))?
            }
            VectorFormat::Npy => file.write(&npy_header("<f4", &format!("{images}, {length}")))?,
            VectorFormat::Csv => {
                let names = CsvRow::new().texts(["image", "name", "class"]);
                let line = names.texts((0..length).map(|at| format!("f{at}"))).line();
                file.write(line.as_bytes())?;
            }
        }
        // Tensors are written one after the other: labels are known, so they come first.
        if labelled && format == VectorFormat::Safetensors {
            file.write(&labels(source))?;
        }
        Ok(Writer { file, format, labels: beside, labelled, source, length })
    }

    /// Adds the vector of the next image.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn push(&mut self, sample: usize, vector: Option<&[f32]>) -> Result<()> {
        let absent;
        let vector = match vector {
            Some(vector) => vector,
            None => {
                absent = vec![f32::NAN; self.length];
                &absent
            }
        };
        if self.format == VectorFormat::Csv {
            let class = &self.source.classes()[self.source.label(sample) as usize];
            let class = if self.labelled { class } else { "" };
            let row = CsvRow::new().number(sample).text(&self.source.name(sample)).text(class);
            return Ok(self.file.write(row.numbers(vector).line().as_bytes())?);
        }
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        Ok(self.file.write(&bytes)?)
    }

    /// Completes the file and renames it to its path.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(self) -> Result<()> {
        if let Some(path) = &self.labels {
            let mut bytes = npy_header("<u4", &format!("{},", self.source.len()));
            bytes.extend(labels(self.source));
            let mut file = Output::create(path)?;
            file.write(&bytes)?;
            file.finish()?;
        }
        Ok(self.file.finish()?)
    }
}

fn labels(source: &dyn Source) -> Vec<u8> {
    (0..source.len()).flat_map(|at| source.label(at).to_le_bytes()).collect()
}

/// NumPy's format, version 1: a header in Python's syntax, padded so that numbers begin at a
/// multiple of 64 bytes.
fn npy_header(kind: &str, shape: &str) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 11;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded as u16 + 1).to_le_bytes());
    bytes.extend(format!("{header:padded$}\n").as_bytes());
    bytes
}

/// The header of a safetensors file: its length in eight bytes, then JSON, padded to eight bytes.
fn safetensors_header(images: usize, length: usize, labelled: bool) -> Vec<u8> {
    let start = if labelled { 4 * images } else { 0 };
    let end = start + 4 * images * length;
    let features =
        json!({ "dtype": "F32", "shape": [images, length], "data_offsets": [start, end] });
    let labels = json!({ "dtype": "U32", "shape": [images], "data_offsets": [0, start] });
    let header = if labelled {
        json!({ "labels": labels, "features": features })
    } else {
        json!({ "features": features })
    };
    let mut text = header.to_string();
    text += &" ".repeat(text.len().next_multiple_of(8) - text.len());
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::Fake;
    use safetensors::SafeTensors;

    fn written(format: VectorFormat, labelled: bool) -> (Vec<u8>, PathBuf) {
        let name = format!("alexnet-features-{labelled}-{format:?}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let source = Fake::new(3, 8, 2);
        let mut writer = Writer::create(&path, format, &source, 2, labelled).unwrap();
        writer.push(0, Some(&[1.0, 2.0])).unwrap();
        writer.push(1, None).unwrap();
        writer.push(2, Some(&[-0.5, 1e-9])).unwrap();
        writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        (bytes, path)
    }

    #[test]
    fn safetensors_are_read_by_the_library() {
        for labelled in [true, false] {
            let (bytes, _) = written(VectorFormat::Safetensors, labelled);
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let features = file.tensor("features").unwrap();
            assert_eq!(features.shape(), [3, 2]);
            assert_eq!(features.data()[4..8], 2f32.to_le_bytes());
            assert!(f32::from_le_bytes(features.data()[8..12].try_into().unwrap()).is_nan());
            assert_eq!(file.tensor("labels").is_ok(), labelled);
        }
    }

    #[test]
    fn npy_headers_follow_numpys_format() {
        let (bytes, path) = written(VectorFormat::Npy, true);
        let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
        assert_eq!((10 + length) % 64, 0);
        let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        assert!(header.starts_with("{'descr': '<f4'") && header.ends_with('\n'), "{header}");
        assert!(header.contains("'shape': (3, 2)"), "{header}");
        assert_eq!(bytes.len(), 10 + length + 24);
        let labels = path.with_extension("labels.npy");
        assert_eq!(std::fs::read(&labels).unwrap().len() % 64, 12);
        std::fs::remove_file(labels).unwrap();
    }

    #[test]
    fn csv_has_one_line_per_image() {
        let (bytes, _) = written(VectorFormat::Csv, true);
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (4, "image,name,class,f0,f1"));
        assert!(lines[1].ends_with(",1,2") && lines[2].ends_with("NaN,NaN"), "{text}");
        assert!(lines[3].ends_with("-0.5,0.000000001"), "{text}");
    }
}
