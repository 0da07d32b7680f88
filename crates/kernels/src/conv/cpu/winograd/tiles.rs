//! Transforms of tiles: one axis after the other, with vectors along the channels.
//!
//! Lower bound: every element of a tile is loaded and stored once per axis, in the L1 cache.

use super::transforms::{
    AxisTransform, Gather, Input, MAX_POINTS, Points, Spread, Transform, Values, with_transform,
};
use crate::gemm::SharedFloats;
use crate::simd;
use pulp::{Simd, WithSimd};

/// Where a tile's elements are read from.
pub(super) trait TileSource {
    /// The vector at (`row`, `column`), starting with channel `channel`.
    fn get<S: Simd>(&self, simd: S, at: [usize; 2], channel: usize) -> S::f32s;
}

/// Where a tile's elements are written to.
pub(super) trait TileTarget {
    fn put<S: Simd>(&self, simd: S, at: [usize; 2], channel: usize, value: S::f32s);
}

/// A tile to be transformed, in channels.
pub(super) struct Tile<'a, F, T> {
    pub points: &'a Points,
    pub down: AxisTransform,
    pub across: AxisTransform,
    /// May be rounded up to whole vectors if source and target have memory for them.
    pub channels: usize,
    pub from: F,
    pub to: T,
}

impl<F: TileSource, T: TileTarget> Tile<'_, F, T> {
    pub fn run(self) {
        simd::arch().dispatch(self);
    }
}

impl<F: TileSource, T: TileTarget> WithSimd for Tile<'_, F, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut half = [[simd.splat_f32s(0.0); MAX_POINTS]; MAX_POINTS];
        for channel in (0..self.channels).step_by(S::F32_LANES) {
            with_transform!(self.across, L => self.across::<S, L>(simd, channel, &mut half));
            with_transform!(self.down, L => self.down::<S, L>(simd, channel, &half));
        }
    }
}

impl<F: TileSource, T: TileTarget> Tile<'_, F, T> {
    #[inline(always)]
    fn across<S: Simd, L: Transform>(
        &self,
        simd: S,
        channel: usize,
        half: &mut [Values<S>; MAX_POINTS],
    ) {
        for (row, half) in half[..self.down.from()].iter_mut().enumerate() {
            let mut x = [simd.splat_f32s(0.0); MAX_POINTS];
            for (column, x) in x[..L::FROM].iter_mut().enumerate() {
                *x = self.from.get(simd, [row, column], channel);
            }
            *half = L::run(simd, self.points, &x);
        }
    }

    #[inline(always)]
    fn down<S: Simd, L: Transform>(&self, simd: S, channel: usize, half: &[Values<S>; MAX_POINTS]) {
        for column in 0..self.across.to() {
            let mut x = [simd.splat_f32s(0.0); MAX_POINTS];
            for (x, half) in x[..L::FROM].iter_mut().zip(half) {
                *x = half[column];
            }
            let y = L::run(simd, self.points, &x);
            for (row, y) in y[..L::TO].iter().enumerate() {
                self.to.put(simd, [row, column], channel, *y);
            }
        }
    }
}

/// A rectangle of an image; pixels outside the image are not written.
#[derive(Clone, Copy)]
pub(super) struct ImageRegion {
    /// Rows and columns of the image.
    pub size: [usize; 2],
    /// The first row and column of the rectangle.
    pub first: [isize; 2],
    /// Floats from one pixel to the next.
    pub pixel: usize,
    /// The tile's channels: the first, and how many.
    pub channel: usize,
    pub channels: usize,
}

impl ImageRegion {
    /// The offset of a pixel, if it is in the image.
    #[inline(always)]
    fn offset(&self, at: [usize; 2]) -> Option<usize> {
        // Negative values wrap around to large ones.
        let row = self.first[0].wrapping_add(at[0] as isize) as usize;
        let column = self.first[1].wrapping_add(at[1] as isize) as usize;
        let inside = row < self.size[0] && column < self.size[1];
        inside.then(|| (row * self.size[1] + column) * self.pixel + self.channel)
    }
}

/// A vector, padded with zeros.
#[inline(always)]
fn load<S: Simd>(simd: S, floats: &[f32]) -> S::f32s {
    match S::as_simd_f32s(floats) {
        ([whole], _) => *whole,
        (_, part) => simd.partial_load_f32s(part),
    }
}

/// [`simd::flushed`] of each element.
#[inline(always)]
fn flushed<S: Simd>(simd: S, value: S::f32s) -> S::f32s {
    let zero = simd.splat_u32s(0);
    let [exponent, sign] = [0x7F80_0000, 0x8000_0000].map(|mask| simd.splat_u32s(mask));
    let bits = simd.transmute_u32s_f32s(value);
    let denormal = simd.equal_u32s(simd.and_u32s(bits, exponent), zero);
    let bits = simd.select_u32s(denormal, simd.and_u32s(bits, sign), bits);
    simd.transmute_f32s_u32s(bits)
}

/// The output of the convolution: adds the bias, and applies the ReLU if `relu` is set.
pub(super) struct ImageTarget<'a> {
    pub floats: SharedFloats<'a>,
    pub region: ImageRegion,
    /// One float per channel of the region.
    pub bias: Option<&'a [f32]>,
    pub relu: bool,
}

impl TileTarget for ImageTarget<'_> {
    #[inline(always)]
    fn put<S: Simd>(&self, simd: S, at: [usize; 2], channel: usize, mut value: S::f32s) {
        let Some(offset) = self.region.offset(at) else { return };
        let end = self.region.channels.min(channel + S::F32_LANES);
        if let Some(bias) = self.bias {
            value = simd.add_f32s(value, load(simd, &bias[channel..end]));
        }
        if self.relu {
            let zero = simd.splat_f32s(0.0);
            // NaN is not less than zero, and is kept.
            value = simd.select_f32s(simd.less_than_f32s(value, zero), zero, value);
        }
        value = flushed(simd, value);
        // SAFETY: the contract of this target's constructor: it has exclusive access to these
        // outputs.
        let floats = unsafe { self.floats.part(offset + channel..offset + end) };
        match S::as_mut_simd_f32s(floats) {
            ([whole], _) => *whole = value,
            (_, part) => simd.partial_store_f32s(part, value),
        }
    }
}

/// The offset of each element of a tile: its plane is that of a pair of points, or of a tap.
#[derive(Clone, Copy)]
pub(super) struct Offsets([[usize; MAX_POINTS]; MAX_POINTS]);

impl Offsets {
    /// `offset(row, column)` for a tile of `size`.
    pub fn new(size: [usize; 2], offset: impl Fn(usize, usize) -> usize) -> Offsets {
        let mut offsets = [[0; MAX_POINTS]; MAX_POINTS];
        for (row, offsets) in offsets[..size[0]].iter_mut().enumerate() {
            for (column, entry) in offsets[..size[1]].iter_mut().enumerate() {
                *entry = offset(row, column);
            }
        }
        Offsets(offsets)
    }
}

/// Floats that may be read up to the end of a whole vector.
pub(super) struct PlaneSource<'a> {
    pub floats: &'a [f32],
    pub offsets: Offsets,
}

impl TileSource for PlaneSource<'_> {
    #[inline(always)]
    fn get<S: Simd>(&self, _: S, at: [usize; 2], channel: usize) -> S::f32s {
        let offset = self.offsets.0[at[0]][at[1]] + channel;
        S::as_simd_f32s(&self.floats[offset..offset + S::F32_LANES]).0[0]
    }
}

/// Planes whose channels are padded to whole vectors.
pub(super) struct PlaneTarget<'a> {
    pub floats: SharedFloats<'a>,
    pub offsets: Offsets,
}

impl TileTarget for PlaneTarget<'_> {
    #[inline(always)]
    fn put<S: Simd>(&self, _: S, at: [usize; 2], channel: usize, value: S::f32s) {
        let offset = self.offsets.0[at[0]][at[1]] + channel;
        // SAFETY: the contract of this target's constructor: it has exclusive access to these
        // offsets.
        let floats = unsafe { self.floats.part(offset..offset + S::F32_LANES) };
        S::as_mut_simd_f32s(floats).0[0] = value;
    }
}
