//! Memory that threads share, and packing of B into panels.
//!
//! Memory bound: B is read and written once.

use crate::simd::{self, flushed};
use std::marker::PhantomData;
use std::ops::Range;

/// Elements that several threads write, each its own part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: a borrowed slice; callers of the unsafe methods guarantee that their parts do
// not overlap.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(elements: &'a mut [T]) -> Shared<'a, T> {
        Shared { start: elements.as_mut_ptr(), len: elements.len(), borrowed: PhantomData }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// A pointer to element `idx`, or to the end.
    pub fn at(&self, idx: usize) -> *mut T {
        assert!(idx <= self.len, "element {idx} of {}", self.len);
        self.start.wrapping_add(idx)
    }

    /// All elements, for reading.
    ///
    /// # Safety
    /// Nothing is written while the slice exists.
    pub unsafe fn all(&self) -> &'a [T] {
        // SAFETY: the borrowed slice; the caller keeps writers away.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// Some of the elements, for writing.
    ///
    /// # Safety
    /// No other code reads or writes these elements while the slice exists.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside the borrowed slice; the caller guarantees exclusive access.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Floats that several threads write.
pub(crate) type SharedFloats<'a> = Shared<'a, f32>;

/// Packs rows of B that are `row` floats apart: `panel` gets `columns` floats of each, padded with
/// zeros to `width`.
pub(crate) fn copy_rows(b: &[f32], row: usize, columns: usize, width: usize, panel: &mut [f32]) {
    match (width, columns == width) {
        (32, true) => simd::vectorized!(copy_whole_rows::<32>(b, row, panel)),
        (16, true) => simd::vectorized!(copy_whole_rows::<16>(b, row, panel)),
        _ => {
            for (k, packed) in panel.chunks_exact_mut(width).enumerate() {
                let (some, rest) = packed.split_at_mut(columns);
                some.copy_from_slice(&b[k * row..k * row + columns]);
                rest.fill(0.0);
            }
        }
    }
}

/// [`copy_rows`] for a width known at compile time: loads and stores instead of a call per row.
#[inline(always)]
fn copy_whole_rows<const N: usize>(b: &[f32], row: usize, panel: &mut [f32]) {
    for (k, packed) in panel.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        *packed = *b[k * row..].first_chunk().expect("a row of B");
    }
}

/// Packs strips of A, `rows` wide, that are `step` floats apart: `strip` gets `width` floats of
/// each. Floats after a strip are copied where they exist; they are never read.
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

/// Packs columns of B that are `column` floats apart, each a contiguous range of k:
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

/// The inverse: `b[n][k] = panel[k][n]`, for the first `columns` of the panel's `width`, each a
/// contiguous range of k. Denormal elements are flushed, as these are results.
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
