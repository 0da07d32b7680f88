// dw <- min(max(dw, -limit), limit), and the norm of each block of a row; dw <- factor dw. Memory bound.
#include "kernel.cuh"
#include "reduce.cuh"
#include "segments.cuh"

constexpr u64 BLOCK = 4096;  // mod.rs

// A thread block for each block of gradients; `dw` begins with a row.
extern "C" __global__ void __launch_bounds__(THREADS)
    clip_norms(float* dw, u64 row, float limit, float* norms) {
  const u64 per_row = (row + BLOCK - 1) / BLOCK;
  const u64 first = blockIdx.x % per_row * BLOCK, n = row - first < BLOCK ? row - first : BLOCK;
  float* block = dw + blockIdx.x / per_row * row + first;
  double sum[1] = {0.0};
  for (u64 i = threadIdx.x; i < n; i += THREADS) {
    float value = block[i];
    if (value > limit || value < -limit) {
      value = value > 0.0f ? limit : -limit;
      block[i] = value;
    }
    sum[0] += double(value) * double(value);
  }
  block_sums<1>(sum);
  if (threadIdx.x == 0) norms[blockIdx.x] = flushed(float(sqrt(sum[0])));
}
KERNEL(clip_norms)

extern "C" __global__ void __launch_bounds__(THREADS)
    clip_scale(Segments segments, const float* factor, float* dw) {
  const Segment& segment = segment_of_block(segments);
  const u64 i = element_in(segment), n = segment.len;
  if (i >= n) return;
  dw += segment.start;
  const float by = factor[0];
  const float4 d = load4(dw, i, n);
  store4(dw, i, n, make_float4(by * d.x, by * d.y, by * d.z, by * d.w));
}
KERNEL(clip_scale)
