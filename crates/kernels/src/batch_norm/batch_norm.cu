// y = scale (x - mean) / sqrt(variance + epsilon) + shift, channel by channel. Memory is the floor:
// an element is read twice and written once forward, read four times and written once backward.
#include "kernel.cuh"
#include "per_channel.cuh"

struct Sizes {
  unsigned images, pixels, channels, block_rows, blocks;
  float epsilon;
};

/// Rows of the images that count, which are the first.
__device__ __forceinline__ u64 counted(const Sizes& s, const unsigned* batch) {
  return u64(batch[0] < s.images ? batch[0] : s.images) * s.pixels;
}
__device__ __forceinline__ u64 rows(const Sizes& s) { return u64(s.images) * s.pixels; }

/// Calls work(channel, k) for the channels of four elements next to each other, from number i on.
template <class Work>
__device__ __forceinline__ void each_channel(u64 i, unsigned channels, Work work) {
  unsigned c = unsigned(i % channels);
  for (int k = 0; k < 4; k++) {
    work(c, k);
    c = c + 1 == channels ? 0 : c + 1;
  }
}

__device__ __forceinline__ void apply(const Sizes& s, bool none, const float* x, const float* scale,
                                      const float* shift, const float* mean, const float* variance,
                                      float* y) {
  const u64 n = rows(s) * s.channels, i = 4 * thread_number();
  if (i >= n) return;
  const float4 v = load4(x, i, n);
  float values[4] = {v.x, v.y, v.z, v.w};
  each_channel(i, s.channels, [&](unsigned c, int k) {
    const float factor = none ? 0.0f : scale[c] / sqrtf(variance[c] + s.epsilon);
    values[k] = (values[k] - mean[c]) * factor + shift[c];
  });
  store4(y, i, n, make_float4(values[0], values[1], values[2], values[3]));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_forward(Sizes s, const float* x, const float* scale, const float* shift,
                       const float* mean, const float* variance, float* y) {
  apply(s, false, x, scale, shift, mean, variance, y);
}
KERNEL(batch_norm_forward)

extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_forward_batch(Sizes s, const unsigned* batch, const float* x, const float* scale,
                             const float* shift, const float* mean, const float* variance,
                             float* y) {
  apply(s, counted(s, batch) == 0, x, scale, shift, mean, variance, y);
}
KERNEL(batch_norm_forward_batch)

extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_sums(Sizes s, const unsigned* batch, const float* x, float* partials) {
  partial_sums<2>(counted(s, batch), s.channels, s.block_rows, partials,
                  [&](u64 row, unsigned channel, double* own) {
    const double v = static_cast<double>(x[row * s.channels + channel]);
    own[0] += v;
    own[1] += v * v;
  });
}
KERNEL(batch_norm_sums)

// Blocks of rows that do not count have sums of zero.
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_statistics(Sizes s, const unsigned* batch, const float* partials, float* mean,
                          float* variance) {
  const unsigned channel = unsigned(thread_number());
  if (channel >= s.channels) return;
  double sums[2];
  total_sums(partials, s.blocks, s.channels, channel, sums);
  const u64 rows = counted(s, batch);
  const double n = rows > 0 ? static_cast<double>(rows) : 1.0;
  const double exact = sums[0] / n, spread = sums[1] / n - exact * exact;
  mean[channel] = flushed(static_cast<float>(exact));
  variance[channel] = flushed(static_cast<float>(spread < 0.0 ? 0.0 : spread));
}
KERNEL(batch_norm_statistics)

extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_products(Sizes s, const unsigned* batch, const float* x, const float* dy,
                        float* partials) {
  partial_sums<2>(counted(s, batch), s.channels, s.block_rows, partials,
                  [&](u64 row, unsigned channel, double* own) {
    const double v = static_cast<double>(x[row * s.channels + channel]);
    const double d = static_cast<double>(dy[row * s.channels + channel]);
    own[0] += d;
    own[1] += v * d;
  });
}
KERNEL(batch_norm_products)

// The batch's mean and variance become what moves the running ones; dx is
// coefficients[0] dy + (coefficients[1] (x - coefficients[3]) + coefficients[2]).
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_gradients(Sizes s, float momentum, const unsigned* batch, const float* partials,
                         const float* scale, const float* running_mean,
                         const float* running_variance, float* d_scale, float* d_shift,
                         float* mean, float* variance, float* coefficients) {
  const unsigned c = unsigned(thread_number());
  if (c >= s.channels) return;
  double sums[2];
  total_sums(partials, s.blocks, s.channels, c, sums);
  const u64 rows = counted(s, batch);
  const double n = rows > 0 ? static_cast<double>(rows) : 1.0;
  const double inverse =
      rows > 0 ? 1.0 / sqrt(static_cast<double>(variance[c] + s.epsilon)) : 0.0;
  const double factor = static_cast<double>(scale[c]) * inverse;
  const double product = (sums[1] - static_cast<double>(mean[c]) * sums[0]) * inverse;
  d_scale[c] = flushed(static_cast<float>(product));
  d_shift[c] = flushed(static_cast<float>(sums[0]));
  coefficients[c] = static_cast<float>(factor);
  coefficients[s.channels + c] = static_cast<float>(-factor * inverse * product / n);
  coefficients[2 * s.channels + c] = static_cast<float>(-factor * sums[0] / n);
  coefficients[3 * s.channels + c] = mean[c];
  const float step = __uint_as_float(batch[1]) * momentum;
  const float unbiased = static_cast<float>(n / (n > 2.0 ? n - 1.0 : 1.0));
  mean[c] = flushed(step * (running_mean[c] - mean[c]));
  variance[c] = flushed(step * (running_variance[c] - variance[c] * unbiased));
}
KERNEL(batch_norm_gradients)

extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_backward(Sizes s, const unsigned* batch, const float* x, const float* dy,
                        const float* coefficients, float* dx) {
  const u64 n = rows(s) * s.channels, i = 4 * thread_number();
  if (i >= n) return;
  const u64 counting = counted(s, batch) * s.channels;
  const float4 v = load4(x, i, n), d = load4(dy, i, n);
  const float values[4] = {v.x, v.y, v.z, v.w};
  float slopes[4] = {d.x, d.y, d.z, d.w};
  const float* factors = coefficients;
  each_channel(i, s.channels, [&](unsigned c, int k) {
    const float through = factors[c] * slopes[k];
    const float around = factors[s.channels + c] * (values[k] - factors[3 * s.channels + c]) +
                         factors[2 * s.channels + c];
    slopes[k] = i + k < counting ? through + around : through;
  });
  store4(dx, i, n, make_float4(slopes[0], slopes[1], slopes[2], slopes[3]));
}
KERNEL(batch_norm_backward)
