// r(x): the nearest float with 8 significant bits, ties to even. Two of them lie in a word, the
// first in its lower half. Four floats, so two words, a thread. The floor is memory: what is read
// and written, once.
#include "kernel.cuh"

constexpr unsigned HIGH = 0xffff0000u;

// The bits of r(x); the lower half is zero.
__device__ __forceinline__ unsigned rounded(float x) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (bits & HIGH) | 0x400000u;  // no number
  return (bits + 0x7fffu + (bits >> 16 & 1)) & HIGH;
}
__device__ __forceinline__ float nearest(float x) { return __uint_as_float(rounded(x)); }

__device__ __forceinline__ unsigned pair(float a, float b) { return rounded(a) >> 16 | rounded(b); }
__device__ __forceinline__ float low(float word) {
  return __uint_as_float(__float_as_uint(word) << 16);
}
__device__ __forceinline__ float high(float word) {
  return __uint_as_float(__float_as_uint(word) & HIGH);
}

// y = the n floats of x, two in a word.
extern "C" __global__ void __launch_bounds__(THREADS)
    bf16_pack(const float* x, float* y, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const float4 v = load4(x, i, n);  // beyond the end there are zeros
  y[i / 2] = __uint_as_float(pair(v.x, v.y));
  if (i + 2 < n) y[i / 2 + 1] = __uint_as_float(pair(v.z, v.w));
}
KERNEL(bf16_pack)

// y = x + r(y), where x has the n floats of y, two in a word.
extern "C" __global__ void __launch_bounds__(THREADS)
    bf16_add_packed(const float* x, float* y, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const float first = x[i / 2], second = i + 2 < n ? x[i / 2 + 1] : 0.0f;
  const float4 v = load4(y, i, n);
  store4(y, i, n,
         make_float4(low(first) + nearest(v.x), high(first) + nearest(v.y),
                     low(second) + nearest(v.z), high(second) + nearest(v.w)));
}
KERNEL(bf16_add_packed)

// y = r(x) + r(y).
extern "C" __global__ void __launch_bounds__(THREADS)
    bf16_add_rounded(const float* x, float* y, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const float4 a = load4(x, i, n), b = load4(y, i, n);
  store4(y, i, n,
         make_float4(nearest(a.x) + nearest(b.x), nearest(a.y) + nearest(b.y),
                     nearest(a.z) + nearest(b.z), nearest(a.w) + nearest(b.w)));
}
KERNEL(bf16_add_rounded)
