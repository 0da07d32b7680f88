// x[n][i][j][c] = (pixels[n][i][j'][c] - mean[top + i][left + j'][c]) gain[n][c] + shift[n][c].
// Four successive numbers a thread: 16 bytes are written at once, and bytes are read next to each
// other, forwards or backwards. The first one's place is divided out, the others' follow.
#include "kernel.cuh"

constexpr unsigned CHANNELS = 3;

struct Geometry {
  unsigned height, width;            // of a crop
  unsigned mean_height, mean_width;  // of the mean image; zero: one colour
};

/// a / b, in 32 bits if `narrow`: several times as fast as in 64.
__device__ __forceinline__ u64 quotient(u64 a, unsigned b, bool narrow) {
  return narrow ? static_cast<unsigned>(a) / b : a / b;
}

// A crop outside the mean image, which the host refuses where it can see it, gives NaN.
extern "C" __global__ void __launch_bounds__(THREADS)
    preprocess_forward(Geometry g, const unsigned char* pixels, const unsigned* views,
                       const float* tints, const float* mean, float* x, u64 n) {
  const u64 begin = 4 * thread_number();
  if (begin >= n) return;
  const bool narrow = n >> 32 == 0;
  const unsigned row = g.width * CHANNELS;
  u64 line = quotient(begin, row, narrow);
  unsigned within = static_cast<unsigned>(begin - line * row);
  unsigned image = static_cast<unsigned>(quotient(line, g.height, narrow));
  unsigned i = static_cast<unsigned>(line - u64(image) * g.height);
  float out[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (unsigned k = 0; k < 4 && begin + k < n; k++) {
    const unsigned j = within / CHANNELS, c = within - j * CHANNELS;
    const unsigned top = views[3 * image], left = views[3 * image + 1];
    const unsigned from = views[3 * image + 2] ? g.width - 1 - j : j;
    float average;
    if (g.mean_width == 0) {
      average = mean[c];
    } else if (top + g.height <= g.mean_height && left + g.width <= g.mean_width) {
      average = mean[(u64(top + i) * g.mean_width + left + from) * CHANNELS + c];
    } else {
      average = __uint_as_float(0x7fc00000u);
    }
    const float pixel = pixels[line * row + from * CHANNELS + c];
    const float* tint = tints + 2 * CHANNELS * image + c;
    out[k] = (pixel - average) * tint[0] + tint[CHANNELS];
    if (++within == row) {
      within = 0, line++;
      if (++i == g.height) i = 0, image++;
    }
  }
  store4(x, begin, n, make_float4(out[0], out[1], out[2], out[3]));
}
KERNEL(preprocess_forward)
