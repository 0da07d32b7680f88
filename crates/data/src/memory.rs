//! A source whose images have all been read.

use crate::loader::AtHand;
use crate::watch::{hands, watched};
use crate::{Error, Patience, ReadBuffer, Result, Source, Stalled, parallel};
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
        Memory::read(source, &hands(threads), progress)
    }

    /// [`read_all`](Self::read_all) by threads of their own. While they are waited for, `watch`
    /// hears some times a second how many images have been read, and of one that takes long, and
    /// says whether to go on; if it says `false`, there is `None`.
    ///
    /// # Errors
    /// [`Error::Stalled`] if an image takes longer than the patience's limit.
    pub(crate) fn read_watched(
        source: &Arc<dyn Source>,
        threads: usize,
        patience: Patience,
        watch: &mut dyn FnMut(usize, Option<&Stalled>) -> bool,
    ) -> Result<Option<Memory>> {
        let done = Arc::new(AtomicUsize::new(0));
        let (counted, own) = (Arc::clone(&done), Arc::clone(source));
        let mut watch = |stalled: Option<&Stalled>| watch(done.load(Ordering::Relaxed), stalled);
        watched(source, threads, patience, &mut watch, move |_, hands| {
            Memory::read(own, hands, &|done| {
                counted.fetch_max(done, Ordering::Relaxed);
            })
        })
    }

    fn read(
        source: Arc<dyn Source>,
        hands: &[AtHand],
        progress: &(dyn Fn(usize) + Sync),
    ) -> Memory {
        let (height, width) = source.size();
        let image_bytes = height * width * 3;
        let mut pixels = vec![0; image_bytes * source.len()];
        let bad = Mutex::new(BTreeMap::new());
        let (done, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        parallel::for_each(
            hands.len(),
            pixels.chunks_exact_mut(image_bytes).enumerate(),
            || (ReadBuffer::default(), parallel::next(hands, &taken)),
            |(buffer, hand), (index, to)| {
                hand.begin(index);
                let read = source.read(index, buffer);
                hand.end();
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

    /// What the images gave cause to report when they were read: the source's
    /// [`remarks`](Source::remarks). There are none later.
    pub fn remarks_of_reading(&self) -> Vec<String> {
        self.source.remarks()
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_does_not_answer_is_told_and_need_not_be_waited_for() {
        let read = |source: &Arc<dyn Source>| Memory::read_all(Arc::clone(source), 2, &|_| ());
        crate::watch::tests::check(
            |source, patience, watch| {
                let mut watch = |_: usize, stalled: Option<&Stalled>| watch(stalled);
                let read = Memory::read_watched(source, 2, patience, &mut watch)?;
                Ok(read.map(|memory| memory.pixels))
            },
            |source| read(source).pixels,
        );
    }
}
