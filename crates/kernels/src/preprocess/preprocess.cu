// x[n][i][j][c] = (pixels[n][i][j'][c] - mean[top + i][left + j'][c]) gain[n][c] + shift[n][c].
// Four numbers of a row a thread: 16 bytes are written at once, and bytes are read next to each
// other, forwards or backwards.
#include "kernel.cuh"

constexpr unsigned CHANNELS = 3;

struct Geometry {
  unsigned height, width;            // of a crop
  unsigned mean_height, mean_width;  // of the mean image; zero: one colour
};

// A crop outside the mean image, which the host refuses where it can see it, gives NaN.
extern "C" __global__ void __launch_bounds__(THREADS)
    preprocess_forward(Geometry g, const unsigned char* pixels, const unsigned* views,
                       const float* tints, const float* mean, float* x, u64 n) {
  const u64 begin = 4 * thread_number();
  if (begin >= n) return;
  float out[4];
  for (unsigned k = 0; k < 4; k++) {
    const u64 at = begin + k;
    out[k] = 0.0f;
    if (at >= n) break;
    const unsigned row = g.width * CHANNELS;
    const u64 line = at / row;
    const unsigned within = static_cast<unsigned>(at - line * row);
    const unsigned image = static_cast<unsigned>(line / g.height);
    const unsigned i = static_cast<unsigned>(line - u64(image) * g.height);
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
    out[k] = (pixel - average) * tints[2 * CHANNELS * image + c] + tints[2 * CHANNELS * image + CHANNELS + c];
  }
  store4(x, begin, n, make_float4(out[0], out[1], out[2], out[3]));
}
KERNEL(preprocess_forward)
