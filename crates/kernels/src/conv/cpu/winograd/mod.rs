//! Convolutions with few multiplications (Winograd's, after Toom and Cook). Their stride is 1, or
//! [folding](fold) makes it so.
//!
//! An image is cut into tiles of m x m outputs. Each tile's inputs, and the filters, are
//! transformed ([`lines`]), so that instead of m r multiplications an axis there are m + r - 1:
//! for each pair of points a product of matrices, tiles x channels by channels x filters, which the
//! register tile computes at its peak. See Lavin and Gray, "Fast Algorithms for Convolutional
//! Neural Networks" (2015).
//!
//! n tiles over an axis of `out` outputs take out + n (r - 1) multiplications, however long each
//! is, so the tiles are as few as accuracy allows and divide the axis without waste: 13 = 5 + 4 + 4
//! under a window of 3 takes 7 + 6 + 6 = 19 instead of 39, and 27 = 6 x 4 + 3 under a window of 5
//! takes 55 instead of 135. The points of shorter tiles are among those of longer ones, with the
//! same transformed filters: a pair of points has a matrix of filters and is met by those tiles
//! that have both.
//!
//! The floor: of the direct form's multiplications (19 / 39)^2 = 24 % are left in conv3 to conv5,
//! (55 / 135)^2 = 17 % in conv2 and, of a folded window's 432 for 363, 26 % in conv1. Transformed
//! images are read and written once, a block of images at a time, in the last-level cache: 361 /
//! 169 of an image in conv3, 3025 / 729 in conv2 and 5929 / 3025 in conv1.

mod bands;
mod filters;
mod fold;
mod images;
mod lines;
mod tiles;

pub(super) use filters::{backward_filter, scratch as filter_scratch};
pub(super) use fold::Fold;
pub(super) use images::{pack, run};

use super::direct::Direct;
use crate::gemm::Isa;
use lines::{Line, Points};

/// Points for windows of 3 and of 5: among triples of eighths as good as any in the sum of
/// |Gather|^2 |Input|^2 |Spread|^2, the variance of rounding errors, with six and seven points and
/// with eight. With infinity among them points of other magnitudes are best.
static POINTS_3: Points = Points::new([0.5, 1.125, 3.5]);
static POINTS_5: Points = Points::new([0.5, 1.0, 2.0]);

/// Floats of transformed images at a time: with the filters they should stay in the last-level
/// cache.
const BLOCK_FLOATS: usize = 2 << 20;
/// The channels of planes are filled up to vectors of at most so many floats.
const VECTOR: usize = 16;

/// One axis of the output, cut into tiles: `longer` of one output more, then the others.
#[derive(Clone, Copy, Debug)]
struct Axis {
    window: usize,
    tiles: usize,
    longer: usize,
    shorter_outputs: usize,
}

impl Axis {
    fn new(out: usize, window: usize) -> Axis {
        // Six to seven points under a window of 3, to eight under one of 5: more cost accuracy.
        let (least, most) = if window == 3 { (4, 5) } else { (2, 4) };
        let tiles = out.div_ceil(most);
        // Where even the shortest tiles are too long, the last hangs over.
        let out = out.max(tiles * least);
        Axis { window, tiles, longer: out % tiles, shorter_outputs: out / tiles }
    }

    /// Outputs of a tile.
    fn outputs(&self, tile: usize) -> usize {
        self.shorter_outputs + usize::from(tile < self.longer)
    }

    /// The first output of a tile.
    fn first(&self, tile: usize) -> usize {
        tile * self.shorter_outputs + tile.min(self.longer)
    }

    /// Inputs of a tile, and points.
    fn points(&self, tile: usize) -> usize {
        self.outputs(tile) + self.window - 1
    }

    /// The most points of a tile: those at which filters are transformed.
    fn most(&self) -> usize {
        self.points(0)
    }

    /// Multiplications of all tiles.
    fn products(&self) -> usize {
        (0..self.tiles).map(|tile| self.points(tile)).sum()
    }

    /// How many tiles, the first ones, have this point.
    fn with_point(&self, point: usize) -> usize {
        if point < self.points(self.tiles - 1) { self.tiles } else { self.longer }
    }

    fn input(&self, tile: usize) -> Line {
        Line::Input { points: self.points(tile) }
    }

    /// For the filters.
    fn spread(&self) -> Line {
        Line::Spread { from: self.window, points: self.most() }
    }

    fn gather(&self, tile: usize) -> Line {
        Line::Gather { points: self.points(tile), to: self.outputs(tile) }
    }

    /// The gradients of outputs.
    fn spread_outputs(&self, tile: usize) -> Line {
        Line::Spread { from: self.outputs(tile), points: self.points(tile) }
    }

    /// The gradients of the filters.
    fn gather_filter(&self) -> Line {
        Line::Gather { points: self.most(), to: self.window }
    }
}

/// How a convolution is laid out.
#[derive(Clone, Copy, Debug)]
struct Plan {
    isa: Isa,
    direct: Direct,
    /// If `direct` is about images that are folded as they are read.
    fold: Option<Fold>,
    points: &'static Points,
    rows: Axis,
    columns: Axis,
    /// Images at a time.
    block: usize,
}

impl Plan {
    fn new(isa: Isa, direct: &Direct, fold: Option<Fold>) -> Plan {
        let [window, _] = direct.taps;
        let mut plan = Plan {
            isa,
            direct: *direct,
            fold,
            points: if window == 3 { &POINTS_3 } else { &POINTS_5 },
            rows: Axis::new(direct.out[0], window),
            columns: Axis::new(direct.out[1], window),
            block: 1,
        };
        let image = plan.groups_and_points()
            * plan.tiles()
            * (plan.padded_channels() + plan.padded_filters());
        plan.block = (BLOCK_FLOATS / image).clamp(1, direct.images);
        plan
    }

    /// Pairs of points.
    fn pairs(&self) -> usize {
        self.rows.most() * self.columns.most()
    }

    fn groups_and_points(&self) -> usize {
        self.direct.groups * self.pairs()
    }

    /// Tiles of an image.
    fn tiles(&self) -> usize {
        self.rows.tiles * self.columns.tiles
    }

    /// Tiles of an image that have this pair of points.
    fn tiles_with(&self, pair: usize) -> usize {
        let [row, column] = self.pair(pair);
        self.rows.with_point(row) * self.columns.with_point(column)
    }

    fn pair(&self, idx: usize) -> [usize; 2] {
        [idx / self.columns.most(), idx % self.columns.most()]
    }

    /// Which row of a pair's matrix belongs to a tile of the block's `image`.
    fn row(&self, [row, column]: [usize; 2], image: usize, tile: [usize; 2]) -> usize {
        let across = self.columns.with_point(column);
        (image * self.rows.with_point(row) + tile[0]) * across + tile[1]
    }

    /// Channels of a group.
    fn channels(&self) -> usize {
        self.direct.source[2] / self.direct.groups
    }

    fn padded_channels(&self) -> usize {
        self.channels().next_multiple_of(VECTOR)
    }

    /// Filters of a group.
    fn filters(&self) -> usize {
        self.direct.channels / self.direct.groups
    }

    fn padded_filters(&self) -> usize {
        self.filters().next_multiple_of(VECTOR)
    }

    /// Panels of filters in a group.
    fn panels(&self) -> usize {
        self.filters().div_ceil(self.isa.columns())
    }

    /// Floats of the taps, and of the sums, of a panel of filters at one tap or pair of points.
    fn panel_len(&self) -> usize {
        self.channels() * self.isa.columns()
    }

    /// Floats of transformed filters `[pair][group][panel][channel][column]`.
    fn filters_len(&self) -> usize {
        self.groups_and_points() * self.panels() * self.panel_len()
    }

    /// Floats of a panel's taps.
    fn taps_len(&self) -> usize {
        self.direct.depth() * self.isa.columns()
    }

    /// Floats of a plane of this width: a row for each tile of a block of images.
    fn plane_len(&self, width: usize) -> usize {
        // Planes that begin at the same place of a cache would drive each other out.
        (self.block * self.tiles() * width).next_multiple_of(1024) + VECTOR
    }
}

/// Whether the convolution can be done this way.
pub(super) fn applies(direct: &Direct) -> bool {
    // The gradient of the input of a convolution with a stride has its outputs further apart.
    let dense = direct.target.column == direct.channels;
    direct.step == 1 && dense && matches!(direct.taps, [3, 3] | [5, 5])
}

/// Transforming an element of an image and of its products, and an element of the filters, in
/// multiply-adds that the register tile does meanwhile. Measured on two Zen 4 cores, where the
/// forms then break even within a fifth for 1 to 128 images of 3 to 32 pixels.
const IMAGE_COST: usize = 48;
const FILTER_COST: usize = 32;
/// Reading an element of filters that were kept, likewise: it comes from memory.
const KEPT_COST: usize = 12;
/// Transformed filters of more floats than this are not worth their memory.
const MOST_FILTERS: usize = 16 << 20;

/// Whether it is the faster way, by a tenth or more, of what takes `products` multiplications
/// directly; with filters that are kept from pass to pass, or transformed in each.
pub(super) fn suits(direct: &Direct, products: usize, kept: bool) -> bool {
    if !applies(direct) {
        return false;
    }
    let [rows, columns] = direct.out.map(|out| Axis::new(out, direct.taps[0]));
    let [channels, filters] = [direct.source[2], direct.channels];
    let weights = channels * (filters / direct.groups);
    let few = direct.images * rows.products() * columns.products();
    let transformed = rows.most() * columns.most() * weights;
    let taps = direct.taps[0] * direct.taps[1];
    let (filter, products) = if kept {
        (KEPT_COST, products + KEPT_COST * taps * weights)
    } else {
        (FILTER_COST, products)
    };
    let cost = few * (weights + IMAGE_COST * (channels + filters)) + filter * transformed;
    transformed <= MOST_FILTERS && 10 * cost < 9 * products
}

/// Floats of transformed filters.
pub(super) fn filters_len(isa: Isa, direct: &Direct, fold: Option<Fold>) -> usize {
    Plan::new(isa, direct, fold).filters_len()
}

/// Floats of scratch memory that [`pack`] and [`run`] need.
pub(super) fn work_len(isa: Isa, direct: &Direct, fold: Option<Fold>, threads: usize) -> usize {
    let plan = Plan::new(isa, direct, fold);
    threads * plan.own_len() + images::planes_len(&plan)
}

#[cfg(test)]
mod tests {
    use super::Axis;

    #[test]
    fn tiles_cover_the_axis_without_waste() {
        for (window, least, most) in [(3, 4, 5), (5, 2, 4)] {
            for out in 1..60 {
                let axis = Axis::new(out, window);
                let last = axis.tiles - 1;
                let covered = axis.first(last) + axis.outputs(last);
                assert!(covered >= out && (covered == out || axis.outputs(0) == least));
                for tile in 0..axis.tiles {
                    assert!((least..=most).contains(&axis.outputs(tile)), "{out}: {axis:?}");
                    let points = axis.points(tile);
                    assert!((0..points).all(|point| tile < axis.with_point(point)));
                    assert!((points..axis.most()).all(|point| tile >= axis.with_point(point)));
                }
            }
        }
    }

    #[test]
    fn alexnets_axes() {
        assert_eq!((Axis::new(13, 3).products(), Axis::new(27, 5).products()), (19, 55));
    }
}
