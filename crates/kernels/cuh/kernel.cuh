// Included first by every kernel file. Two compilers read it: nvcc, and the host's C++ compiler when
// tests run kernels on the CPU (crates/cuda-on-cpu), which has its own side of these spellings.
#pragma once
#ifndef CUDA_ON_CPU
// SHARED(float, tile, [16][17]): an array that the block shares.
#define SHARED(T, name, ...) __shared__ T name __VA_ARGS__
// DYNAMIC_SHARED(float, tile): as many bytes as the launch asked for.
#define DYNAMIC_SHARED(T, name)                                 \
  extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(dynamic_shared)
// KERNEL(name): after each kernel, for the table that the CPU finds it in.
#define KERNEL(name)
// REGISTERS_ONLY void f(...): works on a thread's own variables alone. On the CPU it goes unchecked.
#define REGISTERS_ONLY __device__ __forceinline__
#endif

// A launch gives each thread one piece of work, Grid::over(n) in Rust; the last threads have none.
constexpr int THREADS = 256;

typedef unsigned long long u64;

/// The number of this thread in a grid along x.
__device__ __forceinline__ u64 thread_number() {
  return u64(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// Four floats at a time: 16 bytes where the address allows it and four are left, else one by one.
/// `i` is the first of the four, `n` the length; what lies beyond it reads as zero.
__device__ __forceinline__ bool at_16_bytes(const float* a) {
  return reinterpret_cast<u64>(a) % 16 == 0;
}
__device__ __forceinline__ float4 load4(const float* a, u64 i, u64 n) {
  if (i + 4 <= n && at_16_bytes(a)) return *reinterpret_cast<const float4*>(a + i);
  float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (i < n) v.x = a[i];
  if (i + 1 < n) v.y = a[i + 1];
  if (i + 2 < n) v.z = a[i + 2];
  if (i + 3 < n) v.w = a[i + 3];
  return v;
}
/// As they are, whatever they stand for.
__device__ __forceinline__ void copy4(float* a, u64 i, u64 n, float4 v) {
  if (i + 4 <= n && at_16_bytes(a)) {
    *reinterpret_cast<float4*>(a + i) = v;
    return;
  }
  if (i < n) a[i] = v.x;
  if (i + 1 < n) a[i + 1] = v.y;
  if (i + 2 < n) a[i + 2] = v.z;
  if (i + 3 < n) a[i + 3] = v.w;
}

/// x, or zero with its sign where x is denormal: what an op writes (lib.rs says why).
__device__ __forceinline__ float flushed(float x) {
  const unsigned bits = __float_as_uint(x);
  return __uint_as_float(bits & 0x7f800000u ? bits : bits & 0x80000000u);
}
/// Results: flushed.
__device__ __forceinline__ void store4(float* a, u64 i, u64 n, float4 v) {
  copy4(a, i, n, make_float4(flushed(v.x), flushed(v.y), flushed(v.z), flushed(v.w)));
}
