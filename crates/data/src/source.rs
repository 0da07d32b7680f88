//! Where images come from.

use crate::Result;
use augment::{Image, Resizer};
use std::sync::Arc;

/// A set of labelled images, all of one size, any of which can be read at any time by any thread.
pub trait Source: Send + Sync {
    /// The classes' names, in the order of their labels.
    fn classes(&self) -> &[String];

    /// Height and width of every image, in pixels.
    fn size(&self) -> (usize, usize);

    /// The number of images.
    fn len(&self) -> usize;

    /// Whether there is no image.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of image `index`.
    ///
    /// # Panics
    /// If there is no such image (so do the methods below).
    fn label(&self, index: usize) -> u32;

    /// What to call image `index` in a message: its path, if it has one.
    fn name(&self, index: usize) -> String;

    /// The pixels of image `index`: height x width x 3 bytes, lying in the source or in `buffer`.
    ///
    /// # Errors
    /// If the image cannot be read or decoded.
    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]>;

    /// What the images read so far give cause to tell the user, once.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Room to read and decode an image in; each thread keeps one, so that reading allocates nothing
/// new.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    /// The bytes of a file.
    pub file: Vec<u8>,
    /// The image as the file holds it.
    pub decoded: Image,
    /// The image as it is delivered.
    pub image: Image,
    /// From one to the other.
    pub resizer: Resizer,
    /// A row of colours before they are rounded.
    pub row: Vec<f32>,
}

/// The first images of another source, spread evenly over it so that every class has its share.
#[derive(Clone)]
pub struct Subset {
    source: Arc<dyn Source>,
    len: usize,
}

impl Subset {
    /// `len` images of `source`, or all if it has fewer.
    pub fn spread(source: Arc<dyn Source>, len: usize) -> Subset {
        let len = len.min(source.len());
        Subset { source, len }
    }

    fn original(&self, index: usize) -> usize {
        assert!(index < self.len, "image {index} of {}", self.len);
        (index as u64 * self.source.len() as u64 / self.len as u64) as usize
    }
}

impl Source for Subset {
    fn classes(&self) -> &[String] {
        self.source.classes()
    }

    fn size(&self) -> (usize, usize) {
        self.source.size()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn label(&self, index: usize) -> u32 {
        self.source.label(self.original(index))
    }

    fn name(&self, index: usize) -> String {
        self.source.name(self.original(index))
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        self.source.read(self.original(index), buffer)
    }

    fn remarks(&self) -> Vec<String> {
        self.source.remarks()
    }
}
