//! The gradients of filters and biases: Winograd's form turned around.
//!
//! ```text
//! dw = Gather(sum over tiles of Input(x) Spread(dy))
//! ```
//!
//! For each pair of points a product of matrices, channels x tiles by tiles x filters, goes on over
//! all images; only at the end are the sums transformed to taps. A block of images at a time is
//! transformed, dy straight into the register tile's panels.
//!
//! The floor is [`winograd`](super)'s, in products of points; transforming comes on top.

use super::super::direct::Direct;
use super::super::{cut, pixels};
use super::bands::Band;
use super::tiles::{From, Places, Tile, To};
use super::{Fold, Plan, VECTOR};
use crate::conv::Geometry;
use crate::gemm::{self, Isa, Layout, Loop, Shared, Start};
use crate::simd;
use tensor::Pool;

/// Floats of scratch memory that [`backward_filter`] needs.
pub(in super::super) fn scratch(
    isa: Isa,
    direct: &Direct,
    fold: Option<Fold>,
    threads: usize,
) -> usize {
    let plan = Plan::new(isa, direct, fold);
    let images = plan.groups_and_points() * (plan.inputs_len() + plan.gradients_len());
    plan.filters_len() + threads * plan.own_len() + images + plan.bias_len()
}

/// `dw` and `db`. `direct` is the forward pass.
#[allow(clippy::too_many_arguments)]
pub(in super::super) fn backward_filter(
    isa: Isa,
    pool: &Pool,
    g: &Geometry,
    (direct, fold): (&Direct, Option<Fold>),
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: &mut [f32],
    scratch: &mut [f32],
) {
    let plan = Plan::new(isa, direct, fold);
    let (sums, rest) = cut(scratch, plan.filters_len());
    let (own, rest) = cut(rest, pool.threads() * plan.own_len());
    let (inputs, rest) = cut(rest, plan.groups_and_points() * plan.inputs_len());
    let (gradients, rest) = cut(rest, plan.groups_and_points() * plan.gradients_len());
    let (bias, _) = cut(rest, plan.bias_len());
    let (x_len, dy_len) = (g.in_shape().len() / g.images, g.out_shape().len() / g.images);
    for first in (0..g.images).step_by(plan.block) {
        let images = first..(first + plan.block).min(g.images);
        let bands = images.len() * plan.rows.tiles;
        pool.each_with_thread(2 * bands, |half, thread| {
            let (idx, row) = (half / 2 / plan.rows.tiles, half / 2 % plan.rows.tiles);
            let image = first + idx;
            // SAFETY: each thread has its own copy.
            let copy = unsafe { plan.own(own, thread) };
            if half % 2 == 0 {
                plan.transform_inputs(&x[image * x_len..][..x_len], idx, row, copy, inputs);
            } else {
                let band = (image * plan.rows.tiles + row) * g.filters;
                // SAFETY: each band of each image has its own part.
                let bias = unsafe { bias.part(band..band + g.filters) };
                let dy = &dy[image * dy_len..][..dy_len];
                plan.transform_gradients(dy, idx, row, copy, gradients, bias);
            }
        });
        pool.each(plan.groups_and_points() * plan.panels(), |idx| {
            // SAFETY: nobody writes them meanwhile.
            let (inputs, gradients) = unsafe { (inputs.all(), gradients.all()) };
            let start = if first == 0 { Start::Zero } else { Start::Sum };
            plan.add_products(idx, images.len(), inputs, gradients, start, sums);
        });
    }
    let dw = Shared::new(dw);
    pool.each_with_thread(g.groups * plan.panels(), |panel, thread| {
        // SAFETY: each thread has its own taps; nobody writes the sums any more.
        let (own, sums) = unsafe { (plan.own(own, thread), sums.all()) };
        plan.transform_sums(sums, panel, own, dw);
    });
    // SAFETY: all threads are done with it.
    pixels::add_biases(unsafe { bias.all() }, db);
}

impl Plan {
    /// Floats of transformed x at a pair of points.
    fn inputs_len(&self) -> usize {
        self.plane_len(self.padded_channels())
    }

    /// Floats of transformed dy at a pair of points, `[panel][tile][column]`.
    fn gradients_len(&self) -> usize {
        self.plane_len(self.panels() * self.isa.columns())
    }

    /// Floats of one of its panels.
    fn gradient_panel_len(&self) -> usize {
        self.block * self.tiles() * self.isa.columns()
    }

    /// A sum over dy for each band of tiles.
    fn bias_len(&self) -> usize {
        self.direct.images * self.rows.tiles * self.direct.channels
    }

    /// The outputs of a row of tiles.
    pub(super) fn gradient_band(&self, row: usize) -> Band {
        let (direct, last) = (&self.direct, self.columns.tiles - 1);
        Band {
            image: [direct.out[0], direct.out[1], direct.channels],
            first: [self.rows.first(row) as isize, 0],
            rows: self.rows.outputs(row),
            columns: self.columns.first(last) + self.columns.outputs(last),
        }
    }

    /// A row of tiles of an image of dy, which is the block's `idx`th.
    fn transform_gradients(
        &self,
        image: &[f32],
        idx: usize,
        row: usize,
        copy: &mut [f32],
        gradients: Shared<'_>,
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
                let places = Places::new(size, |down, across| {
                    let pair = down * self.columns.most() + across;
                    let place = self.row([down, across], idx, [row, column]) * width;
                    (pair * self.direct.groups + group) * self.gradients_len()
                        + panel * self.gradient_panel_len()
                        + place
                });
                let tile = Tile {
                    points: self.points,
                    down: self.rows.spread_outputs(row),
                    across: self.columns.spread_outputs(column),
                    channels: width.min(filters - panel * width),
                    from: From {
                        floats: copy,
                        places: band.places(outputs, self.columns.first(column), channel),
                    },
                    to: To { floats: gradients, places },
                };
                tile.run();
            }
        }
    }

    /// Adds up the products at a pair of points for one panel of filters.
    fn add_products(
        &self,
        idx: usize,
        images: usize,
        inputs: &[f32],
        gradients: &[f32],
        start: Start<'_>,
        sums: Shared<'_>,
    ) {
        let (plane, panel) = (idx / self.panels(), idx % self.panels());
        let (width, columns) = (self.padded_channels(), self.isa.columns());
        let inputs = &inputs[plane * self.inputs_len()..][..self.inputs_len()];
        let gradients = &gradients[plane * self.gradients_len()..][..self.gradients_len()];
        for (channel, count) in self.isa.cut(self.channels()).iter() {
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
                last: false, // transformed before they are written
            };
            // SAFETY: each call has its own panel of sums.
            unsafe { self.isa.tile(&tile, &sums) };
        }
    }

    /// A panel of filters, counted through all groups: from its sums to the taps.
    fn transform_sums(&self, sums: &[f32], panel: usize, taps: &mut [f32], dw: Shared<'_>) {
        let panels = self.direct.groups * self.panels();
        let (len, across, width) = (self.panel_len(), self.columns.most(), self.isa.columns());
        let [down, right] = self.direct.taps;
        let taps = &mut taps[..self.taps_len()];
        let tile = Tile {
            points: self.points,
            down: self.rows.gather_filter(),
            across: self.columns.gather_filter(),
            channels: len,
            from: From {
                floats: sums,
                places: Places::new([self.rows.most(), across], |row, column| {
                    ((row * across + column) * panels + panel) * len
                }),
            },
            to: To {
                floats: Shared::new(taps),
                places: Places::new([down, right], |row, column| (row * right + column) * len),
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

/// Adds up a band over its pixels, in f64.
fn add_pixels(band: &[f32], sums: &mut [f32]) {
    let pixel = sums.len();
    simd::vectorized(
        #[inline(always)]
        || {
            for (run, sums) in sums.chunks_mut(VECTOR).enumerate() {
                let mut total = [0.0f64; VECTOR];
                for floats in band[run * VECTOR..].chunks(pixel) {
                    let pairs = total.iter_mut().zip(&floats[..sums.len()]);
                    pairs.for_each(|(total, &value)| *total += f64::from(value));
                }
                sums.iter_mut().zip(total).for_each(|(sum, total)| *sum = total as f32);
            }
        },
    );
}
