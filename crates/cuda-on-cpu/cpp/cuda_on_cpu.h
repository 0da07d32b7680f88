// The CUDA language as C++: included before the first line of every .cu file that is compiled for
// the CPU. A CUDA thread is a fiber, a block is a scheduler of fibers (machine.h); what a kernel
// may do wrong is caught by checks.cpp, which the compiler calls at every access.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __noinline__ __attribute__((noinline))
#define __align__(n) alignas(n)
// A few words that are read at every access of a kernel: in the block of thread-local memory that
// is there from the start, found without a call.
#define STATIC_TLS __attribute__((tls_model("initial-exec")))
#define UNCHECKED __attribute__((no_sanitize_address, no_sanitize_undefined))

struct uint3 { unsigned x, y, z; };
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define VECTOR_TYPES(T, name)                                                        \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                 \
  struct alignas(4 * sizeof(T)) name##4 { T x, y, z, w; };                           \
  static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                  \
  static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTOR_TYPES(float, float)
VECTOR_TYPES(int, int)
VECTOR_TYPES(unsigned, uint)
VECTOR_TYPES(unsigned char, uchar)

namespace cuda_on_cpu {

/// What a CUDA thread knows about itself.
struct Thread {
  uint3 index, block;
  dim3 block_dim, grid_dim;
  int linear, lane, warp;
  unsigned exchanges;  // warp exchanges done: they take turns between two sets of slots
};
extern thread_local Thread* current STATIC_TLS;

enum class Vote { Count, All, Any };
int wait_for_block(int line, Vote vote, int predicate);
void wait_for_warp(unsigned mask, int line);
uint64_t* warp_slots(unsigned turn);  // one for each lane
struct Words { uint32_t a[4], b[2]; };
Words* warp_words(unsigned turn);  // likewise, for the operands of an mma
void* dynamic_shared();
int new_shared_array();
void* shared_array(int id, size_t bytes);
void check_access(const void* address, size_t bytes, bool writes);
/// Ends the running kernel with a sentence: never returns to the fiber.
[[noreturn]] void fail(const char* format, ...);
void copy_later(void* to, const void* from, size_t bytes, size_t zeros, int line);
void commit_copies();
void wait_for_copies(int groups_left);

// Kernels: a kernel's name, address and the sizes of its parameters, known before main.
using Call = void (*)(void* kernel, void** arguments);
struct Registration {
  Registration(const char* name, void* kernel, Call call, int n, const int* sizes);
};
template <class... A, size_t... I>
UNCHECKED void call_with(void* kernel, void** arguments, std::index_sequence<I...>) {
  reinterpret_cast<void (*)(A...)>(kernel)(*static_cast<std::remove_cvref_t<A>*>(arguments[I])...);
}
template <class... A>
UNCHECKED void call(void* kernel, void** arguments) {
  call_with<A...>(kernel, arguments, std::index_sequence_for<A...>{});
}
template <class... A>
Registration registration(const char* name, void (*kernel)(A...)) {
  static const int sizes[] = {int(sizeof(A))..., 0};
  return {name, reinterpret_cast<void*>(kernel), &call<A...>, int(sizeof...(A)), sizes};
}

// Exchanges among the lanes of a warp.
template <class T>
UNCHECKED T exchange(unsigned mask, T value, int from, int line) {
  static_assert(sizeof(T) <= 8);
  Thread* me = current;
  uint64_t* slots = warp_slots(me->exchanges++ & 1);
  std::memcpy(&slots[me->lane], &value, sizeof(T));
  wait_for_warp(mask, line);
  T result;
  std::memcpy(&result, &slots[from], sizeof(T));
  return result;
}
template <class T>
T shuffle_down(int line, unsigned mask, T value, unsigned delta, int width = 32) {
  int lane = current->lane, within = lane & (width - 1);
  return exchange(mask, value, within + int(delta) >= width ? lane : lane + int(delta), line);
}
template <class T>
T shuffle_up(int line, unsigned mask, T value, unsigned delta, int width = 32) {
  int lane = current->lane, within = lane & (width - 1);
  return exchange(mask, value, within < int(delta) ? lane : lane - int(delta), line);
}
template <class T>
T shuffle_xor(int line, unsigned mask, T value, int bits, int width = 32) {
  int lane = current->lane, from = lane ^ bits;
  return exchange(mask, value, (from & ~(width - 1)) > (lane & ~(width - 1)) ? lane : from, line);
}
template <class T>
T shuffle(int line, unsigned mask, T value, int from, int width = 32) {
  int lane = current->lane;
  return exchange(mask, value, (lane & ~(width - 1)) | (from & (width - 1)), line);
}
UNCHECKED inline unsigned ballot(int line, unsigned mask, int predicate) {
  Thread* me = current;
  uint64_t* slots = warp_slots(me->exchanges++ & 1);
  slots[me->lane] = predicate != 0;
  wait_for_warp(mask, line);
  unsigned votes = 0;
  for (int lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) votes |= unsigned(slots[lane]) << lane;
  return votes;
}

/// A shared array of this block; filled with NaN before the block begins to use it.
template <class Tag, class T>
T& shared() {
  static const int id = new_shared_array();
  return *static_cast<T*>(shared_array(id, sizeof(T)));
}
}  // namespace cuda_on_cpu

#define threadIdx (cuda_on_cpu::current->index)
#define blockIdx (cuda_on_cpu::current->block)
#define blockDim (cuda_on_cpu::current->block_dim)
#define gridDim (cuda_on_cpu::current->grid_dim)
#define warpSize 32

#define __syncthreads() ((void)cuda_on_cpu::wait_for_block(__LINE__, cuda_on_cpu::Vote::Any, 0))
#define __syncthreads_count(p) cuda_on_cpu::wait_for_block(__LINE__, cuda_on_cpu::Vote::Count, p)
#define __syncthreads_and(p) cuda_on_cpu::wait_for_block(__LINE__, cuda_on_cpu::Vote::All, p)
#define __syncthreads_or(p) cuda_on_cpu::wait_for_block(__LINE__, cuda_on_cpu::Vote::Any, p)
#define SYNC_WARP(mask, ...) cuda_on_cpu::wait_for_warp(mask, __LINE__)
#define __syncwarp(...) SYNC_WARP(__VA_ARGS__ __VA_OPT__(, ) 0xffffffffu)
#define __shfl_sync(...) cuda_on_cpu::shuffle(__LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) cuda_on_cpu::shuffle_down(__LINE__, __VA_ARGS__)
#define __shfl_up_sync(...) cuda_on_cpu::shuffle_up(__LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) cuda_on_cpu::shuffle_xor(__LINE__, __VA_ARGS__)
#define __ballot_sync(...) cuda_on_cpu::ballot(__LINE__, __VA_ARGS__)
#define __any_sync(...) (cuda_on_cpu::ballot(__LINE__, __VA_ARGS__) != 0)
#define __all_sync(mask, p) (cuda_on_cpu::ballot(__LINE__, mask, p) == (mask))

// The spellings in which kernels differ from plain CUDA; cuh/kernel.cuh has the other side.
#define SHARED(T, name, ...)          \
  using shared_##name = T __VA_ARGS__; \
  auto& name = cuda_on_cpu::shared<decltype([] {}), shared_##name>()
#define DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(cuda_on_cpu::dynamic_shared())
#define KERNEL(name) \
  static cuda_on_cpu::Registration registration_##name = cuda_on_cpu::registration(#name, name);

#define REGISTERS_ONLY UNCHECKED __attribute__((noinline))

// Whole numbers only: a sum of floats by atomics would depend on the order of threads.
template <class T>
UNCHECKED T atomicAdd(T* address, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "no atomics on floats: their sum depends on the order");
  cuda_on_cpu::check_access(address, sizeof(T), true);
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}

using std::max;
using std::min;
template <class T>
inline T __ldg(const T* address) { return *address; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1.0f / a; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
// The C library has functions of these names, so they are macros here.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __powf(x, y) powf(x, y)
#define __trap() cuda_on_cpu::fail("line %d: a trap", __LINE__)
static inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
static inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
static inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
static inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
static inline unsigned __umulhi(unsigned a, unsigned b) {
  return unsigned((uint64_t(a) * b) >> 32);
}

#include "tensor_cores.h"
