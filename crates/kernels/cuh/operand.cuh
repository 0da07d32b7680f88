// Operands of a product (product.cuh), and their copies in shared memory.
//
// Two index functions define an operand: one maps an index along the tile to an offset, the other
// maps k; the two offsets add up to an address. So a convolution reads its images in place: an
// index is a pixel, k a tap and a channel. Both are divided out once for many uses and stored in
// shared memory (`Cursor`). A panel has the order of memory, k along its rows or across them, so
// that every copy is of neighbours.
#pragma once
#include "instructions.cuh"
#ifndef CUDA_ON_CPU
#include <cuda_pipeline.h>
#endif

constexpr int DEPTH = 16;   // k of a panel
constexpr int AHEAD = 64;   // k whose cursors are computed ahead
constexpr int STORED = 32;  // rows of C that pass through shared memory at once

/// Where an index leads. An element lies at the sum of its two cursors' offsets; it exists if their
/// rows add up to one of the operand's and their columns do. Else it is zero.
struct alignas(16) Cursor {
  long long offset;
  int row, column;
};
constexpr int OUTSIDE = -(1 << 29);

/// Indices of a plain matrix: `count` of them, `step` floats apart.
struct Line {
  unsigned count;
  long long step;
  __device__ Cursor at(unsigned i) const {
    return {static_cast<long long>(i) * step, i < count ? 0 : OUTSIDE, 0};
  }
};

/// A or B. `ALONG`: it is k whose neighbours are neighbours in memory; else the other index's are.
/// `wide`: four neighbours always exist together, 16 bytes at a multiple of 16.
template <class Index, class Depth, bool ALONG>
struct Operand {
  static constexpr bool along = ALONG;
  const float* base;
  Index index;
  Depth depth;
  unsigned rows, columns;
  unsigned wide;
};

/// A plain matrix, whose every element has row 0 and column 0 of one.
template <bool ALONG>
using Matrix = Operand<Line, Line, ALONG>;

/// `SPAN` indices by `DEPTH` k, with `SPARE` floats after each row, which keep threads that read
/// together off each other's banks. `DEALT`: laid out for threads of which each has two successive
/// k (tensor_cores.cuh). Where k lies across the rows, of eight the even ones come first; where it
/// lies along them, every other pair of rows has its halves swapped.
template <int SPAN, bool ALONG, int SPARE, bool DEALT>
struct Panel {
  static constexpr int rows = ALONG ? SPAN : DEPTH;
  static constexpr int columns = ALONG ? DEPTH : SPAN;
  static constexpr int COPIES_AT_ONCE = DEALT ? 1 : 2;  // more would not fit the registers
  float at[rows][columns + SPARE];

  __device__ __forceinline__ float* cell(int row, int column) {
    if (!DEALT) return &at[row][column];
    if (ALONG) return &at[row][column ^ row % 4 / 2 * 8];
    return &at[row / 8 * 8 + row % 2 * 4 + row % 8 / 2][column];
  }
};

/// Begins to copy a panel, `STEP` floats at a time.
template <int STEP, class To, class From>
__device__ __forceinline__ void fetch_by(To& to, const From& from, const Cursor* indices,
                                         const Cursor* depths) {
  constexpr int across = To::columns / STEP;
  static_assert(To::rows * across % THREADS == 0, "every thread has as many");
#pragma unroll(To::COPIES_AT_ONCE)
  for (int turn = 0; turn < To::rows * across / THREADS; turn++) {
    const int i = turn * THREADS + thread_anew();
    const int row = i / across, column = i % across * STEP;
    const Cursor one = indices[From::along ? row : column];
    const Cursor two = depths[From::along ? column : row];
    const bool exists = static_cast<unsigned>(one.row + two.row) < from.rows &&
                        static_cast<unsigned>(one.column + two.column) < from.columns;
    float* cell = to.cell(row, column);
    if (exists) {
      __pipeline_memcpy_async(cell, from.base + one.offset + two.offset, STEP * sizeof(float));
    } else if (STEP == 4) {
      *reinterpret_cast<float4*>(cell) = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    } else {
      *cell = 0.0f;
    }
  }
}
template <class To, class From>
__device__ __forceinline__ void fetch(To& to, const From& from, const Cursor* indices,
                                      const Cursor* depths) {
  if (from.wide) fetch_by<4>(to, from, indices, depths);
  else fetch_by<1>(to, from, indices, depths);
}
