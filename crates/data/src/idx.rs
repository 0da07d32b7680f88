//! MNIST and similar data sets in IDX files.
//!
//! An IDX file has a header of four bytes (two zeros, the element type, the number of dimensions),
//! each dimension as a big-endian 32-bit integer, and the elements in row-major order
//! (<http://yann.lecun.com/exdb/mnist/>). Here, elements are bytes: labels of one dimension, images
//! of three (images, rows, columns) or of four, the last of them one or three channels.

use crate::bounded;
use crate::{Error, ReadBuffer, Result, Source};
use files::numbers::grouped;
use flate2::read::MultiGzDecoder;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The images of one set, grey or colour, resized to the requested side.
pub struct Idx {
    classes: Arc<[String]>,
    pixels: Vec<u8>,
    labels: Vec<u8>,
    shape: ImageShape,
    path: PathBuf,
    side: usize,
}

/// The dimensions of an image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ImageShape {
    images: usize,
    height: usize,
    width: usize,
    channels: usize,
}

/// The size limit of an unpacked file in bytes.
const LARGEST: u64 = 4 << 30;
/// Largest height and width.
const LARGEST_SIDE: u32 = 16_384;
/// An upper bound of gzip's compression factor.
const GZIP_FACTOR: u64 = 1040;

const REMEDY: &str = "download the file again";

impl Idx {
    /// Whether a folder has MNIST's files under any of their usual names.
    pub fn is_at(root: impl AsRef<Path>) -> bool {
        let root = root.as_ref();
        ["train", "t10k"].into_iter().any(|set| find(root, set, "images").is_some())
    }

    /// Height and width of the stored training images.
    ///
    /// # Errors
    /// If there are none, or their header is invalid.
    pub fn stored_size(root: impl AsRef<Path>) -> Result<(usize, usize)> {
        let root = root.as_ref();
        let shape = IdxFile::open(&existing(root, "train", "images")?)?.image_shape()?;
        Ok((shape.height, shape.width))
    }

    /// The training and the test images, as `side` x `side` pixels.
    ///
    /// The classes are the numbers from 0 to the largest training label. Every number but 0 must
    /// occur; otherwise the file is considered damaged.
    ///
    /// # Errors
    /// If a file is missing, is not an IDX file of bytes, or does not have the length in its
    /// header; or if images and labels do not match.
    pub fn open(root: impl AsRef<Path>, side: usize) -> Result<(Idx, Idx)> {
        let root = root.as_ref();
        let (train_images, train_labels) = pair(root, "train")?;
        let (test_images, test_labels) = pair(root, "t10k")?;
        let count = count_classes(&train_labels)?;
        let too_large = |&label: &u8| usize::from(label) >= count;
        if let Some(number) = test_labels.bytes.iter().position(too_large) {
            let (label, last) = (test_labels.bytes[number], count - 1);
            let problem = format!("image {number} is of class {label}, and the last is {last}");
            return Err(Error::layout(&test_labels.path, problem, REMEDY));
        }
        let classes: Arc<[String]> = (0..count).map(|class| class.to_string()).collect();
        let set = |images: IdxFile, labels: IdxFile| -> Result<Idx> {
            let (shape, classes) = (images.image_shape()?, classes.clone());
            let (pixels, labels, path) = (images.bytes, labels.bytes, images.path);
            Ok(Idx { classes, pixels, labels, shape, path, side })
        };
        Ok((set(train_images, train_labels)?, set(test_images, test_labels)?))
    }
}

/// The images and labels of a set, in equal numbers.
fn pair(root: &Path, set: &str) -> Result<(IdxFile, IdxFile)> {
    let mut images = IdxFile::open(&existing(root, set, "images")?)?;
    let mut labels = IdxFile::open(&existing(root, set, "labels")?)?;
    let shape = images.image_shape()?;
    let [count] = labels.dims[..] else {
        let problem = format!("labels of {} dimensions; expected one", labels.dims.len());
        return Err(Error::layout(&labels.path, problem, REMEDY));
    };
    if count as usize != shape.images {
        let problem = format!(
            "{} labels, but {} has {} images",
            grouped(count as usize),
            images.path.display(),
            grouped(shape.images)
        );
        return Err(Error::layout(
            &labels.path,
            problem,
            "download both files from the same source",
        ));
    }
    images.read()?;
    labels.read()?;
    Ok((images, labels))
}

/// The largest label plus one.
fn count_classes(labels: &IdxFile) -> Result<usize> {
    let mut first = [None; 256];
    for (number, &label) in labels.bytes.iter().enumerate().rev() {
        first[usize::from(label)] = Some(number);
    }
    let count = first.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let wrong = |problem: String| Err(Error::layout(&labels.path, problem, REMEDY));
    if count < 2 {
        return wrong("only one class; a network needs two or more".to_owned());
    }
    if let Some(missing) = (1..count).find(|&class| first[class].is_none()) {
        let above = (missing..count).find_map(|class| Some((class, first[class]?)));
        let (class, number) = above.expect("the last class has an image");
        return wrong(format!("image {number} is of class {class}, but none is of {missing}"));
    }
    Ok(count)
}

/// A set's file under its usual names: `train-images-idx3-ubyte`, `train-images.idx3-ubyte.gz`.
fn find(root: &Path, set: &str, what: &str) -> Option<PathBuf> {
    let dimensions: &[u32] = if what == "labels" { &[1] } else { &[3, 4] };
    let names = dimensions.iter().flat_map(|dims| {
        ["-", "."].into_iter().flat_map(move |dot| {
            ["", ".gz"].map(|end| format!("{set}-{what}{dot}idx{dims}-ubyte{end}"))
        })
    });
    names.map(|name| root.join(name)).find(|path| path.is_file())
}

fn existing(root: &Path, set: &str, what: &str) -> Result<PathBuf> {
    find(root, set, what).ok_or_else(|| {
        let number = if what == "labels" { 1 } else { 3 };
        let problem = format!("no `{set}-{what}-idx{number}-ubyte`, with or without `.gz`");
        Error::layout(root, problem, "MNIST is four files: download the missing one")
    })
}

/// An IDX file of bytes after its header is read.
struct IdxFile {
    path: PathBuf,
    dims: Vec<u32>,
    bytes: Vec<u8>,
    reader: Box<dyn Read>,
}

impl IdxFile {
    /// Reads the header and checks it against the file's length.
    fn open(path: &Path) -> Result<IdxFile> {
        let io = |error| Error::io(path, &error);
        let (file, len) = bounded::open(path).map_err(io)?;
        IdxFile::of(path, file, len)
    }

    /// Reads the header from `file`, which has `len` bytes.
    fn of(path: &Path, file: impl Read + 'static, len: u64) -> Result<IdxFile> {
        let wrong = |problem: String| Error::layout(path, problem, REMEDY);
        let is_packed = path.extension().is_some_and(|end| end == "gz");
        let mut reader: Box<dyn Read> = if is_packed {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(std::io::BufReader::new(file))
        };
        let header = |reader: &mut dyn Read, word: &mut [u8; 4]| {
            reader.read_exact(word).map_err(|error| wrong(format!("incomplete header ({error})")))
        };
        let mut word = [0; 4];
        header(&mut *reader, &mut word)?;
        let [0, 0, kind, dimensions] = word else {
            return Err(wrong(format!("it starts with {word:02x?}; IDX starts with two zeros")));
        };
        if kind != 8 || !(1..=4).contains(&dimensions) {
            let problem = format!("elements of type {kind:#04x} in {dimensions} dimensions;");
            return Err(wrong(format!("{problem} expected bytes (0x08) in 1 to 4")));
        }
        let mut dims = Vec::new();
        for _ in 0..dimensions {
            header(&mut *reader, &mut word)?;
            dims.push(u32::from_be_bytes(word));
        }
        let file = IdxFile { path: path.to_owned(), dims, bytes: Vec::new(), reader };
        let elements = file.elements().filter(|&elements| elements <= LARGEST);
        let elements = elements.ok_or_else(|| {
            wrong(format!("{:?} elements exceed the limit of {LARGEST}", file.dims))
        })?;
        let whole = elements + 4 + 4 * u64::from(dimensions);
        if !is_packed && len != whole {
            return Err(wrong(format!("{len} bytes; {:?} elements take {whole}", file.dims)));
        }
        if is_packed && whole > len.saturating_mul(GZIP_FACTOR) {
            let problem = format!("{len} compressed bytes cannot hold {:?} elements", file.dims);
            return Err(wrong(problem));
        }
        Ok(file)
    }

    fn elements(&self) -> Option<u64> {
        self.dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(u64::from(dim)))
    }

    /// Reads the elements. Memory grows with the data read, not with the size in the header.
    fn read(&mut self) -> Result<()> {
        let wanted = self.elements().expect("checked by `of`");
        let read = (&mut self.reader).take(wanted + 1).read_to_end(&mut self.bytes);
        let wrong = |problem: String| Err(Error::layout(&self.path, problem, REMEDY));
        match read {
            Err(error) => {
                let found = self.bytes.len();
                wrong(format!("{found} of {wanted} bytes, then: {error}"))
            }
            Ok(found) if (found as u64) < wanted => wrong(format!("{found} of {wanted} bytes")),
            Ok(found) if found as u64 > wanted => wrong(format!("more than {wanted} bytes")),
            Ok(_) => Ok(()),
        }
    }

    fn image_shape(&self) -> Result<ImageShape> {
        let (&[images, height, width, ref channels @ ..], dims) = (&self.dims[..], &self.dims)
        else {
            let problem = format!("{} dimensions; images have three or four", self.dims.len());
            return Err(Error::layout(&self.path, problem, REMEDY));
        };
        let channels = channels.first().copied().unwrap_or(1);
        let sides = 1..=LARGEST_SIDE;
        let fits = sides.contains(&height) && sides.contains(&width) && images > 0;
        if !fits || ![1, 3].contains(&channels) {
            let problem =
                format!("{dims:?} is not a valid number of images, rows, columns and channels");
            return Err(Error::layout(&self.path, problem, "channels must be one or three"));
        }
        let [images, height, width, channels] =
            [images, height, width, channels].map(|n| n as usize);
        Ok(ImageShape { images, height, width, channels })
    }
}

impl Source for Idx {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.side, self.side)
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> u32 {
        u32::from(self.labels[index])
    }

    fn name(&self, index: usize) -> String {
        format!("{}: image {index}", self.path.display())
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        let ImageShape { height, width, channels, .. } = self.shape;
        let bytes = height * width * channels;
        let stored = &self.pixels[index * bytes..][..bytes];
        let fits = (height, width) == (self.side, self.side);
        if fits && channels == 3 {
            return Ok(stored);
        }
        let image = if fits { &mut buffer.image } else { &mut buffer.decoded };
        image.reshape(height, width);
        match channels {
            3 => image.pixels.copy_from_slice(stored),
            _ => {
                let pixels = image.pixels.as_chunks_mut::<3>().0;
                pixels.iter_mut().zip(stored).for_each(|(pixel, &grey)| *pixel = [grey; 3]);
            }
        }
        if !fits {
            buffer.resizer.square(&buffer.decoded, self.side, &mut buffer.image);
        }
        Ok(&buffer.image.pixels)
    }

    fn remarks(&self) -> Vec<String> {
        let (ImageShape { height, width, .. }, side) = (self.shape, self.side);
        if (height, width) == (side, side) {
            return Vec::new();
        }
        vec![format!("images of {height} x {width} pixels are resized to {side} x {side}")]
    }
}

/// For fuzzing: reads a file as images and as labels. Returns the elements, if the header has at
/// most 2^20 of them.
pub(crate) fn read_array(path: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let file = std::io::Cursor::new(bytes.to_vec());
    let mut file = IdxFile::of(path, file, bytes.len() as u64)?;
    let _ = file.image_shape();
    if file.elements().expect("checked by `of`") <= 1 << 20 {
        file.read()?;
        let _ = count_classes(&file);
    }
    Ok(file.bytes)
}

#[cfg(test)]
mod tests;
