//! Transforms of tiles: one axis after the other, vector by vector over the channels.
//!
//! The floor: every number of a tile is loaded and stored once an axis, in the first-level cache.

use super::lines::{Gather, Input, Line, MOST, Points, Spread, Transform, Values, with_transform};
use crate::gemm::Shared;
use crate::simd;
use pulp::{Simd, WithSimd};

/// Where a tile's elements come from.
pub(super) trait Source {
    /// The vector at (`row`, `column`) that starts at `channel`.
    fn get<S: Simd>(&self, simd: S, at: [usize; 2], channel: usize) -> S::f32s;
}

/// Where they go.
pub(super) trait Target {
    fn put<S: Simd>(&self, simd: S, at: [usize; 2], channel: usize, value: S::f32s);
}

/// A tile to be transformed.
pub(super) struct Tile<'a, F, T> {
    pub points: &'a Points,
    pub down: Line,
    pub across: Line,
    /// As many as vectors are run over: more than there are, up to a whole vector, if both sides
    /// have room.
    pub channels: usize,
    pub from: F,
    pub to: T,
}

impl<F: Source, T: Target> Tile<'_, F, T> {
    pub fn run(self) {
        simd::arch().dispatch(self);
    }
}

impl<F: Source, T: Target> WithSimd for Tile<'_, F, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut half = [[simd.splat_f32s(0.0); MOST]; MOST];
        for channel in (0..self.channels).step_by(S::F32_LANES) {
            with_transform!(self.across, L => self.across::<S, L>(simd, channel, &mut half));
            with_transform!(self.down, L => self.down::<S, L>(simd, channel, &half));
        }
    }
}

impl<F: Source, T: Target> Tile<'_, F, T> {
    #[inline(always)]
    fn across<S: Simd, L: Transform>(&self, simd: S, channel: usize, half: &mut [Values<S>; MOST]) {
        for (row, half) in half[..self.down.from()].iter_mut().enumerate() {
            let mut x = [simd.splat_f32s(0.0); MOST];
            for (column, x) in x[..L::FROM].iter_mut().enumerate() {
                *x = self.from.get(simd, [row, column], channel);
            }
            *half = L::run(simd, self.points, &x);
        }
    }

    #[inline(always)]
    fn down<S: Simd, L: Transform>(&self, simd: S, channel: usize, half: &[Values<S>; MOST]) {
        for column in 0..self.across.to() {
            let mut x = [simd.splat_f32s(0.0); MOST];
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

/// A rectangle of an image; what lies outside is not written.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// Rows and columns of the image.
    pub size: [usize; 2],
    /// Where the rectangle begins.
    pub first: [isize; 2],
    /// Floats from one pixel to the next.
    pub pixel: usize,
    /// The channels that the tile is about: the first, and how many.
    pub channel: usize,
    pub channels: usize,
}

impl Frame {
    /// Where the pixel begins, if it is in the image.
    #[inline(always)]
    fn place(&self, at: [usize; 2]) -> Option<usize> {
        // Negative numbers become huge.
        let row = self.first[0].wrapping_add(at[0] as isize) as usize;
        let column = self.first[1].wrapping_add(at[1] as isize) as usize;
        let inside = row < self.size[0] && column < self.size[1];
        inside.then(|| (row * self.size[1] + column) * self.pixel + self.channel)
    }
}

/// A vector, filled up with zeros.
#[inline(always)]
fn load<S: Simd>(simd: S, floats: &[f32]) -> S::f32s {
    match S::as_simd_f32s(floats) {
        ([whole], _) => *whole,
        (_, part) => simd.partial_load_f32s(part),
    }
}

/// [`simd::flushed`] of each.
#[inline(always)]
fn flushed<S: Simd>(simd: S, value: S::f32s) -> S::f32s {
    let zero = simd.splat_u32s(0);
    let [exponent, sign] = [0x7F80_0000, 0x8000_0000].map(|mask| simd.splat_u32s(mask));
    let bits = simd.transmute_u32s_f32s(value);
    let denormal = simd.equal_u32s(simd.and_u32s(bits, exponent), zero);
    let bits = simd.select_u32s(denormal, simd.and_u32s(bits, sign), bits);
    simd.transmute_f32s_u32s(bits)
}

/// The output: with the bias, and rectified if asked.
pub(super) struct ToImage<'a> {
    pub floats: Shared<'a>,
    pub frame: Frame,
    /// One float for each of the frame's channels.
    pub bias: Option<&'a [f32]>,
    pub relu: bool,
}

impl Target for ToImage<'_> {
    #[inline(always)]
    fn put<S: Simd>(&self, simd: S, at: [usize; 2], channel: usize, mut value: S::f32s) {
        let Some(place) = self.frame.place(at) else { return };
        let end = self.frame.channels.min(channel + S::F32_LANES);
        if let Some(bias) = self.bias {
            value = simd.add_f32s(value, load(simd, &bias[channel..end]));
        }
        if self.relu {
            let zero = simd.splat_f32s(0.0);
            // NaN is not less than zero, and stays.
            value = simd.select_f32s(simd.less_than_f32s(value, zero), zero, value);
        }
        value = flushed(simd, value);
        // SAFETY: the maker of this target has these outputs to itself.
        let floats = unsafe { self.floats.part(place + channel..place + end) };
        match S::as_mut_simd_f32s(floats) {
            ([whole], _) => *whole = value,
            (_, part) => simd.partial_store_f32s(part, value),
        }
    }
}

/// Where each element of a tile lies among planes: one for each pair of points, or for each tap.
#[derive(Clone, Copy)]
pub(super) struct Places([[usize; MOST]; MOST]);

impl Places {
    /// `place(row, column)` for a tile of `size`.
    pub fn new(size: [usize; 2], place: impl Fn(usize, usize) -> usize) -> Places {
        let mut places = [[0; MOST]; MOST];
        for (row, places) in places[..size[0]].iter_mut().enumerate() {
            for (column, entry) in places[..size[1]].iter_mut().enumerate() {
                *entry = place(row, column);
            }
        }
        Places(places)
    }
}

/// Floats of which as many may be read as whole vectors take.
pub(super) struct From<'a> {
    pub floats: &'a [f32],
    pub places: Places,
}

impl Source for From<'_> {
    #[inline(always)]
    fn get<S: Simd>(&self, _: S, at: [usize; 2], channel: usize) -> S::f32s {
        let place = self.places.0[at[0]][at[1]] + channel;
        S::as_simd_f32s(&self.floats[place..place + S::F32_LANES]).0[0]
    }
}

/// Planes whose channels are filled up to whole vectors.
pub(super) struct To<'a> {
    pub floats: Shared<'a>,
    pub places: Places,
}

impl Target for To<'_> {
    #[inline(always)]
    fn put<S: Simd>(&self, _: S, at: [usize; 2], channel: usize, value: S::f32s) {
        let place = self.places.0[at[0]][at[1]] + channel;
        // SAFETY: the maker of this target has these places to itself.
        let floats = unsafe { self.floats.part(place..place + S::F32_LANES) };
        S::as_mut_simd_f32s(floats).0[0] = value;
    }
}
