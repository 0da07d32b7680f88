// The matrix product that linear layers and convolutions stand on:
//
//   C[m][n] = sum over k of A[m][k] B[k][n]
//
// A block makes a tile of C, 128 x 128 or 64 x 64. It walks over k, 16 at a time: cp.async brings
// the next panels of A and B into shared memory, 16 bytes a thread, while the present ones are
// multiplied. What A and B are is said by two index functions each: where an index along the tile
// leads, and where k leads; the two offsets add up to an address. So a convolution reads its images
// where they lie: an index is a pixel, k a tap and a channel. Both are divided out once for many
// uses and kept in shared memory (`Cursor`). A panel keeps the order of memory, k along its rows or
// across them, so that every copy is of neighbours.
//
// The floor: a step of k takes 128 x 128 multiply-adds, 128 to a clock on a multiprocessor since
// sm_86, and reads 8 + 8 floats for 64 multiply-adds of a thread from shared memory: 128 clocks of
// arithmetic against about 64 of shared memory, and 1 KB of A and B for 32768 operations, which
// 60 TFLOP/s draw from the second-level cache at 1.9 TB/s. Two blocks fit a multiprocessor (at most
// 128 registers, 47 KB), so that one multiplies while the other waits for its barrier.
//
// Every element of C is one chain of additions in the order of k: its bits depend on nothing else.
// Where C has too few tiles to fill a card, k is cut into slices; each slice's sums are stored and
// then added up in their order. How many slices there are depends on the sizes alone.
#pragma once
#include "kernel.cuh"
#ifndef CUDA_ON_CPU
#include <cuda_pipeline.h>
#endif

constexpr int DEPTH = 16;   // k of a panel
constexpr int AHEAD = 64;   // k whose cursors lie ready
constexpr int STORED = 32;  // rows of C that pass through shared memory at once
constexpr int SIDE = 16;    // threads of a block along m, and along n

// Blocks that a multiprocessor shall hold: on sm_75 shared memory is too small for two.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int BLOCKS = 1;
#else
constexpr int BLOCKS = 2;
#endif

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

/// `SPAN` indices by `DEPTH` k, with four floats after each row: so eight threads that read 16
/// bytes of successive rows meet 32 different banks.
template <int SPAN, bool ALONG>
struct Panel {
  static constexpr int rows = ALONG ? SPAN : DEPTH;
  static constexpr int columns = ALONG ? DEPTH : SPAN;
  float at[rows][columns + 4];
};

/// Where tile (m, n) begins, and the k that it sums over.
struct Part {
  unsigned m, n, k, k_end;
};

/// Begins to copy a panel, `STEP` floats at a time.
template <int STEP, int SPAN, class From>
__device__ __forceinline__ void fetch_by(Panel<SPAN, From::along>& to, const From& from,
                                         const Cursor* indices, const Cursor* depths) {
  using To = Panel<SPAN, From::along>;
  constexpr int across = To::columns / STEP;
#pragma unroll(2)  // more would not fit the registers
  for (int i = threadIdx.x; i < To::rows * across; i += THREADS) {
    const int row = i / across, column = i % across * STEP;
    const Cursor one = indices[From::along ? row : column];
    const Cursor two = depths[From::along ? column : row];
    const bool exists = static_cast<unsigned>(one.row + two.row) < from.rows &&
                        static_cast<unsigned>(one.column + two.column) < from.columns;
    float* cell = &to.at[row][column];
    if (exists) {
      __pipeline_memcpy_async(cell, from.base + one.offset + two.offset, STEP * sizeof(float));
    } else if (STEP == 4) {
      *reinterpret_cast<float4*>(cell) = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    } else {
      *cell = 0.0f;
    }
  }
}
template <int SPAN, class From>
__device__ __forceinline__ void fetch(Panel<SPAN, From::along>& to, const From& from,
                                      const Cursor* indices, const Cursor* depths) {
  if (from.wide) fetch_by<4, SPAN>(to, from, indices, depths);
  else fetch_by<1, SPAN>(to, from, indices, depths);
}

/// Of the indices of a tile that a thread has, number i.
template <bool ALONG>
__device__ __forceinline__ int index_of(int thread, int i) {
  return ALONG ? thread + SIDE * i : 4 * SIDE * (i / 4) + 4 * thread + i % 4;
}

/// Four indices, by four k.
struct Square {
  float at[4][4];
};
template <int SPAN, bool ALONG>
__device__ __forceinline__ Square read(const Panel<SPAN, ALONG>& panel, int thread, int first,
                                       int k) {
  Square square;
  for (int i = 0; i < 4; i++) {
    const float* from = ALONG ? &panel.at[index_of<ALONG>(thread, first + i)][k]
                              : &panel.at[k + i][index_of<ALONG>(thread, first)];
    const float4 v = *reinterpret_cast<const float4*>(from);
    if (ALONG) {
      square.at[i][0] = v.x, square.at[i][1] = v.y, square.at[i][2] = v.z, square.at[i][3] = v.w;
    } else {
      square.at[0][i] = v.x, square.at[1][i] = v.y, square.at[2][i] = v.z, square.at[3][i] = v.w;
    }
  }
  return square;
}

/// A thread's elements of C.
template <int ROWS, int COLUMNS>
struct Sums {
  float at[ROWS][COLUMNS];
};
template <int ROWS, int COLUMNS>
REGISTERS_ONLY void multiply(Sums<ROWS, COLUMNS>& sums, int row, int column, const Square& a,
                             const Square& b) {
#pragma unroll
  for (int k = 0; k < 4; k++)
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) sums.at[row + i][column + j] += a.at[i][k] * b.at[j][k];
}

/// What becomes of C: `out.store(m, n, four)` takes four columns of a row; of those and of rows
/// that C has not, it takes no notice. With `WITH_ROW_SUMS`, `out.store_row_sum(m, sum)` takes the
/// sum over k of A's row m, from the tiles of the first columns.
template <int SPAN_M, int SPAN_N, bool WITH_ROW_SUMS, class A, class B, class Out>
__device__ __forceinline__ void product(const A& a, const B& b, const Out& out, Part part) {
  using PanelA = Panel<SPAN_M, A::along>;
  using PanelB = Panel<SPAN_N, B::along>;
  using Stored = float[SPAN_N + 4];
  constexpr int ROWS = SPAN_M / SIDE, COLUMNS = SPAN_N / SIDE;
  constexpr int bytes_a = 2 * sizeof(PanelA), bytes_c = STORED * sizeof(Stored);
  SHARED(float4, memory, [(bytes_a > bytes_c ? bytes_a : bytes_c) / 16]);  // of A, later of C
  SHARED(PanelB, panels_b, [2]);
  SHARED(Cursor, indices_a, [SPAN_M]);
  SHARED(Cursor, indices_b, [SPAN_N]);
  SHARED(Cursor, depths_a, [AHEAD]);
  SHARED(Cursor, depths_b, [AHEAD]);
  PanelA* panels_a = reinterpret_cast<PanelA*>(memory);
  const int thread = threadIdx.x, down = thread / SIDE, across = thread % SIDE;

  if (thread < SPAN_M) indices_a[thread] = a.index.at(part.m + thread);
  if (thread >= THREADS - SPAN_N) {
    const unsigned i = thread - (THREADS - SPAN_N);
    indices_b[i] = b.index.at(part.n + i);
  }
  const int panels = (part.k_end - part.k + DEPTH - 1) / DEPTH;
  auto begin_fetching = [&](int panel) {  // every thread is past what it did with the one before
    const int at = panel * DEPTH % AHEAD;
    const unsigned k = part.k + panel * DEPTH;
    if (at == 0) {
      if (thread < AHEAD) depths_a[thread] = a.depth.at(k + thread);
      else if (thread < 2 * AHEAD) depths_b[thread - AHEAD] = b.depth.at(k + thread - AHEAD);
      __syncthreads();
    }
    fetch<SPAN_M>(panels_a[panel % 2], a, indices_a, depths_a + at);
    fetch<SPAN_N>(panels_b[panel % 2], b, indices_b, depths_b + at);
    __pipeline_commit();
  };

  Sums<ROWS, COLUMNS> sums = {};
  float row_sum = 0.0f;
  begin_fetching(0);
  for (int panel = 0; panel < panels; panel++) {
    __pipeline_wait_prior(0);
    __syncthreads();
    if (panel + 1 < panels) begin_fetching(panel + 1);
    const PanelA& panel_a = panels_a[panel % 2];
    const PanelB& panel_b = panels_b[panel % 2];
#pragma unroll(B::along ? 1 : DEPTH / 4)  // more would not fit the registers
    for (int k = 0; k < DEPTH; k += 4) {
#pragma unroll
      for (int j = 0; j < COLUMNS; j += 4) {
        const Square columns = read(panel_b, across, j, k);
#pragma unroll
        for (int i = 0; i < ROWS; i += 4) multiply(sums, i, j, read(panel_a, down, i, k), columns);
      }
    }
    if (WITH_ROW_SUMS && part.n == 0 && thread < SPAN_M)
      for (int k = 0; k < DEPTH; k++) row_sum += A::along ? panel_a.at[thread][k]
                                                          : panel_a.at[k][thread];
  }
  if (WITH_ROW_SUMS && part.n == 0 && thread < SPAN_M) out.store_row_sum(part.m + thread, row_sum);

  // Through shared memory, so that whole rows are written 16 bytes a thread: two rows of every
  // thread at a time.
  Stored* stored = reinterpret_cast<Stored*>(memory);
#pragma unroll
  for (int first = 0; first < ROWS; first += STORED / SIDE) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < STORED / SIDE; i++)
#pragma unroll
      for (int j = 0; j < COLUMNS; j++)
        stored[SIDE * i + down][index_of<B::along>(across, j)] = sums.at[first + i][j];
    __syncthreads();
    for (int i = thread; i < STORED * SPAN_N / 4; i += THREADS) {
      const int row = i / (SPAN_N / 4), column = i % (SPAN_N / 4) * 4;
      const int m = index_of<A::along>(row % SIDE, first + row / SIDE);
      out.store(part.m + m, part.n + column,
                *reinterpret_cast<const float4*>(&stored[row][column]));
    }
  }
}

/// C, a plain matrix: with a bias for each column and rectified, or the sums of a slice as they
/// are.
struct Plain {
  float* c;
  unsigned rows, columns, step;  // floats from one row to the next
  const float* bias;             // null: none
  unsigned relu;
  float* row_sums;

  __device__ __forceinline__ void store(unsigned m, unsigned n, float4 v) const {
    if (m < rows && n < columns)
      store4(c + static_cast<u64>(m) * step, n, columns, finish(v, n));
  }
  __device__ __forceinline__ void store_row_sum(unsigned m, float sum) const {
    if (m < rows) row_sums[m] = sum;
  }
  __device__ __forceinline__ float4 finish(float4 v, unsigned n) const {
    if (bias) {
      const float4 b = load4(bias, n, columns);
      v = make_float4(v.x + b.x, v.y + b.y, v.z + b.z, v.w + b.w);
    }
    return relu ? make_float4(rectified(v.x), rectified(v.y), rectified(v.z), rectified(v.w)) : v;
  }
  /// Written with <= so that NaN stays.
  static __device__ __forceinline__ float rectified(float x) { return x <= 0.0f ? 0.0f : x; }
};

/// c is the sum over the slices, each as long as it, n; with a bias for each of its columns and
/// rectified. Four elements a thread.
__device__ __forceinline__ void add_slices(const float* slices, unsigned count, unsigned columns,
                                           unsigned relu, const float* bias, float* c, u64 n) {
  const u64 at = 4 * thread_number();
  if (at >= n) return;
  float four[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (unsigned slice = 0; slice < count; slice++) {
    const float4 v = load4(slices + slice * n, at, n);
    four[0] += v.x, four[1] += v.y, four[2] += v.z, four[3] += v.w;
  }
  for (int i = 0; i < 4; i++) {
    if (bias) four[i] += bias[(at + i) % columns];
    if (relu) four[i] = Plain::rectified(four[i]);
  }
  store4(c, at, n, make_float4(four[0], four[1], four[2], four[3]));
}
