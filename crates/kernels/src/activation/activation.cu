// y = f(x) and dx = dy f'(x), from y (GELU: from x). Four elements a thread; memory is the floor:
// 8 bytes an element forward, 12 backward.
#include "kernel.cuh"

struct Relu {
  // Written with <= so that NaN stays.
  __device__ float value(float x) const { return x <= 0.0f ? 0.0f : x; }
  __device__ float gradient(float y, float dy) const { return y <= 0.0f ? 0.0f : dy; }
};
struct Tanh {
  float outer, inner;
  __device__ float value(float x) const { return outer * tanhf(inner * x); }
  __device__ float gradient(float y, float dy) const {
    return dy * (inner * (outer - y * y / outer));
  }
};
struct Logistic {
  __device__ float value(float x) const { return 1.0f / (1.0f + expf(-x)); }
  __device__ float gradient(float y, float dy) const { return dy * (y * (1.0f - y)); }
};

struct LeakyRelu {
  float slope;
  __device__ float value(float x) const { return x <= 0.0f ? slope * x : x; }
  __device__ float gradient(float y, float dy) const { return y <= 0.0f ? slope * dy : dy; }
};
// The exact form; erfc, and not 1 + erf, for the digits of the far left. Beyond 13 nothing is left
// of the product there, nor of x times the density on either side.
struct Gelu {
  __device__ static float below(float x) { return 0.5f * erfcf(-0.707106781f * x); }
  __device__ float value(float x) const {
    const float near = x < -13.0f ? -13.0f : x;
    return near * below(near);
  }
  __device__ float gradient(float x, float dy) const {
    const float left = x < -13.0f ? -13.0f : x, near = left > 13.0f ? 13.0f : left;
    return dy * (below(near) + near * (0.398942280f * expf(-0.5f * near * near)));
  }
};

template <class F>
__device__ void forward(F f, const float* x, float* y, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const float4 v = load4(x, i, n);
  store4(y, i, n, make_float4(f.value(v.x), f.value(v.y), f.value(v.z), f.value(v.w)));
}

// dx may be dy: each thread reads what it writes.
template <class F>
__device__ void backward(F f, const float* y, const float* dy, float* dx, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const float4 v = load4(y, i, n), d = load4(dy, i, n);
  store4(dx, i, n, make_float4(f.gradient(v.x, d.x), f.gradient(v.y, d.y), f.gradient(v.z, d.z),
                               f.gradient(v.w, d.w)));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    activation_relu_forward(const float* x, float* y, u64 n) { forward(Relu{}, x, y, n); }
extern "C" __global__ void __launch_bounds__(THREADS)
    activation_relu_backward(const float* y, const float* dy, float* dx, u64 n) {
  backward(Relu{}, y, dy, dx, n);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    activation_tanh_forward(float outer, float inner, const float* x, float* y, u64 n) {
  forward(Tanh{outer, inner}, x, y, n);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    activation_tanh_backward(float outer, float inner, const float* y, const float* dy,
                             float* dx, u64 n) {
  backward(Tanh{outer, inner}, y, dy, dx, n);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    activation_logistic_forward(const float* x, float* y, u64 n) {
  forward(Logistic{}, x, y, n);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    activation_logistic_backward(const float* y, const float* dy, float* dx, u64 n) {
  backward(Logistic{}, y, dy, dx, n);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    activation_leaky_relu_forward(float slope, const float* x, float* y, u64 n) {
  forward(LeakyRelu{slope}, x, y, n);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    activation_leaky_relu_backward(float slope, const float* y, const float* dy, float* dx, u64 n) {
  backward(LeakyRelu{slope}, y, dy, dx, n);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    activation_gelu_forward(const float* x, float* y, u64 n) { forward(Gelu{}, x, y, n); }
extern "C" __global__ void __launch_bounds__(THREADS)
    activation_gelu_backward(const float* x, const float* dy, float* dx, u64 n) {
  backward(Gelu{}, x, dy, dx, n);
}
KERNEL(activation_relu_forward)
KERNEL(activation_relu_backward)
KERNEL(activation_tanh_forward)
KERNEL(activation_tanh_backward)
KERNEL(activation_logistic_forward)
KERNEL(activation_logistic_backward)
KERNEL(activation_leaky_relu_forward)
KERNEL(activation_leaky_relu_backward)
KERNEL(activation_gelu_forward)
KERNEL(activation_gelu_backward)
