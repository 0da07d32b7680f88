// Softmax, loss, errors and gradient. A block a row, which is read from memory once and then twice
// more from the first cache; a second launch of one block adds up what the rows found, in order.
// The floor is memory, 8 bytes a score: 1.0 MB at 128 images of 1000 classes, half a microsecond on
// an H200. That is less than the two launches take.
#include "kernel.cuh"
#include "reduce.cuh"

constexpr int ROW_THREADS = 128;  // 1000 scores are two rounds of four a thread
constexpr unsigned IGNORED = 0xffffffffu;

/// Calls work(i, score i) for the scores of a row that are this thread's, four next to each other.
template <class Work>
__device__ __forceinline__ void each_score(const float* x, unsigned classes, Work work) {
  for (unsigned i = 4 * threadIdx.x; i < classes; i += 4 * ROW_THREADS) {
    const float4 v = load4(x, i, classes);
    work(i, v.x);
    if (i + 1 < classes) work(i + 1, v.y);
    if (i + 2 < classes) work(i + 2, v.z);
    if (i + 3 < classes) work(i + 3, v.w);
  }
}

/// One minus the credit of `k` guesses, for a label with `above` better scores and `equal` of its
/// own, itself included.
__device__ __forceinline__ float top_error(double above, double equal, double k) {
  if (above > k || equal == 0.0) return 1.0f;
  return static_cast<float>(1.0 - fmin((k - above) / equal, 1.0));
}

// The row of image blockIdx.x. In `tally` it fills the row of four floats after those of the images
// before. A label that names no class has a loss of NaN.
template <bool gradient>
__device__ void row(unsigned images, unsigned classes, const float* logits, const unsigned* labels,
                    float* written, float* tally) {
  const unsigned image = blockIdx.x;
  const float* x = logits + u64(image) * classes;
  float* out = written + u64(image) * classes;
  const unsigned label = labels[image];
  const bool counts = label != IGNORED;
  const float own = label < classes ? x[label] : __uint_as_float(0x7fc00000u);

  float greatest = __uint_as_float(0xff800000u);  // minus infinity
  each_score(x, classes, [&](unsigned, float v) { greatest = v > greatest ? v : greatest; });
  const float max = block_max(greatest);

  double found[4] = {0.0, 0.0, 0.0, 0.0};  // exponentials, scores above, equal, labels that count
  each_score(x, classes, [&](unsigned, float v) {
    found[0] += static_cast<double>(expf(v - max));
    found[1] += v > own || v != v ? 1.0 : 0.0;
    found[2] += v == own ? 1.0 : 0.0;
  });
  if (gradient)
    for (unsigned i = threadIdx.x; i < images; i += ROW_THREADS)
      found[3] += labels[i] != IGNORED ? 1.0 : 0.0;
  block_sums(found);

  const double sum = found[0], share = gradient ? 1.0 / fmax(found[3], 1.0) : 1.0;
  const float scale = static_cast<float>(share / sum);
  for (unsigned i = 4 * threadIdx.x; i < classes; i += 4 * ROW_THREADS) {
    const float4 v = load4(x, i, classes);
    float y[4] = {v.x, v.y, v.z, v.w};
    for (unsigned k = 0; k < 4; k++) {
      const float power = expf(y[k] - max);
      y[k] = power * scale;
      // In f64, because one minus a probability near one has few bits left in f32.
      if (gradient && i + k == label)
        y[k] = static_cast<float>((static_cast<double>(power) / sum - 1.0) * share);
      if (gradient && !counts) y[k] = 0.0f;
    }
    store4(out, i, classes, make_float4(y[0], y[1], y[2], y[3]));
  }
  if (threadIdx.x == 0) {
    const double loss = log(sum) - static_cast<double>(own - max);
    float4 own_row = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (counts)
      own_row = make_float4(static_cast<float>(loss), top_error(found[1], found[2], 1.0),
                            top_error(found[1], found[2], 5.0), 1.0f);
    store4(tally + 4 * (u64(image) + 1), 0, 4, own_row);
  }
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    softmax_loss_gradient(unsigned images, unsigned classes, const float* logits,
                          const unsigned* labels, float* dlogits, float* tally) {
  row<true>(images, classes, logits, labels, dlogits, tally);
}
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    softmax_loss_probabilities(unsigned images, unsigned classes, const float* logits,
                               const unsigned* labels, float* probabilities, float* tally) {
  row<false>(images, classes, logits, labels, probabilities, tally);
}

// As the gradient above, with a target for each class; the label is that of the errors.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    softmax_loss_dense_gradient(unsigned images, unsigned classes, const float* logits,
                                const unsigned* labels, const float* targets, float* dlogits,
                                float* tally) {
  const unsigned image = blockIdx.x;
  const float* x = logits + u64(image) * classes;
  const float* t = targets + u64(image) * classes;
  float* out = dlogits + u64(image) * classes;
  const unsigned label = labels[image];
  const bool counts = label != IGNORED;
  const float own = label < classes ? x[label] : __uint_as_float(0x7fc00000u);

  float greatest = __uint_as_float(0xff800000u);  // minus infinity
  each_score(x, classes, [&](unsigned, float v) { greatest = v > greatest ? v : greatest; });
  const float max = block_max(greatest);

  // Exponentials, scores above, equal, labels that count, targets, targets times scores.
  double found[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
  each_score(x, classes, [&](unsigned i, float v) {
    found[0] += static_cast<double>(expf(v - max));
    found[1] += v > own || v != v ? 1.0 : 0.0;
    found[2] += v == own ? 1.0 : 0.0;
    found[4] += static_cast<double>(t[i]);
    found[5] += static_cast<double>(t[i]) * static_cast<double>(v - max);
  });
  for (unsigned i = threadIdx.x; i < images; i += ROW_THREADS)
    found[3] += labels[i] != IGNORED ? 1.0 : 0.0;
  block_sums(found);

  const double sum = found[0], share = 1.0 / fmax(found[3], 1.0);
  for (unsigned i = 4 * threadIdx.x; i < classes; i += 4 * ROW_THREADS) {
    const float4 v = load4(x, i, classes), w = load4(t, i, classes);
    float y[4] = {v.x, v.y, v.z, v.w};
    const float target[4] = {w.x, w.y, w.z, w.w};
    for (unsigned k = 0; k < 4; k++) {
      // In f64, because the difference of a probability and a target may have few bits left.
      const double p = static_cast<double>(expf(y[k] - max)) / sum;
      y[k] = static_cast<float>((p * found[4] - static_cast<double>(target[k])) * share);
      if (!counts) y[k] = 0.0f;
    }
    store4(out, i, classes, make_float4(y[0], y[1], y[2], y[3]));
  }
  if (threadIdx.x == 0) {
    // A label that names no class has a loss of NaN.
    const double loss = found[4] * log(sum) - found[5] + 0.0 * static_cast<double>(own);
    float4 own_row = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (counts)
      own_row = make_float4(static_cast<float>(loss), top_error(found[1], found[2], 1.0),
                            top_error(found[1], found[2], 5.0), 1.0f);
    store4(tally + 4 * (u64(image) + 1), 0, 4, own_row);
  }
}

// The first row of the tally from the others. One block.
extern "C" __global__ void __launch_bounds__(THREADS)
    softmax_loss_tally(unsigned images, float* tally) {
  double sums[4] = {0.0, 0.0, 0.0, 0.0};
  for (unsigned image = threadIdx.x; image < images; image += THREADS) {
    const float4 v = load4(tally + 4 * (u64(image) + 1), 0, 4);
    sums[0] += static_cast<double>(v.x);
    sums[1] += static_cast<double>(v.y);
    sums[2] += static_cast<double>(v.z);
    sums[3] += static_cast<double>(v.w);
  }
  block_sums(sums);
  if (threadIdx.x == 0)
    store4(tally, 0, 4,
           make_float4(static_cast<float>(sums[0]), static_cast<float>(sums[1]),
                       static_cast<float>(sums[2]), static_cast<float>(sums[3])));
}

KERNEL(softmax_loss_gradient)
KERNEL(softmax_loss_probabilities)
KERNEL(softmax_loss_dense_gradient)
KERNEL(softmax_loss_tally)
