//! The gradients of filters and biases: Winograd's algorithm transposed.
//!
//! ```text
//! dw = Gather(sum over tiles of Input(x) Spread(dy))
//! ```
//!
//! For each pair of points a matrix product, channels x tiles by tiles x filters, accumulates over
//! all images; only the final sums are transformed to taps. A block of images at a time is
//! transformed, dy directly into the register tile's panels.
//!
//! Lower bound: that of [`winograd`](super), in products of points, plus the transforms.

use super::super::{pixels, split_shared};
use super::bands::ImageBand;
use super::tiles::{Offsets, PlaneSource, PlaneTarget, Tile};
use super::{VECTOR, WinogradPlan};
use crate::conv::Geometry;
use crate::gemm::{self, Layout, Loop, SharedFloats, Start};
use crate::operands::{BackwardWeights, BackwardWeightsSlices};
use crate::simd;
use tensor::Pool;

impl WinogradPlan {
    /// Floats of scratch memory that [`backward_filter`](Self::backward_filter) needs.
    pub fn gradient_scratch(&self, threads: usize) -> usize {
        let images = self.groups_and_points() * (self.inputs_len() + self.gradients_len());
        self.filters_len() + threads * self.own_len() + images + self.bias_len()
    }

    /// `dw` and `db`. The plan is that of the forward pass.
    pub fn backward_filter(&self, pool: &Pool, g: &Geometry, operands: BackwardWeightsSlices<'_>) {
        let BackwardWeights { x, dy, dw, db, scratch } = operands;
        let planes = self.groups_and_points();
        let (sums, rest) = split_shared(scratch, self.filters_len());
        let (own, rest) = split_shared(rest, pool.threads() * self.own_len());
        let (inputs, rest) = split_shared(rest, planes * self.inputs_len());
        let (gradients, rest) = split_shared(rest, planes * self.gradients_len());
        let (bias, _) = split_shared(rest, self.bias_len());
        let (x_len, dy_len) = (g.in_shape().len() / g.images, g.out_shape().len() / g.images);
        for first in (0..g.images).step_by(self.block) {
            let images = first..(first + self.block).min(g.images);
            let bands = images.len() * self.rows.tiles;
            pool.each_with_thread(2 * bands, |half, thread| {
                let (idx, row) = (half / 2 / self.rows.tiles, half / 2 % self.rows.tiles);
                let image = first + idx;
                // SAFETY: each thread has its own copy.
                let copy = unsafe { self.own(own, thread) };
                if half % 2 == 0 {
                    self.transform_inputs(&x[image * x_len..][..x_len], idx, row, copy, inputs);
                } else {
                    let band = (image * self.rows.tiles + row) * g.filters;
                    // SAFETY: each band of each image has its own part.
                    let bias = unsafe { bias.part(band..band + g.filters) };
                    let dy = &dy[image * dy_len..][..dy_len];
                    self.transform_gradients(dy, idx, row, copy, gradients, bias);
                }
            });
            pool.each(planes * self.panels(), |idx| {
                // SAFETY: they are not written during the products.
                let (inputs, gradients) = unsafe { (inputs.all(), gradients.all()) };
                let start = if first == 0 { Start::Zero } else { Start::Sum };
                self.add_products(idx, images.len(), inputs, gradients, start, sums);
            });
        }
        let dw = SharedFloats::new(dw);
        pool.each_with_thread(g.groups * self.panels(), |panel, thread| {
            // SAFETY: each thread has its own taps; the sums are complete.
            let (own, sums) = unsafe { (self.own(own, thread), sums.all()) };
            self.transform_sums(sums, panel, own, dw);
        });
        // SAFETY: all threads have finished.
        pixels::add_biases(unsafe { bias.all() }, db);
    }

    /// Floats of transformed x at a pair of points.
    fn inputs_len(&self) -> usize {
        self.plane_len(self.padded_channels())
    }

    /// Floats of transformed dy at a pair of points, `[panel][tile][column]`.
    fn gradients_len(&self) -> usize {
        self.plane_len(self.panels() * self.isa.columns())
    }

    /// Floats of one panel of transformed dy.
    fn gradient_panel_len(&self) -> usize {
        self.block * self.tiles() * self.isa.columns()
    }

    /// Floats of the sums over dy for each band of tiles.
    fn bias_len(&self) -> usize {
        self.direct.images * self.rows.tiles * self.direct.channels
    }

    /// The outputs of a row of tiles.
    pub(super) fn gradient_band(&self, row: usize) -> ImageBand {
        let (direct, last) = (&self.direct, self.columns.tiles - 1);
        ImageBand {
            image: [direct.out[0], direct.out[1], direct.channels],
            first: [self.rows.first(row) as isize, 0],
            rows: self.rows.outputs(row),
            columns: self.columns.first(last) + self.columns.outputs(last),
        }
    }

    /// Transforms a row of tiles of an image of dy, the block's image `idx`.
    fn transform_gradients(
        &self,
        image: &[f32],
        idx: usize,
        row: usize,
        copy: &mut [f32],
        gradients: SharedFloats<'_>,
        bias: &mut [f32],
    ) {
        let band = self.gradient_band(row);
        band.copy(image, copy);
        add_pixels(&copy[..band.rows * band.columns * bias.len()], bias);
        let (width, filters) = (self.isa.columns(), self.filters());
        for column in 0..self.columns.tiles {
            for panel in 0..self.direct.groups * self.panels() {
                let (group, panel) = (panel / self.panels(), panel % self.panels());
                let outputs = [self.rows.outputs(row), self.columns.outputs(column)];
                let channel = group * filters + panel * width;
                let size = [self.rows.points(row), self.columns.points(column)];
                let offsets = Offsets::new(size, |down, across| {
                    let pair = down * self.columns.max_points() + across;
                    let offset = self.row([down, across], idx, [row, column]) * width;
                    (pair * self.direct.groups + group) * self.gradients_len()
                        + panel * self.gradient_panel_len()
                        + offset
                });
                let tile = Tile {
                    points: self.points,
                    down: self.rows.spread_outputs(row),
                    across: self.columns.spread_outputs(column),
                    channels: width.min(filters - panel * width),
                    from: PlaneSource {
                        floats: copy,
                        offsets: band.offsets(outputs, self.columns.first(column), channel),
                    },
                    to: PlaneTarget { floats: gradients, offsets },
                };
                tile.run();
            }
        }
    }

    /// Adds the products at a pair of points for one panel of filters.
    fn add_products(
        &self,
        idx: usize,
        images: usize,
        inputs: &[f32],
        gradients: &[f32],
        start: Start<'_>,
        sums: SharedFloats<'_>,
    ) {
        let (plane, panel) = (idx / self.panels(), idx % self.panels());
        let (width, columns) = (self.padded_channels(), self.isa.columns());
        let inputs = &inputs[plane * self.inputs_len()..][..self.inputs_len()];
        let gradients = &gradients[plane * self.gradients_len()..][..self.gradients_len()];
        for (channel, count) in self.isa.split(self.channels()).iter() {
            let tile = gemm::Tile {
                rows: count,
                columns: columns.min(self.filters() - panel * columns),
                a: &inputs[channel..],
                layout: Layout::Columns(width),
                b: &gradients[panel * self.gradient_panel_len()..][..self.gradient_panel_len()],
                outer: Loop::ONCE,
                middle: Loop::ONCE,
                inner: images * self.tiles_with(plane / self.direct.groups),
                c: idx * self.panel_len() + channel * columns,
                c_row: columns,
                start,
                relu: false,
                last: false, // transformed before writing
            };
            // SAFETY: each call has its own panel of sums.
            unsafe { self.isa.tile(&tile, &sums) };
        }
    }

    /// Transforms the sums of a panel of filters, numbered over all groups, to taps.
    fn transform_sums(&self, sums: &[f32], panel: usize, taps: &mut [f32], dw: SharedFloats<'_>) {
        let panels = self.direct.groups * self.panels();
        let (len, across, width) =
            (self.panel_len(), self.columns.max_points(), self.isa.columns());
        let [down, right] = self.direct.taps;
        let taps = &mut taps[..self.taps_len()];
        let tile = Tile {
            points: self.points,
            down: self.rows.gather_filter(),
            across: self.columns.gather_filter(),
            channels: len,
            from: PlaneSource {
                floats: sums,
                offsets: Offsets::new([self.rows.max_points(), across], |row, column| {
                    ((row * across + column) * panels + panel) * len
                }),
            },
            to: PlaneTarget {
                floats: SharedFloats::new(taps),
                offsets: Offsets::new([down, right], |row, column| (row * right + column) * len),
            },
        };
        tile.run();
        let (group, first) = (panel / self.panels(), panel % self.panels() * width);
        let count = width.min(self.filters() - first);
        let depth = dw.len() / self.direct.channels;
        let filter = group * self.filters() + first;
        // SAFETY: each panel has its own filters.
        let dw = unsafe { dw.part(filter * depth..(filter + count) * depth) };
        match self.fold {
            Some(fold) => fold.unpack(taps, width, dw),
            None => gemm::untranspose_panel(taps, width, count, dw),
        }
    }
}

/// Sums a band over its pixels, in f64.
fn add_pixels(band: &[f32], sums: &mut [f32]) {
    let pixel = sums.len();
    simd::vectorized!({
        for (run, sums) in sums.chunks_mut(VECTOR).enumerate() {
            let mut total = [0.0f64; VECTOR];
            for floats in band[run * VECTOR..].chunks(pixel) {
                let pairs = total.iter_mut().zip(&floats[..sums.len()]);
                pairs.for_each(|(total, &value)| *total += f64::from(value));
            }
            sums.iter_mut().zip(total).for_each(|(sum, total)| *sum = total as f32);
        }
    });
}
