// y <- y + factor (x - y); from one half on x - (1 - factor) (x - y). Four elements a thread: 12 bytes
// each.
#include "kernel.cuh"

__device__ __forceinline__ float between(float factor, float x, float y) {
  return factor < 0.5f ? y + factor * (x - y) : x - (1.0f - factor) * (x - y);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    average_step(const float* factor, const float* x, float* y, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const float by = factor[0];
  const float4 a = load4(x, i, n), b = load4(y, i, n);
  store4(y, i, n, make_float4(between(by, a.x, b.x), between(by, a.y, b.y), between(by, a.z, b.z),
                              between(by, a.w, b.w)));
}
KERNEL(average_step)
