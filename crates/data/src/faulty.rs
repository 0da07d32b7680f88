//! For tests: images of noise, of which some cannot be read and some make the reader panic.

use crate::decode::Reason;
use crate::{Error, ReadBuffer, Result, Source};
use random::{Purpose, Stream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Default)]
pub(crate) struct Faulty {
    classes: Vec<String>,
    size: (usize, usize),
    pub(crate) images: Vec<Vec<u8>>,
    /// Images that cannot be read.
    pub(crate) bad: Vec<usize>,
    /// Images that make the reader panic.
    pub(crate) deadly: Vec<usize>,
    /// Done at each reading, with the image's index.
    pub(crate) on_read: Option<Box<dyn Fn(usize) + Send + Sync>>,
    /// Calls of `read`.
    pub(crate) reads: AtomicUsize,
}

impl Faulty {
    /// `len` sound images of a height and width, in three classes. Green follows red, and blue
    /// varies little.
    pub(crate) fn new(len: usize, size: (usize, usize)) -> Faulty {
        let image = |index: usize| {
            let mut noise = Stream::new(3, Purpose::Test, 0, index as u32);
            let mut pixel = || noise.next().to_le_bytes();
            let pixels = (0..size.0 * size.1).map(|_| pixel());
            pixels.flat_map(|[a, b, c, _]| [a, a / 2 + b / 4, 30 + c / 8]).collect()
        };
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        Faulty { classes, size, images: (0..len).map(image).collect(), ..Faulty::default() }
    }

    pub(crate) fn with_bad(mut self, bad: impl IntoIterator<Item = usize>) -> Faulty {
        self.bad.extend(bad);
        self
    }

    pub(crate) fn with_deadly(mut self, deadly: impl IntoIterator<Item = usize>) -> Faulty {
        self.deadly.extend(deadly);
        self
    }
}

impl Source for Faulty {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn label(&self, index: usize) -> u32 {
        (index * 5 % 3) as u32
    }

    fn name(&self, index: usize) -> String {
        format!("noise {index}")
    }

    fn read<'a>(&'a self, index: usize, _: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.on_read.iter().for_each(|act| act(index));
        assert!(!self.deadly.contains(&index), "image {index} is deadly");
        if self.bad.contains(&index) {
            return Err(Error::image(
                Path::new(&self.name(index)),
                Reason::Damaged("spoilt".to_owned()),
            ));
        }
        Ok(&self.images[index])
    }
}
