// y = m x, scaled. A thread draws one Philox block, four masks, for its four units.
#include "kernel.cuh"
#include "philox.cuh"

constexpr unsigned PURPOSE = 5;  // random::Purpose::Dropout

// `clock` holds seed low, seed high and step; it is read when the step runs, so that a recorded
// step draws a new mask each time.
extern "C" __global__ void __launch_bounds__(THREADS)
    dropout_mask(const unsigned* clock, unsigned layer, float drop, float scale, const float* x,
                 float* y, u64 n) {
  const u64 block = thread_number(), i = 4 * block;
  if (i >= n) return;
  const uint2 seed = make_uint2(clock[0], clock[1]);
  const uint4 counter = make_uint4(static_cast<unsigned>(block), layer, clock[2], PURPOSE);
  const uint4 words = philox(seed, counter);
  float4 v = load4(x, i, n);
  v.x = unit(words.x) >= drop ? v.x * scale : 0.0f;
  v.y = unit(words.y) >= drop ? v.y * scale : 0.0f;
  v.z = unit(words.z) >= drop ? v.z * scale : 0.0f;
  v.w = unit(words.w) >= drop ? v.w * scale : 0.0f;
  store4(y, i, n, v);
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
