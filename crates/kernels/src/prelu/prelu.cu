// y = x where x > 0, else a[c] x; its gradients. Four elements a thread; memory is the floor: 8
// bytes an element forward, 12 for dx, 8 for da, of which a block of rows is summed at a time.
#include "kernel.cuh"
#include "per_channel.cuh"

// The slopes of four elements next to each other, from channel c on.
__device__ __forceinline__ float4 slopes(const float* a, unsigned c, unsigned channels) {
  float v[4];
  for (int i = 0; i < 4; i++) {
    v[i] = a[c];
    c = c + 1 == channels ? 0 : c + 1;
  }
  return make_float4(v[0], v[1], v[2], v[3]);
}

// Written with <= so that NaN stays.
__device__ __forceinline__ float bent(float x, float a, float value) {
  return x <= 0.0f ? a * value : value;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    prelu_forward(unsigned channels, const float* x, const float* a, float* y, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const float4 v = load4(x, i, n), s = slopes(a, unsigned(i % channels), channels);
  store4(y, i, n, make_float4(bent(v.x, s.x, v.x), bent(v.y, s.y, v.y), bent(v.z, s.z, v.z),
                              bent(v.w, s.w, v.w)));
}
KERNEL(prelu_forward)

extern "C" __global__ void __launch_bounds__(THREADS)
    prelu_backward_input(unsigned channels, const float* x, const float* a, const float* dy,
                         float* dx, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const float4 v = load4(x, i, n), d = load4(dy, i, n);
  const float4 s = slopes(a, unsigned(i % channels), channels);
  store4(dx, i, n, make_float4(bent(v.x, s.x, d.x), bent(v.y, s.y, d.y), bent(v.z, s.z, d.z),
                               bent(v.w, s.w, d.w)));
}
KERNEL(prelu_backward_input)

extern "C" __global__ void __launch_bounds__(THREADS)
    prelu_backward_slopes(u64 rows, unsigned channels, unsigned block_rows, const float* x,
                          const float* dy, float* partials) {
  partial_sums<1>(rows, channels, block_rows, partials,
                  [&](u64 row, unsigned channel, double* own) {
    const float v = x[row * channels + channel];
    if (!(v > 0.0f))
      own[0] += static_cast<double>(v) * static_cast<double>(dy[row * channels + channel]);
  });
}
KERNEL(prelu_backward_slopes)

extern "C" __global__ void __launch_bounds__(THREADS)
    prelu_slopes(unsigned channels, unsigned blocks, const float* partials, float* da) {
  const unsigned channel = unsigned(thread_number());
  if (channel >= channels) return;
  double sums[1];
  total_sums(partials, blocks, channels, channel, sums);
  da[channel] = flushed(static_cast<float>(sums[0]));
}
KERNEL(prelu_slopes)
