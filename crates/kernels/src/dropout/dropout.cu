// y = m x, scaled. A thread draws one Philox block, four masks, for its four units;
// where these are a part of a layer's, as many as they lie in.
#include "kernel.cuh"
#include "philox.cuh"

constexpr unsigned PURPOSE = 5;  // random::Purpose::Dropout

// `width` of the `whole` units of each row, from `first` on: another device may have the others.
struct Columns {
  u64 width, first, whole;
};

// `clock` holds seed low, seed high and step; it is read when the step runs, so that a recorded
// step draws a new mask each time.
extern "C" __global__ void __launch_bounds__(THREADS)
    dropout_mask(const unsigned* clock, unsigned layer, Columns part, float drop, float scale,
                 const float* x, float* y, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const uint2 seed = make_uint2(clock[0], clock[1]);
  const float4 v = load4(x, i, n);
  float values[4] = {v.x, v.y, v.z, v.w};
  u64 row = i / part.width, column = i % part.width, drawn = ~u64(0);
  uint4 words = make_uint4(0, 0, 0, 0);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    const u64 number = row * part.whole + part.first + column;  // in the whole layer
    if (number / 4 != drawn) {  // once, unless this part begins or ends amid a block
      drawn = number / 4;
      words = philox(seed, make_uint4(static_cast<unsigned>(drawn), layer, clock[2], PURPOSE));
    }
    const unsigned low = number & 1 ? words.y : words.x, high = number & 1 ? words.w : words.z;
    const bool kept = unit(number & 2 ? high : low) >= drop;
    values[k] = kept ? values[k] * scale : 0.0f;
    if (++column == part.width) {
      column = 0;
      row++;
    }
  }
  store4(y, i, n, make_float4(values[0], values[1], values[2], values[3]));
}
KERNEL(dropout_mask)

extern "C" __global__ void __launch_bounds__(THREADS)
    dropout_scale(float scale, const float* x, float* y, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const float4 v = load4(x, i, n);
  store4(y, i, n, make_float4(scale * v.x, scale * v.y, scale * v.z, scale * v.w));
}
KERNEL(dropout_scale)
