// y = scale (x - m) / sqrt(v + epsilon) + shift, row by row. A warp a row, which is read from
// memory once and then from the first cache. Memory is the floor: 8 bytes an element forward, 12
// for dx, and 8 more for the gradients of scale and shift.
#include "kernel.cuh"
#include "per_channel.cuh"
#include "reduce.cuh"

/// The row of this thread's warp.
__device__ __forceinline__ u64 own_row() { return thread_number() / 32; }

/// The row's mean, and one over its deviation, for every lane.
__device__ __forceinline__ float2 statistics(const float* x, unsigned channels, float epsilon) {
  double sum = 0.0, squares = 0.0;
  for (unsigned c = threadIdx.x % 32; c < channels; c += 32) {
    const double v = static_cast<double>(x[c]);
    sum += v;
    squares += v * v;
  }
  const double n = static_cast<double>(channels), mean = warp_sum(sum) / n;
  const double spread = warp_sum(squares) / n - mean * mean;
  const double variance = spread < 0.0 ? 0.0 : spread;
  return make_float2(static_cast<float>(mean),
                     static_cast<float>(1.0 / sqrt(variance + static_cast<double>(epsilon))));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    layer_norm_forward(u64 rows, unsigned channels, float epsilon, const float* x,
                       const float* scale, const float* shift, float* y) {
  const u64 row = own_row();
  if (row >= rows) return;  // a whole warp
  const float* in = x + row * channels;
  float* out = y + row * channels;
  const float2 s = statistics(in, channels, epsilon);
  for (unsigned c = threadIdx.x % 32; c < channels; c += 32)
    out[c] = flushed((in[c] - s.x) * s.y * scale[c] + shift[c]);
}
KERNEL(layer_norm_forward)

extern "C" __global__ void __launch_bounds__(THREADS)
    layer_norm_backward(u64 rows, unsigned channels, float epsilon, const float* x, const float* dy,
                        const float* scale, float* row_statistics, float* dx) {
  const u64 row = own_row();
  if (row >= rows) return;
  const float *in = x + row * channels, *d = dy + row * channels;
  const float2 s = statistics(in, channels, epsilon);
  if (threadIdx.x % 32 == 0) {
    row_statistics[2 * row] = s.x;
    row_statistics[2 * row + 1] = s.y;
  }
  if (dx == nullptr) return;
  double along = 0.0, around = 0.0;
  for (unsigned c = threadIdx.x % 32; c < channels; c += 32) {
    const float dh = d[c] * scale[c], h = (in[c] - s.x) * s.y;
    along += static_cast<double>(dh);
    around += static_cast<double>(dh) * static_cast<double>(h);
  }
  const double n = static_cast<double>(channels);
  const float constant = static_cast<float>(warp_sum(along) / n);
  const float slope = static_cast<float>(warp_sum(around) / n);
  for (unsigned c = threadIdx.x % 32; c < channels; c += 32) {
    const float h = (in[c] - s.x) * s.y;
    dx[row * channels + c] = flushed((d[c] * scale[c] - constant - h * slope) * s.y);
  }
}
KERNEL(layer_norm_backward)

extern "C" __global__ void __launch_bounds__(THREADS)
    layer_norm_sums(u64 rows, unsigned channels, unsigned block_rows, const float* x,
                    const float* dy, const float* row_statistics, float* partials) {
  partial_sums<2>(rows, channels, block_rows, partials,
                  [&](u64 row, unsigned channel, double* own) {
    const float mean = row_statistics[2 * row], inverse = row_statistics[2 * row + 1];
    const float h = (x[row * channels + channel] - mean) * inverse;
    const double d = static_cast<double>(dy[row * channels + channel]);
    own[0] += static_cast<double>(h) * d;
    own[1] += d;
  });
}
KERNEL(layer_norm_sums)

extern "C" __global__ void __launch_bounds__(THREADS)
    layer_norm_gradients(unsigned channels, unsigned blocks, const float* partials, float* d_scale,
                         float* d_shift) {
  const unsigned channel = unsigned(thread_number());
  if (channel >= channels) return;
  double sums[2];
  total_sums(partials, blocks, channels, channel, sums);
  d_scale[channel] = flushed(static_cast<float>(sums[0]));
  d_shift[channel] = flushed(static_cast<float>(sums[1]));
}
KERNEL(layer_norm_gradients)
