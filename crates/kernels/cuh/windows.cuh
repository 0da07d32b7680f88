// What the products of a convolution (conv.cu) read, and where: pixels of maps, taps of windows and
// elements of filters, as indices of operands (operand.cuh); and images that are folded.
#pragma once
#include "product.cuh"

struct Geometry {
  unsigned images, height, width, channels, filters, window_height, window_width, stride, top, left;
  unsigned out_height, out_width, groups;

  __device__ unsigned group_channels() const { return channels / groups; }
  __device__ unsigned group_filters() const { return filters / groups; }
  /// Numbers of a filter.
  __device__ unsigned depth() const { return window_height * window_width * group_channels(); }
  __device__ unsigned out_pixels() const { return images * out_height * out_width; }
};

/// How a product is cut, and how its operands can be read.
struct Cut {
  unsigned slice, tiles_across, wide_a, wide_b;
};
template <int ROWS, int COLUMNS>
__device__ __forceinline__ Part part_of(const Cut& cut, unsigned depth) {
  const unsigned k = blockIdx.y * cut.slice, end = min(k + cut.slice, depth);
  return {blockIdx.x / cut.tiles_across * ROWS, blockIdx.x % cut.tiles_across * COLUMNS, k,
          max(k, end)};
}

/// Pixels of a map, image by image and row by row; each leads to where its window begins in
/// another map, whose rows and images are so many floats long.
struct Pixels {
  static constexpr bool plain = false;
  unsigned count, rows, columns;
  int step, top, left;
  long long column, row, image;
  __device__ Cursor at(unsigned i) const {
    if (i >= count) return {0, OUTSIDE, 0};
    const unsigned line = i / columns, in_image = line / rows;
    const int r = static_cast<int>(line - in_image * rows) * step - top;
    const int c = static_cast<int>(i - line * columns) * step - left;
    return {in_image * image + r * row + c * column, r, c};
  }
};

/// The order of a window's taps and their channels along k: blocks of `block` channels; in each, the
/// taps row by row; of each, the block's channels. In bf16 a block is a panel: the next panel is
/// the next tap of the same channels, and has most of its pixels from the first-level cache.
struct Order {
  unsigned taps, block;
  struct Place {
    unsigned tap, channel;
  };
  __device__ Place at(unsigned i) const {
    const unsigned of_block = taps * block, first = i / of_block, rest = i - first * of_block;
    const unsigned tap = rest / block;
    return {tap, first * block + (rest - tap * block)};
  }
};
template <class Arithmetic>
__device__ __forceinline__ Order order(unsigned taps, unsigned channels) {
  return {taps, Arithmetic::rounds_inputs && channels % DEPTH == 0 ? DEPTH : channels};
}

/// Taps of a window and their channels; or, `back`, from a pixel to those whose windows see it.
struct Taps {
  static constexpr bool plain = false;
  unsigned count, across;
  Order order;
  bool back;
  long long column, row;
  __device__ Cursor at(unsigned i) const {
    if (i >= count) return {0, OUTSIDE, 0};
    const auto [tap, channel] = order.at(i);
    const int r = static_cast<int>(tap / across), c = static_cast<int>(tap % across);
    if (back) return {channel - r * row - c * column, -r, -c};
    return {channel + r * row + c * column, r, c};
  }
};

/// Taps and channels of a filter, in w.
struct Weights {
  static constexpr bool plain = false;
  unsigned count, channels;
  Order order;
  __device__ Cursor at(unsigned i) const {
    if (i >= count) return {0, OUTSIDE, 0};
    const auto [tap, channel] = order.at(i);
    return {static_cast<long long>(tap) * channels + channel, 0, 0};
  }
};

__device__ __forceinline__ Pixels windows(const Geometry& g) {
  const long long column = g.channels, row = column * g.width;
  return {g.out_pixels(), g.out_height, g.out_width, static_cast<int>(g.stride),
          static_cast<int>(g.top), static_cast<int>(g.left), column, row, row * g.height};
}
template <class Arithmetic>
__device__ __forceinline__ Order order(const Geometry& g) {
  return order<Arithmetic>(g.window_height * g.window_width, g.group_channels());
}
template <class Arithmetic>
__device__ __forceinline__ Taps taps(const Geometry& g) {
  const long long column = g.channels;
  return {g.depth(), g.window_width, order<Arithmetic>(g), false, column, column * g.width};
}

/// Input pixels along one axis that meet the same taps: the first of both, and how many; others
/// follow `stride` apart. Pixel t of them meets its first tap in output pixel t + `farthest`.
struct Phase {
  unsigned first, count, tap, taps, farthest;
};
__device__ __forceinline__ Phase phase(unsigned tap, unsigned extent, unsigned window,
                                       unsigned stride, unsigned pad) {
  const unsigned first = (tap + stride - pad % stride) % stride;
  const unsigned count = extent > first ? (extent - first + stride - 1) / stride : 0;
  const unsigned taps = window > tap ? (window - tap + stride - 1) / stride : 0;
  return {first, count, tap, taps, (first + pad - tap) / stride};
}

/// The taps of a phase with their filters, in w.
struct TapsOfFilters {
  static constexpr bool plain = false;
  unsigned count, across;
  Order order;
  Phase down_phase, across_phase;
  unsigned stride, window_width, channels;
  long long filter;  // floats from one to the next
  __device__ Cursor at(unsigned i) const {
    if (i >= count) return {0, OUTSIDE, 0};
    const auto [tap, f] = order.at(i);
    const unsigned kh = down_phase.tap + stride * (tap / across);
    const unsigned kw = across_phase.tap + stride * (tap % across);
    return {f * filter + static_cast<long long>(kh * window_width + kw) * channels, 0, 0};
  }
};

// Folding. Blocks of stride x stride pixels become one pixel, with as many times the channels: so
// a window over few channels becomes one of stride 1 over many, whose every read is of 16 bytes.
// conv1's 11 x 11 over 3 channels, 4 apart, becomes 3 x 3 over 48. Padding is copied as zeros; so
// are taps that do not exist, 69 of 432, so that NaN also reaches outputs whose window ends just
// before it. A run is what a block has of a row: `stride` pixels.
struct Folded {
  unsigned down, across;  // taps
  unsigned height, width, run;
};
__device__ __forceinline__ Folded folded(const Geometry& g) {
  const unsigned down = (g.window_height + g.stride - 1) / g.stride;
  const unsigned across = (g.window_width + g.stride - 1) / g.stride;
  return {down, across, g.out_height + down - 1, g.out_width + across - 1, g.stride * g.channels};
}

/// Four floats that begin at `first` of a row of `length` floats; null: a row of zeros.
__device__ __forceinline__ float4 four_of(const float* row, int first, int length) {
  float four[4];
  for (int i = 0; i < 4; i++)
    four[i] = row && first + i >= 0 && first + i < length ? row[first + i] : 0.0f;
  return make_float4(four[0], four[1], four[2], four[3]);
}
