//! Convolutions with few multiplications: Winograd's algorithm, after Toom and Cook. The stride is
//! 1, or made so by [folding](fold).
//!
//! An image is split into tiles of m x m outputs. Each tile's inputs, and the filters, are
//! transformed ([`transforms`]), so that an axis takes m + r - 1 multiplications instead of m r.
//! For each pair of points there is a matrix product, tiles x channels by channels x filters, which
//! the register tile computes at its peak. See Lavin and Gray, "Fast Algorithms for Convolutional
//! Neural Networks" (2015).
//!
//! n tiles over an axis of `out` outputs take out + n (r - 1) multiplications, however long each
//! tile is. So there are as few tiles as accuracy allows, and they divide the axis without waste:
//! 13 = 5 + 4 + 4 with a window of 3 takes 7 + 6 + 6 = 19 instead of 39, and 27 = 6 x 4 + 3 with a
//! window of 5 takes 55 instead of 135. The points of shorter tiles are among those of longer ones,
//! with the same transformed filters: a pair of points has one matrix of filters, which multiplies
//! the tiles that have both points.
//!
//! Lower bound: (19 / 39)^2 = 24 % of the direct algorithm's multiplications in conv3 to conv5,
//! (55 / 135)^2 = 17 % in conv2 and, with the folded window's 432 products for 363, 26 % in conv1.
//! Transformed images are read and written once, a block of images at a time, in the last-level
//! cache: 361 / 169 of an image in conv3, 3025 / 729 in conv2 and 5929 / 3025 in conv1.

mod bands;
mod filters;
mod fold;
mod images;
mod tiles;
mod transforms;

pub(super) use fold::Fold;

use super::direct::Direct;
use crate::gemm::Isa;
use transforms::{AxisTransform, Points};

/// Points for windows of 3 and of 5. Of all triples of eighths they have the smallest sum of
/// |Gather|^2 |Input|^2 |Spread|^2, the variance of rounding errors, or are equal to the best, for
/// six and seven points, and for eight. With infinity among the points, other magnitudes are best.
static POINTS_3: Points = Points::new([0.5, 1.125, 3.5]);
static POINTS_5: Points = Points::new([0.5, 1.0, 2.0]);

/// Floats of transformed images at a time: few enough to stay in the last-level cache with the
/// filters.
const BLOCK_FLOATS: usize = 2 << 20;
/// The channels of planes are padded to vectors of so many floats.
const VECTOR: usize = 16;

/// One axis of the output, split into tiles: the first `longer` tiles have one more output.
#[derive(Clone, Copy, Debug)]
struct Axis {
    window: usize,
    tiles: usize,
    longer: usize,
    shorter_outputs: usize,
}

impl Axis {
    fn new(out: usize, window: usize) -> Axis {
        // At most seven points with a window of 3 and eight with one of 5: more cost accuracy.
        let (least, most) = if window == 3 { (4, 5) } else { (2, 4) };
        let tiles = out.div_ceil(most);
        // If even the shortest tiles are too long, the last one extends over the edge.
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

    /// Inputs of a tile, as many as its points.
    fn points(&self, tile: usize) -> usize {
        self.outputs(tile) + self.window - 1
    }

    /// The most points of a tile: filters are transformed to values at these.
    fn max_points(&self) -> usize {
        self.points(0)
    }

    /// Multiplications of all tiles.
    fn products(&self) -> usize {
        (0..self.tiles).map(|tile| self.points(tile)).sum()
    }

    /// The number of tiles, the first ones, that have this point.
    fn with_point(&self, point: usize) -> usize {
        if point < self.points(self.tiles - 1) { self.tiles } else { self.longer }
    }

    fn input(&self, tile: usize) -> AxisTransform {
        AxisTransform::Input { points: self.points(tile) }
    }

    /// The transform of filters.
    fn spread(&self) -> AxisTransform {
        AxisTransform::Spread { from: self.window, points: self.max_points() }
    }

    fn gather(&self, tile: usize) -> AxisTransform {
        AxisTransform::Gather { points: self.points(tile), to: self.outputs(tile) }
    }

    /// The transform of the outputs' gradients.
    fn spread_outputs(&self, tile: usize) -> AxisTransform {
        AxisTransform::Spread { from: self.outputs(tile), points: self.points(tile) }
    }

    /// The transform of the filters' gradients.
    fn gather_filter(&self) -> AxisTransform {
        AxisTransform::Gather { points: self.max_points(), to: self.window }
    }
}

/// The tiles, points and blocks of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct WinogradPlan {
    isa: Isa,
    direct: Direct,
    /// Set if `direct` convolves images that are folded as they are read.
    fold: Option<Fold>,
    points: &'static Points,
    rows: Axis,
    columns: Axis,
    /// Images at a time.
    block: usize,
}

impl WinogradPlan {
    pub fn new(isa: Isa, direct: &Direct, fold: Option<Fold>) -> WinogradPlan {
        let [window, _] = direct.taps;
        let mut plan = WinogradPlan {
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
        self.rows.max_points() * self.columns.max_points()
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
        let across = self.columns.max_points();
        [idx / across, idx % across]
    }

    /// The row of a pair's matrix that belongs to a tile of the block's image `image`.
    fn row(&self, [row, column]: [usize; 2], image: usize, tile: [usize; 2]) -> usize {
        let across = self.columns.with_point(column);
        (image * self.rows.with_point(row) + tile[0]) * across + tile[1]
    }

    /// Channels per group.
    fn channels(&self) -> usize {
        self.direct.source[2] / self.direct.groups
    }

    fn padded_channels(&self) -> usize {
        self.channels().next_multiple_of(VECTOR)
    }

    /// Filters per group.
    fn filters(&self) -> usize {
        self.direct.channels / self.direct.groups
    }

    fn padded_filters(&self) -> usize {
        self.filters().next_multiple_of(VECTOR)
    }

    /// Panels of filters per group.
    fn panels(&self) -> usize {
        self.filters().div_ceil(self.isa.columns())
    }

    /// Floats of a panel of filters at one tap or pair of points.
    fn panel_len(&self) -> usize {
        self.channels() * self.isa.columns()
    }

    /// Floats of transformed filters `[pair][group][panel][channel][column]`.
    pub fn filters_len(&self) -> usize {
        self.groups_and_points() * self.panels() * self.panel_len()
    }

    /// Floats of a panel's taps.
    fn taps_len(&self) -> usize {
        self.direct.depth() * self.isa.columns()
    }

    /// Floats of a plane of this width: one row per tile of a block of images.
    fn plane_len(&self, width: usize) -> usize {
        // Planes at the same offsets modulo the cache size would evict each other.
        (self.block * self.tiles() * width).next_multiple_of(1024) + VECTOR
    }
}

/// Whether Winograd's algorithm supports the convolution.
pub(super) fn applies(direct: &Direct) -> bool {
    // The outputs of the input's gradient of a strided convolution are further apart.
    let dense = direct.target.column == direct.channels;
    direct.step == 1 && dense && matches!(direct.taps, [3, 3] | [5, 5])
}

/// The cost of transforming an element of an image and of its products, and an element of the
/// filters, in multiply-adds of the register tile. Measured on two Zen 4 cores, where with these
/// the algorithms break even within a fifth for 1 to 128 images of 3 to 32 pixels.
const IMAGE_COST: usize = 48;
const FILTER_COST: usize = 32;
/// The cost of reading an element of packed filters, likewise: it comes from memory.
const PACKED_COST: usize = 12;
/// The most floats of transformed filters; more are not worth their memory.
const MAX_FILTERS: usize = 16 << 20;

/// Whether it is faster, by a tenth or more, than the direct algorithm with its `products`
/// multiplications; with filters that are packed before, or in each pass.
pub(super) fn suits(direct: &Direct, products: usize, packed: bool) -> bool {
    if !applies(direct) {
        return false;
    }
    let [rows, columns] = direct.out.map(|out| Axis::new(out, direct.taps[0]));
    let [channels, filters] = [direct.source[2], direct.channels];
    let weights = channels * (filters / direct.groups);
    let few = direct.images * rows.products() * columns.products();
    let transformed = rows.max_points() * columns.max_points() * weights;
    let taps = direct.taps[0] * direct.taps[1];
    let (filter, products) = if packed {
        (PACKED_COST, products + PACKED_COST * taps * weights)
    } else {
        (FILTER_COST, products)
    };
    let cost = few * (weights + IMAGE_COST * (channels + filters)) + filter * transformed;
    transformed <= MAX_FILTERS && 10 * cost < 9 * products
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
                    assert!(
                        (points..axis.max_points()).all(|point| tile >= axis.with_point(point))
                    );
                }
            }
        }
    }

    #[test]
    fn alexnets_axes() {
        assert_eq!((Axis::new(13, 3).products(), Axis::new(27, 5).products()), (19, 55));
    }
}
