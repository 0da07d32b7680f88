// tf32 and bf16, asynchronous copies, and a warp's matrix products: <mma.h>'s and mma.sync.
#pragma once

// bf16: rounds to nearest even and keeps NaN.
struct __nv_bfloat16 { uint16_t bits; };
static inline __nv_bfloat16 __float2bfloat16(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {uint16_t(0x7fff)};
  return {uint16_t((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}
static inline float __bfloat162float(__nv_bfloat16 x) {
  return std::bit_cast<float>(uint32_t(x.bits) << 16);
}

// cp.async: copied as late as the wait allows, so that a missing wait shows as stale data.
#define __pipeline_memcpy_async(...) cuda_on_cpu::copy_async(__LINE__, __VA_ARGS__)
namespace cuda_on_cpu {
/// The last `zeros` of the bytes are not read, but zero.
static inline void copy_async(int line, void* to, const void* from, size_t bytes,
                              size_t zeros = 0) {
  copy_later(to, from, bytes, zeros, line);
}
}  // namespace cuda_on_cpu
static inline void __pipeline_commit() { cuda_on_cpu::commit_copies(); }
static inline void __pipeline_wait_prior(int groups) { cuda_on_cpu::wait_for_copies(groups); }

namespace cuda_on_cpu {
/// tf32 has 10 bits after the point: rounds to nearest, ties away from zero, as cvt.rna does. There
/// is one NaN.
static inline uint32_t round_to_tf32(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffffffu;
  return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & ~0x1fffu;
}
/// Two numbers of bf16 in a word.
static inline uint32_t round_to_bf16(float low, float high) {
  return __float2bfloat16(low).bits | uint32_t(__float2bfloat16(high).bits) << 16;
}

/// Number i of a word; a tensor core drops the bits that tf32 has not.
template <int NUMBERS_A_WORD>
UNCHECKED inline float number_of(uint32_t word, int i) {
  if (NUMBERS_A_WORD == 1) return std::bit_cast<float>(word & ~0x1fffu);
  return std::bit_cast<float>(i ? word & 0xffff0000u : word << 16);
}

/// d += a b as mma.sync does it with matrices of 16 x k, k x 8 and 16 x 8, where k is eight words.
/// A word is a number of tf32, or two of bf16. Lane 4 g + t of a warp has
///   of a  words (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4): row and word of k
///   of b  words (t, g), (t + 4, g): word of k and column
///   of d  (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1)
/// Each lane shows its words to the others, and computes its own elements of d.
template <int NUMBERS_A_WORD>
UNCHECKED void multiply_fragments(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                  int line) {
  Thread* me = current;
  Words* words = warp_words(me->exchanges++ & 1);
  for (int i = 0; i < 4; i++) words[me->lane].a[i] = a[i];
  for (int i = 0; i < 2; i++) words[me->lane].b[i] = b[i];
  wait_for_warp(0xffffffffu, line);
  const int g = me->lane / 4, t = me->lane % 4;
  for (int i = 0; i < 4; i++) {
    const int row = g + i / 2 * 8, column = 2 * t + i % 2;
    for (int k = 0; k < 8; k++) {
      const uint32_t left = words[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2];
      const uint32_t right = words[column * 4 + k % 4].b[k / 4];
      for (int n = 0; n < NUMBERS_A_WORD; n++)
        d[i] += number_of<NUMBERS_A_WORD>(left, n) * number_of<NUMBERS_A_WORD>(right, n);
    }
  }
}
}  // namespace cuda_on_cpu

namespace nvcuda::wmma {
struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };
namespace precision { struct tf32 {}; }

template <class T> struct Stored { using type = T; };
template <> struct Stored<precision::tf32> { using type = float; };

static inline float __float_to_tf32(float x) {
  return std::bit_cast<float>(cuda_on_cpu::round_to_tf32(x));
}

/// Element e of a fragment lives in lane e % 32. (A GPU keeps its own order; no kernel knows it.)
template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static constexpr int rows = std::is_same_v<Use, matrix_b> ? K : M;
  static constexpr int columns = std::is_same_v<Use, matrix_a> ? K : N;
  static constexpr int num_elements = rows * columns / 32;
  using element = typename Stored<T>::type;
  element x[num_elements];
};

template <class F, class V>
void fill_fragment(F& f, V value) {
  for (auto& element : f.x) element = value;
}

template <class Use, int M, int N, int K, class T, class L, class S>
void load_matrix_sync(fragment<Use, M, N, K, T, L>& f, const S* from, unsigned stride) {
  using F = fragment<Use, M, N, K, T, L>;
  for (int i = 0; i < F::num_elements; i++) {
    int e = i * 32 + cuda_on_cpu::current->lane, row = e / F::columns, column = e % F::columns;
    bool by_rows = std::is_same_v<L, row_major>;
    f.x[i] = by_rows ? from[row * stride + column] : from[column * stride + row];
  }
}

template <int M, int N, int K, class T>
void load_matrix_sync(fragment<accumulator, M, N, K, T>& f, const T* from, unsigned stride,
                      layout_t layout) {
  for (int i = 0; i < f.num_elements; i++) {
    int e = i * 32 + cuda_on_cpu::current->lane, row = e / N, column = e % N;
    f.x[i] = layout == mem_row_major ? from[row * stride + column] : from[column * stride + row];
  }
}

template <int M, int N, int K, class T>
void store_matrix_sync(T* to, const fragment<accumulator, M, N, K, T>& f, unsigned stride,
                       layout_t layout) {
  for (int i = 0; i < f.num_elements; i++) {
    int e = i * 32 + cuda_on_cpu::current->lane, row = e / N, column = e % N;
    to[layout == mem_row_major ? row * stride + column : column * stride + row] = f.x[i];
  }
}

template <class T>
float product_operand(typename Stored<T>::type x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __bfloat162float(x);
  } else if constexpr (std::is_same_v<T, precision::tf32>) {
    // The hardware drops the bits that tf32 has not; kernels round with __float_to_tf32 first.
    return std::bit_cast<float>(std::bit_cast<uint32_t>(x) & ~0x1fffu);
  } else {
    return float(x);
  }
}

/// d = a b + c: each lane lends its fragments to the others and computes its own elements of d.
template <int M, int N, int K, class T, class LA, class LB, class D>
UNCHECKED void mma_sync(fragment<accumulator, M, N, K, D>& d,
                        const fragment<matrix_a, M, N, K, T, LA>& a,
                        const fragment<matrix_b, M, N, K, T, LB>& b,
                        const fragment<accumulator, M, N, K, D>& c) {
  using A = fragment<matrix_a, M, N, K, T, LA>;
  using B = fragment<matrix_b, M, N, K, T, LB>;
  int lane = cuda_on_cpu::current->lane;
  uint64_t *as = cuda_on_cpu::warp_slots(0), *bs = cuda_on_cpu::warp_slots(1);
  cuda_on_cpu::wait_for_warp(0xffffffffu, __LINE__);
  as[lane] = reinterpret_cast<uint64_t>(&a);
  bs[lane] = reinterpret_cast<uint64_t>(&b);
  cuda_on_cpu::wait_for_warp(0xffffffffu, __LINE__);
  D sums[M * N / 32];
  for (int i = 0; i < M * N / 32; i++) {
    int e = i * 32 + lane, row = e / N, column = e % N;
    D sum = c.x[i];
    for (int k = 0; k < K; k++) {
      int ea = row * K + k, eb = k * N + column;
      sum += product_operand<T>(reinterpret_cast<const A*>(as[ea % 32])->x[ea / 32]) *
             product_operand<T>(reinterpret_cast<const B*>(bs[eb % 32])->x[eb / 32]);
    }
    sums[i] = sum;
  }
  cuda_on_cpu::wait_for_warp(0xffffffffu, __LINE__);
  for (int i = 0; i < M * N / 32; i++) d.x[i] = sums[i];
}
}  // namespace nvcuda::wmma
