// Kernels that are wrong on purpose, each beside its right form.
#include "cuda_on_cpu.h"

#define BLOCK 64

/// y is x in reverse, block by block.
template <bool with_barrier>
__device__ void reverse(const float* x, float* y) {
  SHARED(float, tile, [BLOCK]);
  const int first = blockIdx.x * BLOCK, i = threadIdx.x;
  tile[i] = x[first + i];
  if (with_barrier) __syncthreads();
  y[first + i] = tile[BLOCK - 1 - i];
}
extern "C" __global__ void reversed(const float* x, float* y) { reverse<true>(x, y); }
extern "C" __global__ void reversed_without_barrier(const float* x, float* y) {
  reverse<false>(x, y);
}
KERNEL(reversed)
KERNEL(reversed_without_barrier)

/// Each thread sums all of x, tile by tile.
template <bool with_both>
__device__ void sum_tiles(const float* x, float* y, int tiles) {
  SHARED(float, tile, [BLOCK]);
  float sum = 0;
  for (int t = 0; t < tiles; t++) {
    tile[threadIdx.x] = x[t * BLOCK + threadIdx.x];
    __syncthreads();
    for (int i = 0; i < BLOCK; i++) sum += tile[i];
    if (with_both) __syncthreads();  // before the tile is overwritten
  }
  y[threadIdx.x] = sum;
}
extern "C" __global__ void tiles_summed(const float* x, float* y, int tiles) {
  sum_tiles<true>(x, y, tiles);
}
extern "C" __global__ void tiles_summed_without_barrier(const float* x, float* y, int tiles) {
  sum_tiles<false>(x, y, tiles);
}
KERNEL(tiles_summed)
KERNEL(tiles_summed_without_barrier)

/// y = x + 1.
extern "C" __global__ void incremented(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] + 1;
}
extern "C" __global__ void incremented_off_by_one(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n) y[i] = x[i < n ? i : 0] + 1;
}
extern "C" __global__ void incremented_in_fours(const float* x, float* y, int n) {
  const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x) + 1;  // should begin at 0
  if (i + 3 < n) *reinterpret_cast<float4*>(y + i) = *reinterpret_cast<const float4*>(x + i);
}
KERNEL(incremented)
KERNEL(incremented_off_by_one)
KERNEL(incremented_in_fours)

extern "C" __global__ void divergent_barrier(float* y) {
  if (threadIdx.x < BLOCK / 2) {
    __syncthreads();
  } else {
    y[threadIdx.x] = 1;
    __syncthreads();
  }
}
extern "C" __global__ void barrier_of_half_a_warp(float* y) {
  float value = threadIdx.x;
  if (threadIdx.x < 7) value += __shfl_down_sync(0xffffffffu, value, 1);
  y[threadIdx.x] = value;
}
extern "C" __global__ void shared_index_outside(float* y) {
  SHARED(float, tile, [BLOCK / 2]);
  tile[threadIdx.x] = 1;
  y[threadIdx.x] = tile[threadIdx.x];
}
KERNEL(divergent_barrier)
KERNEL(barrier_of_half_a_warp)
KERNEL(shared_index_outside)

/// One sum a warp, by shuffles.
extern "C" __global__ void warp_sums(const float* x, float* y) {
  float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int delta = 16; delta > 0; delta /= 2) sum += __shfl_down_sync(0xffffffffu, sum, delta);
  if (threadIdx.x % 32 == 0) y[(blockIdx.x * blockDim.x + threadIdx.x) / 32] = sum;
}
KERNEL(warp_sums)

/// y is x in reverse, through a tile that cp.async fills.
template <bool with_wait, bool with_barrier_after>
__device__ void copy_reversed(const float* x, float* y) {
  SHARED(float, tile, [BLOCK]);
  const int i = threadIdx.x;
  __pipeline_memcpy_async(tile + i, x + i, sizeof(float));
  __pipeline_commit();
  if (!with_barrier_after) __syncthreads();  // others' copies may still be under way after it
  if (with_wait) __pipeline_wait_prior(0);
  if (with_barrier_after) __syncthreads();
  y[i] = tile[BLOCK - 1 - i];
}
extern "C" __global__ void copied(const float* x, float* y) { copy_reversed<true, true>(x, y); }
extern "C" __global__ void copied_without_wait(const float* x, float* y) {
  copy_reversed<false, true>(x, y);
}
extern "C" __global__ void copied_with_barrier_before_wait(const float* x, float* y) {
  copy_reversed<true, false>(x, y);
}
/// y is the first n of x, then zeros.
extern "C" __global__ void copied_or_zero(const float* x, float* y, int n) {
  SHARED(float, tile, [BLOCK]);
  const int i = threadIdx.x;
  __pipeline_memcpy_async(tile + i, x + i, sizeof(float), i < n ? 0 : sizeof(float));
  __pipeline_commit();
  __pipeline_wait_prior(0);
  y[i] = tile[i];
}
KERNEL(copied_or_zero)
/// Sixteen bytes from or to addresses that are multiples of four only, and three at once.
extern "C" __global__ void copied_misaligned(const float* x, int from, int to, int bytes) {
  SHARED(float4, tile, [BLOCK]);
  if (threadIdx.x) return;
  __pipeline_memcpy_async(reinterpret_cast<float*>(tile) + to, x + from, size_t(bytes));
}
KERNEL(copied)
KERNEL(copied_without_wait)
KERNEL(copied_with_barrier_before_wait)
KERNEL(copied_misaligned)

/// y = a b for 16 x 16 matrices of bf16, which come to shared memory behind the warp's back.
extern "C" __global__ void tensor_core_product(const __nv_bfloat16* a, const __nv_bfloat16* b,
                                               float* y, int wait) {
  using namespace nvcuda;
  SHARED(__nv_bfloat16, tile, [256]);
  __pipeline_memcpy_async(tile + 8 * threadIdx.x, a + 8 * threadIdx.x, 16);
  __pipeline_commit();
  if (wait) __pipeline_wait_prior(0);
  __syncwarp();
  wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::row_major> fa;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, wmma::row_major> fb;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
  wmma::fill_fragment(fc, 0.0f);
  wmma::load_matrix_sync(fa, tile, 16);
  wmma::load_matrix_sync(fb, b, 16);
  wmma::mma_sync(fc, fa, fb, fc);
  wmma::store_matrix_sync(y, fc, 16, wmma::mem_row_major);
}
KERNEL(tensor_core_product)
