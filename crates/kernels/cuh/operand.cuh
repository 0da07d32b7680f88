// Operands of a product (product.cuh), and their copies in shared memory.
//
// Two index functions define an operand: one maps an index along the tile to an offset, the other
// maps k; the two offsets add up to an address. So a convolution reads its images in place: an
// index is a pixel, k a tap and a channel. Both are divided out once for many uses (`Cursor`): those
// of indices never change along k, and a thread holds its own in registers; those of k lie in
// shared memory, unless k is counted in a plain matrix. `Panel` and `Copies` are for panels of f32,
// which have the order of memory, k along their rows or across them, so that every copy is of
// neighbours; bf16.cuh has panels of its own.
#pragma once
#include "instructions.cuh"
#ifndef CUDA_ON_CPU
#include <cuda_pipeline.h>
#endif

constexpr int DEPTH = 16;   // k of a panel
constexpr int AHEAD = 64;   // k whose cursors are computed ahead

/// Where an index leads. An element lies at the sum of its two cursors' offsets; it exists if their
/// rows add up to one of the operand's and their columns do. Else it is zero.
struct alignas(16) Cursor {
  long long offset;
  int row, column;
};
constexpr int OUTSIDE = -(1 << 29);

/// Indices of a plain matrix: `count` of them, `step` floats apart.
struct Line {
  static constexpr bool plain = true;  // cheap enough to compute at every use
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
  static constexpr bool plain = Depth::plain, flat = Index::plain;
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
  static constexpr bool HOLDS = DEALT;                  // likewise
  static constexpr unsigned STRIDE = columns + SPARE, REPEATS = DEALT ? ALONG ? 4 : 8 : 1;
  float at[rows][STRIDE];

  /// Where an element lies, in floats from the begin. `REPEATS` rows further it is as many rows
  /// further.
  static __device__ __forceinline__ unsigned cell(unsigned row, unsigned column) {
    if (!DEALT) return row * STRIDE + column;
    if (ALONG) return row * STRIDE + (column ^ row % 4 / 2 * 8);
    return (row / 8 * 8 + row % 2 * 4 + row % 8 / 2) * STRIDE + column;
  }
};

/// Where k leads, of the panel that begins with `k`; `depths` are its cursors, if they are stored.
template <class From>
__device__ __forceinline__ Cursor depth_of(const From& from, const Cursor* depths, unsigned k,
                                           unsigned at) {
  if constexpr (From::plain) return from.depth.at(k + at);
  else return depths[at];
}
template <class From>
__device__ __forceinline__ bool exists(const From& from, int row, int column) {
  return static_cast<unsigned>(row) < from.rows && static_cast<unsigned>(column) < from.columns;
}

/// Where an index leads in an operand. In a plain matrix null stands for what does not exist; rows
/// and columns then take no registers.
struct Start {
  const float* at;
  int row, column;
  template <class From>
  static __device__ __forceinline__ Start of(const From& from, const Cursor& one) {
    if constexpr (From::flat) return {one.row == 0 ? from.base + one.offset : nullptr, 0, 0};
    else return {from.base + one.offset, one.row, one.column};
  }
  template <class From>
  __device__ __forceinline__ bool exists(const From& from, const Cursor& two) const {
    return (!From::flat || at != nullptr) && ::exists(from, row + two.row, column + two.column);
  }
};

/// A thread's copies of a panel, four floats each: in `TURNS` rows that lie `ROWS` apart. It holds
/// where their indices lead, and the first cell, if the registers suffice.
template <class To, class From>
struct Copies {
  static constexpr unsigned across = To::columns / 4, ROWS = THREADS / across;
  static constexpr unsigned TURNS = To::rows / ROWS;
  static_assert(To::rows % ROWS == 0, "every thread has as many");
  static_assert(ROWS % To::REPEATS == 0, "cells of later turns lie as those of the first");
  static constexpr unsigned STARTS = From::along ? TURNS : 1;
  Start held[STARTS];
  unsigned held_cell;  // floats from the panel's begin

  /// Of the thread's first copy in a panel.
  static __device__ __forceinline__ unsigned row() { return unsigned(thread_anew()) / across; }
  static __device__ __forceinline__ unsigned column() {
    return unsigned(thread_anew()) % across * 4;
  }
  static __device__ __forceinline__ unsigned cell() { return To::cell(row(), column()); }
  static __device__ __forceinline__ Start start(const From& from, const Cursor* indices,
                                                unsigned turn) {
    return Start::of(from, indices[From::along ? turn * ROWS + row() : column()]);
  }

  __device__ __forceinline__ void hold(const From& from, const Cursor* indices) {
    if (!from.wide) return;
    if constexpr (To::HOLDS) {
#pragma unroll
      for (unsigned turn = 0; turn < STARTS; turn++) held[turn] = start(from, indices, turn);
      held_cell = cell();
    }
  }
  /// Begins to copy; what does not exist is filled with zeros.
  __device__ __forceinline__ void begin(To& to, const From& from, const Cursor* indices,
                                        const Cursor* depths, unsigned k) const {
    if (from.wide) by_fours(to, from, indices, depths, k);
    else by_ones(to, from, indices, depths, k);
  }
  __device__ __forceinline__ void by_fours(To& to, const From& from, const Cursor* indices,
                                           const Cursor* depths, unsigned k) const {
#pragma unroll
    for (unsigned turn = 0; turn < TURNS; turn++) {
      const unsigned at = From::along ? 0 : turn * ROWS;
      const Cursor two = depth_of(from, depths + at, k + at, From::along ? column() : row());
      const Start one = To::HOLDS ? held[turn % STARTS] : start(from, indices, turn % STARTS);
      const unsigned first = To::HOLDS ? held_cell : cell();
      __pipeline_memcpy_async(&to.at[0][0] + first + turn * ROWS * To::STRIDE, one.at + two.offset,
                              16, one.exists(from, two) ? 0 : 16);
    }
  }
  /// A float at a time: all of a thread's copies are in one column.
  static __device__ __forceinline__ void by_ones(To& to, const From& from, const Cursor* indices,
                                                 const Cursor* depths, unsigned k) {
    constexpr unsigned all = To::columns, APART = THREADS / all;
    static_assert(To::rows % APART == 0, "every thread has as many");
    const unsigned first = unsigned(thread_anew()) / all;
    const unsigned column = unsigned(thread_anew()) % all;
    const Cursor same = From::along ? depth_of(from, depths, k, column) : indices[column];
#pragma unroll(To::COPIES_AT_ONCE)
    for (unsigned row = first; row < To::rows; row += APART) {
      const Cursor other = From::along ? indices[row] : depth_of(from, depths, k, row);
      const bool is_there = exists(from, same.row + other.row, same.column + other.column);
      __pipeline_memcpy_async(&to.at[0][0] + To::cell(row, column),
                              from.base + (same.offset + other.offset), sizeof(float),
                              is_there ? 0 : sizeof(float));
    }
  }
};
