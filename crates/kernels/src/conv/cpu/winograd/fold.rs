//! Strides: folding pixels into channels turns a strided convolution into one with stride 1.
//!
//! Blocks of `stride x stride` pixels become one pixel each, with `stride^2` times the channels. A
//! window of w taps becomes one of w / stride, rounded up, padded with zeros. conv1's window of 11
//! with stride 4 over three channels becomes one of 3 over 48: 432 products instead of 363, of
//! which Winograd's algorithm needs (77 / 165)^2 = 22 %, a quarter of the original. The image is
//! folded while its bands are copied, which is necessary in any case.
//!
//! Memory bound: the image is read once.

use super::super::direct::{Direct, OutputLayout};
use super::bands::{ImageBand, SLACK};
use crate::conv::Geometry;
use crate::simd::flushed;
use std::ops::Range;

/// The folding of an image.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Fold {
    g: Geometry,
    /// Taps of the folded window.
    taps: usize,
}

impl Fold {
    /// `None` if the stride is 1, or Winograd's algorithm does not support the folded window.
    pub fn new(g: &Geometry) -> Option<Fold> {
        let [down, across] = [g.window.0, g.window.1].map(|window| window.div_ceil(g.stride));
        let folds = g.stride > 1 && g.groups == 1 && down == across && matches!(down, 3 | 5);
        folds.then_some(Fold { g: *g, taps: down })
    }

    /// The convolution of the folded images. [`copy`](Self::copy) adds the padding.
    pub fn direct(&self) -> Direct {
        let (g, out) = (&self.g, [self.g.out_height(), self.g.out_width()]);
        Direct {
            images: g.images,
            source: [out[0] + self.taps - 1, out[1] + self.taps - 1, self.channels()],
            groups: 1,
            taps: [self.taps; 2],
            step: 1,
            pad: [0, 0],
            out,
            target: OutputLayout {
                first: 0,
                image: out[0] * out[1] * g.filters,
                row: out[1] * g.filters,
                column: g.filters,
            },
            channels: g.filters,
            relu: g.relu,
        }
    }

    /// Channels of a folded image.
    fn channels(&self) -> usize {
        self.g.stride * self.g.stride * self.g.channels
    }

    /// Copies and folds a band of an image.
    pub(super) fn copy(&self, band: &ImageBand, image: &[f32], copy: &mut [f32]) {
        let Geometry { stride, height, width, channels, pad, .. } = self.g;
        let run = stride * channels;
        let row_len = width * channels;
        let (pixels, slack) = copy.split_at_mut(band.rows * band.columns * self.channels());
        for (idx, to) in pixels.chunks_exact_mut(run).enumerate() {
            let (pixel, down) = (idx / stride, idx % stride);
            let [row, column] = [pixel / band.columns, pixel % band.columns];
            let row = (band.first[0] + row as isize) * stride as isize + down as isize;
            let line = (row - pad.top as isize) as usize;
            let column = (band.first[1] + column as isize) * stride as isize;
            let first = (column - pad.left as isize) * channels as isize;
            // Negative values wrap around to large ones.
            if line >= height {
                to.fill(0.0);
                continue;
            }
            let line = &image[line * row_len..(line + 1) * row_len];
            if first >= 0 && first as usize + run <= row_len {
                to.copy_from_slice(&line[first as usize..first as usize + run])
            } else {
                to.iter_mut().zip(first..).for_each(|(to, from)| {
                    *to = line.get(from as usize).copied().unwrap_or(0.0);
                })
            }
        }
        slack[..SLACK].fill(0.0);
    }

    /// The offset of a tap of the window among the taps of the folded window: its first channel.
    fn offset(&self, kh: usize, kw: usize) -> usize {
        let stride = self.g.stride;
        let tap = kh / stride * self.taps + kw / stride;
        let pixel = kh % stride * stride + kw % stride;
        tap * self.channels() + pixel * self.g.channels
    }

    /// Offset in the filter and in the folded filter of each of a filter's elements.
    fn floats(&self) -> impl Iterator<Item = (usize, usize)> {
        let (window, channels) = (self.g.window, self.g.channels);
        (0..window.0 * window.1).flat_map(move |tap| {
            let offset = self.offset(tap / window.1, tap % window.1);
            (0..channels).map(move |c| (tap * channels + c, offset + c))
        })
    }

    fn depth(&self) -> usize {
        self.g.window.0 * self.g.window.1 * self.g.channels
    }

    /// Packs a panel of folded filters, `width` filters in a row.
    pub fn pack(&self, w: &[f32], filters: Range<usize>, width: usize, panel: &mut [f32]) {
        panel.fill(0.0);
        for (n, filter) in filters.enumerate() {
            let w = &w[filter * self.depth()..][..self.depth()];
            self.floats().for_each(|(at, offset)| panel[offset * width + n] = w[at]);
        }
    }

    /// The inverse of [`pack`](Self::pack), for as many filters as `dw` has.
    pub(super) fn unpack(&self, panel: &[f32], width: usize, dw: &mut [f32]) {
        for (n, dw) in dw.chunks_exact_mut(self.depth()).enumerate() {
            self.floats().for_each(|(at, offset)| dw[at] = flushed(panel[offset * width + n]));
        }
    }
}
