//! Packing with AVX-512: a line of a tile, 32 elements, is a register.
//!
//! Memory bound: see [`pack`](super).

use super::{Bf16, PACKED, PackLayout, Runs, SIDE, TILE};
use std::arch::x86_64::*;

/// Floats per register.
const FLOATS: usize = 16;

/// # Safety
/// The processor has these instructions.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn tiles<'a, Run: Fn(usize) -> &'a [f32]>(
    source: PackLayout,
    packed: &mut [[Bf16; PACKED]],
    runs: impl Fn(usize) -> Run,
) {
    for (tile, packed) in packed.iter_mut().enumerate() {
        let run = runs(tile);
        let mut lines = [_mm512_setzero_si512(); TILE];
        for (idx, line) in lines.iter_mut().enumerate() {
            *line = if source.along() {
                let run = run(idx);
                round(load(run, 0), load(run, FLOATS))
            } else {
                interleave(load(run(2 * idx), 0), load(run(2 * idx + 1), 0))
            };
        }
        if source.is_transposed() {
            lines = transposed(lines);
        }
        for (line, to) in lines.into_iter().zip(packed.as_chunks_mut::<32>().0) {
            // SAFETY: 32 elements.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), line) };
        }
    }
}

/// # Safety
/// [`Runs::check`] has passed; the processor has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn runs(x: &[f32], y: &mut [Bf16], runs: Runs) {
    for idx in 0..runs.count {
        let x = &x[idx * runs.from..][..runs.len];
        let y = &mut y[idx * runs.to..][..runs.len];
        for (x, y) in x.chunks(2 * FLOATS).zip(y.chunks_mut(2 * FLOATS)) {
            store(round(load(x, 0), load(x, FLOATS)), y);
        }
    }
}

/// # Safety
/// As [`runs`], for both arrays.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn pairs([a, b]: [&[f32]; 2], y: &mut [Bf16], runs: Runs) {
    for idx in 0..runs.count {
        let [a, b] = [a, b].map(|x| x[idx * runs.from..][..runs.len].chunks(FLOATS));
        let y = y[idx * runs.to..][..2 * runs.len].chunks_mut(2 * FLOATS);
        for ((a, b), y) in a.zip(b).zip(y) {
            store(interleave(load(a, 0), load(b, 0)), y);
        }
    }
}

/// # Safety
/// `to` is aligned to a cache line; the processor has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn copy_past_caches(from: &[f32; SIDE], to: &mut [f32; SIDE]) {
    // SAFETY: two registers on both sides, and the lines are whole.
    unsafe {
        _mm512_stream_ps(to.as_mut_ptr(), load(from, 0));
        _mm512_stream_ps(to.as_mut_ptr().add(FLOATS), load(from, FLOATS));
    }
}

/// Sixteen floats of a run from the `first` on, padded with zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn load(run: &[f32], first: usize) -> __m512 {
    let left = run.len().saturating_sub(first);
    let from = run.as_ptr().wrapping_add(first);
    // SAFETY: only the rest of the run is read.
    unsafe {
        if left >= FLOATS {
            _mm512_loadu_ps(from)
        } else {
            _mm512_maskz_loadu_ps((1 << left) - 1, from)
        }
    }
}

/// Writes as many of the 32 elements as fit into `to`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn store(line: __m512i, to: &mut [Bf16]) {
    // SAFETY: only the slice is written.
    unsafe {
        if to.len() >= 2 * FLOATS {
            _mm512_storeu_si512(to.as_mut_ptr().cast(), line)
        } else {
            _mm512_mask_storeu_epi16(to.as_mut_ptr().cast(), (1 << to.len()) - 1, line);
        }
    }
}

/// Both rounded, the second after the first.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn round(front: __m512, back: __m512) -> __m512i {
    // SAFETY: both types are 32 values of 16 bits.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(back, front)) }
}

/// Both rounded, interleaved.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn interleave(even: __m512, odd: __m512) -> __m512i {
    static ORDER: [u16; 32] = {
        let (mut order, mut at) = ([0; 32], 0);
        while at < 32 {
            order[at] = (at / 2 + at % 2 * FLOATS) as u16;
            at += 1;
        }
        order
    };
    // SAFETY: 64 bytes.
    let order = unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) };
    _mm512_permutexvar_epi16(order, round(even, odd))
}

/// The transpose of 16 x 16 words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn transposed(lines: [__m512i; TILE]) -> [__m512i; TILE] {
    let mut pairs = lines;
    for i in 0..8 {
        pairs[2 * i] = _mm512_unpacklo_epi32(lines[2 * i], lines[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_epi32(lines[2 * i], lines[2 * i + 1]);
    }
    // fours[4 i + c]: words c, c + 4, c + 8 and c + 12 of lines 4 i to 4 i + 3.
    let mut fours = pairs;
    for i in 0..4 {
        for half in 0..2 {
            let (low, high) = (pairs[4 * i + half], pairs[4 * i + 2 + half]);
            fours[4 * i + 2 * half] = _mm512_unpacklo_epi64(low, high);
            fours[4 * i + 2 * half + 1] = _mm512_unpackhi_epi64(low, high);
        }
    }
    let mut result = fours;
    for c in 0..4 {
        let [a, b, d, e] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
        let [ab_even, ab_odd] =
            [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xDD>(a, b)];
        let [de_even, de_odd] =
            [_mm512_shuffle_i32x4::<0x88>(d, e), _mm512_shuffle_i32x4::<0xDD>(d, e)];
        result[c] = _mm512_shuffle_i32x4::<0x88>(ab_even, de_even);
        result[8 + c] = _mm512_shuffle_i32x4::<0xDD>(ab_even, de_even);
        result[4 + c] = _mm512_shuffle_i32x4::<0x88>(ab_odd, de_odd);
        result[12 + c] = _mm512_shuffle_i32x4::<0xDD>(ab_odd, de_odd);
    }
    result
}
