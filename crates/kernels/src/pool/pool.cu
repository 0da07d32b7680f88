// Max and average pooling. A thread makes four channels of a pixel: of y forward, of dx backward,
// where it gathers from the windows that see it, row by row: no atomics, one order.
#include "kernel.cuh"
#include "pool.cuh"

/// Where a thread works: four channels of a pixel of a map.
struct Place {
  unsigned row, column, channel;
  u64 image;
  bool inside;
};
__device__ __forceinline__ Place place(unsigned height, unsigned width, unsigned channels,
                                       unsigned n) {
  const unsigned groups = (channels + 3) / 4;
  const u64 thread = thread_number();
  const unsigned number = static_cast<unsigned>(thread);  // of 32 bits, which divide faster
  const unsigned pixel = number / groups, line = pixel / width, image = line / height;
  return {line - image * height, pixel - line * width, 4 * (number - pixel * groups), image,
          thread < n};
}

template <bool max>
__device__ void forward(const Pooling& g, const float* x, float* y, unsigned n) {
  const Place o = place(g.out_height, g.out_width, g.channels, n);
  if (!o.inside) return;
  const float start = max ? __uint_as_float(0xff800000u) : 0.0f;  // minus infinity
  Four result = {{start, start, start, start}};
  unsigned seen = 0;
  for (unsigned i = first_seen(g, o.row); i < end_seen(g, o.row, g.height); i++) {
    for (unsigned j = first_seen(g, o.column); j < end_seen(g, o.column, g.width); j++) {
      const Four v = load(x, (o.image * g.height + i) * g.width + j, o.channel, g.channels);
      for (int k = 0; k < 4; k++)
        result.at[k] = max ? greater(v.at[k], result.at[k]) : result.at[k] + v.at[k];
      seen++;
    }
  }
  if (!max)
    for (int k = 0; k < 4; k++) result.at[k] /= static_cast<float>(seen);
  store(y, (o.image * g.out_height + o.row) * g.out_width + o.column, o.channel, g.channels,
        result);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    pool_max_forward(Pooling g, const float* x, float* y, unsigned n) {
  forward<true>(g, x, y, n);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    pool_average_forward(Pooling g, const float* x, float* y, unsigned n) {
  forward<false>(g, x, y, n);
}

/// Which of a window's pixels before (row, column), in reading order, equal its maximum. No index
/// is stored, because a window is small and lies in the cache.
__device__ void silence_later(const Pooling& g, const Place& p, unsigned out_row,
                              unsigned out_column, const float* x, const Four& y, bool* receives) {
  for (unsigned i = first_seen(g, out_row); i <= p.row; i++) {
    for (unsigned j = first_seen(g, out_column); j < end_seen(g, out_column, g.width); j++) {
      if (i == p.row && j >= p.column) return;
      const Four v = load(x, (p.image * g.height + i) * g.width + j, p.channel, g.channels);
      for (int k = 0; k < 4; k++) receives[k] &= v.at[k] != y.at[k];
    }
  }
}

// dx may be x, unless only the first of equals receives: each thread reads what it writes, and no
// other x.
extern "C" __global__ void __launch_bounds__(THREADS)
    pool_max_backward(Pooling g, unsigned first_only, unsigned relu, const float* x,
                      const float* y, const float* dy, float* dx, unsigned n) {
  const Place p = place(g.height, g.width, g.channels, n);
  if (!p.inside) return;
  const u64 pixel = (p.image * g.height + p.row) * g.width + p.column;
  const Four own = load(x, pixel, p.channel, g.channels);
  Four sum = {{0.0f, 0.0f, 0.0f, 0.0f}};
  for (unsigned i = first_seeing(g, p.row); i < end_seeing(g, p.row, g.out_height); i++) {
    for (unsigned j = first_seeing(g, p.column); j < end_seeing(g, p.column, g.out_width); j++) {
      const u64 out = (p.image * g.out_height + i) * g.out_width + j;
      const Four greatest = load(y, out, p.channel, g.channels);
      bool receives[4];
      for (int k = 0; k < 4; k++) receives[k] = own.at[k] == greatest.at[k];
      if (first_only && (receives[0] || receives[1] || receives[2] || receives[3]))
        silence_later(g, p, i, j, x, greatest, receives);
      const Four d = load(dy, out, p.channel, g.channels);
      for (int k = 0; k < 4; k++)
        if (receives[k]) sum.at[k] += d.at[k];
    }
  }
  if (relu) mask_by_relu(own, sum);
  store(dx, pixel, p.channel, g.channels, sum);
}

// dx may be x, which is read for the mask alone.
extern "C" __global__ void __launch_bounds__(THREADS)
    pool_average_backward(Pooling g, unsigned relu, const float* x, const float* dy, float* dx,
                          unsigned n) {
  const Place p = place(g.height, g.width, g.channels, n);
  if (!p.inside) return;
  Four sum = {{0.0f, 0.0f, 0.0f, 0.0f}};
  for (unsigned i = first_seeing(g, p.row); i < end_seeing(g, p.row, g.out_height); i++) {
    const unsigned rows = end_seen(g, i, g.height) - first_seen(g, i);
    for (unsigned j = first_seeing(g, p.column); j < end_seeing(g, p.column, g.out_width); j++) {
      const unsigned columns = end_seen(g, j, g.width) - first_seen(g, j);
      const u64 out = (p.image * g.out_height + i) * g.out_width + j;
      const Four d = load(dy, out, p.channel, g.channels);
      for (int k = 0; k < 4; k++) sum.at[k] += d.at[k] / static_cast<float>(rows * columns);
    }
  }
  const u64 pixel = (p.image * g.height + p.row) * g.width + p.column;
  if (relu) mask_by_relu(load(x, pixel, p.channel, g.channels), sum);
  store(dx, pixel, p.channel, g.channels, sum);
}

KERNEL(pool_max_forward)
KERNEL(pool_average_forward)
KERNEL(pool_max_backward)
KERNEL(pool_average_backward)
