// The arithmetic of bf16 on tensor cores: operands are rounded once, on the way to shared memory;
// products are exact, sums and all that is stored are f32.
//
// Before a panel is multiplied, a thread loads its share of the next one from memory into
// registers, 16 bytes at a time; after it, the thread rounds pairs of successive k to words and
// stores these. Warps read words that need no further work.
//
// The floor of a panel of 128 x 128 x 16 on an H200, in clocks of a multiprocessor: 210 of tensor
// cores (1248 multiply-adds a clock, 73 % of their best); 256 of shared memory (24 reads of 128
// bytes a warp, 8 KB of words written), and in the same memory up to 256 of the first-level cache
// (a line a clock, if rows of 16 k lie in lines of their own); two slots a clock for each
// instruction of a warp; and 690 for the 16 KB of f32, if all of it comes from the second-level
// cache and all multiprocessors read from that at 5.5 TB/s. A convolution has most of its pixels
// from the first-level cache (windows.cuh). So a tile's shape counts more than its arithmetic:
// 256 x 64 and 128 x 64 cover narrow products, 128 x 96 and 96 x 128 those of 96 or 192 columns or
// rows.
//
// An element of C is one chain over k of the tensor core's own additions, whose bits a GPU
// repeats; another generation of GPUs may have others. They do not depend on the tile.
#pragma once
#include "operand.cuh"

struct Bf16 {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  static constexpr bool exists = false;
#else
  static constexpr bool exists = true;
#endif
  static constexpr bool rounds_inputs = true;
  static constexpr unsigned WORDS = DEPTH / 2;  // of an index in a panel

  /// `SPAN` indices by `DEPTH` k, in words of two successive k. Where k lies along the rows, the
  /// words of an index are successive, and four of every eight indices have their halves swapped;
  /// else the words of neighbours are. So 32 lanes that read words (t, g) meet all banks.
  template <int SPAN, bool ALONG>
  struct Panel {
    static constexpr unsigned ROWS = ALONG ? SPAN : WORDS, STRIDE = ALONG ? WORDS : SPAN + 8;
    alignas(16) unsigned at[ROWS * STRIDE];

    static __device__ __forceinline__ unsigned cell(unsigned index, unsigned word) {
      return ALONG ? index * STRIDE + (word ^ index / 4 % 2 * 4) : word * STRIDE + index;
    }
    /// Four words of k after a cell of one of the first four, or zero.
    static __device__ __forceinline__ unsigned later(unsigned cell, int half) {
      return ALONG ? cell ^ 4 * half : cell + 4 * half * STRIDE;
    }
  };

  /// A thread's share of the panels of an operand. `FIRST` is the thread that has the first part,
  /// which spreads small panels over all threads. With `WITH_SUMS` it adds up what it loads for
  /// each index, before it is rounded; k lies across then.
  template <int SPAN, class From, unsigned FIRST, bool WITH_SUMS = false>
  struct Input {
    static constexpr bool ALONG = From::along;
    static_assert(!(ALONG && WITH_SUMS), "sums are of operands with k across");
    using To = Panel<SPAN, ALONG>;
    static constexpr unsigned ACROSS = (ALONG ? DEPTH : SPAN) / 4;  // fours of a row in memory
    static constexpr unsigned ROWS = THREADS / ACROSS;  // indices or words that a turn has
    static constexpr unsigned TURNS = ((ALONG ? SPAN : WORDS) + ROWS - 1) / ROWS;
    static constexpr unsigned LOADS = ALONG ? 1 : 2;  // of a turn: a word takes two k
    static_assert(TURNS == 1 || (THREADS % ACROSS == 0 && (!ALONG || ROWS % 8 == 0)),
                  "later turns have the same columns, and cells that lie alike");
    static constexpr unsigned STARTS = ALONG ? TURNS : 1;
    static constexpr bool SHORT = TURNS > 2;  // of registers
    Start starts[STARTS];
    unsigned held_cell;  // of the thread's first part, unless registers are short
    float4 loaded[TURNS][LOADS] = {};
    float sums[WITH_SUMS ? 4 : 1] = {};

    static __device__ __forceinline__ unsigned me() { return threadIdx.x ^ FIRST; }
    static __device__ __forceinline__ unsigned row(unsigned turn) {
      return me() / ACROSS + turn * ROWS;
    }
    static __device__ __forceinline__ unsigned column() { return me() % ACROSS * 4; }
    /// The first k of the thread's first part, in a panel.
    static __device__ __forceinline__ unsigned first_k() {
      const unsigned me = SHORT ? thread_anew() ^ FIRST : Input::me();
      return ALONG ? me % ACROSS * 4 : LOADS * (me / ACROSS);
    }
    static __device__ __forceinline__ unsigned cell_of(unsigned me) {
      const unsigned row = me / ACROSS, column = me % ACROSS * 4;
      return ALONG ? To::cell(row, column / 2) : To::cell(column, row);
    }
    static __device__ __forceinline__ bool has(unsigned turn) {
      constexpr unsigned all = ALONG ? SPAN : WORDS;
      return all % ROWS == 0 || row(turn) < all;
    }

    __device__ __forceinline__ void hold(const From& from, const Cursor* indices) {
      const unsigned me = thread_anew() ^ FIRST, row = me / ACROSS, column = me % ACROSS * 4;
      if constexpr (!SHORT) held_cell = cell_of(me);
#pragma unroll
      for (unsigned turn = 0; turn < STARTS; turn++)
        if (has(turn))
          starts[turn] = Start::of(from, indices[ALONG ? row + turn * ROWS : column]);
    }

    /// Loads what becomes the next panel; what does not exist is zero.
    __device__ __forceinline__ void begin(To&, const From& from, const Cursor* indices,
                                          const Cursor* depths, unsigned k) {
      if (from.wide) load<true>(from, indices, depths, k);
      else load<false>(from, indices, depths, k);
    }
    template <bool WIDE>
    __device__ __forceinline__ void load(const From& from, const Cursor* indices,
                                         const Cursor* depths, unsigned k) {
#pragma unroll
      for (unsigned turn = 0; turn < TURNS; turn++)
#pragma unroll
        for (unsigned i = 0; i < LOADS; i++) {
          if (!has(turn)) continue;
          const unsigned at = first_k() + (ALONG ? 0 : LOADS * turn * ROWS + i);
          loaded[turn][i] = WIDE ? wide(from, turn, depths, k, at)
                                 : narrow(from, turn, indices, depths, k, at);
        }
    }
    __device__ __forceinline__ float4 wide(const From& from, unsigned turn, const Cursor* depths,
                                           unsigned k, unsigned at) const {
      const Cursor two = depth_of(from, depths, k, at);
      const Start& one = starts[turn % STARTS];
      if (!one.exists(from, two)) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      return *reinterpret_cast<const float4*>(one.at + two.offset);
    }
    /// Four loads of a float each.
    __device__ __forceinline__ float4 narrow(const From& from, unsigned turn,
                                             const Cursor* indices, const Cursor* depths,
                                             unsigned k, unsigned at) const {
      float four[4];
#pragma unroll
      for (unsigned i = 0; i < 4; i++) {
        const Cursor two = depth_of(from, depths, k, ALONG ? at + i : at);
        const Start one = ALONG ? starts[turn % STARTS] : Start::of(from, indices[column() + i]);
        four[i] = one.exists(from, two) ? one.at[two.offset] : 0.0f;
      }
      return make_float4(four[0], four[1], four[2], four[3]);
    }

    /// Rounds and stores what was loaded.
    __device__ __forceinline__ void end(To& to) const {
      const unsigned cell = SHORT ? cell_of(thread_anew() ^ FIRST) : held_cell;
#pragma unroll
      for (unsigned turn = 0; turn < TURNS; turn++) {
        if (!has(turn)) continue;
        const float4 v = loaded[turn][0];
        unsigned* first = &to.at[cell + turn * ROWS * To::STRIDE];
        if constexpr (ALONG) {
          const uint2 words = {round_to_bf16(v.x, v.y), round_to_bf16(v.z, v.w)};
          *reinterpret_cast<uint2*>(first) = words;
        } else {
          const float4 w = loaded[turn][1];
          const uint4 words = {round_to_bf16(v.x, w.x), round_to_bf16(v.y, w.y),
                               round_to_bf16(v.z, w.z), round_to_bf16(v.w, w.w)};
          *reinterpret_cast<uint4*>(first) = words;
        }
      }
    }

    /// Adds what was loaded to the thread's sums.
    __device__ __forceinline__ void add() {
#pragma unroll
      for (unsigned turn = 0; turn < TURNS; turn++)
#pragma unroll
        for (const float4& v : loaded[turn])
          if (has(turn)) sums[0] += v.x, sums[1] += v.y, sums[2] += v.z, sums[3] += v.w;
    }
    /// The sum over all threads for index `index`, in the order of their k. `scratch` has `SPAN`
    /// floats for each row of threads. The whole block calls it.
    static constexpr unsigned PARTS = ROWS < WORDS ? ROWS : WORDS;
    __device__ __forceinline__ float sum(float* scratch, unsigned index) const {
      static_assert(WITH_SUMS);
      if (has(0))
        *reinterpret_cast<float4*>(&scratch[row(0) * SPAN + column()]) =
            make_float4(sums[0], sums[1], sums[2], sums[3]);
      __syncthreads();
      float sum = 0.0f;
      if (index < SPAN)
        for (unsigned part = 0; part < PARTS; part++) sum += scratch[part * SPAN + index];
      return sum;
    }
  };

  /// What a thread has of a tile of C. The eight warps are two rows of four, or four of two; a warp
  /// has `DOWN` x `ACROSS` of the tile, and a thread four numbers of each of its mma.
  template <int ROWS, int COLUMNS, bool A_ALONG, bool B_ALONG>
  struct Tile {
    static constexpr int WARPS_DOWN = ROWS > COLUMNS && COLUMNS <= 64 ? 4 : 2;
    static constexpr int WARPS_ACROSS = 8 / WARPS_DOWN;
    static constexpr int DOWN = ROWS / WARPS_DOWN, ACROSS = COLUMNS / WARPS_ACROSS;
    static constexpr int STORED = 16 * WARPS_DOWN;  // a round stores an mma of each warp
    static_assert(DOWN % 16 == 0 && ACROSS % 8 == 0, "whole mma");
    float sums[DOWN / 16][ACROSS / 8][4] = {};

    unsigned of_a, of_b;  // the thread's first cells

    __device__ __forceinline__ Tile() {
      const unsigned me = thread_anew(), g = me % 32 / 4, t = me % 4, warp = me / 32;
      of_a = Panel<ROWS, A_ALONG>::cell(warp / WARPS_ACROSS * DOWN + g, t);
      of_b = Panel<COLUMNS, B_ALONG>::cell(warp % WARPS_ACROSS * ACROSS + g, t);
    }

    __device__ __forceinline__ void add(const Panel<ROWS, A_ALONG>& a,
                                        const Panel<COLUMNS, B_ALONG>& b) {
      unsigned right[ACROSS / 8][2];
#pragma unroll
      for (int j = 0; j < ACROSS / 8; j++)
#pragma unroll
        for (int half = 0; half < 2; half++)
          right[j][half] = b.at[b.later(of_b, half) + b.cell(8 * j, 0)];
#pragma unroll
      for (int i = 0; i < DOWN / 16; i++) {
        unsigned left[4];
#pragma unroll
        for (int word = 0; word < 4; word++)
          left[word] = a.at[a.later(of_a, word / 2) + a.cell(16 * i + word % 2 * 8, 0)];
        multiply(sums[i], left, right);
      }
    }
    static REGISTERS_ONLY void multiply(float (&sums)[ACROSS / 8][4], const unsigned (&left)[4],
                                        const unsigned (&right)[ACROSS / 8][2]) {
#pragma unroll
      for (int j = 0; j < ACROSS / 8; j++) mma_bf16(sums[j], left, right[j]);
    }

    /// Sixteen rows of every warp.
    template <class Stored>
    __device__ __forceinline__ void put(int round, Stored* stored) const {
      const unsigned g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, warp = threadIdx.x / 32;
      const unsigned row = warp / WARPS_ACROSS * 16 + g;
      const unsigned column = warp % WARPS_ACROSS * ACROSS + 2 * t;
#pragma unroll
      for (int j = 0; j < ACROSS / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i += 2)
          *reinterpret_cast<float2*>(&stored[row + i / 2 * 8][column + 8 * j]) =
              make_float2(sums[round][j][i], sums[round][j][i + 1]);
    }
    static __device__ __forceinline__ int row_of(int round, int row) {
      return row / 16 * DOWN + 16 * round + row % 16;
    }
  };
};
