//! Images from images: the forward pass, and the input's gradient, which is the same convolution
//! over dy with turned filters.
//!
//! The floor is [`winograd`](super)'s, in products of points; transforming comes on top.

use super::super::cut;
use super::super::direct::Direct;
use super::bands::Band;
use super::tiles::{Frame, From, Places, Tile, To, ToImage};
use super::{Fold, Plan, VECTOR};
use crate::gemm::{self, Isa, Layout, Loop, Shared, Start};
use std::ops::Range;
use tensor::Pool;

/// Floats of a block's transformed images and products.
pub(super) fn planes_len(plan: &Plan) -> usize {
    let widths = [plan.padded_channels(), plan.padded_filters()];
    plan.groups_and_points() * widths.map(|width| plan.plane_len(width)).iter().sum::<usize>()
}

/// Transforms filters. `pack` is as in [`Direct::pack`].
pub(in super::super) fn pack(
    (direct, fold): (&Direct, Option<Fold>),
    isa: Isa,
    pool: &Pool,
    filters: &mut [f32],
    work: &mut [f32],
    pack: impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send,
) {
    let plan = Plan::new(isa, direct, fold);
    let filters = Shared::new(filters);
    let (own, _) = cut(work, pool.threads() * plan.own_len());
    pool.each_with_thread(direct.groups * plan.panels(), |idx, thread| {
        // SAFETY: each thread has its own taps.
        let taps = &mut unsafe { plan.own(own, thread) }[..plan.taps_len()];
        let (group, panel) = (idx / plan.panels(), idx % plan.panels());
        let first = panel * isa.columns();
        pack(group, first..(first + isa.columns()).min(plan.filters()), taps);
        plan.transform_filters(taps, idx, filters);
    });
}

/// Convolves with transformed filters.
#[allow(clippy::too_many_arguments)]
pub(in super::super) fn run(
    (direct, fold): (&Direct, Option<Fold>),
    isa: Isa,
    pool: &Pool,
    source: &[f32],
    filters: &[f32],
    bias: Option<&[f32]>,
    target: &mut [f32],
    work: &mut [f32],
) {
    let plan = Plan::new(isa, direct, fold);
    let (own, rest) = cut(work, pool.threads() * plan.own_len());
    let groups_and_points = plan.groups_and_points();
    let (inputs, rest) = cut(rest, groups_and_points * plan.plane_len(plan.padded_channels()));
    let (products, _) = cut(rest, groups_and_points * plan.plane_len(plan.padded_filters()));
    let source_len = source.len() / direct.images;
    let target = Shared::new(target);
    for first in (0..direct.images).step_by(plan.block) {
        let images = first..(first + plan.block).min(direct.images);
        let bands = images.len() * plan.rows.tiles;
        pool.each_with_thread(bands, |band, thread| {
            let (image, row) = (band / plan.rows.tiles, band % plan.rows.tiles);
            // SAFETY: each thread has its own copy.
            let copy = unsafe { plan.own(own, thread) };
            let source = &source[(images.start + image) * source_len..][..source_len];
            plan.transform_inputs(source, image, row, copy, inputs);
        });
        pool.each(groups_and_points * plan.panels(), |idx| {
            // SAFETY: while products are made nobody writes inputs.
            let inputs = unsafe { inputs.all() };
            plan.multiply(idx, images.len(), inputs, filters, products);
        });
        pool.each(bands, |band| {
            let (image, row) = (band / plan.rows.tiles, band % plan.rows.tiles);
            // SAFETY: nobody writes products meanwhile.
            let products = unsafe { products.all() };
            plan.transform_outputs(products, bias, images.start, image, row, target);
        });
    }
}

impl Plan {
    /// Floats that each thread needs: for taps, then for copies.
    pub(super) fn own_len(&self) -> usize {
        self.taps_len().max(self.copy_len())
    }

    /// A thread's own.
    ///
    /// # Safety
    /// As [`Shared::part`]: one at a time for each thread.
    pub(super) unsafe fn own<'a>(&self, own: Shared<'a>, thread: usize) -> &'a mut [f32] {
        let len = self.own_len();
        // SAFETY: the caller's promise goes on.
        unsafe { own.part(thread * len..(thread + 1) * len) }
    }

    /// A panel of filters, counted through all groups: from its taps to its values.
    fn transform_filters(&self, taps: &[f32], panel: usize, filters: Shared<'_>) {
        let panels = self.direct.groups * self.panels();
        let (len, across) = (self.panel_len(), self.columns.most());
        let values = [self.rows.most(), across];
        let [down, right] = self.direct.taps;
        let tile = Tile {
            points: self.points,
            down: self.rows.spread(),
            across: self.columns.spread(),
            channels: len,
            from: From {
                floats: taps,
                places: Places::new([down, right], |row, column| (row * right + column) * len),
            },
            to: To {
                floats: filters,
                places: Places::new(values, |row, column| {
                    ((row * across + column) * panels + panel) * len
                }),
            },
        };
        tile.run();
    }

    /// What a row of tiles sees of an image.
    fn band(&self, row: usize) -> Band {
        let (direct, last) = (&self.direct, self.columns.tiles - 1);
        Band {
            image: direct.source,
            first: [self.rows.first(row) as isize - direct.pad[0], -direct.pad[1]],
            rows: self.rows.points(row),
            columns: self.columns.first(last) + self.columns.points(last),
        }
    }

    /// A row of tiles of an image, which is the block's `idx`th.
    pub(super) fn transform_inputs(
        &self,
        image: &[f32],
        idx: usize,
        row: usize,
        copy: &mut [f32],
        inputs: Shared<'_>,
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
                    from: From {
                        floats: copy,
                        places: band.places(size, self.columns.first(column), channel),
                    },
                    to: To {
                        floats: inputs,
                        places: self.places(self.padded_channels(), group, idx, [row, column]),
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

    /// Where a tile's values lie in planes of this width.
    fn places(&self, width: usize, group: usize, image: usize, tile: [usize; 2]) -> Places {
        let len = self.plane_len(width);
        let size = [self.rows.points(tile[0]), self.columns.points(tile[1])];
        Places::new(size, |row, column| {
            let plane = (row * self.columns.most() + column) * self.direct.groups + group;
            plane * len + self.row([row, column], image, tile) * width
        })
    }

    /// The products at a pair of points with one panel of filters.
    fn multiply(
        &self,
        idx: usize,
        images: usize,
        inputs: &[f32],
        filters: &[f32],
        products: Shared<'_>,
    ) {
        let (plane, panel) = (idx / self.panels(), idx % self.panels());
        let (width, out_width) = (self.padded_channels(), self.padded_filters());
        let inputs = &inputs[plane * self.plane_len(width)..][..self.plane_len(width)];
        let first = panel * self.isa.columns();
        let rows = images * self.tiles_with(plane / self.direct.groups);
        for (row, count) in self.isa.cut(rows).iter().filter(|(_, count)| *count > 0) {
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
                last: false, // transformed before they are written
            };
            // SAFETY: planes are apart, and in one the panels' columns.
            unsafe { self.isa.tile(&tile, &products) };
        }
    }

    /// A row of tiles of the block's `image`.
    fn transform_outputs(
        &self,
        products: &[f32],
        bias: Option<&[f32]>,
        first_image: usize,
        image: usize,
        row: usize,
        target: Shared<'_>,
    ) {
        let direct = &self.direct;
        let filters = self.filters();
        for column in 0..self.columns.tiles {
            for group in 0..direct.groups {
                let above = (first_image + image) * direct.out[0];
                let frame = Frame {
                    size: direct.out,
                    first: [self.rows.first(row) as isize, self.columns.first(column) as isize],
                    pixel: direct.channels,
                    channel: above * direct.out[1] * direct.channels + group * filters,
                    channels: filters,
                };
                let from = self.places(self.padded_filters(), group, image, [row, column]);
                let tile = Tile {
                    points: self.points,
                    down: self.rows.gather(row),
                    across: self.columns.gather(column),
                    channels: filters,
                    from: From { floats: products, places: from },
                    to: ToImage {
                        floats: target,
                        frame,
                        bias: bias.map(|bias| &bias[group * filters..][..filters]),
                        relu: direct.relu,
                    },
                };
                tile.run();
            }
        }
    }
}
