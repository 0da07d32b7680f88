// Windows over the pixels of a map, and four channels at a time: for pool and lrn_pool.
#pragma once

/// Windows of y over x, and the maps' sizes.
struct Pooling {
  unsigned height, width, channels, out_height, out_width, window, stride, pad;
};

struct Four { float at[4]; };

/// Four channels of a pixel, fewer at the last.
__device__ __forceinline__ Four load(const float* map, u64 pixel, unsigned channel,
                                     unsigned channels) {
  const float4 v = load4(map + pixel * channels, channel, channels);
  return {{v.x, v.y, v.z, v.w}};
}
__device__ __forceinline__ void store(float* map, u64 pixel, unsigned channel, unsigned channels,
                                      const Four& v) {
  store4(map + pixel * channels, channel, channels,
         make_float4(v.at[0], v.at[1], v.at[2], v.at[3]));
}

/// The input rows (or columns) that output `out` sees, of `extent`: from the first to the end.
__device__ __forceinline__ unsigned first_seen(const Pooling& g, unsigned out) {
  return out * g.stride > g.pad ? out * g.stride - g.pad : 0;
}
__device__ __forceinline__ unsigned end_seen(const Pooling& g, unsigned out, unsigned extent) {
  return min(out * g.stride + g.window - g.pad, extent);
}
/// The output rows (or columns), of `extent`, that see input `at`.
__device__ __forceinline__ unsigned first_seeing(const Pooling& g, unsigned at) {
  const unsigned end = at + g.pad + 1;
  return end > g.window ? (end - g.window + g.stride - 1) / g.stride : 0;
}
__device__ __forceinline__ unsigned end_seeing(const Pooling& g, unsigned at, unsigned extent) {
  return min((at + g.pad) / g.stride + 1, extent);
}

/// NaN is greater than all, so that it is seen.
__device__ __forceinline__ float greater(float x, float than) {
  return x > than || x != x ? x : than;
}

/// Zero where x came out of a ReLU at zero. Written with <= so that NaN stays.
__device__ __forceinline__ void mask_by_relu(const Four& x, Four& dx) {
  for (int k = 0; k < 4; k++)
    if (x.at[k] <= 0.0f) dx.at[k] = 0.0f;
}
