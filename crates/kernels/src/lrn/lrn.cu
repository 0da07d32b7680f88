// Local response normalisation. A thread makes four channels of a pixel. Memory is the floor: x in,
// y out forward, x and dy in, dx out backward, which computes the brackets again. With norm1 and
// norm2 of the paper at 128 images, 61 M numbers: 0.49 and 0.73 GB, 113 and 170 us on an H200, and
// about 40 instructions a number, half of that time.
#include "kernel.cuh"
#include "lrn.cuh"

// Windows across channels, NARROW at most. A tower's channels lie next to each other, and towers
// follow each other: an operand is a sequence of `n` groups of four.
extern "C" __global__ void __launch_bounds__(THREADS)
    lrn_across_forward(Formula f, Towers towers, const float* x, float* y, unsigned n) {
  const u64 number = thread_number();
  if (number >= n) return;
  const unsigned tower = static_cast<unsigned>(number) / towers.groups;
  const unsigned group = static_cast<unsigned>(number) - tower * towers.groups;
  const Around v = load_around(towers, x, tower, group);
  float sums[4], out[4], inverse;
  each_window(v, f.below, f.above, sums, AddSquare{});
  for (int k = 0; k < 4; k++) {
    powers_of_sum(f, sums[k], out[k], inverse);
    out[k] *= v.at[4 + k];
  }
  store4(y + u64(tower) * towers.channels, 4 * group, towers.channels,
         make_float4(out[0], out[1], out[2], out[3]));
}

// Neighbouring threads give each other x, then the terms. The first two and the last two threads of
// a block only help: their groups are others' to write.
constexpr unsigned HELP = 2;

extern "C" __global__ void __launch_bounds__(THREADS)
    lrn_across_backward(Formula f, Towers towers, const float* x, const float* dy, float* dx,
                        unsigned n) {
  SHARED(float4, xs, [THREADS]);
  SHARED(float4, terms, [THREADS]);
  const unsigned thread = threadIdx.x;
  // Before the first group it wraps around, past the last.
  const unsigned number = blockIdx.x * (THREADS - 2 * HELP) + thread - HELP;
  const bool inside = number < n;
  const unsigned tower = inside ? number / towers.groups : 0;
  const unsigned group = inside ? number - tower * towers.groups : towers.groups;
  const float4 own = load_group(towers, x, tower, group);
  const float4 d = load_group(towers, dy, tower, group);
  const bool has_before = group > 0 && thread > 0;
  const bool has_after = group + 1 < towers.groups && thread + 1 < THREADS;
  const float4 zeros = make_float4(0.0f, 0.0f, 0.0f, 0.0f);

  xs[thread] = own;
  __syncthreads();
  const Around v = around(has_before ? xs[thread - 1] : zeros, own,
                          has_after ? xs[thread + 1] : zeros);
  float sums[4], scaled[4] = {d.x, d.y, d.z, d.w}, own_terms[4];
  each_window(v, f.below, f.above, sums, AddSquare{});
  for (int k = 0; k < 4; k++) {
    float scale, inverse;
    powers_of_sum(f, sums[k], scale, inverse);
    scaled[k] *= scale;
    own_terms[k] = term(scaled[k], inverse, v.at[4 + k]);
  }
  const float4 mine = make_float4(own_terms[0], own_terms[1], own_terms[2], own_terms[3]);
  terms[thread] = mine;
  __syncthreads();
  const Around t = around(has_before ? terms[thread - 1] : zeros, mine,
                          has_after ? terms[thread + 1] : zeros);
  each_window(t, f.above, f.below, sums, AddTerm{});
  float out[4];
  for (int k = 0; k < 4; k++) out[k] = gradient(f, scaled[k], v.at[4 + k], sums[k]);
  if (inside && thread >= HELP && thread < THREADS - HELP)
    store4(dx + u64(tower) * towers.channels, 4 * group, towers.channels,
           make_float4(out[0], out[1], out[2], out[3]));
}

/// A map, and who sees whom: windows of rows and columns, or of the channels of a tower.
struct Map { unsigned height, width, channels, tower; };

/// Four channels of a pixel, which may lie outside: zeros then.
__device__ __forceinline__ float4 load_pixel(const Map& m, const float* a, unsigned image, int row,
                                             int column, unsigned channel) {
  if (row < 0 || column < 0 || row >= static_cast<int>(m.height) ||
      column >= static_cast<int>(m.width))
    return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  const u64 pixel = (u64(image) * m.height + row) * m.width + column;
  return load4(a + pixel * m.channels, channel, m.channels);
}

/// The sums of squares over the window of (row, column), row by row.
__device__ __forceinline__ void squares_within(const Formula& f, const Map& m, const float* x,
                                               unsigned image, int row, int column,
                                               unsigned channel, float (&sums)[4]) {
  for (int k = 0; k < 4; k++) sums[k] = 0.0f;
  const int below = static_cast<int>(f.below), above = static_cast<int>(f.above);
  for (int i = row - below; i <= row + above; i++)
    for (int j = column - below; j <= column + above; j++) {
      const float4 v = load_pixel(m, x, image, i, j, channel);
      sums[0] = fmaf(v.x, v.x, sums[0]);
      sums[1] = fmaf(v.y, v.y, sums[1]);
      sums[2] = fmaf(v.z, v.z, sums[2]);
      sums[3] = fmaf(v.w, v.w, sums[3]);
    }
}

// Windows in the map of a channel: a window's pixels are read from the first cache.
extern "C" __global__ void __launch_bounds__(THREADS)
    lrn_within_forward(Formula f, Map m, const float* x, float* y, unsigned n) {
  const u64 number = thread_number();
  if (number >= n) return;
  const unsigned groups = (m.channels + 3) / 4;
  const unsigned pixel = static_cast<unsigned>(number) / groups;
  const unsigned channel = 4 * (static_cast<unsigned>(number) - pixel * groups);
  const unsigned line = pixel / m.width, image = line / m.height;
  float sums[4], inverse;
  squares_within(f, m, x, image, static_cast<int>(line - image * m.height),
                 static_cast<int>(pixel - line * m.width), channel, sums);
  const float4 v = load4(x + u64(pixel) * m.channels, channel, m.channels);
  float out[4] = {v.x, v.y, v.z, v.w};
  for (int k = 0; k < 4; k++) {
    float scale;
    powers_of_sum(f, sums[k], scale, inverse);
    out[k] *= scale;
  }
  store4(y + u64(pixel) * m.channels, channel, m.channels,
         make_float4(out[0], out[1], out[2], out[3]));
}

// A tile of dx, and the pixels around it whose terms it needs.
constexpr int TILE_ROWS = 4, TILE_COLUMNS = 8, TILE_GROUPS = THREADS / (TILE_ROWS * TILE_COLUMNS);
constexpr int REACHED = (TILE_ROWS + NARROW - 1) * (TILE_COLUMNS + NARROW - 1);

// A block lays the terms that its tile needs into shared memory; then a thread makes four channels
// of a pixel of dx. Windows of NARROW x NARROW at most.
extern "C" __global__ void __launch_bounds__(THREADS, 4)
    lrn_within_backward(Formula f, Map m, const float* x, const float* dy, float* dx) {
  SHARED(float4, terms, [REACHED][TILE_GROUPS]);
  SHARED(float4, own_scaled, [TILE_ROWS * TILE_COLUMNS][TILE_GROUPS]);
  const int below = static_cast<int>(f.below), above = static_cast<int>(f.above);
  const int size = below + above + 1;
  const unsigned columns_of_tiles = (m.width + TILE_COLUMNS - 1) / TILE_COLUMNS;
  const unsigned rows_of_tiles = (m.height + TILE_ROWS - 1) / TILE_ROWS;
  const unsigned strips = (m.channels + 4 * TILE_GROUPS - 1) / (4 * TILE_GROUPS);
  unsigned block = blockIdx.x;
  const unsigned strip = block % strips;
  block /= strips;
  const int left = static_cast<int>(block % columns_of_tiles) * TILE_COLUMNS;
  block /= columns_of_tiles;
  const int top = static_cast<int>(block % rows_of_tiles) * TILE_ROWS;
  const unsigned image = block / rows_of_tiles;
  const unsigned lane = threadIdx.x % TILE_GROUPS;
  const unsigned channel = 4 * (strip * TILE_GROUPS + lane);
  const int first = static_cast<int>(threadIdx.x / TILE_GROUPS);

  // Pixels whose windows hold one of the tile's: from (top - above, left - above) on.
  const int columns = TILE_COLUMNS + size - 1, reached = (TILE_ROWS + size - 1) * columns;
  for (int at = first; at < reached; at += TILE_ROWS * TILE_COLUMNS) {
    const int i = at / columns - above, j = at % columns - above;
    const float4 v = load_pixel(m, x, image, top + i, left + j, channel);
    const float4 d = load_pixel(m, dy, image, top + i, left + j, channel);
    float sums[4], scaled[4] = {d.x, d.y, d.z, d.w}, own[4] = {v.x, v.y, v.z, v.w};
    squares_within(f, m, x, image, top + i, left + j, channel, sums);
    for (int k = 0; k < 4; k++) {
      float scale, inverse;
      powers_of_sum(f, sums[k], scale, inverse);
      scaled[k] *= scale;
      own[k] = term(scaled[k], inverse, own[k]);
    }
    terms[at][lane] = make_float4(own[0], own[1], own[2], own[3]);
    if (i >= 0 && i < TILE_ROWS && j >= 0 && j < TILE_COLUMNS)
      own_scaled[i * TILE_COLUMNS + j][lane] =
          make_float4(scaled[0], scaled[1], scaled[2], scaled[3]);
  }
  __syncthreads();

  const int i = first / TILE_COLUMNS, j = first % TILE_COLUMNS;
  if (top + i >= static_cast<int>(m.height) || left + j >= static_cast<int>(m.width)) return;
  float total[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int row = i; row < i + size; row++)
    for (int column = j; column < j + size; column++) {
      const float4 t = terms[row * columns + column][lane];
      total[0] += t.x;
      total[1] += t.y;
      total[2] += t.z;
      total[3] += t.w;
    }
  const float4 v = load_pixel(m, x, image, top + i, left + j, channel);
  const float4 s = own_scaled[first][lane];
  const u64 pixel = (u64(image) * m.height + top + i) * m.width + left + j;
  store4(dx + pixel * m.channels, channel, m.channels,
         make_float4(gradient(f, s.x, v.x, total[0]), gradient(f, s.y, v.y, total[1]),
                     gradient(f, s.z, v.z, total[2]), gradient(f, s.w, v.w, total[3])));
}

/// From the first to before the end.
struct Range { unsigned first, end; };
__device__ __forceinline__ Range reach(unsigned at, unsigned before, unsigned after, Range all) {
  return {at - all.first > before ? at - before : all.first, min(at + after + 1, all.end)};
}

/// A number of an image.
struct At { unsigned row, column, channel; };

/// Calls visit(number, its index in the image) for what lies in the window around `at`.
template <class Visit>
__device__ __forceinline__ void each_around(const Map& m, At at, unsigned before, unsigned after,
                                            Visit visit) {
  Range rows = {at.row, at.row + 1}, columns = {at.column, at.column + 1};
  Range channels = {at.channel, at.channel + 1};
  if (m.tower > 0) {
    const unsigned start = at.channel / m.tower * m.tower;
    channels = reach(at.channel, before, after, {start, start + m.tower});
  } else {
    rows = reach(at.row, before, after, {0, m.height});
    columns = reach(at.column, before, after, {0, m.width});
  }
#pragma unroll 1
  for (unsigned i = rows.first; i < rows.end; i++)
#pragma unroll 1
    for (unsigned j = columns.first; j < columns.end; j++)
#pragma unroll 1
      for (unsigned c = channels.first; c < channels.end; c++)
        visit(At{i, j, c}, (i * m.width + j) * m.channels + c);
}

__device__ __forceinline__ void powers_at(const Formula& f, const Map& m, const float* x, At at,
                                          float& scale, float& inverse) {
  float sum = 0.0f;
  each_around(m, at, f.below, f.above,
              [&](At, unsigned j) { sum = fmaf(x[j], x[j], sum); });
  powers_of_sum(f, sum, scale, inverse);
}

/// The number of a thread, and where its image begins.
__device__ __forceinline__ At at_thread(const Map& m, u64 number, u64& image) {
  const unsigned numbers = m.height * m.width * m.channels;
  image = number / numbers * numbers;
  const unsigned within = static_cast<unsigned>(number - image), pixel = within / m.channels;
  return {pixel / m.width, pixel % m.width, within - pixel * m.channels};
}

// Windows of any size, one element per thread: not optimised, as no known network has such windows.
extern "C" __global__ void __launch_bounds__(THREADS)
    lrn_wide_forward(Formula f, Map m, const float* x, float* y, u64 n) {
  const u64 number = thread_number();
  if (number >= n) return;
  u64 image;
  const At at = at_thread(m, number, image);
  float scale, inverse;
  powers_at(f, m, x + image, at, scale, inverse);
  y[number] = flushed(x[number] * scale);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
    lrn_wide_backward(Formula f, Map m, const float* x, const float* dy, float* dx, u64 n) {
  const u64 number = thread_number();
  if (number >= n) return;
  u64 image;
  const At at = at_thread(m, number, image);
  x += image;
  dy += image;
  float scaled = 0.0f, total = 0.0f;
  each_around(m, at, f.above, f.below, [&](At around, unsigned j) {
    float scale, inverse;
    powers_at(f, m, x, around, scale, inverse);
    const float scaled_there = dy[j] * scale;
    total = __fadd_rn(total, term(scaled_there, inverse, x[j]));
    if (image + j == number) scaled = scaled_there;
  });
  dx[number] = flushed(gradient(f, scaled, x[number - image], total));
}

KERNEL(lrn_across_forward)
KERNEL(lrn_across_backward)
KERNEL(lrn_within_forward)
KERNEL(lrn_within_backward)
KERNEL(lrn_wide_forward)
KERNEL(lrn_wide_backward)
