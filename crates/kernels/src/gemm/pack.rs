//! Memory that threads share, and bringing B into panels.
//!
//! The floor is memory: B is read and written once.

use crate::simd::{self, flushed};
use std::marker::PhantomData;
use std::ops::Range;

/// Floats of which each thread writes its own part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a borrowed slice of floats; those who read or write through it promise to stay
// apart.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(floats: &'a mut [f32]) -> Shared<'a> {
        Shared { start: floats.as_mut_ptr(), len: floats.len(), borrowed: PhantomData }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Where element `idx` lies; inside, or just behind the last.
    pub fn at(&self, idx: usize) -> *mut f32 {
        assert!(idx <= self.len, "element {idx} of {}", self.len);
        self.start.wrapping_add(idx)
    }

    /// All floats, to read.
    ///
    /// # Safety
    /// As long as the slice lives nobody writes any of them.
    pub unsafe fn all(&self) -> &'a [f32] {
        // SAFETY: the borrowed slice; the caller keeps writers away.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// Some of the floats, to write.
    ///
    /// # Safety
    /// As long as the slice lives nobody else reads or writes these floats.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside the borrowed slice; the caller keeps others away.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Packs rows of B that lie `row` floats apart in memory: `panel` gets `columns` floats of each,
/// filled up with zeros to `width`.
pub(crate) fn copy_rows(b: &[f32], row: usize, columns: usize, width: usize, panel: &mut [f32]) {
    match (width, columns == width) {
        (32, true) => simd::vectorized(
            #[inline(always)]
            || copy_whole_rows::<32>(b, row, panel),
        ),
        (16, true) => simd::vectorized(
            #[inline(always)]
            || copy_whole_rows::<16>(b, row, panel),
        ),
        _ => {
            for (k, packed) in panel.chunks_exact_mut(width).enumerate() {
                let (some, rest) = packed.split_at_mut(columns);
                some.copy_from_slice(&b[k * row..k * row + columns]);
                rest.fill(0.0);
            }
        }
    }
}

/// [`copy_rows`] of a width that the compiler knows: loads and stores instead of a call for each
/// row.
#[inline(always)]
fn copy_whole_rows<const N: usize>(b: &[f32], row: usize, panel: &mut [f32]) {
    for (k, packed) in panel.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        *packed = *b[k * row..].first_chunk().expect("a row of B");
    }
}

/// Packs strips of A, `rows` wide, that lie `step` floats apart in memory: `strip` gets `width`
/// floats for each. What lies behind the strip comes along where it exists: nobody reads it.
pub(crate) fn copy_strip(a: &[f32], step: usize, rows: usize, width: usize, strip: &mut [f32]) {
    let whole = if a.len() < width { 0 } else { (a.len() - width) / step + 1 };
    let (front, back) = strip.split_at_mut((whole * width).min(strip.len()));
    let copied = front.len() / width;
    copy_rows(a, step, width, width, front);
    for (k, packed) in back.chunks_exact_mut(width).enumerate() {
        let from = (copied + k) * step;
        packed[..rows].copy_from_slice(&a[from..from + rows]);
    }
}

/// Packs columns of B that lie `column` floats apart in memory, each of them a run of k:
/// `panel[k][n] = b[n][k]`, with zeros from `columns` to `width`.
pub(crate) fn transpose_panel(
    b: &[f32],
    column: usize,
    columns: usize,
    width: usize,
    panel: &mut [f32],
) {
    const BLOCK: usize = 16;
    let depth = panel.len() / width;
    for first in (0..depth).step_by(BLOCK) {
        let block = &mut panel[first * width..(first + BLOCK).min(depth) * width];
        for n in 0..columns {
            let run = &b[n * column + first..];
            for (packed, &b) in block.chunks_exact_mut(width).zip(run) {
                packed[n] = b;
            }
        }
        block.chunks_exact_mut(width).for_each(|packed| packed[columns..].fill(0.0));
    }
}

/// The way back: `b[n][k] = panel[k][n]`, for the first `columns` of the panel's `width`; the runs
/// of k lie one after another. As these are results, denormal ones are flushed.
pub(crate) fn untranspose_panel(panel: &[f32], width: usize, columns: usize, b: &mut [f32]) {
    const BLOCK: usize = 16;
    let depth = panel.len() / width;
    for first in (0..depth).step_by(BLOCK) {
        let block = &panel[first * width..(first + BLOCK).min(depth) * width];
        for n in 0..columns {
            let run = &mut b[n * depth + first..];
            run.iter_mut()
                .zip(block.chunks_exact(width))
                .for_each(|(b, packed)| *b = flushed(packed[n]));
        }
    }
}
