// A locally connected layer: at every pixel a product of matrices of its own, images by filters. A
// block makes 32 x 32 numbers of one, each a single chain of multiply-adds in the order of k; 16 of
// k at a time pass through shared memory, and the next are on their way meanwhile.
// The floor, in cuda-convnet's local3 (6 x 6 pixels, 64 filters of 3 x 3 x 64) at 128 images: 0.34
// GFLOP a pass, 6 us of an H200's single precision; 7.7 MB, mostly filters, 2 us. AlexNet has none.
#include "kernel.cuh"

constexpr unsigned SIDE = 32, DEPTH = 16, BLOCK = 64;  // a thread has 4 x 4 of 32 x 32
constexpr unsigned PITCH = SIDE + 4;                   // 16 bytes apart, banks in turn

struct Geometry {
  unsigned images, height, width, channels, filters, window_height, window_width, stride, top,
      left, out_height, out_width, groups;
  __device__ unsigned group_channels() const { return channels / groups; }
  __device__ unsigned group_filters() const { return filters / groups; }
  __device__ unsigned taps() const { return window_height * window_width; }
  __device__ unsigned pixels() const { return out_height * out_width; }
};

/// Which product, and which part of it, is a block's.
struct Part { unsigned pixel, group, row, column; };
__device__ __forceinline__ Part part(const Geometry& g, unsigned rows, unsigned columns) {
  const unsigned across = (columns + SIDE - 1) / SIDE, down = (rows + SIDE - 1) / SIDE;
  unsigned block = blockIdx.x;
  const unsigned column = block % across;
  block /= across;
  const unsigned row = block % down;
  block /= down;
  return {block / g.groups, block % g.groups, row * SIDE, column * SIDE};
}

/// Four numbers of an operand whose numbers are `at(i)`, from the first on, zeros from `n` on.
/// Where they come in runs of a multiple of four, `run(i)` has them at once.
template <class Run, class At>
__device__ __forceinline__ float4 four(unsigned first, unsigned n, bool in_runs, Run run, At at) {
  if (first >= n) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (in_runs) return run(first);
  return make_float4(at(first), first + 1 < n ? at(first + 1) : 0.0f,
                     first + 2 < n ? at(first + 2) : 0.0f, first + 3 < n ? at(first + 3) : 0.0f);
}

/// c[row][column] = sum over k of a(row, k) b(column, k), for the block's part of `rows` x
/// `columns`. An operand `lies_along_k` and gives four of k for a row, or four rows for one k;
/// zeros outside. `write(row, column, four columns)`; `row_sums(row, four rows' sums of a)`.
template <class A, class B, class Write, class RowSums>
__device__ __forceinline__ void product(const Part& p, unsigned rows, unsigned columns, unsigned k,
                                        const A& a, const B& b, Write write, RowSums row_sums) {
  SHARED(float, as, [DEPTH][PITCH]);
  SHARED(float, bs, [DEPTH][PITCH]);
  const unsigned thread = threadIdx.x;
  const unsigned row = 4 * (thread / (SIDE / 4)), column = 4 * (thread % (SIDE / 4));
  const bool works = p.row + row < rows && p.column + column < columns;
  float4 next_a[2], next_b[2];
  float sums[4][4] = {}, of_a[4] = {};

  auto fetch = [&](const auto& operand, unsigned first, unsigned k0, float4(&into)[2]) {
    for (unsigned part = 0; part < 2; part++) {
      const unsigned idx = thread + part * BLOCK;
      into[part] = operand.lies_along_k
                       ? operand.fetch(first + idx / (DEPTH / 4), k0 + 4 * (idx % (DEPTH / 4)))
                       : operand.fetch(first + 4 * (idx % (SIDE / 4)), k0 + idx / (SIDE / 4));
    }
  };
  auto keep = [&](bool lies_along_k, const float4(&from)[2], float(&into)[DEPTH][PITCH]) {
    for (unsigned part = 0; part < 2; part++) {
      const unsigned idx = thread + part * BLOCK;
      const float4 v = from[part];
      if (lies_along_k) {
        const unsigned i = idx / (DEPTH / 4), at = 4 * (idx % (DEPTH / 4));
        into[at][i] = v.x;
        into[at + 1][i] = v.y;
        into[at + 2][i] = v.z;
        into[at + 3][i] = v.w;
      } else {
        *reinterpret_cast<float4*>(&into[idx / (SIDE / 4)][4 * (idx % (SIDE / 4))]) = v;
      }
    }
  };

  fetch(a, p.row, 0, next_a);
  fetch(b, p.column, 0, next_b);
  for (unsigned k0 = 0; k0 < k; k0 += DEPTH) {
    __syncthreads();  // what was there has been multiplied
    keep(a.lies_along_k, next_a, as);
    keep(b.lies_along_k, next_b, bs);
    __syncthreads();
    fetch(a, p.row, k0 + DEPTH, next_a);
    fetch(b, p.column, k0 + DEPTH, next_b);
    if (!works) continue;
#pragma unroll
    for (unsigned at = 0; at < DEPTH; at++) {  // zeros from k on
      const float4 x = *reinterpret_cast<const float4*>(&as[at][row]);
      const float4 y = *reinterpret_cast<const float4*>(&bs[at][column]);
      const float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
      for (int i = 0; i < 4; i++) {
        of_a[i] += xs[i];
        for (int j = 0; j < 4; j++) sums[i][j] += xs[i] * ys[j];
      }
    }
  }
  if (!works) return;
  for (unsigned i = 0; i < 4 && p.row + row + i < rows; i++)
    write(p.row + row + i, p.column + column,
          make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]));
  if (p.column + column == 0)
    row_sums(p.row + row, make_float4(of_a[0], of_a[1], of_a[2], of_a[3]));
}

__device__ __forceinline__ void no_sums(unsigned, float4) {}

/// Pixels of x under an output pixel's window: x[image][tap][channel] of a group, zero outside.
struct Window {
  const Geometry& g;
  const float* x;
  unsigned group;
  int row, column;  // of the first tap; may be negative
  __device__ Window(const Geometry& g, const float* x, const Part& p)
      : g(g), x(x), group(p.group),
        row(static_cast<int>(p.pixel / g.out_width * g.stride) - static_cast<int>(g.top)),
        column(static_cast<int>(p.pixel % g.out_width * g.stride) - static_cast<int>(g.left)) {}

  /// A tap's channels of this group, or null.
  __device__ const float* tap(unsigned image, unsigned tap) const {
    const int i = row + static_cast<int>(tap / g.window_width);
    const int j = column + static_cast<int>(tap % g.window_width);
    if (i < 0 || j < 0 || i >= static_cast<int>(g.height) || j >= static_cast<int>(g.width))
      return nullptr;
    return x + ((u64(image) * g.height + i) * g.width + j) * g.channels +
           group * g.group_channels();
  }
  /// Four numbers from tap and channel `at` on.
  __device__ float4 fetch(unsigned image, unsigned at) const {
    const unsigned channels = g.group_channels();
    return four(
        at, g.taps() * channels, channels % 4 == 0,
        [&](unsigned i) {
          const float* pixel = tap(image, i / channels);
          return pixel ? load4(pixel, i % channels, channels)
                       : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        },
        [&](unsigned i) {
          const float* pixel = tap(image, i / channels);
          return pixel ? pixel[i % channels] : 0.0f;
        });
  }
};

/// Of a product whose rows are images: x, along taps and channels.
struct Images {
  static constexpr bool lies_along_k = true;
  Window window;
  __device__ float4 fetch(unsigned image, unsigned k) const {
    if (image >= window.g.images) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    return window.fetch(image, k);
  }
};

/// The filters of an output pixel, along taps and channels.
struct Filters {
  static constexpr bool lies_along_k = true;
  const Geometry& g;
  const float* w;  // of this pixel and group
  __device__ float4 fetch(unsigned filter, unsigned k) const {
    const unsigned len = g.taps() * g.group_channels();
    if (filter >= g.group_filters()) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    return load4(w + u64(filter) * len, k, len);
  }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 8)
    local_forward(Geometry g, unsigned relu, const float* x, const float* w, const float* b,
                  float* y) {
  const unsigned filters = g.group_filters(), len = g.taps() * g.group_channels();
  const Part p = part(g, g.images, filters);
  const u64 first = u64(p.pixel) * g.filters + p.group * filters;  // filter
  const float* bias = b + first;
  product(
      p, g.images, filters, len, Images{Window(g, x, p)}, Filters{g, w + first * len},
      [&](unsigned image, unsigned filter, float4 sum) {
        const float4 c = load4(bias, filter, filters);
        float v[4] = {sum.x + c.x, sum.y + c.y, sum.z + c.z, sum.w + c.w};
        for (int i = 0; i < 4; i++)
          if (relu && v[i] <= 0.0f) v[i] = 0.0f;  // NaN stays
        store4(y + u64(image) * g.pixels() * g.filters + first, filter, filters,
               make_float4(v[0], v[1], v[2], v[3]));
      },
      no_sums);
}

/// The windows that see a pixel of x: every stride-th tap, as far as there are outputs for them.
struct Seers {
  unsigned first, n;
  __device__ Seers(unsigned at, unsigned stride, unsigned window, unsigned outputs) {
    // at: from the edge of the padding on. Tap t is of output (at - t) / stride.
    const unsigned from_last = at >= stride * (outputs - 1) ? at - stride * (outputs - 1) : 0;
    first = from_last + (at - from_last) % stride;
    const unsigned last = min(at, window - 1);
    n = first > last ? 0 : (last - first) / stride + 1;
  }
};

/// An output pixel that sees a pixel of x, and its tap there.
struct Sight { unsigned pixel, tap; };
struct Sights {
  const Geometry& g;
  unsigned row, column;  // from the edge of the padding on
  Seers down, across;
  __device__ Sights(const Geometry& g, unsigned pixel)
      : g(g), row(pixel / g.width + g.top), column(pixel % g.width + g.left),
        down(row, g.stride, g.window_height, g.out_height),
        across(column, g.stride, g.window_width, g.out_width) {}
  __device__ unsigned n() const { return down.n * across.n; }
  __device__ Sight at(unsigned idx) const {
    const unsigned kh = down.first + idx / across.n * g.stride;
    const unsigned kw = across.first + idx % across.n * g.stride;
    const unsigned i = (row - kh) / g.stride, j = (column - kw) / g.stride;
    return {i * g.out_width + j, kh * g.window_width + kw};
  }
};

/// dy of the windows that see a pixel of x, along their filters.
struct Seeing {
  static constexpr bool lies_along_k = true;
  const Sights& sights;
  const float* dy;
  unsigned group;
  __device__ const float* filters(unsigned image, unsigned sight) const {
    const Geometry& g = sights.g;
    return dy + (u64(image) * g.pixels() + sights.at(sight).pixel) * g.filters +
           group * g.group_filters();
  }
  __device__ float4 fetch(unsigned image, unsigned k) const {
    const unsigned each = sights.g.group_filters();
    if (image >= sights.g.images) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    return four(
        k, sights.n() * each, each % 4 == 0,
        [&](unsigned i) { return load4(filters(image, i / each), i % each, each); },
        [&](unsigned i) { return filters(image, i / each)[i % each]; });
  }
};

/// The filters of those windows, at their taps there, along channels.
struct SeeingFilters {
  static constexpr bool lies_along_k = false;
  const Sights& sights;
  const float* w;
  unsigned group;
  __device__ float4 fetch(unsigned channel, unsigned k) const {
    const Geometry& g = sights.g;
    const unsigned each = g.group_filters(), channels = g.group_channels();
    if (k >= sights.n() * each || channel >= channels)
      return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const Sight s = sights.at(k / each);
    const u64 filter = u64(s.pixel) * g.filters + group * each + k % each;
    return load4(w + (filter * g.taps() + s.tap) * channels, channel, channels);
  }
};

// A product for each pixel of x, which gathers from the windows that see it.
extern "C" __global__ void __launch_bounds__(BLOCK, 8)
    local_backward_input(Geometry g, const float* dy, const float* w, float* dx) {
  const unsigned channels = g.group_channels();
  const Part p = part(g, g.images, channels);
  const Sights sights(g, p.pixel);
  float* first = dx + u64(p.pixel) * g.channels + p.group * channels;
  product(
      p, g.images, channels, sights.n() * g.group_filters(), Seeing{sights, dy, p.group},
      SeeingFilters{sights, w, p.group},
      [&](unsigned image, unsigned channel, float4 sum) {
        store4(first + u64(image) * g.height * g.width * g.channels, channel, channels, sum);
      },
      no_sums);
}

/// dy of an output pixel, along filters.
struct Gradients {
  static constexpr bool lies_along_k = false;
  const Geometry& g;
  const float* dy;  // of this pixel and group, in the first image
  __device__ float4 fetch(unsigned filter, unsigned image) const {
    if (image >= g.images || filter >= g.group_filters())
      return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    return load4(dy + u64(image) * g.pixels() * g.filters, filter, g.group_filters());
  }
};

/// x under its window, along taps and channels.
struct Taps {
  static constexpr bool lies_along_k = false;
  Window window;
  __device__ float4 fetch(unsigned at, unsigned image) const {
    if (image >= window.g.images) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    return window.fetch(image, at);
  }
};

// Filters by taps, summed over images; the biases' gradients are the sums of one of the operands.
extern "C" __global__ void __launch_bounds__(BLOCK, 8)
    local_backward_filter(Geometry g, const float* x, const float* dy, float* dw, float* db) {
  const unsigned filters = g.group_filters(), len = g.taps() * g.group_channels();
  const Part p = part(g, filters, len);
  const u64 first = u64(p.pixel) * g.filters + p.group * filters;  // filter
  product(
      p, filters, len, g.images, Gradients{g, dy + first}, Taps{Window(g, x, p)},
      [&](unsigned filter, unsigned at, float4 sum) {
        store4(dw + (first + filter) * len, at, len, sum);
      },
      [&](unsigned filter, float4 sum) { store4(db + first, filter, filters, sum); });
}

KERNEL(local_forward)
KERNEL(local_backward_input)
KERNEL(local_backward_filter)
