// y[r][y.first + i] = x[r][x.first + i], or +=. Four columns of a row a thread, 16 bytes where both
// addresses allow it. The floor is memory: what is read and written, once.
#include "kernel.cuh"

struct Place {
  u64 width, first;
};

template <bool ADD>
__device__ __forceinline__ void columns(const float* x, float* y, u64 rows, u64 count, Place from,
                                        Place to) {
  const u64 pieces = (count + 3) / 4, row = thread_number() / pieces;
  const u64 i = 4 * (thread_number() % pieces);
  if (row >= rows) return;
  const float* source = x + row * from.width + from.first;
  float* target = y + row * to.width + to.first;
  float4 v = load4(source, i, count);
  if (ADD) {
    const float4 old = load4(target, i, count);
    v = make_float4(old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w);
    return store4(target, i, count, v);
  }
  copy4(target, i, count, v);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    columns_copy(const float* x, float* y, u64 rows, u64 count, Place from, Place to) {
  columns<false>(x, y, rows, count, from, to);
}
KERNEL(columns_copy)

extern "C" __global__ void __launch_bounds__(THREADS)
    columns_add(const float* x, float* y, u64 rows, u64 count, Place from, Place to) {
  columns<true>(x, y, rows, count, from, to);
}
KERNEL(columns_add)
