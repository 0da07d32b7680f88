//! Random noise, for measuring everything but the data.

use crate::{ReadBuffer, Result, Source};
use random::{Purpose, Stream};

/// Images of random noise that are read at no cost.
pub struct Fake {
    classes: Vec<String>,
    side: usize,
    len: usize,
    noise: Vec<u8>,
}

/// The offset in bytes from one image to the next; the first 4096 images differ.
const STEP: usize = 97;

impl Fake {
    /// `len` images of `side` x `side` pixels in `classes` classes.
    ///
    /// # Panics
    /// If `classes` is zero.
    pub fn new(len: usize, side: usize, classes: usize) -> Fake {
        assert!(classes > 0, "images without a class");
        let mut stream = Stream::new(0, Purpose::Generate, u32::MAX, 0);
        let bytes = side * side * 3 + STEP * 4096;
        let noise = (0..bytes.div_ceil(4)).flat_map(|_| stream.next().to_le_bytes()).collect();
        Fake {
            classes: (0..classes).map(|class| format!("class {class}")).collect(),
            side,
            len,
            noise,
        }
    }
}

impl Source for Fake {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.side, self.side)
    }

    fn len(&self) -> usize {
        self.len
    }

    fn label(&self, index: usize) -> u32 {
        (index % self.classes.len()) as u32
    }

    fn name(&self, index: usize) -> String {
        format!("fake image {index}")
    }

    fn read<'a>(&'a self, index: usize, _: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        assert!(index < self.len, "image {index} of {}", self.len);
        Ok(&self.noise[index % 4096 * STEP..][..self.side * self.side * 3])
    }
}
