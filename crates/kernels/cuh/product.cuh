// The matrix product that linear layers and convolutions stand on:
//
//   C[m][n] = sum over k of A[m][k] B[k][n]
//
// A block makes a tile of C. It walks over k, 16 at a time: the next panels of A and B are brought
// into shared memory, 16 bytes a thread, while the present ones are multiplied. In f32 (scalar.cuh)
// and in tf32 (tensor_cores.cuh) cp.async brings them, as they are (operand.cuh); in bf16 they are
// loaded into registers, and rounded before they are stored (bf16.cuh).
//
// The floor: a step of k moves 1 KB of A and B for 32768 operations, which 60 TFLOP/s of f32 draw
// from the second-level cache at 1.9 TB/s. Two blocks fit a multiprocessor (at most 128 registers,
// 47 KB), so that one multiplies while the other waits for its barrier.
//
// Every element of C is one chain of additions, fixed by the sizes: its bits depend on nothing
// else. Where C has too few tiles to fill a GPU, k is cut into slices; each slice's sums are
// stored and then added up in their order. How many slices there are depends on the sizes alone.
#pragma once
#include "bf16.cuh"
#include "scalar.cuh"
#include "tensor_cores.cuh"

// Blocks that a multiprocessor shall hold: on sm_75 shared memory is too small for two.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int BLOCKS = 1;
#else
constexpr int BLOCKS = 2;
#endif

/// Where tile (m, n) begins, and the k that it sums over.
struct Part {
  unsigned m, n, k, k_end;
};

/// What becomes of C: `out.store(m, n, four)` takes four columns of a row; of those and of rows
/// that C has not, it takes no notice. With `WITH_ROW_SUMS`, `out.store_row_sum(m, sum)` takes the
/// sum over k of A's row m, as it is and not rounded, from the tiles of the first columns.
///
/// An `Arithmetic` has a `Panel`; an `Input`, a thread's part in bringing panels to shared memory;
/// and a `Tile`: what a thread has of C, to which `add` adds the product of two panels. `STORED`
/// rows of it go through shared memory in a round, to which every thread `put`s its own; `row_of`
/// says which rows of the tile they are.
template <class Arithmetic, int ROWS, int COLUMNS, bool WITH_ROW_SUMS, class A, class B, class Out>
__device__ __forceinline__ void product(const A& a, const B& b, const Out& out, Part part) {
  if constexpr (!Arithmetic::exists) {
    __trap();  // the launcher knows better
  } else {
    using PanelA = typename Arithmetic::template Panel<ROWS, A::along>;
    using PanelB = typename Arithmetic::template Panel<COLUMNS, B::along>;
    using Tile = typename Arithmetic::template Tile<ROWS, COLUMNS, A::along, B::along>;
    using Stored = float[COLUMNS + 4];
    constexpr bool ROUNDED = Arithmetic::rounds_inputs;
    constexpr int bytes_a = 2 * sizeof(PanelA), bytes_c = Tile::STORED * sizeof(Stored);
    SHARED(float4, memory, [(bytes_a > bytes_c ? bytes_a : bytes_c) / 16]);  // of A, later of C
    SHARED(PanelB, panels_b, [2]);
    SHARED(Cursor, indices_a, [ROWS]);
    SHARED(Cursor, indices_b, [COLUMNS]);
    SHARED(Cursor, depths_a, [AHEAD]);
    SHARED(Cursor, depths_b, [AHEAD]);
    SHARED(decltype(A::depth), depth_a, [1]);  // seldom needed: registers are too few for them
    SHARED(decltype(B::depth), depth_b, [1]);
    PanelA* panels_a = reinterpret_cast<PanelA*>(memory);
    const int thread = threadIdx.x;

    if (thread == 0) {
      if constexpr (!A::plain) depth_a[0] = a.depth;
      if constexpr (!B::plain) depth_b[0] = b.depth;
    }
    if (thread < ROWS) indices_a[thread] = a.index.at(part.m + thread);
    if (thread >= THREADS - COLUMNS) {
      const unsigned i = thread - (THREADS - COLUMNS);
      indices_b[i] = b.index.at(part.n + i);
    }
    __syncthreads();
    typename Arithmetic::template Input<ROWS, A, 0, WITH_ROW_SUMS> input_a;
    typename Arithmetic::template Input<COLUMNS, B, THREADS / 2> input_b;
    input_a.hold(a, indices_a);
    input_b.hold(b, indices_b);
    const int panels = (part.k_end - part.k + DEPTH - 1) / DEPTH;
    auto begin_fetching = [&](int panel) {  // every thread is past what it did with the one before
      const unsigned at = unsigned(panel) * DEPTH % AHEAD;
      const unsigned k = part.k + panel * DEPTH;
      if constexpr (!A::plain || !B::plain) {
        if (at == 0) {
          if constexpr (!A::plain)
            if (thread < AHEAD) depths_a[thread] = depth_a[0].at(k + thread);
          if constexpr (!B::plain)
            if (thread >= THREADS - AHEAD)
              depths_b[thread - (THREADS - AHEAD)] = depth_b[0].at(k + thread - (THREADS - AHEAD));
          __syncthreads();
        }
      }
      input_a.begin(panels_a[panel & 1], a, indices_a, depths_a + at, k);
      input_b.begin(panels_b[panel & 1], b, indices_b, depths_b + at, k);
      if constexpr (!ROUNDED) __pipeline_commit();
    };

    Tile tile;
    float row_sum = 0.0f;
    for (int panel = -1; panel < panels; panel++) {  // one behind what is fetched
      if constexpr (!ROUNDED) __pipeline_wait_prior(0);
      __syncthreads();
      if (panel + 1 < panels) begin_fetching(panel + 1);
      if (panel >= 0) {
        const PanelA& panel_a = panels_a[panel & 1];
        if constexpr (WITH_ROW_SUMS && !ROUNDED)
          if (part.n == 0 && thread < ROWS)
#pragma unroll(2)  // more would not fit the registers
            for (int k = 0; k < DEPTH; k++) row_sum += A::along ? panel_a.at[thread][k]
                                                                : panel_a.at[k][thread];
        tile.add(panel_a, panels_b[panel & 1]);
      }
      if constexpr (ROUNDED) {
        if constexpr (WITH_ROW_SUMS)
          if (part.n == 0 && panel + 1 < panels) input_a.add();
        // After the last panel once more: a branch would cost more, and nobody reads it.
        input_a.end(panels_a[(panel + 1) & 1]);
        input_b.end(panels_b[(panel + 1) & 1]);
      }
    }
    if constexpr (WITH_ROW_SUMS)
      if (part.n == 0) {
        if constexpr (ROUNDED) {
          __syncthreads();
          row_sum = input_a.sum(reinterpret_cast<float*>(memory), thread);
        }
        if (thread < ROWS) out.store_row_sum(part.m + thread, row_sum);
      }

    // Through shared memory, so that whole rows are written 16 bytes a thread.
    Stored* stored = reinterpret_cast<Stored*>(memory);
#pragma unroll
    for (int round = 0; round < ROWS / Tile::STORED; round++) {
      __syncthreads();
      tile.put(round, stored);
      __syncthreads();
      for (int i = thread; i < Tile::STORED * COLUMNS / 4; i += THREADS) {
        const int row = i / (COLUMNS / 4), column = i % (COLUMNS / 4) * 4;
        out.store(part.m + Tile::row_of(round, row), part.n + column,
                  *reinterpret_cast<const float4*>(&stored[row][column]));
      }
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
    if (m < rows) row_sums[m] = flushed(sum);
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
