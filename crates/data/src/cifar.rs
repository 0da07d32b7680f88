//! CIFAR-10 in its binary form.

use crate::{Error, ReadBuffer, Result, Source};
use augment::Image;
use std::fs;
use std::path::Path;

/// Height and width of an image.
const SIDE: usize = 32;
/// A record: the label, then a plane each of red, green and blue.
const RECORD: usize = 1 + 3 * SIDE * SIDE;
const RECORDS: usize = 10_000;

/// The names of the classes, should `batches.meta.txt` be missing.
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The images of CIFAR-10, 32 x 32 pixels unless another size is asked for.
pub struct Cifar {
    classes: Vec<String>,
    images: Vec<Image>,
    labels: Vec<u8>,
    name: &'static str,
    side: usize,
}

impl Cifar {
    /// Whether a folder looks like CIFAR-10's binary form.
    pub fn is_at(root: &Path) -> bool {
        train_files().iter().any(|file| root.join(file).is_file())
    }

    /// The 50,000 training and the 10,000 test images.
    ///
    /// # Errors
    /// If a file is missing, or is not exactly 10,000 records long.
    pub fn open(root: &Path, side: usize) -> Result<(Cifar, Cifar)> {
        let classes = read_classes(root)?;
        let set = |files: &[String], name| {
            let (mut images, mut labels) = (Vec::new(), Vec::new());
            for file in files {
                read_records(&root.join(file), &mut images, &mut labels)?;
            }
            Ok(Cifar { classes: classes.clone(), images, labels, name, side })
        };
        Ok((set(&train_files(), "training")?, set(&["test_batch.bin".to_owned()], "test")?))
    }
}

fn train_files() -> [String; 5] {
    [1, 2, 3, 4, 5].map(|number| format!("data_batch_{number}.bin"))
}

fn read_classes(root: &Path) -> Result<Vec<String>> {
    let path = root.join("batches.meta.txt");
    if !path.exists() {
        return Ok(CLASSES.map(String::from).to_vec());
    }
    let text = fs::read_to_string(&path).map_err(|error| Error::io(&path, &error))?;
    let classes: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    if classes.len() != CLASSES.len() {
        let problem = format!("{} class names where CIFAR-10 has ten", classes.len());
        return Err(Error::layout(&path, problem, "download the binary version again"));
    }
    Ok(classes)
}

fn read_records(path: &Path, images: &mut Vec<Image>, labels: &mut Vec<u8>) -> Result<()> {
    let bytes = fs::read(path).map_err(|error| Error::io(path, &error))?;
    let wrong = |problem: String| {
        Error::layout(path, problem, "download the binary version of CIFAR-10 again")
    };
    if bytes.len() != RECORDS * RECORD {
        return Err(wrong(format!(
            "{} bytes where 10,000 images take {}",
            bytes.len(),
            RECORDS * RECORD
        )));
    }
    parse_records(&bytes, images, labels).map_err(wrong)
}

/// Adds the images of whole records, and says what is wrong with one.
pub(crate) fn parse_records(
    bytes: &[u8],
    images: &mut Vec<Image>,
    labels: &mut Vec<u8>,
) -> std::result::Result<(), String> {
    for (number, record) in bytes.chunks_exact(RECORD).enumerate() {
        let (label, planes) = (record[0], &record[1..]);
        if usize::from(label) >= CLASSES.len() {
            return Err(format!("image {number} is of class {label}, and the last is 9"));
        }
        let mut image = Image::filled(SIDE, SIDE, [0; 3]);
        for (at, pixel) in image.pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = [0, 1, 2].map(|plane| planes[plane * SIDE * SIDE + at]);
        }
        images.push(image);
        labels.push(label);
    }
    Ok(())
}

impl Source for Cifar {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.side, self.side)
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn label(&self, index: usize) -> u32 {
        u32::from(self.labels[index])
    }

    fn name(&self, index: usize) -> String {
        format!("CIFAR-10 {} image {index}", self.name)
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        let image = &self.images[index];
        if self.side == SIDE {
            return Ok(&image.pixels);
        }
        buffer.resizer.square(image, self.side, &mut buffer.image);
        Ok(&buffer.image.pixels)
    }

    fn remarks(&self) -> Vec<String> {
        match self.side {
            SIDE => Vec::new(),
            side => vec![format!("CIFAR-10's images are resized from {SIDE} to {side} pixels")],
        }
    }
}

#[cfg(test)]
mod tests;
