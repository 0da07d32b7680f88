//! Strides: an image whose pixels are folded into channels is convolved with stride 1.
//!
//! Blocks of `stride x stride` pixels become one pixel each, with `stride^2` times the channels,
//! and a window of w taps one of w / stride, rounded up, where zeros fill what the window lacks.
//! conv1's window of 11 with stride 4 over three channels becomes one of 3 over 48: 432 products
//! instead of 363, of which Winograd's form leaves (77 / 165)^2 = 22 %, a quarter of what there
//! was. The image is folded as its bands are copied, which they are anyway.
//!
//! The floor is memory: the image is read once.

use super::super::direct::{Direct, Target};
use super::bands::{Band, SLACK};
use crate::conv::Geometry;
use crate::simd::flushed;
use std::ops::Range;

/// How an image is folded.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Fold {
    g: Geometry,
    /// Taps of the folded window.
    taps: usize,
}

impl Fold {
    /// None if the stride is 1, or if there is no such form of the folded window.
    pub fn new(g: &Geometry) -> Option<Fold> {
        let [down, across] = [g.window.0, g.window.1].map(|window| window.div_ceil(g.stride));
        let folds = g.stride > 1 && g.groups == 1 && down == across && matches!(down, 3 | 5);
        folds.then_some(Fold { g: *g, taps: down })
    }

    /// The convolution of the folded images. Their zeros outside are [`copy`](Self::copy)'s.
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
            target: Target {
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

    /// Copies a band of an image, folded.
    pub(super) fn copy(&self, band: &Band, image: &[f32], copy: &mut [f32]) {
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
            // Negative numbers become huge.
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

    /// Where a tap of the window lies among those of the folded one: its first channel.
    fn place(&self, kh: usize, kw: usize) -> usize {
        let stride = self.g.stride;
        let tap = kh / stride * self.taps + kw / stride;
        let pixel = kh % stride * stride + kw % stride;
        tap * self.channels() + pixel * self.g.channels
    }

    /// Every float of a filter: where it lies, and where in the folded one.
    fn floats(&self) -> impl Iterator<Item = (usize, usize)> {
        let (window, channels) = (self.g.window, self.g.channels);
        (0..window.0 * window.1).flat_map(move |tap| {
            let place = self.place(tap / window.1, tap % window.1);
            (0..channels).map(move |c| (tap * channels + c, place + c))
        })
    }

    fn depth(&self) -> usize {
        self.g.window.0 * self.g.window.1 * self.g.channels
    }

    /// A panel of folded filters, `width` of them side by side.
    pub fn pack(&self, w: &[f32], filters: Range<usize>, width: usize, panel: &mut [f32]) {
        panel.fill(0.0);
        for (n, filter) in filters.enumerate() {
            let w = &w[filter * self.depth()..][..self.depth()];
            self.floats().for_each(|(at, place)| panel[place * width + n] = w[at]);
        }
    }

    /// The way back, for the filters that `dw` has room for.
    pub(super) fn unpack(&self, panel: &[f32], width: usize, dw: &mut [f32]) {
        for (n, dw) in dw.chunks_exact_mut(self.depth()).enumerate() {
            self.floats().for_each(|(at, place)| dw[at] = flushed(panel[place * width + n]));
        }
    }
}
