//! From images to images: the forward pass, and the gradient of the input, which is the same
//! convolution over dy with flipped filters.
//!
//! Lower bound: that of [`winograd`](super), in products of points, plus the transforms.

use super::super::{PackedOperands, split_shared};
use super::bands::ImageBand;
use super::tiles::{ImageRegion, ImageTarget, Offsets, PlaneSource, PlaneTarget, Tile};
use super::{VECTOR, WinogradPlan};
use crate::gemm::{self, Layout, Loop, SharedFloats, Start};
use std::ops::Range;
use tensor::Pool;

impl WinogradPlan {
    /// Floats of scratch memory that [`pack`](Self::pack) and [`run`](Self::run) need.
    pub fn work_len(&self, threads: usize) -> usize {
        let widths = [self.padded_channels(), self.padded_filters()];
        let planes = widths.map(|width| self.plane_len(width)).iter().sum::<usize>();
        threads * self.own_len() + self.groups_and_points() * planes
    }

    /// Transforms filters. `pack` is as in [`Direct::pack`](super::Direct::pack).
    pub fn pack(
        &self,
        pool: &Pool,
        filters: &mut [f32],
        work: &mut [f32],
        pack: impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send,
    ) {
        let (filters, width) = (SharedFloats::new(filters), self.isa.columns());
        let (own, _) = split_shared(work, pool.threads() * self.own_len());
        pool.each_with_thread(self.direct.groups * self.panels(), |idx, thread| {
            // SAFETY: each thread has its own taps.
            let taps = &mut unsafe { self.own(own, thread) }[..self.taps_len()];
            let (group, panel) = (idx / self.panels(), idx % self.panels());
            let first = panel * width;
            pack(group, first..(first + width).min(self.filters()), taps);
            self.transform_filters(taps, idx, filters);
        });
    }

    /// Convolves with transformed filters.
    pub fn run(&self, pool: &Pool, operands: PackedOperands<'_>) {
        let PackedOperands { source, filters, bias, target, work } = operands;
        let (own, rest) = split_shared(work, pool.threads() * self.own_len());
        let planes = self.groups_and_points();
        let (inputs, rest) = split_shared(rest, planes * self.plane_len(self.padded_channels()));
        let (products, _) = split_shared(rest, planes * self.plane_len(self.padded_filters()));
        let source_len = source.len() / self.direct.images;
        let target = SharedFloats::new(target);
        for first in (0..self.direct.images).step_by(self.block) {
            let images = first..(first + self.block).min(self.direct.images);
            let bands = images.len() * self.rows.tiles;
            pool.each_with_thread(bands, |band, thread| {
                let (image, row) = (band / self.rows.tiles, band % self.rows.tiles);
                // SAFETY: each thread has its own copy.
                let copy = unsafe { self.own(own, thread) };
                let source = &source[(images.start + image) * source_len..][..source_len];
                self.transform_inputs(source, image, row, copy, inputs);
            });
            pool.each(planes * self.panels(), |idx| {
                // SAFETY: inputs are not written during the products.
                let inputs = unsafe { inputs.all() };
                self.multiply(idx, images.len(), inputs, filters, products);
            });
            pool.each(bands, |band| {
                let (image, row) = (band / self.rows.tiles, band % self.rows.tiles);
                // SAFETY: products are not written here.
                let products = unsafe { products.all() };
                self.transform_outputs(products, bias, images.start, image, row, target);
            });
        }
    }

    /// Floats per thread: for taps, then for copies.
    pub(super) fn own_len(&self) -> usize {
        self.taps_len().max(self.copy_len())
    }

    /// The buffer of a thread.
    ///
    /// # Safety
    /// As [`SharedFloats::part`]: one at a time for each thread.
    pub(super) unsafe fn own<'a>(&self, own: SharedFloats<'a>, thread: usize) -> &'a mut [f32] {
        let len = self.own_len();
        // SAFETY: as the caller guarantees.
        unsafe { own.part(thread * len..(thread + 1) * len) }
    }

    /// Transforms the taps of a panel of filters, numbered over all groups, to values at points.
    fn transform_filters(&self, taps: &[f32], panel: usize, filters: SharedFloats<'_>) {
        let panels = self.direct.groups * self.panels();
        let (len, across) = (self.panel_len(), self.columns.max_points());
        let values = [self.rows.max_points(), across];
        let [down, right] = self.direct.taps;
        let tile = Tile {
            points: self.points,
            down: self.rows.spread(),
            across: self.columns.spread(),
            channels: len,
            from: PlaneSource {
                floats: taps,
                offsets: Offsets::new([down, right], |row, column| (row * right + column) * len),
            },
            to: PlaneTarget {
                floats: filters,
                offsets: Offsets::new(values, |row, column| {
                    ((row * across + column) * panels + panel) * len
                }),
            },
        };
        tile.run();
    }

    /// The part of an image that a row of tiles covers.
    fn band(&self, row: usize) -> ImageBand {
        let (direct, last) = (&self.direct, self.columns.tiles - 1);
        ImageBand {
            image: direct.source,
            first: [self.rows.first(row) as isize - direct.pad[0], -direct.pad[1]],
            rows: self.rows.points(row),
            columns: self.columns.first(last) + self.columns.points(last),
        }
    }

    /// Transforms a row of tiles of an image, the block's image `idx`.
    pub(super) fn transform_inputs(
        &self,
        image: &[f32],
        idx: usize,
        row: usize,
        copy: &mut [f32],
        inputs: SharedFloats<'_>,
    ) {
        let band = self.band(row);
        match self.fold {
            Some(fold) => fold.copy(&band, image, copy),
            None => band.copy(image, copy),
        }
        for column in 0..self.columns.tiles {
            for group in 0..self.direct.groups {
                let size = [self.rows.points(row), self.columns.points(column)];
                let channel = group * self.channels();
                let tile = Tile {
                    points: self.points,
                    down: self.rows.input(row),
                    across: self.columns.input(column),
                    channels: self.channels(),
                    from: PlaneSource {
                        floats: copy,
                        offsets: band.offsets(size, self.columns.first(column), channel),
                    },
                    to: PlaneTarget {
                        floats: inputs,
                        offsets: self.offsets(self.padded_channels(), group, idx, [row, column]),
                    },
                };
                tile.run();
            }
        }
    }

    /// Floats of a copy of a band, of x or of dy.
    fn copy_len(&self) -> usize {
        self.band(0).len().max(self.gradient_band(0).len()).next_multiple_of(VECTOR)
    }

    /// The offsets of a tile's values in planes of this width.
    fn offsets(&self, width: usize, group: usize, image: usize, tile: [usize; 2]) -> Offsets {
        let len = self.plane_len(width);
        let size = [self.rows.points(tile[0]), self.columns.points(tile[1])];
        Offsets::new(size, |row, column| {
            let plane = (row * self.columns.max_points() + column) * self.direct.groups + group;
            plane * len + self.row([row, column], image, tile) * width
        })
    }

    /// The products at a pair of points for one panel of filters.
    fn multiply(
        &self,
        idx: usize,
        images: usize,
        inputs: &[f32],
        filters: &[f32],
        products: SharedFloats<'_>,
    ) {
        let (plane, panel) = (idx / self.panels(), idx % self.panels());
        let (width, out_width) = (self.padded_channels(), self.padded_filters());
        let inputs = &inputs[plane * self.plane_len(width)..][..self.plane_len(width)];
        let first = panel * self.isa.columns();
        let rows = images * self.tiles_with(plane / self.direct.groups);
        for (row, count) in self.isa.split(rows).iter().filter(|(_, count)| *count > 0) {
            let tile = gemm::Tile {
                rows: count,
                columns: self.isa.columns().min(self.filters() - first),
                a: &inputs[row * width..],
                layout: Layout::Rows(width),
                b: &filters[idx * self.panel_len()..][..self.panel_len()],
                outer: Loop::ONCE,
                middle: Loop::ONCE,
                inner: self.channels(),
                c: plane * self.plane_len(out_width) + row * out_width + first,
                c_row: out_width,
                start: Start::Zero,
                relu: false,
                last: false, // transformed before writing
            };
            // SAFETY: planes do not overlap, nor do the panels' columns of a plane.
            unsafe { self.isa.tile(&tile, &products) };
        }
    }

    /// Transforms a row of tiles of the block's image `image`.
    fn transform_outputs(
        &self,
        products: &[f32],
        bias: Option<&[f32]>,
        first_image: usize,
        image: usize,
        row: usize,
        target: SharedFloats<'_>,
    ) {
        let direct = &self.direct;
        let filters = self.filters();
        for column in 0..self.columns.tiles {
            for group in 0..direct.groups {
                let above = (first_image + image) * direct.out[0];
                let region = ImageRegion {
                    size: direct.out,
                    first: [self.rows.first(row) as isize, self.columns.first(column) as isize],
                    pixel: direct.channels,
                    channel: above * direct.out[1] * direct.channels + group * filters,
                    channels: filters,
                };
                let offsets = self.offsets(self.padded_filters(), group, image, [row, column]);
                let tile = Tile {
                    points: self.points,
                    down: self.rows.gather(row),
                    across: self.columns.gather(column),
                    channels: filters,
                    from: PlaneSource { floats: products, offsets },
                    to: ImageTarget {
                        floats: target,
                        region,
                        bias: bias.map(|bias| &bias[group * filters..][..filters]),
                        relu: direct.relu,
                    },
                };
                tile.run();
            }
        }
    }
}
