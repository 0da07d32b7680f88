// Instructions that CUDA C++ has no name for: one each, with a twin for tests on the CPU.
#pragma once
#include "kernel.cuh"

#ifdef CUDA_ON_CPU

#define thread_anew() int(threadIdx.x)
#define lane_anew() (int(threadIdx.x) % 32)
#define load_past_first_level(from) (*(from))
#define round_to_tf32(x) cuda_on_cpu::round_to_tf32(x)
#define round_to_bf16(low, high) cuda_on_cpu::round_to_bf16(low, high)
#define mma_tf32(d, a, b) cuda_on_cpu::multiply_fragments<1>(d, a, b, __LINE__)
#define mma_bf16(d, a, b) cuda_on_cpu::multiply_fragments<2>(d, a, b, __LINE__)

#else

// They exist since sm_80; what is compiled for GPUs before may not contain them.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define SINCE_SM_80(...) asm(__VA_ARGS__)
#define VOLATILE_SINCE_SM_80(...) asm volatile(__VA_ARGS__)
#else
#define SINCE_SM_80(...) __trap()
#define VOLATILE_SINCE_SM_80(...) __trap()
#endif

/// The thread's number in its block, and in its warp. Unlike threadIdx it is read where it is used,
/// so that nothing that follows from it takes a register elsewhere.
__device__ __forceinline__ int thread_anew() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}
__device__ __forceinline__ int lane_anew() {
  int lane;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}

/// 16 bytes from the second-level cache or from memory.
__device__ __forceinline__ float4 load_past_first_level(const float4* from) { return __ldcg(from); }

/// x as tf32, of 10 bits after the point: to the nearest, of two the one farther from zero.
__device__ __forceinline__ unsigned round_to_tf32(float x) {
  unsigned y = 0;
  SINCE_SM_80("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}

/// Two numbers as bf16, of 7 bits after the point: to the nearest, of two the even one.
__device__ __forceinline__ unsigned round_to_bf16(float low, float high) {
  unsigned y = 0;
  SINCE_SM_80("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}

// d += a b, of a warp: d is 16 x 8, a 16 x k, b k x 8. With g = lane / 4 and t = lane % 4, a thread
// has of d (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1): row and column. A word of a or b is
// a number of tf32, or a pair, of successive k, of bf16. Counted in words of k, a thread has of a
// (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4), and of b (t, g), (t + 4, g). (PTX ISA, "Matrix
// Fragments for mma.m16n8k8" and "for mma.m16n8k16".) Volatile: all lanes of a warp take part, so
// that the compiler may not move it to where only some of them come.
#define MMA(shape_and_types)                                                                      \
  VOLATILE_SINCE_SM_80("mma.sync.aligned." shape_and_types                                        \
              " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                  \
              : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                    \
              : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

/// k = 8.
__device__ __forceinline__ void mma_tf32(float (&d)[4], const unsigned (&a)[4],
                                         const unsigned (&b)[2]) {
  MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
}

/// k = 16.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4],
                                         const unsigned (&b)[2]) {
  MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
}
#endif
