//! The mean image and the colour statistics of a training set.

use crate::loader::ReadClock;
use crate::watch::{clocks, watched};
use crate::{Error, ReadBuffer, ReadTimeouts, Result, Source, StalledRead, parallel};
use augment::{ColorFormula, ColorShift};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

mod eigen;

/// The mean image, the mean colour, and the principal components of the colours of a training set.
///
/// All sums are of integers, so the result does not depend on the number of threads.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The mean of every pixel: height x width x 3 values.
    pub mean: Vec<f32>,
    /// The mean colour: red, green, blue.
    pub color: [f32; 3],
    /// The eigenvalues of the colour covariance in squared grey levels, largest first.
    pub variances: [f32; 3],
    /// Their unit eigenvectors as rows (red, green, blue).
    pub components: [[f32; 3]; 3],
    /// The number of images measured.
    pub images: usize,
}

/// Sums over images.
pub(crate) struct Sums {
    images: u64,
    pixels: Vec<u64>,
    /// Red x red, red x green, red x blue, green x green, green x blue, blue x blue.
    products: [u64; 6],
}

impl Statistics {
    /// Measures all images of `source`, on one thread per core.
    ///
    /// # Errors
    /// As [`of_sample`](Self::of_sample).
    pub fn of(source: &dyn Source) -> Result<Statistics> {
        Statistics::of_sample(source, 0, None, &|_| ())
    }

    /// Measures `source` on `threads` threads (0: one per core).
    ///
    /// `sample` limits the number of images; they are evenly spaced over the source. With 10,000
    /// images, the standard error of a pixel's mean is below one grey level. Unreadable images are
    /// left out. `progress` receives the number of images measured, from any thread.
    ///
    /// # Errors
    /// The error of the first image, if none can be read.
    pub fn of_sample(
        source: &dyn Source,
        threads: usize,
        sample: Option<usize>,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Statistics> {
        measure(source, &clocks(threads), sample, progress)
    }

    /// [`of_sample`](Self::of_sample) on separate threads. Meanwhile `watch` is called several times a second
    /// with the number of images measured and any stalled read; if it returns `false`, the result
    /// is `None`. The thread of a read that never returns is leaked.
    ///
    /// # Errors
    /// As [`of_sample`](Self::of_sample); [`Error::Stalled`] if an image takes longer than the limit.
    pub fn of_watched(
        source: &Arc<dyn Source>,
        threads: usize,
        sample: Option<usize>,
        timeouts: ReadTimeouts,
        watch: &mut dyn FnMut(usize, Option<&StalledRead>) -> bool,
    ) -> Result<Option<Statistics>> {
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        let mut watch =
            |stalled: Option<&StalledRead>| watch(done.load(Ordering::Relaxed), stalled);
        let measured = watched(source, threads, timeouts, &mut watch, move |source, clocks| {
            measure(source, clocks, sample, &|done| {
                counted.fetch_max(done, Ordering::Relaxed);
            })
        });
        measured?.transpose()
    }

    /// The colour shift of strength `noise` along these components, in the form of the 2012 source.
    pub fn color_shift(&self, noise: f32) -> ColorShift {
        let (variances, components) = (self.variances, self.components);
        ColorShift { formula: ColorFormula::Source, noise, variances, components }
    }
}

/// Measures a sample of images with one thread per clock.
fn measure(
    source: &dyn Source,
    clocks: &[ReadClock],
    sample: Option<usize>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Statistics> {
    let (height, width) = source.size();
    let count = sample.unwrap_or(usize::MAX).min(source.len());
    let first_bad: Mutex<Option<(usize, Error)>> = Mutex::new(None);
    let (done, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let parts = parallel::for_each(
        clocks.len(),
        0..count,
        || (Sums::zero(height * width), ReadBuffer::default(), parallel::next(clocks, &taken)),
        |(sums, buffer, clock), position| {
            let index = (position as u64 * source.len() as u64 / count as u64) as usize;
            clock.begin(index);
            let read = source.read(index, buffer);
            clock.end();
            match read {
                Ok(image) => sums.add(image),
                Err(error) => {
                    let mut first = first_bad.lock().expect("no panic");
                    if first.as_ref().is_none_or(|&(earlier, _)| index < earlier) {
                        *first = Some((index, error));
                    }
                }
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(256) || done == count {
                progress(done);
            }
        },
    );
    let mut total = Sums::zero(height * width);
    parts.iter().for_each(|(part, ..)| total.merge(part));
    match first_bad.into_inner().expect("no panic") {
        Some((_, error)) if total.images == 0 => Err(error),
        _ => Ok(total.statistics()),
    }
}

impl Sums {
    pub(crate) fn zero(area: usize) -> Sums {
        Sums { images: 0, pixels: vec![0; area * 3], products: [0; 6] }
    }

    /// All sums as integers, for [`from_values`](Self::from_values).
    pub(crate) fn values(&self) -> impl Iterator<Item = u64> {
        let ends = std::iter::once(self.images).chain(self.products);
        ends.chain(self.pixels.iter().copied())
    }

    /// The inverse of [`values`](Self::values); `None` if the number of values is wrong.
    pub(crate) fn from_values(area: usize, mut values: impl Iterator<Item = u64>) -> Option<Sums> {
        let mut sums = Sums::zero(area);
        sums.images = values.next()?;
        for sum in sums.products.iter_mut().chain(&mut sums.pixels) {
            *sum = values.next()?;
        }
        values.next().is_none().then_some(sums)
    }

    pub(crate) fn add(&mut self, image: &[u8]) {
        self.images += 1;
        for (sum, &byte) in self.pixels.iter_mut().zip(image) {
            *sum += u64::from(byte);
        }
        // 65,536 products of two bytes fit in 32 bits.
        for part in image.chunks(65_536 * 3) {
            let mut products = [0u32; 6];
            for &[r, g, b] in part.as_chunks::<3>().0 {
                let [r, g, b] = [r, g, b].map(u32::from);
                let terms = [r * r, r * g, r * b, g * g, g * b, b * b];
                products.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            }
            self.products.iter_mut().zip(products).for_each(|(sum, part)| *sum += u64::from(part));
        }
    }

    fn merge(&mut self, other: &Sums) {
        self.images += other.images;
        self.pixels.iter_mut().zip(&other.pixels).for_each(|(sum, part)| *sum += part);
        self.products.iter_mut().zip(other.products).for_each(|(sum, part)| *sum += part);
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let images = self.images.max(1) as f64;
        let pixels = images * (self.pixels.len() / 3) as f64;
        let mut color = [0u64; 3];
        for sums in self.pixels.as_chunks::<3>().0 {
            color.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        let color = color.map(|sum| sum as f64 / pixels);
        let index = [[0, 1, 2], [1, 3, 4], [2, 4, 5]];
        let covariance = std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                self.products[index[i][j]] as f64 / pixels - color[i] * color[j]
            })
        });
        let (variances, components) = eigen::decompose(covariance);
        Statistics {
            mean: self.pixels.iter().map(|&sum| (sum as f64 / images) as f32).collect(),
            color: color.map(|mean| mean as f32),
            variances: variances.map(|variance| variance.max(0.0) as f32),
            components: components.map(|row| row.map(|part| part as f32)),
            images: self.images as usize,
        }
    }
}

#[cfg(test)]
mod tests;
