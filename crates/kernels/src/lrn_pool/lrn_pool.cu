// max(lrn(x)) and its gradient, over x: the normalised map and its gradient never meet memory. The
// floor is memory: x in and y out forward, x, y and dy in and dx out backward. With norm1 and norm2
// of the paper at 128 images, 61 M numbers of x and 14 M of y, that is 0.30 and 0.60 GB, 70 and 140
// us on an H200. Forward normalises a number in 1.2 blocks, as their windows overlap.
#include "kernel.cuh"
#include "lrn.cuh"
#include "pool.cuh"

// A block's tile of y: a thread has four channels of a pixel.
constexpr unsigned LANES = 8, TILE_ROWS = 4, TILE_COLUMNS = THREADS / (LANES * TILE_ROWS);
// Pixels that are normalised at a time: nine by seventeen are what windows of three at every second
// pixel see of a tile.
constexpr unsigned HELD = 192;

/// The sums of squares of a thread's four channels of x, whose neighbours lie in memory.
__device__ __forceinline__ float4 normalized(const Formula& f, const Towers& towers,
                                             const float* x, u64 tower, unsigned group) {
  float sums[4], scales[4], inverses[4];
  float4 own;
  if (f.below + f.above + 1 <= NARROW) {
    const Around v = load_around(towers, x, tower, group);
    each_window(v, f.below, f.above, sums, AddSquare{});
    own = make_float4(v.at[4], v.at[5], v.at[6], v.at[7]);
  } else {
    each_wide_window(x + tower * towers.channels, towers.channels, 4 * group, f.below, f.above,
                     sums, AddSquare{});
    own = load_group(towers, x, tower, group);
  }
  powers_of_sums(f, sums, scales, inverses);
  return make_float4(flushed(own.x * scales[0]), flushed(own.y * scales[1]),
                     flushed(own.z * scales[2]), flushed(own.w * scales[3]));
}

/// From the first to before the end.
struct Range { unsigned first, end; };

// `n` towers a pixel.
extern "C" __global__ void __launch_bounds__(THREADS, 4)
    lrn_pool_forward(Formula f, Towers towers, unsigned n, Pooling g, const float* x, float* y) {
  SHARED(float4, normal, [HELD][LANES]);
  const unsigned strips = (n * towers.groups + LANES - 1) / LANES;
  const unsigned tile_columns = (g.out_width + TILE_COLUMNS - 1) / TILE_COLUMNS;
  const unsigned tile_rows = (g.out_height + TILE_ROWS - 1) / TILE_ROWS;
  const unsigned tile = blockIdx.x / strips, line = tile / tile_columns;
  const unsigned strip = blockIdx.x - tile * strips;
  const unsigned left = (tile - line * tile_columns) * TILE_COLUMNS;
  const unsigned image = line / tile_rows, top = (line - image * tile_rows) * TILE_ROWS;

  const unsigned lane = threadIdx.x % LANES, worker = threadIdx.x / LANES;
  const unsigned tower = (strip * LANES + lane) / towers.groups;
  const unsigned group = strip * LANES + lane - tower * towers.groups;
  const unsigned row = top + worker / TILE_COLUMNS, column = left + worker % TILE_COLUMNS;
  const bool has_channels = tower < n;
  const bool has_pixel = has_channels && row < g.out_height && column < g.out_width;

  // What the tile sees, and what this thread's window does.
  const unsigned last_row = min(top + TILE_ROWS, g.out_height) - 1;
  const unsigned last_column = min(left + TILE_COLUMNS, g.out_width) - 1;
  const Range rows = {first_seen(g, top), end_seen(g, last_row, g.height)};
  const Range columns = {first_seen(g, left), end_seen(g, last_column, g.width)};
  const Range own_rows = {first_seen(g, row), end_seen(g, row, g.height)};
  const Range own_columns = {first_seen(g, column), end_seen(g, column, g.width)};
  const unsigned wide = min(columns.end - columns.first, HELD), high = HELD / wide;

  const float least = __uint_as_float(0xff800000u);  // minus infinity
  Four greatest = {{least, least, least, least}};
  for (unsigned i0 = rows.first; i0 < rows.end; i0 += high) {
    for (unsigned j0 = columns.first; j0 < columns.end; j0 += wide) {
      const unsigned i1 = min(i0 + high, rows.end), j1 = min(j0 + wide, columns.end);
      __syncthreads();  // what was held has been compared
      unsigned i = i0, j = j0 + worker;
#pragma unroll 1
      for (unsigned at = worker; has_channels; at += THREADS / LANES, j += THREADS / LANES) {
        for (; j >= j1 && i < i1; j -= j1 - j0) i++;
        if (i >= i1) break;
        const u64 pixel = (u64(image) * g.height + i) * g.width + j;
        normal[at][lane] = normalized(f, towers, x, pixel * n + tower, group);
      }
      __syncthreads();
      if (!has_pixel) continue;
#pragma unroll 1
      for (i = max(i0, own_rows.first); i < min(i1, own_rows.end); i++) {
        for (j = max(j0, own_columns.first); j < min(j1, own_columns.end); j++) {
          const float4 v = normal[(i - i0) * (j1 - j0) + j - j0][lane];
          greatest.at[0] = greater(v.x, greatest.at[0]);
          greatest.at[1] = greater(v.y, greatest.at[1]);
          greatest.at[2] = greater(v.z, greatest.at[2]);
          greatest.at[3] = greater(v.w, greatest.at[3]);
        }
      }
    }
  }
  if (!has_pixel) return;
  const u64 pixel = (u64(image) * g.out_height + row) * g.out_width + column;
  store(y + (pixel * n + tower) * towers.channels, 0, 4 * group, towers.channels, greatest);
}

/// The windows that see a tower's pixel.
struct Seers {
  Range rows, columns;
  u64 image;       // its number
  unsigned tower;  // of the pixel's
};

__device__ __forceinline__ Seers seers_of(const Pooling& g, unsigned n, unsigned tower) {
  const unsigned pixel = tower / n, line = pixel / g.width, image = line / g.height;
  const unsigned row = line - image * g.height, column = pixel - line * g.width;
  return {{first_seeing(g, row), end_seeing(g, row, g.out_height)},
          {first_seeing(g, column), end_seeing(g, column, g.out_width)},
          image,
          tower - pixel * n};
}

// A block has whole towers of pixels, so that it may write over x: a thread reads its own four
// channels and gets its neighbours' through shared memory. `n` towers a pixel, `all` in all.
extern "C" __global__ void __launch_bounds__(THREADS, 4)
    lrn_pool_backward(Formula f, Towers towers, unsigned n, unsigned all, Pooling g,
                      unsigned relu, const float* y, const float* dy, float* x) {
  SHARED(float4, xs, [THREADS]);
  SHARED(float4, terms, [THREADS]);
  SHARED(Seers, seers, [THREADS]);
  const unsigned thread = threadIdx.x, held = THREADS / towers.groups;
  const unsigned local = thread / towers.groups, group = thread - local * towers.groups;
  const unsigned number = blockIdx.x * held + local;
  const bool inside = local < held && number < all;
  const float4 zeros = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  const float4 own = inside ? load_group(towers, x, number, group) : zeros;
  const unsigned begin = thread - group;  // of the tower, in shared memory
  const bool has_before = group > 0, has_after = inside && group + 1 < towers.groups;
  const bool narrow = f.below + f.above + 1 <= NARROW;

  xs[thread] = own;
  if (inside && group == 0) seers[local] = seers_of(g, n, number);
  __syncthreads();
  float sums[4], scales[4], inverses[4];
  if (narrow) {
    const Around v =
        around(has_before ? xs[thread - 1] : zeros, own, has_after ? xs[thread + 1] : zeros);
    each_window(v, f.below, f.above, sums, AddSquare{});
  } else if (inside) {
    each_wide_window(&xs[begin].x, towers.channels, 4 * group, f.below, f.above, sums,
                     AddSquare{});
  }
  const Four v = {{own.x, own.y, own.z, own.w}};
  Four scaled = {{0.0f, 0.0f, 0.0f, 0.0f}};
  if (inside) {
    powers_of_sums(f, sums, scales, inverses);
    const Seers s = seers[local];
#pragma unroll 1
    for (unsigned i = s.rows.first; i < s.rows.end; i++) {
#pragma unroll 1
      for (unsigned j = s.columns.first; j < s.columns.end; j++) {
        const u64 pixel = (s.image * g.out_height + i) * g.out_width + j;
        const u64 at = (pixel * n + s.tower) * towers.channels;
        const Four greatest = load(y + at, 0, 4 * group, towers.channels);
        const Four d = load(dy + at, 0, 4 * group, towers.channels);
        for (int k = 0; k < 4; k++)
          if (flushed(v.at[k] * scales[k]) == greatest.at[k]) scaled.at[k] += d.at[k];
      }
    }
    for (int k = 0; k < 4; k++) {
      scaled.at[k] = flushed(scaled.at[k]) * scales[k];
      sums[k] = term(scaled.at[k], inverses[k], v.at[k]);
    }
    terms[thread] = make_float4(sums[0], sums[1], sums[2], sums[3]);
  }
  __syncthreads();
  if (!inside) return;
  if (narrow) {
    const Around t = around(has_before ? terms[thread - 1] : zeros, terms[thread],
                            has_after ? terms[thread + 1] : zeros);
    each_window(t, f.above, f.below, sums, AddTerm{});
  } else {
    each_wide_window(&terms[begin].x, towers.channels, 4 * group, f.above, f.below, sums,
                     AddTerm{});
  }
  Four dx;
  for (int k = 0; k < 4; k++) dx.at[k] = gradient(f, scaled.at[k], v.at[k], sums[k]);
  if (relu) mask_by_relu(v, dx);
  store(x + u64(number) * towers.channels, 0, 4 * group, towers.channels, dx);
}

KERNEL(lrn_pool_forward)
KERNEL(lrn_pool_backward)
