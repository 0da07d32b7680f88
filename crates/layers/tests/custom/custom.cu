// The kernels of the custom layers in tests/custom.rs, in the style of crates/kernels.
#include "kernel.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    custom_swish_forward(float beta, const float* x, float* y, u64 n) {
  const u64 i = thread_number();
  if (i >= n) return;
  y[i] = flushed(x[i] / (1.0f + expf(-beta * x[i])));
}
KERNEL(custom_swish_forward)

extern "C" __global__ void __launch_bounds__(THREADS)
    custom_swish_backward(float beta, const float* x, const float* dy, float* dx, u64 n) {
  const u64 i = thread_number();
  if (i >= n) return;
  const float s = 1.0f / (1.0f + expf(-beta * x[i]));
  dx[i] = flushed(dy[i] * (s + beta * x[i] * s * (1.0f - s)));
}
KERNEL(custom_swish_backward)

extern "C" __global__ void __launch_bounds__(THREADS)
    custom_scale_forward(const float* x, const float* scale, float* y, u64 n, unsigned channels) {
  const u64 i = thread_number();
  if (i >= n) return;
  y[i] = flushed(x[i] * scale[i % channels]);
}
KERNEL(custom_scale_forward)

// A thread sums the gradient of one channel, in the order of the rows.
extern "C" __global__ void __launch_bounds__(THREADS)
    custom_scale_backward(const float* x, const float* dy, float* d_scale, u64 n,
                          unsigned channels) {
  const u64 channel = thread_number();
  if (channel >= channels) return;
  double sum = 0.0;
  for (u64 i = channel; i < n; i += channels) sum += double(x[i]) * double(dy[i]);
  d_scale[channel] = flushed(float(sum));
}
KERNEL(custom_scale_backward)
