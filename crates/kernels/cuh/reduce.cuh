// Sums and maxima over a block, each in one order: that of lanes, then that of warps.
#pragma once

constexpr unsigned ALL_LANES = 0xffffffffu;

/// The sum over a warp, the same bits in every lane.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) value += __shfl_xor_sync(ALL_LANES, value, bits);
  return value;
}

/// The sums over a block of whole warps of each of `values`: every thread gets them.
template <int N>
__device__ __forceinline__ void block_sums(double (&values)[N]) {
  SHARED(double, parts, [32][N]);
  const unsigned warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int n = 0; n < N; n++) values[n] = warp_sum(values[n]);
  __syncthreads();  // those of an earlier call have been read
  if (threadIdx.x % 32 == 0)
    for (int n = 0; n < N; n++) parts[warp][n] = values[n];
  __syncthreads();
  for (int n = 0; n < N; n++) {
    values[n] = 0.0;
    for (unsigned w = 0; w < warps; w++) values[n] += parts[w][n];
  }
}

/// The greatest over a block of whole warps, for every thread. NaN is passed over.
__device__ __forceinline__ float block_max(float value) {
  SHARED(float, parts, [32]);
  const unsigned warp = threadIdx.x / 32, warps = blockDim.x / 32;
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2)
    value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, bits));
  __syncthreads();
  if (threadIdx.x % 32 == 0) parts[warp] = value;
  __syncthreads();
  for (unsigned w = 0; w < warps; w++) value = fmaxf(value, parts[w]);
  return value;
}
