// The arithmetic of tf32 on tensor cores: operands are rounded on the way from a panel to the
// registers, products are exact, sums and all that is stored are f32.
//
// A block's eight warps are two rows of four; of a tile of 128 x 128 a warp has 64 x 32. For 16 k
// it reads 64 + 32 floats each and multiplies 32768 pairs.
//
// The floor: panels hold f32, as memory does, so a step of k moves 1 KB from the second-level cache
// for 32768 operations: at 5.5 TB/s that is 180 TFLOP/s, three times what f32 could do at best. It
// hides what tensor cores could do (on an H100 495 by its sheet, of which mma.sync is said to reach
// about 60 %). Shared memory gives 128 bytes a clock: 48 clocks for a warp's 6 KB, 683 multiply-adds
// a clock, 300 TFLOP/s. Rounding in registers is done again by every warp that reads a number, which
// leaves panels to cp.async, as that cannot round.
//
// An element of C is one chain over k of the tensor core's own additions, whose bits a GPU
// repeats; another generation of GPUs may have others.
#pragma once
#include "operand.cuh"

/// Ten bits after the point. A word is a number; an mma takes eight k.
struct Tf32 {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  static constexpr bool exists = false;
#else
  static constexpr bool exists = true;
#endif
  static constexpr bool rounds_inputs = false;
  static constexpr int K = 8;

  /// Sixteen threads that read a pair each meet all 32 banks: along k in four rows of 16 floats, of
  /// which every other pair has its halves swapped; across k in rows that lie 8 banks apart.
  template <int SPAN, bool ALONG>
  using Panel = ::Panel<SPAN, ALONG, ALONG ? 0 : 8, true>;
  template <int SPAN, class From, unsigned, bool = false>
  using Input = Copies<Panel<SPAN, From::along>, From>;

  /// What a warp has of one operand: `EXTENT` indices, eight to a slot. Lane 4 g + t reads index g
  /// of every slot, and of every eight k those from 2 t to 2 t + 1. Across k it reads `RUN`
  /// neighbours at once: they are its indices in as many slots.
  template <int EXTENT, bool ALONG>
  struct Share {
    static constexpr int SLOTS = EXTENT / 8, MOST = 4;  // more would not fit the registers
    static constexpr int RUN = ALONG ? 1 : SLOTS < MOST ? SLOTS : MOST;

    static __device__ __forceinline__ int index_of(int slot, int g) {
      return 8 * RUN * (slot / RUN) + RUN * g + slot % RUN;
    }

    /// The words of `COUNT` slots from `first`, for the step that begins at k.
    template <int COUNT, class Panel>
    static __device__ __forceinline__ void read(const Panel& panel, int begin, int first, int k,
                                                unsigned (&words)[COUNT][2]) {
      const unsigned lane = lane_anew(), g = lane / 4, t = lane % 4;  // shifts, if unsigned
      static_assert(COUNT % RUN == 0, "whole runs");
#pragma unroll
      for (int slot = 0; slot < COUNT; slot += RUN) {
        const unsigned index = begin + index_of(first + slot, g);
        if constexpr (ALONG) {
          const float2 v = pair_at(&panel.at[index][(k + 2 * t) ^ g % 4 / 2 * 8]);
          round(v.x, v.y, words[slot]);
        } else if constexpr (RUN == 4) {
          const float4 v = *reinterpret_cast<const float4*>(&panel.at[k + t][index]);
          const float4 w = *reinterpret_cast<const float4*>(&panel.at[k + t + 4][index]);
          round(v.x, w.x, words[slot]);
          round(v.y, w.y, words[slot + 1]);
          round(v.z, w.z, words[slot + 2]);
          round(v.w, w.w, words[slot + 3]);
        } else {
          const float2 v = pair_at(&panel.at[k + t][index]);
          const float2 w = pair_at(&panel.at[k + t + 4][index]);
          round(v.x, w.x, words[slot]);
          round(v.y, w.y, words[slot + 1]);
        }
      }
    }
    static REGISTERS_ONLY void round(float x, float y, unsigned (&words)[2]) {
      words[0] = round_to_tf32(x), words[1] = round_to_tf32(y);
    }
    static __device__ __forceinline__ float2 pair_at(const float* from) {
      return *reinterpret_cast<const float2*>(from);
    }
  };

  /// What a thread has of a tile of C: of each of its warp's mma, four numbers.
  template <int SPAN, int COLUMNS, bool A_ALONG, bool B_ALONG>
  struct Tile {
    static constexpr int DOWN = SPAN / 2, ACROSS = SPAN / 4;  // of a warp
    static constexpr int STORED = 32;  // a round stores an mma of each warp
    using ShareA = Share<DOWN, A_ALONG>;
    using ShareB = Share<ACROSS, B_ALONG>;
    static_assert(SPAN == COLUMNS, "a square");
    float sums[DOWN / 16][ACROSS / 8][4] = {};

    static __device__ __forceinline__ int warp() { return threadIdx.x / 32; }

    __device__ __forceinline__ void add(const Panel<SPAN, A_ALONG>& a,
                                        const Panel<SPAN, B_ALONG>& b) {
      constexpr int AT_ONCE = ShareA::RUN < 2 ? 2 : ShareA::RUN;  // slots of A: two make an mma
#pragma unroll(1)  // more would not fit the registers
      for (int k = 0; k < DEPTH; k += K) {
        unsigned columns[ACROSS / 8][2];
        ShareB::read(b, warp() % 4 * ACROSS, 0, k, columns);
#pragma unroll
        for (int first = 0; first < DOWN / 8; first += AT_ONCE) {
          unsigned rows[AT_ONCE][2];
          ShareA::read(a, warp() / 4 * DOWN, first, k, rows);
#pragma unroll
          for (int i = 0; i < AT_ONCE; i += 2)
            multiply(sums[(first + i) / 2], rows[i], rows[i + 1], columns);
        }
      }
    }

    /// Two slots of A with all of B.
    static REGISTERS_ONLY void multiply(float (&sums)[ACROSS / 8][4], const unsigned (&upper)[2],
                                        const unsigned (&lower)[2],
                                        const unsigned (&columns)[ACROSS / 8][2]) {
      const unsigned rows[4] = {upper[0], lower[0], upper[1], lower[1]};
#pragma unroll
      for (int j = 0; j < ACROSS / 8; j++) mma_tf32(sums[j], rows, columns[j]);
    }

    /// Sixteen rows of every warp.
    template <class Stored>
    __device__ __forceinline__ void put(int round, Stored* stored) const {
      const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
      for (int j = 0; j < ACROSS / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const int column = warp() % 4 * ACROSS + ShareB::index_of(j, 2 * t + i % 2);
          stored[warp() / 4 * 16 + i / 2 * 8 + g][column] = sums[round][j][i];
        }
    }
    static __device__ __forceinline__ int row_of(int round, int row) {
      return row / 16 * DOWN + ShareA::index_of(2 * round + row % 16 / 8, row % 8);
    }
  };
};
