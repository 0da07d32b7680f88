//! Arrays in files: where each begins, and what stands before, between and beside them.
//!
//! All lengths are known in advance, so the values of several layers go straight to their places in
//! the file, image by image.

use super::contents::{Contents, VectorFormat};
use crate::{Error, Result};
use data::Source;
use files::escape::on_one_line;
use files::{Output, StoredZip, npy_header};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Maximum length of a safetensors header: libraries read no longer ones.
const MAX_HEADER: usize = 100_000_000;

/// The arrays of a file that is being written.
pub(super) struct Arrays {
    container: Container,
    /// Where the next values of each layer are written.
    next: Vec<u64>,
    /// Where the file is being written.
    position: u64,
}

enum Container {
    /// The header; labels follow it, if there are classes.
    Safetensors(Vec<u8>),
    /// The header and the file's path, beside which there are others.
    Npy(Vec<u8>, PathBuf),
    /// The archive and the headers of its files: one for each layer, then those of [`extras`].
    Npz(StoredZip, Vec<Vec<u8>>),
}

/// An array of an archive that is no layer's.
#[derive(Clone, Copy)]
enum Extra {
    Labels,
    /// Names of images, each with room for so many characters.
    Names(usize),
}

impl Arrays {
    /// Plans a file; `None` if the format has no arrays.
    ///
    /// # Errors
    /// [`Error::Format`] if the names of the images are too long for the format.
    pub fn plan(
        path: &Path,
        format: VectorFormat,
        contents: &Contents<'_>,
    ) -> Result<Option<Arrays>> {
        let (container, next) = match format {
            VectorFormat::Csv => return Ok(None),
            VectorFormat::Safetensors => safetensors(path, contents)?,
            VectorFormat::Npy => {
                let header = npy_header("<f4", &contents.shape(0));
                let start = header.len() as u64;
                (Container::Npy(header, path.into()), vec![start])
            }
            VectorFormat::Npz => npz(contents),
        };
        Ok(Some(Arrays { container, next, position: 0 }))
    }

    /// Writes the beginning of the file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn begin(&self, contents: &Contents<'_>, file: &mut Output) -> Result<()> {
        match &self.container {
            Container::Safetensors(header) => {
                file.write(header)?;
                if contents.labelled {
                    labels(contents.source).try_for_each(|label| file.write(&label))?;
                }
            }
            Container::Npy(header, _) => file.write(header)?,
            Container::Npz(zip, headers) => {
                for (idx, header) in headers.iter().enumerate() {
                    file.seek(zip.start(idx))?;
                    file.write(header)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the values of a layer for the next image.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn push(&mut self, layer: usize, values: &[f32], file: &mut Output) -> Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        if self.position != self.next[layer] {
            file.seek(self.next[layer])?;
        }
        file.write(&bytes)?;
        self.next[layer] += bytes.len() as u64;
        self.position = self.next[layer];
        if let Container::Npz(zip, _) = &mut self.container {
            zip.update(layer, &bytes);
        }
        Ok(())
    }

    /// Writes what follows the values of the layers, and the files beside.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn finish(self, contents: &Contents<'_>, file: &mut Output) -> Result<()> {
        match self.container {
            Container::Safetensors(_) => Ok(()),
            Container::Npy(_, path) => write_beside(&path, contents),
            Container::Npz(zip, headers) => finish_npz(zip, &headers, contents, file),
        }
    }
}

/// Layers begin after the header and the labels.
fn safetensors(path: &Path, contents: &Contents<'_>) -> Result<(Container, Vec<u64>)> {
    let images = contents.source.len();
    let (mut tensors, mut end, mut starts) = (Map::new(), 0, Vec::new());
    let mut add = |name: &str, dtype: &str, shape: &[usize]| {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        let tensor = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        tensors.insert(name.to_string(), tensor);
        start as u64
    };
    if contents.labelled {
        add("labels", "U32", &[images]);
    }
    for (layer, (name, _)) in contents.layers.iter().enumerate() {
        let name = if contents.layers.len() == 1 { "features" } else { name };
        starts.push(add(name, "F32", &contents.shape(layer)));
    }
    let names: Vec<String> = (0..images).map(|sample| contents.name(sample)).collect();
    let layers: Vec<&str> = contents.layers.iter().map(|(name, _)| name.as_str()).collect();
    let metadata = json!({
        "names": json!(names).to_string(),
        "layers": json!(layers).to_string(),
        "layout": contents.layout.name(),
        "model": contents.model,
    });
    tensors.insert("__metadata__".to_string(), metadata);
    let mut text = Value::Object(tensors).to_string();
    text += &" ".repeat(text.len().next_multiple_of(8) - text.len());
    if text.len() > MAX_HEADER {
        let reason = "the names of the images are too long for the header of a .safetensors file: \
                      write .npz";
        return Err(Error::Format { path: path.into(), reason: reason.to_string() });
    }
    let header = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let first = header.len() as u64;
    Ok((Container::Safetensors(header), starts.iter().map(|start| first + start).collect()))
}

fn npz(contents: &Contents<'_>) -> (Container, Vec<u64>) {
    let images = contents.source.len();
    let mut arrays: Vec<(String, String, Vec<usize>, usize)> = Vec::new();
    for (layer, (name, _)) in contents.layers.iter().enumerate() {
        arrays.push((name.clone(), "<f4".to_string(), contents.shape(layer), 4));
    }
    for extra in extras(contents) {
        let (name, kind, bytes) = match extra {
            Extra::Labels => ("labels", "<u4".to_string(), 4),
            Extra::Names(characters) => ("names", format!("<U{characters}"), 4 * characters),
        };
        arrays.push((name.to_string(), kind, vec![images], bytes));
    }
    let headers = arrays.iter().map(|(_, kind, shape, _)| npy_header(kind, shape));
    let headers: Vec<Vec<u8>> = headers.collect();
    let files = arrays.iter().zip(&headers).map(|((name, _, shape, bytes), header)| {
        let values = bytes * shape.iter().product::<usize>();
        (format!("{name}.npy"), (header.len() + values) as u64)
    });
    let mut zip = StoredZip::new(files);
    headers.iter().enumerate().for_each(|(idx, header)| zip.update(idx, header));
    let layers = 0..contents.layers.len();
    let starts = layers.map(|idx| zip.start(idx) + headers[idx].len() as u64).collect();
    (Container::Npz(zip, headers), starts)
}

/// The arrays after those of the layers.
fn extras(contents: &Contents<'_>) -> Vec<Extra> {
    let longest = (0..contents.source.len()).map(|sample| contents.name(sample).chars().count());
    let names = Extra::Names(longest.max().unwrap_or(0).max(1));
    contents.labelled.then_some(Extra::Labels).into_iter().chain([names]).collect()
}

/// Writes the labels and the names into the archive, then its headers and directory.
fn finish_npz(
    mut zip: StoredZip,
    headers: &[Vec<u8>],
    contents: &Contents<'_>,
    file: &mut Output,
) -> Result<()> {
    for (extra, idx) in extras(contents).into_iter().zip(contents.layers.len()..) {
        file.seek(zip.start(idx) + headers[idx].len() as u64)?;
        for sample in 0..contents.source.len() {
            let bytes = match extra {
                Extra::Labels => contents.source.label(sample).to_le_bytes().to_vec(),
                Extra::Names(characters) => utf32(&contents.name(sample), characters),
            };
            zip.update(idx, &bytes);
            file.write(&bytes)?;
        }
    }
    for (position, header) in zip.headers() {
        file.seek(position)?;
        file.write(&header)?;
    }
    file.seek(zip.end())?;
    Ok(file.write(&zip.directory())?)
}

/// NumPy's form of a text: each character in four bytes, zeros after the last.
fn utf32(text: &str, characters: usize) -> Vec<u8> {
    let codes = text.chars().map(u32::from).chain(std::iter::repeat(0));
    codes.take(characters).flat_map(u32::to_le_bytes).collect()
}

/// Writes labels, if there are classes, and names beside an array.
fn write_beside(path: &Path, contents: &Contents<'_>) -> Result<()> {
    let source = contents.source;
    if contents.labelled {
        let mut file = Output::create(path.with_extension("labels.npy"))?;
        file.write(&npy_header("<u4", &[source.len()]))?;
        labels(source).try_for_each(|label| file.write(&label))?;
        file.finish()?;
    }
    let mut file = Output::create(path.with_extension("names.txt"))?;
    for sample in 0..source.len() {
        let name = contents.name(sample);
        file.write(on_one_line(&name).as_bytes())?;
        file.write(b"\n")?;
    }
    Ok(file.finish()?)
}

fn labels(source: &dyn Source) -> impl Iterator<Item = [u8; 4]> + '_ {
    (0..source.len()).map(|sample| source.label(sample).to_le_bytes())
}
