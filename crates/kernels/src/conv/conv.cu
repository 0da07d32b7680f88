// Convolution as three products (product.cuh) whose operands are read where they lie, without
// im2col. A pixel and a tap with its channel give an address (windows.cuh); what falls into the
// padding is zero. Only images of few channels are copied first: they are folded.
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
//            k = 432 after folding                                      all in bf16: 128 x 96
//   conv2    2 x ( 93312, 128, 1200)         57.3    133    1458
//   conv3    1 x ( 21632, 384, 2304)         38.3     59     507
//   conv4    2 x ( 21632, 192, 1728)         28.7     68     676    192 of 256, likewise
//   conv5    2 x ( 21632, 128, 1728)         19.1     56     338
//
// 170 GFLOP forward are 2.8 ms at 60 TFLOP/s, 544 MB are 0.13 ms at 4.3 TB/s: the arithmetic is the
// floor. dw of conv1 sums over 387200 pixels for four tiles, and is cut into 66 slices of k, whose
// sums take 11 MB. At most 128 registers and 47 KB a block: two blocks, 16 warps, on a
// multiprocessor.
#include "windows.cuh"

/// The filters of a group, in the order of its taps.
template <class Arithmetic>
__device__ __forceinline__ auto filters_of(const Geometry& g, const float* w, unsigned wide) {
  const Line filters = {g.group_filters(), g.depth()};
  if constexpr (Arithmetic::rounds_inputs)
    return Operand<Line, Weights, true>{
        w, filters, {g.depth(), g.group_channels(), order<Arithmetic>(g)}, 1, 1, wide};
  else
    return Matrix<true>{w, filters, {g.depth(), 1}, 1, 1, wide};
}

/// Bias and ReLU are for products of one slice; of several, each slice has a y of its own.
template <class Arithmetic, int ROWS, int COLUMNS>
__device__ __forceinline__ void forward(const Geometry& g, const Cut& cut, const float* x,
                                        const float* w, const float* bias, float* y,
                                        unsigned relu) {
  const unsigned group = blockIdx.z, filters = g.group_filters(), depth = g.depth();
  const Operand<Pixels, Taps, true> images = {
      x + group * g.group_channels(), windows(g), taps<Arithmetic>(g), g.height, g.width,
      cut.wide_a};
  const auto weights = filters_of<Arithmetic>(g, w + static_cast<u64>(group) * filters * depth,
                                              cut.wide_b);
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

  const Order order = ::order<Arithmetic>(down.taps * across.taps, filters);
  const long long column = g.filters, row = column * g.out_width;
  const Operand<Pixels, Taps, true> gradients = {
      dy + group * filters,
      {count, down.count, across.count, 1, -static_cast<int>(down.farthest),
       -static_cast<int>(across.farthest), column, row, row * g.out_height},
      {depth, across.taps, order, true, column, row},
      g.out_height, g.out_width, cut.wide_a};
  const long long filter = g.depth();
  const Operand<Line, TapsOfFilters, false> weights = {
      w + group * filters * filter,
      {channels, 1},
      {depth, across.taps, order, down, across, g.stride, g.window_width, channels, filter},
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

/// dw, whose columns the product has in another order.
struct Filters : Plain {
  unsigned channels;
  Order order;
  __device__ __forceinline__ void store(unsigned m, unsigned n, float4 v) const {
    if (m >= rows || n >= columns) return;
    const auto [tap, channel] = order.at(n);
    store4(c + static_cast<u64>(m) * step, tap * channels + channel, columns, v);
  }
};

template <class Arithmetic, int ROWS, int COLUMNS>
__device__ __forceinline__ void backward_filter(const Geometry& g, const Cut& cut, const float* dy,
                                                const float* x, float* dw, float* db) {
  const unsigned group = blockIdx.z, filters = g.group_filters(), depth = g.depth();
  const unsigned pixels = g.out_pixels();
  const Matrix<false> gradients = {dy + group * filters, {filters, 1}, {pixels, g.filters}, 1, 1,
                                   cut.wide_a};
  const Operand<Taps, Pixels, false> images = {
      x + group * g.group_channels(), taps<Arithmetic>(g), windows(g), g.height, g.width,
      cut.wide_b};
  const u64 of_all = g.filters, first = blockIdx.y * of_all + group * filters;
  const Filters out = {{dw + first * depth, filters, depth, depth, nullptr, 0, db + first},
                       g.group_channels(), order<Arithmetic>(g)};
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

/// Folds the images x, and the filters w if there are some: four floats a thread.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv_fold(Geometry g, const float* x, const float* w, float4* images, float4* filters) {
  const Folded f = folded(g);
  const unsigned rows = f.width * g.stride, of_image = f.height * rows, fours = f.run / 4;
  const unsigned runs = g.images * of_image, thread = static_cast<unsigned>(thread_number());
  const unsigned run = thread / fours;
  const int in_run = static_cast<int>(4 * (thread - run * fours));
  if (run < runs) {
    const unsigned image = run / of_image, in_image = run - image * of_image;
    const unsigned line = in_image / rows, in_line = in_image - line * rows;
    const unsigned column = in_line / g.stride, down = in_line - column * g.stride;
    const int row = static_cast<int>(line * g.stride + down) - static_cast<int>(g.top);
    const bool is_there = row >= 0 && row < static_cast<int>(g.height);
    const unsigned length = g.width * g.channels;
    const float* from = x + (static_cast<long long>(image) * g.height + row) * length;
    const int first = static_cast<int>(column * f.run) - static_cast<int>(g.left * g.channels);
    images[thread] = four_of(is_there ? from : nullptr, first + in_run, static_cast<int>(length));
    return;
  }
  const unsigned own = run - runs, of_filter = f.down * f.across * g.stride;
  if (!w || own >= g.filters * of_filter) return;
  const unsigned filter = own / of_filter, tap = own % of_filter / g.stride;
  const unsigned row = tap / f.across * g.stride + own % g.stride;
  const unsigned length = g.window_width * g.channels;
  const float* from = w + (static_cast<u64>(filter) * g.window_height + row) * length;
  const int first = static_cast<int>(tap % f.across * f.run);
  filters[thread - runs * fours] = four_of(row < g.window_height ? from : nullptr, first + in_run,
                                           static_cast<int>(length));
}
KERNEL(conv_fold)

/// dw is the sum over slices of folded filters: an element a thread.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv_unfold(Geometry g, const float* slices, unsigned count, float* dw) {
  const Folded f = folded(g);
  const unsigned row_length = g.window_width * g.channels, length = g.window_height * row_length;
  const unsigned n = g.filters * length, element = static_cast<unsigned>(thread_number());
  if (element >= n) return;
  const unsigned filter = element / length, row = element % length / row_length;
  const unsigned in_row = element % row_length, taps = f.down * f.across;
  const unsigned tap = row / g.stride * f.across + in_row / f.run;
  const u64 of_filter = static_cast<u64>(taps) * g.stride * f.run;
  const u64 at = (static_cast<u64>(tap) * g.stride + row % g.stride) * f.run + in_row % f.run;
  float sum = 0.0f;
  for (unsigned slice = 0; slice < count; slice++)
    sum += slices[(static_cast<u64>(slice) * g.filters + filter) * of_filter + at];
  dw[element] = flushed(sum);
}
KERNEL(conv_unfold)
