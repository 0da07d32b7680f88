// Parts of a product (product.cuh) in isolation, to measure the rates from which its time is
// expected (peaks.rs). No op uses them. A thread repeats its work `turns` times and writes a sum of
// what it has read or computed, so that the compiler keeps the work.
#include "instructions.cuh"

constexpr unsigned AT_ONCE = 8;   // independent products or reads of a turn
constexpr unsigned SPAN = 1024;   // of 16 bytes: 16 KB, which a block reads again and again

__device__ __forceinline__ void add(float4& sum, const float4& v) {
  sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
}
__device__ __forceinline__ float total(const float4& sum) {
  return sum.x + sum.y + sum.z + sum.w;
}

/// Products of 16 x 8 x 16 in bf16, of ones.
extern "C" __global__ void __launch_bounds__(THREADS)
    gemm_tensor_cores(float* y, unsigned turns) {
  const unsigned ones = 0x3f803f80;
  const unsigned a[4] = {ones, ones, ones, ones}, b[2] = {ones, ones};
  float d[AT_ONCE][4] = {};
  for (unsigned turn = 0; turn < turns; turn++)
#pragma unroll
    for (unsigned i = 0; i < AT_ONCE; i++) mma_bf16(d[i], a, b);
  float sum = 0.0f;
  for (unsigned i = 0; i < AT_ONCE; i++) sum += d[i][0] + d[i][1] + d[i][2] + d[i][3];
  y[thread_number()] = sum;
}
KERNEL(gemm_tensor_cores)

/// 16 bytes of shared memory, neighbouring threads from neighbouring addresses. x has `SPAN`.
extern "C" __global__ void __launch_bounds__(THREADS)
    gemm_shared_memory(const float4* x, float* y, unsigned turns) {
  SHARED(float4, tile, [SPAN]);
  for (unsigned i = threadIdx.x; i < SPAN; i += THREADS) tile[i] = x[i];
  __syncthreads();
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  unsigned at = threadIdx.x;
  for (unsigned turn = 0; turn < turns; turn++, at += AT_ONCE)
#pragma unroll
    for (unsigned i = 0; i < AT_ONCE; i++) add(sum, tile[(at + 64 * i) % SPAN]);
  y[thread_number()] = total(sum);
}
KERNEL(gemm_shared_memory)

/// The same from memory, through the first-level cache.
extern "C" __global__ void __launch_bounds__(THREADS)
    gemm_first_level_cache(const float4* __restrict__ x, float* y, unsigned turns) {
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  unsigned at = threadIdx.x;
  for (unsigned turn = 0; turn < turns; turn++, at += AT_ONCE)
#pragma unroll
    for (unsigned i = 0; i < AT_ONCE; i++) add(sum, x[(at + 64 * i) % SPAN]);
  y[thread_number()] = total(sum);
}
KERNEL(gemm_first_level_cache)

/// 16 bytes from the second-level cache: every block reads all of x, of `count` times 16 bytes,
/// and begins somewhere else.
extern "C" __global__ void __launch_bounds__(THREADS)
    gemm_second_level_cache(const float4* x, unsigned count, float* y, unsigned turns) {
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  unsigned at = (blockIdx.x * (count / gridDim.x) + threadIdx.x) % count;
  for (unsigned turn = 0; turn < turns; turn++, at += AT_ONCE * THREADS)
#pragma unroll
    for (unsigned i = 0; i < AT_ONCE; i++)
      add(sum, load_past_first_level(x + (at + i * THREADS) % count));
  y[thread_number()] = total(sum);
}
KERNEL(gemm_second_level_cache)
