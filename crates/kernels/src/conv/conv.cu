// Convolution as three products (product.cuh) whose operands are read where they lie: no image is
// unfolded. A pixel and a tap with its channel give an address; what falls into the padding is
// zero.
//
//   conv_forward           y[p][f]  = sum over (kh, kw, c) of x[p, kh, kw, c] w[f][kh, kw, c]
//   conv_backward_input    dx[q][c] = sum over (kh, kw, f) of dy[q, kh, kw, f] w[f][kh, kw][c]
//   conv_backward_filter   dw[f][kh, kw, c] = sum over p of dy[p][f] x[p, kh, kw, c], and db[f]
//
// In f32, or with operands rounded to tf32 (tensor_cores.cuh) or bf16 (bf16.cuh) where a name ends
// so; tiles are 128 x 128, `small` ones 64 x 64, others in the name. Each group is a product of its
// own. With a stride the input's gradient is stride x stride products:
// input pixels that lie a multiple of the stride apart meet the same taps.
//
// On paper, AlexNet's five layers (the paper's groups) and 128 images, GFLOP forward and MB of x, w
// and y; dx and dw are alike, conv1 has no dx:
//
//            products x (m, n, k)           GFLOP     MB   tiles of 128 x 128
//   conv1    1 x (387200,  96,  363)         27.0    228    3025    96 of 128 columns are used,
//   conv2    2 x ( 93312, 128, 1200)         57.3    133    1458        all in bf16: 128 x 96
//   conv3    1 x ( 21632, 384, 2304)         38.3     59     507
//   conv4    2 x ( 21632, 192, 1728)         28.7     68     676    192 of 256, likewise
//   conv5    2 x ( 21632, 128, 1728)         19.1     56     338
//
// 170 GFLOP forward are 2.8 ms at 60 TFLOP/s, 544 MB are 0.13 ms at 4.3 TB/s: the arithmetic is the
// floor. dw of conv1 sums over 387200 pixels for three tiles, and is cut into 88 slices of k, whose
// sums take 12 MB. At most 128 registers and 47 KB a block: two blocks, 16 warps, on a
// multiprocessor.
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

/// Taps of a window, row by row, each with its channels; or, `back`, from a pixel to those whose
/// windows see it.
struct Taps {
  static constexpr bool plain = false;
  unsigned count, across, channels;
  bool back;
  long long column, row;
  __device__ Cursor at(unsigned i) const {
    if (i >= count) return {0, OUTSIDE, 0};
    const unsigned tap = i / channels, channel = i - tap * channels;
    const int r = static_cast<int>(tap / across), c = static_cast<int>(tap % across);
    if (back) return {channel - r * row - c * column, -r, -c};
    return {channel + r * row + c * column, r, c};
  }
};

__device__ __forceinline__ Pixels windows(const Geometry& g) {
  const long long column = g.channels, row = column * g.width;
  return {g.out_pixels(), g.out_height, g.out_width, static_cast<int>(g.stride),
          static_cast<int>(g.top), static_cast<int>(g.left), column, row, row * g.height};
}
__device__ __forceinline__ Taps taps(const Geometry& g) {
  const long long column = g.channels;
  return {g.depth(), g.window_width, g.group_channels(), false, column, column * g.width};
}

/// Bias and ReLU are for products of one slice; of several, each slice has a y of its own.
template <class Arithmetic, int ROWS, int COLUMNS>
__device__ __forceinline__ void forward(const Geometry& g, const Cut& cut, const float* x,
                                        const float* w, const float* bias, float* y,
                                        unsigned relu) {
  const unsigned group = blockIdx.z, filters = g.group_filters(), depth = g.depth();
  const Operand<Pixels, Taps, true> images = {
      x + group * g.group_channels(), windows(g), taps(g), g.height, g.width, cut.wide_a};
  const Matrix<true> weights = {w + static_cast<u64>(group) * filters * depth,
                                {filters, depth}, {depth, 1}, 1, 1, cut.wide_b};
  const u64 pixels = g.out_pixels();
  float* to = y + blockIdx.y * pixels * g.filters + group * filters;
  const Plain out = {to, g.out_pixels(), filters, g.filters, bias ? bias + group * filters : bias,
                     relu, nullptr};
  const Part part = part_of<ROWS, COLUMNS>(cut, depth);
  product<Arithmetic, ROWS, COLUMNS, false>(images, weights, out, part);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_forward(Geometry g, Cut cut, const float* x, const float* w, const float* b, float* y,
                 unsigned relu) {
  forward<F32, 128, 128>(g, cut, x, w, b, y, relu);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_forward_small(Geometry g, Cut cut, const float* x, const float* w, const float* b,
                       float* y, unsigned relu) {
  forward<F32, 64, 64>(g, cut, x, w, b, y, relu);
}
KERNEL(conv_forward)
KERNEL(conv_forward_small)
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_forward_tf32(Geometry g, Cut cut, const float* x, const float* w, const float* b, float* y,
                      unsigned relu) {
  forward<Tf32, 128, 128>(g, cut, x, w, b, y, relu);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_forward_small_tf32(Geometry g, Cut cut, const float* x, const float* w, const float* b,
                            float* y, unsigned relu) {
  forward<Tf32, 64, 64>(g, cut, x, w, b, y, relu);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_forward_bf16(Geometry g, Cut cut, const float* x, const float* w, const float* b, float* y,
                      unsigned relu) {
  forward<Bf16, 128, 128>(g, cut, x, w, b, y, relu);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_forward_small_bf16(Geometry g, Cut cut, const float* x, const float* w, const float* b,
                            float* y, unsigned relu) {
  forward<Bf16, 64, 64>(g, cut, x, w, b, y, relu);
}
KERNEL(conv_forward_tf32)
KERNEL(conv_forward_small_tf32)
KERNEL(conv_forward_bf16)
KERNEL(conv_forward_small_bf16)
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_forward_128x96_bf16(Geometry g, Cut cut, const float* x, const float* w,
                             const float* b, float* y, unsigned relu) {
  forward<Bf16, 128, 96>(g, cut, x, w, b, y, relu);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_forward_128x64_bf16(Geometry g, Cut cut, const float* x, const float* w,
                             const float* b, float* y, unsigned relu) {
  forward<Bf16, 128, 64>(g, cut, x, w, b, y, relu);
}
KERNEL(conv_forward_128x96_bf16)
KERNEL(conv_forward_128x64_bf16)

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
  unsigned count, across, filters;
  Phase down_phase, across_phase;
  unsigned stride, window_width, channels;
  long long filter;  // floats from one to the next
  __device__ Cursor at(unsigned i) const {
    if (i >= count) return {0, OUTSIDE, 0};
    const unsigned tap = i / filters, f = i - tap * filters;
    const unsigned kh = down_phase.tap + stride * (tap / across);
    const unsigned kw = across_phase.tap + stride * (tap % across);
    return {f * filter + static_cast<long long>(kh * window_width + kw) * channels, 0, 0};
  }
};

/// dx at the pixels of a phase.
struct PixelsOfPhase {
  float* dx;
  unsigned count, columns, stride, width, height, channels, group_channels;
  Phase down, across;
  __device__ __forceinline__ void store(unsigned m, unsigned n, float4 v) const {
    if (m >= count || n >= group_channels) return;
    const unsigned line = m / columns, image = line / down.count;
    const unsigned row = down.first + stride * (line - image * down.count);
    const unsigned column = across.first + stride * (m - line * columns);
    const u64 pixel = (static_cast<u64>(image) * height + row) * width + column;
    store4(dx + pixel * channels, n, group_channels, v);
  }
  __device__ __forceinline__ void store_row_sum(unsigned, float) const {}
};

template <class Arithmetic, int ROWS, int COLUMNS>
__device__ __forceinline__ void backward_input(const Geometry& g, const Cut& cut, const float* dy,
                                               const float* w, float* dx) {
  const unsigned phases = g.stride * g.stride, group = blockIdx.z / phases;
  const unsigned taps = blockIdx.z % phases;
  const Phase down = phase(taps / g.stride, g.height, g.window_height, g.stride, g.top);
  const Phase across = phase(taps % g.stride, g.width, g.window_width, g.stride, g.left);
  const unsigned channels = g.group_channels(), filters = g.group_filters();
  const unsigned count = g.images * down.count * across.count;
  const unsigned depth = down.taps * across.taps * filters;
  const Part part = part_of<ROWS, COLUMNS>(cut, depth);
  if (part.m >= count) return;

  const long long column = g.filters, row = column * g.out_width;
  const Operand<Pixels, Taps, true> gradients = {
      dy + group * filters,
      {count, down.count, across.count, 1, -static_cast<int>(down.farthest),
       -static_cast<int>(across.farthest), column, row, row * g.out_height},
      {depth, across.taps, filters, true, column, row},
      g.out_height, g.out_width, cut.wide_a};
  const long long filter = g.depth();
  const Operand<Line, TapsOfFilters, false> weights = {
      w + group * filters * filter,
      {channels, 1},
      {depth, across.taps, filters, down, across, g.stride, g.window_width, channels, filter},
      1, 1, cut.wide_b};
  const u64 length = static_cast<u64>(g.images) * g.height * g.width * g.channels;
  const PixelsOfPhase out = {dx + blockIdx.y * length + group * channels, count, across.count,
                             g.stride, g.width, g.height, g.channels, channels, down, across};
  product<Arithmetic, ROWS, COLUMNS, false>(gradients, weights, out, part);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_input(Geometry g, Cut cut, const float* dy, const float* w, float* dx) {
  backward_input<F32, 128, 128>(g, cut, dy, w, dx);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_input_small(Geometry g, Cut cut, const float* dy, const float* w, float* dx) {
  backward_input<F32, 64, 64>(g, cut, dy, w, dx);
}
KERNEL(conv_backward_input)
KERNEL(conv_backward_input_small)
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_input_tf32(Geometry g, Cut cut, const float* dy, const float* w, float* dx) {
  backward_input<Tf32, 128, 128>(g, cut, dy, w, dx);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_input_small_tf32(Geometry g, Cut cut, const float* dy, const float* w,
                                   float* dx) {
  backward_input<Tf32, 64, 64>(g, cut, dy, w, dx);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_input_bf16(Geometry g, Cut cut, const float* dy, const float* w, float* dx) {
  backward_input<Bf16, 128, 128>(g, cut, dy, w, dx);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_input_small_bf16(Geometry g, Cut cut, const float* dy, const float* w,
                                   float* dx) {
  backward_input<Bf16, 64, 64>(g, cut, dy, w, dx);
}
KERNEL(conv_backward_input_tf32)
KERNEL(conv_backward_input_small_tf32)
KERNEL(conv_backward_input_bf16)
KERNEL(conv_backward_input_small_bf16)
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_input_128x96_bf16(Geometry g, Cut cut, const float* dy, const float* w,
                                    float* dx) {
  backward_input<Bf16, 128, 96>(g, cut, dy, w, dx);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_input_256x64_bf16(Geometry g, Cut cut, const float* dy, const float* w,
                                    float* dx) {
  backward_input<Bf16, 256, 64>(g, cut, dy, w, dx);
}
KERNEL(conv_backward_input_128x96_bf16)
KERNEL(conv_backward_input_256x64_bf16)

template <class Arithmetic, int ROWS, int COLUMNS>
__device__ __forceinline__ void backward_filter(const Geometry& g, const Cut& cut, const float* dy,
                                                const float* x, float* dw, float* db) {
  const unsigned group = blockIdx.z, filters = g.group_filters(), depth = g.depth();
  const unsigned pixels = g.out_pixels();
  const Matrix<false> gradients = {dy + group * filters, {filters, 1}, {pixels, g.filters}, 1, 1,
                                   cut.wide_a};
  const Operand<Taps, Pixels, false> images = {
      x + group * g.group_channels(), taps(g), windows(g), g.height, g.width, cut.wide_b};
  const u64 of_all = g.filters, first = blockIdx.y * of_all + group * filters;
  const Plain out = {dw + first * depth, filters, depth, depth, nullptr, 0, db + first};
  const Part part = part_of<ROWS, COLUMNS>(cut, pixels);
  product<Arithmetic, ROWS, COLUMNS, true>(gradients, images, out, part);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_filter(Geometry g, Cut cut, const float* dy, const float* x, float* dw,
                         float* db) {
  backward_filter<F32, 128, 128>(g, cut, dy, x, dw, db);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_filter_small(Geometry g, Cut cut, const float* dy, const float* x, float* dw,
                               float* db) {
  backward_filter<F32, 64, 64>(g, cut, dy, x, dw, db);
}
KERNEL(conv_backward_filter)
KERNEL(conv_backward_filter_small)
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_filter_tf32(Geometry g, Cut cut, const float* dy, const float* x, float* dw,
                              float* db) {
  backward_filter<Tf32, 128, 128>(g, cut, dy, x, dw, db);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_filter_small_tf32(Geometry g, Cut cut, const float* dy, const float* x, float* dw,
                                    float* db) {
  backward_filter<Tf32, 64, 64>(g, cut, dy, x, dw, db);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_filter_bf16(Geometry g, Cut cut, const float* dy, const float* x, float* dw,
                              float* db) {
  backward_filter<Bf16, 128, 128>(g, cut, dy, x, dw, db);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_filter_small_bf16(Geometry g, Cut cut, const float* dy, const float* x, float* dw,
                                    float* db) {
  backward_filter<Bf16, 64, 64>(g, cut, dy, x, dw, db);
}
KERNEL(conv_backward_filter_tf32)
KERNEL(conv_backward_filter_small_tf32)
KERNEL(conv_backward_filter_bf16)
KERNEL(conv_backward_filter_small_bf16)
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_backward_filter_96x128_bf16(Geometry g, Cut cut, const float* dy, const float* x,
                                     float* dw, float* db) {
  backward_filter<Bf16, 96, 128>(g, cut, dy, x, dw, db);
}
KERNEL(conv_backward_filter_96x128_bf16)

extern "C" __global__ void __launch_bounds__(THREADS)
    conv_sum(const float* slices, unsigned count, unsigned columns, unsigned relu,
             const float* bias, float* c, u64 n) {
  add_slices(slices, count, columns, relu, bias, c, n);
}
KERNEL(conv_sum)
