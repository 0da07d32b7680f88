//! A source that is read into memory once.

use crate::loader::ReadClock;
use crate::watch::{clocks, watched};
use crate::{Error, ReadBuffer, ReadTimeouts, Result, Source, StalledRead, parallel};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The pixels of another source's images, kept in memory.
pub struct Memory {
    source: Arc<dyn Source>,
    pixels: Vec<u8>,
    image_bytes: usize,
    bad: BTreeMap<usize, Error>,
}

impl Memory {
    /// Reads all of `source` on `threads` threads (0: one per core). `progress` receives the number
    /// of images read; it is called now and then, from any thread.
    ///
    /// Images that cannot be read stay in the set; [`read`](Source::read) returns their error.
    pub fn read_all(
        source: Arc<dyn Source>,
        threads: usize,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Memory {
        Memory::read(source, &clocks(threads), progress)
    }

    /// [`read_all`](Self::read_all) on separate threads. Meanwhile `watch` is called several times
    /// a second with the number of images read and any stalled read. If it returns `false`, the
    /// result is `None`.
    ///
    /// # Errors
    /// [`Error::Stalled`] if an image takes longer than the limit.
    pub(crate) fn read_watched(
        source: &Arc<dyn Source>,
        threads: usize,
        timeouts: ReadTimeouts,
        watch: &mut dyn FnMut(usize, Option<&StalledRead>) -> bool,
    ) -> Result<Option<Memory>> {
        let done = Arc::new(AtomicUsize::new(0));
        let (counted, own) = (Arc::clone(&done), Arc::clone(source));
        let mut watch =
            |stalled: Option<&StalledRead>| watch(done.load(Ordering::Relaxed), stalled);
        watched(source, threads, timeouts, &mut watch, move |_, clocks| {
            Memory::read(own, clocks, &|done| {
                counted.fetch_max(done, Ordering::Relaxed);
            })
        })
    }

    fn read(
        source: Arc<dyn Source>,
        clocks: &[ReadClock],
        progress: &(dyn Fn(usize) + Sync),
    ) -> Memory {
        let (height, width) = source.size();
        let image_bytes = height * width * 3;
        let mut pixels = vec![0; image_bytes * source.len()];
        let bad = Mutex::new(BTreeMap::new());
        let (done, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        parallel::for_each(
            clocks.len(),
            pixels.chunks_exact_mut(image_bytes).enumerate(),
            || (ReadBuffer::default(), parallel::next(clocks, &taken)),
            |(buffer, clock), (index, to)| {
                clock.begin(index);
                let read = source.read(index, buffer);
                clock.end();
                match read {
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

    /// The [`remarks`](Source::remarks) of the source after its images were read; `remarks` of this
    /// source is empty.
    pub fn remarks_of_reading(&self) -> Vec<String> {
        self.source.remarks()
    }

    /// The images that could not be read, with their errors.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_read_is_reported_and_can_be_stopped() {
        let read = |source: &Arc<dyn Source>| Memory::read_all(Arc::clone(source), 2, &|_| ());
        crate::watch::tests::check(
            |source, timeouts, watch| {
                let mut watch = |_: usize, stalled: Option<&StalledRead>| watch(stalled);
                let read = Memory::read_watched(source, 2, timeouts, &mut watch)?;
                Ok(read.map(|memory| memory.pixels))
            },
            |source| read(source).pixels,
        );
    }
}
