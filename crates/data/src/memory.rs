//! Images in memory: another source, read once, or arrays.

use crate::loader::ReadClock;
use crate::watch::{clocks, watched};
use crate::{Error, ReadBuffer, ReadTimeouts, Result, Source, StalledRead, parallel};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Images in memory: those of another source, or of arrays.
pub struct Memory {
    described_by: Description,
    size: (usize, usize),
    pixels: Vec<u8>,
    bad: BTreeMap<usize, Error>,
}

/// Labels, classes and names.
enum Description {
    Source(Arc<dyn Source>),
    Arrays { labels: Vec<u32>, classes: Vec<String> },
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

    /// The images in `pixels`, each of `size` (height, width), stored one after another by rows of
    /// red, green and blue bytes. `labels` has the class of each, an index in `classes`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the lengths do not match, an image has no pixels, or a label has no
    /// class.
    pub fn from_arrays(
        size: (usize, usize),
        pixels: Vec<u8>,
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Result<Memory> {
        let (height, width) = size;
        let bytes = height.checked_mul(width).and_then(|area| area.checked_mul(3));
        let Some(bytes) = bytes.filter(|&bytes| bytes > 0) else {
            return Err(Error::Argument(format!("images of {height} x {width} pixels")));
        };
        if labels.len().checked_mul(bytes) != Some(pixels.len()) {
            return Err(Error::Argument(format!(
                "{} labels and {} bytes of pixels: an image of {height} x {width} has {bytes}",
                labels.len(),
                pixels.len(),
            )));
        }
        let known = classes.len();
        if let Some(at) = labels.iter().position(|&label| label as usize >= known) {
            let label = labels[at];
            let problem = format!("image {at} has label {label}, but there are {known} classes");
            return Err(Error::Argument(problem));
        }
        let described_by = Description::Arrays { labels, classes };
        Ok(Memory { described_by, size, pixels, bad: BTreeMap::new() })
    }

    /// As [`from_arrays`](Self::from_arrays), of an array of images x height x width x 3.
    ///
    /// # Errors
    /// As [`from_arrays`](Self::from_arrays), and if the last extent is not 3, for example because
    /// channels come before height and width.
    #[cfg(feature = "ndarray")]
    pub fn from_ndarray(
        images: ndarray::ArrayView4<'_, u8>,
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Result<Memory> {
        let (count, height, width, channels) = images.dim();
        if channels != 3 || count != labels.len() {
            return Err(Error::Argument(format!(
                "{} labels and an array of {:?}: it must be [images, height, width, 3]",
                labels.len(),
                images.shape(),
            )));
        }
        let pixels = images.iter().copied().collect();
        Memory::from_arrays((height, width), pixels, labels, classes)
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
        let size = source.size();
        let image_bytes = size.0 * size.1 * 3;
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
        let bad = bad.into_inner().expect("a map");
        Memory { described_by: Description::Source(source), size, pixels, bad }
    }

    /// The [`remarks`](Source::remarks) of the source after its images were read; `remarks` of this
    /// source is empty.
    pub fn remarks_of_reading(&self) -> Vec<String> {
        match &self.described_by {
            Description::Source(source) => source.remarks(),
            Description::Arrays { .. } => Vec::new(),
        }
    }

    /// The images that could not be read, with their errors.
    pub fn bad(&self) -> &BTreeMap<usize, Error> {
        &self.bad
    }
}

impl Source for Memory {
    fn classes(&self) -> &[String] {
        match &self.described_by {
            Description::Source(source) => source.classes(),
            Description::Arrays { classes, .. } => classes,
        }
    }

    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn len(&self) -> usize {
        match &self.described_by {
            Description::Source(source) => source.len(),
            Description::Arrays { labels, .. } => labels.len(),
        }
    }

    fn label(&self, index: usize) -> u32 {
        match &self.described_by {
            Description::Source(source) => source.label(index),
            Description::Arrays { labels, .. } => labels[index],
        }
    }

    fn name(&self, index: usize) -> String {
        match &self.described_by {
            Description::Source(source) => source.name(index),
            Description::Arrays { .. } => format!("image {index}"),
        }
    }

    fn read<'a>(&'a self, index: usize, _: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        match self.bad.get(&index) {
            Some(error) => Err(error.clone()),
            None => {
                let bytes = self.size.0 * self.size.1 * 3;
                Ok(&self.pixels[index * bytes..][..bytes])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_a_source() {
        let pixels: Vec<u8> = (0..3 * 2 * 4 * 3).collect();
        let classes = || vec!["cat".to_string(), "dog".to_string()];
        let memory = Memory::from_arrays((2, 4), pixels.clone(), vec![0, 1, 1], classes()).unwrap();
        assert_eq!((memory.len(), memory.size(), memory.label(2)), (3, (2, 4), 1));
        assert_eq!(memory.name(1), "image 1");
        let mut buffer = ReadBuffer::default();
        assert_eq!(memory.read(1, &mut buffer).unwrap(), &pixels[24..48]);

        let wrong = |size, labels| {
            let memory = Memory::from_arrays(size, pixels.clone(), labels, classes());
            memory.expect_err("these do not match").to_string()
        };
        let two = "2 labels and 72 bytes of pixels: an image of 2 x 4 has 24";
        assert_eq!(wrong((2, 4), vec![0, 1]), two);
        assert_eq!(wrong((2, 4), vec![0, 1, 2]), "image 2 has label 2, but there are 2 classes");
        assert_eq!(wrong((0, 4), vec![]), "images of 0 x 4 pixels");
        assert_eq!(wrong((usize::MAX, 4), vec![]), format!("images of {} x 4 pixels", usize::MAX));
    }

    #[cfg(feature = "ndarray")]
    #[test]
    fn an_array_of_images_is_a_source_if_channels_come_last() {
        let images = ndarray::Array4::from_shape_fn((3, 2, 4, 3), |(i, y, x, c)| {
            (i * 24 + y * 12 + x * 3 + c) as u8
        });
        let classes = || vec!["only".to_string()];
        let memory = Memory::from_ndarray(images.view(), vec![0; 3], classes()).unwrap();
        let mut buffer = ReadBuffer::default();
        assert_eq!(memory.read(2, &mut buffer).unwrap(), (48..72).collect::<Vec<u8>>());
        let first = images.view().permuted_axes([0, 3, 1, 2]);
        for (array, labels) in [(first, 3), (images.view(), 2)] {
            let error = Memory::from_ndarray(array, vec![0; labels], classes()).err().unwrap();
            assert!(error.to_string().ends_with("it must be [images, height, width, 3]"));
        }
    }

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
