// The fully connected layer: three products of plain matrices (product.cuh).
//
//   linear_forward            y  = x w^T + b   images x outputs, over inputs    both along k
//   linear_backward_input     dx = dy w        images x inputs, over outputs    dy along, w across
//   linear_backward_weights   dw = dy^T x      outputs x inputs, over images    both across; db too
//
// In f32, or with operands rounded to tf32 (tensor_cores.cuh) or bf16 (bf16.cuh) where a name ends
// so.
//
// On paper, fc6 of AlexNet (9216 inputs, 4096 outputs) and 128 images: 9.66 GFLOP a pass, 160 us at
// 60 TFLOP/s. It reads or writes w's 151 MB once, 35 us at 4.3 TB/s, and the rest is 7 MB: the
// arithmetic is the floor, until there are fewer than about 30 images. Forward has 32 tiles of
// 128 x 128 and takes 8 slices of k, 256 blocks; their sums are 17 MB written and read, 8 us. dx:
// 72 tiles, 3 slices. dw: 2304 tiles, one slice. At most 128 registers and 47 KB a block: two
// blocks, 16 warps, on a multiprocessor.
#include "product.cuh"

/// C is rows x columns. A block's slice of k has `slice` of `depth`.
struct Sizes {
  unsigned rows, columns, depth, slice, tiles_across;
  unsigned wide_a, wide_b, relu;
};

/// Bias and ReLU are for products of one slice; of several, each slice has a C of its own.
template <class Arithmetic, int ROWS, int COLUMNS, bool A_ALONG, bool B_ALONG, bool WITH_ROW_SUMS>
__device__ __forceinline__ void multiply(const Sizes& s, const float* a, const float* b,
                                         const float* bias, float* c, float* row_sums) {
  const u64 slice = blockIdx.y;
  const unsigned k = blockIdx.y * s.slice;
  const Part part = {blockIdx.x / s.tiles_across * ROWS, blockIdx.x % s.tiles_across * COLUMNS, k,
                     min(k + s.slice, s.depth)};
  const Matrix<A_ALONG> left = {a, {s.rows, A_ALONG ? s.depth : 1},
                                {s.depth, A_ALONG ? 1 : s.rows}, 1, 1, s.wide_a};
  const Matrix<B_ALONG> right = {b, {s.columns, B_ALONG ? s.depth : 1},
                                 {s.depth, B_ALONG ? 1 : s.columns}, 1, 1, s.wide_b};
  const Plain out = {c + slice * s.rows * s.columns, s.rows, s.columns, s.columns, bias, s.relu,
                     row_sums + slice * s.rows};
  product<Arithmetic, ROWS, COLUMNS, WITH_ROW_SUMS>(left, right, out, part);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_forward(Sizes s, const float* x, const float* w, const float* b, float* y) {
  multiply<F32, 128, 128, true, true, false>(s, x, w, b, y, y);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_forward_small(Sizes s, const float* x, const float* w, const float* b, float* y) {
  multiply<F32, 64, 64, true, true, false>(s, x, w, b, y, y);
}
KERNEL(linear_forward)
KERNEL(linear_forward_small)
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_forward_tf32(Sizes s, const float* x, const float* w, const float* b, float* y) {
  multiply<Tf32, 128, 128, true, true, false>(s, x, w, b, y, y);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_forward_small_tf32(Sizes s, const float* x, const float* w, const float* b, float* y) {
  multiply<Tf32, 64, 64, true, true, false>(s, x, w, b, y, y);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_forward_bf16(Sizes s, const float* x, const float* w, const float* b, float* y) {
  multiply<Bf16, 128, 128, true, true, false>(s, x, w, b, y, y);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_forward_small_bf16(Sizes s, const float* x, const float* w, const float* b, float* y) {
  multiply<Bf16, 64, 64, true, true, false>(s, x, w, b, y, y);
}
KERNEL(linear_forward_tf32)
KERNEL(linear_forward_small_tf32)
KERNEL(linear_forward_bf16)
KERNEL(linear_forward_small_bf16)

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_input(Sizes s, const float* dy, const float* w, float* dx) {
  multiply<F32, 128, 128, true, false, false>(s, dy, w, nullptr, dx, dx);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_input_small(Sizes s, const float* dy, const float* w, float* dx) {
  multiply<F32, 64, 64, true, false, false>(s, dy, w, nullptr, dx, dx);
}
KERNEL(linear_backward_input)
KERNEL(linear_backward_input_small)
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_input_tf32(Sizes s, const float* dy, const float* w, float* dx) {
  multiply<Tf32, 128, 128, true, false, false>(s, dy, w, nullptr, dx, dx);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_input_small_tf32(Sizes s, const float* dy, const float* w, float* dx) {
  multiply<Tf32, 64, 64, true, false, false>(s, dy, w, nullptr, dx, dx);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_input_bf16(Sizes s, const float* dy, const float* w, float* dx) {
  multiply<Bf16, 128, 128, true, false, false>(s, dy, w, nullptr, dx, dx);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_input_small_bf16(Sizes s, const float* dy, const float* w, float* dx) {
  multiply<Bf16, 64, 64, true, false, false>(s, dy, w, nullptr, dx, dx);
}
KERNEL(linear_backward_input_tf32)
KERNEL(linear_backward_input_small_tf32)
KERNEL(linear_backward_input_bf16)
KERNEL(linear_backward_input_small_bf16)

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_weights(Sizes s, const float* dy, const float* x, float* dw, float* db) {
  multiply<F32, 128, 128, false, false, true>(s, dy, x, nullptr, dw, db);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_weights_small(Sizes s, const float* dy, const float* x, float* dw, float* db) {
  multiply<F32, 64, 64, false, false, true>(s, dy, x, nullptr, dw, db);
}
KERNEL(linear_backward_weights)
KERNEL(linear_backward_weights_small)
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_weights_tf32(Sizes s, const float* dy, const float* x, float* dw, float* db) {
  multiply<Tf32, 128, 128, false, false, true>(s, dy, x, nullptr, dw, db);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_weights_small_tf32(Sizes s, const float* dy, const float* x, float* dw,
                                       float* db) {
  multiply<Tf32, 64, 64, false, false, true>(s, dy, x, nullptr, dw, db);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_weights_bf16(Sizes s, const float* dy, const float* x, float* dw, float* db) {
  multiply<Bf16, 128, 128, false, false, true>(s, dy, x, nullptr, dw, db);
}
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    linear_backward_weights_small_bf16(Sizes s, const float* dy, const float* x, float* dw,
                                       float* db) {
  multiply<Bf16, 64, 64, false, false, true>(s, dy, x, nullptr, dw, db);
}
KERNEL(linear_backward_weights_tf32)
KERNEL(linear_backward_weights_small_tf32)
KERNEL(linear_backward_weights_bf16)
KERNEL(linear_backward_weights_small_bf16)

extern "C" __global__ void __launch_bounds__(THREADS)
    linear_sum(const float* slices, unsigned count, unsigned columns, unsigned relu,
               const float* bias, float* c, u64 n) {
  add_slices(slices, count, columns, relu, bias, c, n);
}
KERNEL(linear_sum)
