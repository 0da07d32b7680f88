//! Files of features, written as a stream.

use super::arrays::Arrays;
use super::contents::{Contents, VectorFormat};
use crate::Result;
use files::{CsvRow, Output};
use std::path::Path;

/// A file with the outputs of layers for every image. The values of an image that could not be read
/// are NaN, so that positions in the file are numbers of images.
pub struct Writer<'a> {
    contents: Contents<'a>,
    file: Output,
    /// `None` for CSV.
    arrays: Option<Arrays>,
}

impl std::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("contents", &self.contents).finish_non_exhaustive()
    }
}

impl<'a> Writer<'a> {
    /// Creates a file.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Format`] if a file of this format cannot hold the contents.
    ///
    /// [`Error::File`]: crate::Error::File
    /// [`Error::Format`]: crate::Error::Format
    pub fn create(
        path: impl AsRef<Path>,
        format: VectorFormat,
        contents: Contents<'a>,
    ) -> Result<Writer<'a>> {
        let path = path.as_ref();
        let layers: Vec<&str> = contents.layers.iter().map(|(name, _)| name.as_str()).collect();
        format.check(path, &layers)?;
        let arrays = Arrays::plan(path, format, &contents)?;
        let mut file = Output::create(path)?;
        match &arrays {
            Some(arrays) => arrays.begin(&contents, &mut file)?,
            None => file.write(csv_header(&contents).as_bytes())?,
        }
        Ok(Writer { contents, file, arrays })
    }

    /// Adds the next image: the output of each layer, in the order height, width, channel; `None`
    /// if it could not be read.
    ///
    /// # Errors
    /// If the file cannot be written.
    ///
    /// # Panics
    /// If an output has another number of values than its shape.
    pub fn push(&mut self, sample: usize, outputs: Option<&[&[f32]]>) -> Result<()> {
        let Writer { contents, file, arrays } = self;
        let mut row = arrays.is_none().then(|| csv_row(contents, sample));
        let mut arranged = Vec::new();
        for (layer, (name, shape)) in contents.layers.iter().enumerate() {
            let length: usize = shape.iter().product();
            match outputs {
                Some(outputs) => contents.layout.arrange(outputs[layer], shape, &mut arranged),
                None => arranged = vec![f32::NAN; length],
            }
            assert_eq!(arranged.len(), length, "{name} has an output of {shape:?}");
            match arrays {
                Some(arrays) => arrays.push(layer, &arranged, file)?,
                None => row = row.map(|row| row.numbers(&arranged)),
            }
        }
        Ok(row.map_or(Ok(()), |row| file.write(row.line().as_bytes()))?)
    }

    /// Completes the file and renames it to its path.
    ///
    /// # Errors
    /// If the file, or one beside it, cannot be written.
    pub fn finish(mut self) -> Result<()> {
        if let Some(arrays) = self.arrays {
            arrays.finish(&self.contents, &mut self.file)?;
        }
        Ok(self.file.finish()?)
    }
}

/// The line of the columns' names.
fn csv_header(contents: &Contents<'_>) -> String {
    let mut row = CsvRow::new().texts(["image", "name", "class"]);
    for (name, shape) in &contents.layers {
        let prefix = if contents.layers.len() > 1 { format!("{name}_") } else { String::new() };
        let values = 0..shape.iter().product();
        row = row.texts(values.map(|at| format!("{prefix}f{at}")));
    }
    row.line()
}

/// The beginning of an image's row.
fn csv_row(contents: &Contents<'_>, sample: usize) -> CsvRow {
    let class = &contents.source.classes()[contents.source.label(sample) as usize];
    let class = if contents.labelled { class } else { "" };
    CsvRow::new().number(sample).text(&contents.name(sample)).text(class)
}

#[cfg(test)]
mod tests;
