//! Interleaves rows of an image with few channels: for each column, the pixels of several rows.
//!
//! With three channels, a row of a window of 11 is 33 k, two tiles of 32, one of them nearly empty.
//! Four interleaved rows are 132 k, five tiles: so conv1 of AlexNet takes 15 tiles instead of 22,
//! of 11.3 that are full. As many rows as the stride are interleaved, so windows start where such
//! lines do, and no row is copied twice.
//!
//! Lower bound: a pixel takes a store of 4 bytes and one of 2: 1 ms of two cores in AlexNet's conv1
//! on 128 images. The seven tiles that it saves take 4 ms at AMX's peak.

use crate::conv::Geometry;
use crate::gemm::amx::pack::{PackLayout, tiles};
use crate::gemm::amx::{Bf16, DEPTH, PACKED, TILE};

/// The most channels of an interleaved image.
pub(super) const MAX_CHANNELS: usize = 4;

/// Copies pixels of `N` elements to positions `step` apart.
pub(super) fn spread<const N: usize>(from: &[Bf16], to: &mut [Bf16], step: usize) {
    const { assert!(N <= MAX_CHANNELS) };
    for (pixel, to) in from.as_chunks::<N>().0.iter().zip(to.chunks_mut(step)) {
        to[..N].copy_from_slice(pixel);
    }
}

/// Packs `rows` rows of the window, or the `left` that are left, of filters that start at the first
/// of these rows: k runs over the window's columns, these rows and the channels.
pub(super) fn pack(
    g: &Geometry,
    rows: usize,
    w: &[f32],
    n: usize,
    left: usize,
    packed: &mut [Bf16],
) {
    let (row, depth) = (g.window.1 * g.channels, g.window.0 * g.window.1 * g.channels);
    for (tile, packed) in packed.chunks_exact_mut(PACKED).enumerate() {
        let mut columns = [[0.0; DEPTH]; TILE];
        for (filter, column) in columns[..n].iter_mut().enumerate() {
            for (k, value) in (tile * DEPTH..rows * row).zip(column) {
                let (kw, kh, c) = (k / (rows * g.channels), k / g.channels % rows, k % g.channels);
                if kh < left {
                    *value = w[filter * depth + kh * row + kw * g.channels + c];
                }
            }
        }
        tiles(PackLayout::ColumnsOfB, packed, |_| |idx| &columns[idx][..]);
    }
}
