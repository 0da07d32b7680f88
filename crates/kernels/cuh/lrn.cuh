// Local response normalisation: the formula, for lrn and for lrn_pool, whose bits must be the same.
// So every product that a sum follows is spelled as fmaf or __fmul_rn: the compiler has no choice.
#pragma once

/// s = k + alpha sum x^2 over channels (or rows, or columns) i - below ..= i + above.
struct Formula {
  float alpha, beta, k, twice;  // twice: 2 alpha beta
  unsigned power;               // which beta: see powers
  unsigned below, above;
};

/// Of any beta: a call, so that registers are not reserved for it where it is not used.
inline __device__ __noinline__ float any_power(float s, float beta) { return powf(s, -beta); }

/// s^-beta and s^-1. The square root's reciprocal is one instruction, off by two units at most.
__device__ __forceinline__ void powers(const Formula& f, float s, float& scale, float& inverse) {
  if (f.power == 0) {  // beta = 0.75
    const float root = rsqrtf(s);
    // At least 1e-30, so that an infinite s gives zero, not zero times infinity.
    scale = root * (root * rsqrtf(fmaxf(root, 1e-30f)));
    inverse = root * root;
  } else if (f.power == 1) {  // beta = 0.5
    scale = rsqrtf(s);
    inverse = scale * scale;
  } else if (f.power == 2) {  // beta = 1
    scale = inverse = __frcp_rn(s);
  } else {
    scale = any_power(s, f.beta);
    inverse = __frcp_rn(s);
  }
}

/// The same of a sum of squares.
__device__ __forceinline__ void powers_of_sum(const Formula& f, float sum, float& scale,
                                              float& inverse) {
  powers(f, fmaf(f.alpha, sum, f.k), scale, inverse);
}

/// dy_j x_j s_j^(-beta-1), where scaled is dy_j s_j^-beta.
__device__ __forceinline__ float term(float scaled, float inverse, float x) {
  return __fmul_rn(__fmul_rn(scaled, inverse), x);
}

/// dx from the sum of the terms.
__device__ __forceinline__ float gradient(const Formula& f, float scaled, float x, float total) {
  return fmaf(-__fmul_rn(f.twice, x), total, scaled);
}

/// Windows of up to so many channels reach no further than the four before and after a thread's.
constexpr unsigned NARROW = 9;

/// A thread's four channels, between the four before and the four after. What lies outside their
/// tower is zero.
struct Around { float at[12]; };

__device__ __forceinline__ Around around(float4 before, float4 own, float4 after) {
  return {{before.x, before.y, before.z, before.w, own.x, own.y, own.z, own.w, after.x, after.y,
           after.z, after.w}};
}

/// sums[k] <- add(sums[k], v) for every v in the window of channel k, in the order of channels.
template <class Add>
__device__ __forceinline__ void each_window(const Around& v, unsigned below, unsigned above,
                                            float (&sums)[4], Add add) {
  const int first = -static_cast<int>(below), last = static_cast<int>(above);
  if (below == 2 && above == 2) {  // the paper's
#pragma unroll
    for (int k = 0; k < 4; k++) {
      sums[k] = 0.0f;
#pragma unroll
      for (int d = -2; d <= 2; d++) sums[k] = add(sums[k], v.at[4 + k + d]);
    }
    return;
  }
#pragma unroll
  for (int k = 0; k < 4; k++) {
    sums[k] = 0.0f;
#pragma unroll
    for (int d = -4; d <= 4; d++)
      if (d >= first && d <= last) sums[k] = add(sums[k], v.at[4 + k + d]);
  }
}

/// The same of windows of any size: sums[k] <- add(sums[k], v) for every v in the window of channel
/// first + k of a tower.
template <class Add>
__device__ __forceinline__ void each_wide_window(const float* tower, unsigned channels,
                                                 unsigned first, unsigned below, unsigned above,
                                                 float (&sums)[4], Add add) {
  for (unsigned k = 0; k < 4; k++) {
    const unsigned channel = first + k, end = min(channel + above + 1, channels);
    sums[k] = 0.0f;
#pragma unroll 1
    for (unsigned j = channel > below ? channel - below : 0; j < end; j++)
      sums[k] = add(sums[k], tower[j]);
  }
}

/// sum + x^2, and sum + term, with one rounding each.
struct AddSquare {
  __device__ float operator()(float sum, float x) const { return fmaf(x, x, sum); }
};
struct AddTerm {
  __device__ float operator()(float sum, float term) const { return __fadd_rn(sum, term); }
};

/// Towers of channels: `groups` of four in each, the last perhaps of fewer.
struct Towers { unsigned channels, groups; };

/// A group of four channels of tower `tower`, counted over all pixels; zeros outside it.
__device__ __forceinline__ float4 load_group(const Towers& t, const float* a, u64 tower,
                                             unsigned group) {
  if (group >= t.groups) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);  // -1, too
  return load4(a + tower * t.channels, 4 * group, t.channels);
}

/// A thread's four channels, with those of its neighbours from memory, where they lie in the first
/// cache.
__device__ __forceinline__ Around load_around(const Towers& t, const float* a, u64 tower,
                                              unsigned group) {
  return around(load_group(t, a, tower, group - 1), load_group(t, a, tower, group),
                load_group(t, a, tower, group + 1));
}

/// scales[k] becomes s^-beta of a thread's four channels, and inverses[k] s^-1, from the sums of
/// squares.
__device__ __forceinline__ void powers_of_sums(const Formula& f, const float (&sums)[4],
                                               float (&scales)[4], float (&inverses)[4]) {
  for (int k = 0; k < 4; k++) powers_of_sum(f, sums[k], scales[k], inverses[k]);
}
