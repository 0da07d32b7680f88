// The arithmetic of f32: every product of a thread's own, added up in the order of k.
//
// The floor: a step of k takes 128 x 128 multiply-adds, 128 to a clock on a multiprocessor since
// sm_86, and reads 8 + 8 floats for 64 multiply-adds of a thread from shared memory: 128 clocks of
// arithmetic against about 64 of shared memory.
#pragma once
#include "operand.cuh"

constexpr int SIDE = 16;  // threads of a block along m, and along n

/// Four indices, by four k.
struct Square {
  float at[4][4];
};

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

struct F32 {
  static constexpr bool exists = true, rounds_inputs = false;

  /// With four floats after each row eight threads that read 16 bytes of successive rows meet 32
  /// different banks.
  template <int SPAN, bool ALONG>
  using Panel = ::Panel<SPAN, ALONG, 4, false>;
  template <int SPAN, class From, unsigned, bool = false>
  using Input = Copies<Panel<SPAN, From::along>, From>;

  /// What a thread has of a tile of C: `SPAN` / 16 rows by as many columns.
  template <int SPAN, int COLUMNS, bool A_ALONG, bool B_ALONG>
  struct Tile {
    static_assert(SPAN == COLUMNS, "a square");
    static constexpr int EXTENT = SPAN / SIDE, STORED = 2 * SIDE;
    Sums<EXTENT, EXTENT> sums = {};

    __device__ __forceinline__ void add(const Panel<SPAN, A_ALONG>& a,
                                        const Panel<SPAN, B_ALONG>& b) {
      const int down = threadIdx.x / SIDE, across = threadIdx.x % SIDE;
#pragma unroll(B_ALONG ? 1 : DEPTH / 4)  // more would not fit the registers
      for (int k = 0; k < DEPTH; k += 4) {
#pragma unroll
        for (int j = 0; j < EXTENT; j += 4) {
          const Square columns = read<SPAN, B_ALONG>(b, across, j, k);
#pragma unroll
          for (int i = 0; i < EXTENT; i += 4)
            multiply(sums, i, j, read<SPAN, A_ALONG>(a, down, i, k), columns);
        }
      }
    }

    /// Two rows of every thread.
    template <class Stored>
    __device__ __forceinline__ void put(int round, Stored* stored) const {
      const int down = threadIdx.x / SIDE, across = threadIdx.x % SIDE;
#pragma unroll
      for (int i = 0; i < STORED / SIDE; i++)
#pragma unroll
        for (int j = 0; j < EXTENT; j++)
          stored[SIDE * i + down][index_of<B_ALONG>(across, j)] =
              sums.at[round * (STORED / SIDE) + i][j];
    }
    static __device__ __forceinline__ int row_of(int round, int row) {
      return index_of<A_ALONG>(row % SIDE, round * (STORED / SIDE) + row / SIDE);
    }
  };

  /// Of the indices of a tile that a thread has, number i.
  template <bool ALONG>
  static __device__ __forceinline__ int index_of(int thread, int i) {
    return ALONG ? thread + SIDE * i : 4 * SIDE * (i / 4) + 4 * thread + i % 4;
  }
  template <int SPAN, bool ALONG>
  static __device__ __forceinline__ Square read(const Panel<SPAN, ALONG>& panel, int thread,
                                                int first, int k) {
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
};
