//! A source whose images have all been read.

use crate::parallel;
use crate::{Error, ReadBuffer, Result, Source};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Images read once and kept as pixels, for sets that fit.
pub struct Memory {
    source: Arc<dyn Source>,
    pixels: Vec<u8>,
    image_bytes: usize,
    bad: BTreeMap<usize, Error>,
}

impl Memory {
    /// Reads all of `source` on `threads` threads (0: one for each core). `progress` is told how
    /// many images have been read, now and then, from any thread.
    ///
    /// Images that cannot be read stay in the set; [`read`](Source::read) says why, each time.
    pub fn read_all(
        source: Arc<dyn Source>,
        threads: usize,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Memory {
        let (height, width) = source.size();
        let image_bytes = height * width * 3;
        let mut pixels = vec![0; image_bytes * source.len()];
        let bad = Mutex::new(BTreeMap::new());
        let done = AtomicUsize::new(0);
        parallel::for_each(
            threads,
            pixels.chunks_exact_mut(image_bytes).enumerate(),
            ReadBuffer::default,
            |buffer, (index, to)| {
                match source.read(index, buffer) {
                    Ok(image) => to.copy_from_slice(image),
                    Err(error) => drop(bad.lock().expect("a map").insert(index, error)),
                }
                let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                if count.is_multiple_of(256) || count == source.len() {
                    progress(count);
                }
            },
        );
        Memory { source, pixels, image_bytes, bad: bad.into_inner().expect("a map") }
    }

    /// The images that could not be read, and why.
    pub fn bad(&self) -> &BTreeMap<usize, Error> {
        &self.bad
    }
}

impl Source for Memory {
    fn classes(&self) -> &[String] {
        self.source.classes()
    }

    fn size(&self) -> (usize, usize) {
        self.source.size()
    }

    fn len(&self) -> usize {
        self.source.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.source.label(index)
    }

    fn name(&self, index: usize) -> String {
        self.source.name(index)
    }

    fn read<'a>(&'a self, index: usize, _: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        match self.bad.get(&index) {
            Some(error) => Err(error.clone()),
            None => Ok(&self.pixels[index * self.image_bytes..][..self.image_bytes]),
        }
    }

    fn remarks(&self) -> Vec<String> {
        self.source.remarks()
    }
}
