// Sums over all rows of each channel (per_channel.rs says in which order, and why).
#pragma once

constexpr unsigned STRIP = 32, LANES = THREADS / STRIP;  // channels and rows side by side in a block

/// Calls terms(row, channel, own) for every row of block blockIdx.y and the channels of strip
/// blockIdx.x, which adds K numbers to `own`, and writes what they come to as pairs of floats.
template <int K, class Terms>
__device__ __forceinline__ void partial_sums(u64 rows, unsigned channels, unsigned block_rows,
                                             float* partials, Terms terms) {
  SHARED(double, sums, [K][LANES][STRIP]);
  const unsigned lane = threadIdx.x / STRIP, strip = threadIdx.x % STRIP;
  const unsigned channel = blockIdx.x * STRIP + strip;
  const u64 first = u64(blockIdx.y) * block_rows, end = first + block_rows;
  const u64 last = end < rows ? end : rows;
  double own[K];
  for (int k = 0; k < K; k++) own[k] = 0.0;
  if (channel < channels)
    for (u64 row = first + lane; row < last; row += LANES) terms(row, channel, own);
  for (int k = 0; k < K; k++) sums[k][lane][strip] = own[k];
  __syncthreads();
  if (lane != 0 || channel >= channels) return;
  for (int k = 0; k < K; k++) {
    double sum = 0.0;
    for (unsigned l = 0; l < LANES; l++) sum += sums[k][l][strip];
    const float high = static_cast<float>(sum);
    float* planes = partials + (u64(blockIdx.y) * K + k) * 2 * channels;
    planes[channel] = high;
    planes[channels + channel] = static_cast<float>(sum - static_cast<double>(high));
  }
}

/// A channel's sums over all blocks.
template <int K>
__device__ __forceinline__ void total_sums(const float* partials, unsigned blocks,
                                           unsigned channels, unsigned channel,
                                           double (&sums)[K]) {
  for (int k = 0; k < K; k++) sums[k] = 0.0;
  for (unsigned block = 0; block < blocks; block++)
    for (int k = 0; k < K; k++) {
      const float* planes = partials + (u64(block) * K + k) * 2 * channels;
      sums[k] += static_cast<double>(planes[channel]) +
                 static_cast<double>(planes[channels + channel]);
    }
}
