// v <- momentum v - rate (dw + decay w), w <- w + v, and the other rules of mod.rs. Four parameters a
// thread: 20 bytes each.
#include "kernel.cuh"
#include "segments.cuh"

template <bool PYTORCH, bool NESTEROV>
__device__ __forceinline__ void update(float rate, float momentum, float decay, float dw, float& w,
                                       float& v) {
  const float g = dw + decay * w;
  v = flushed(PYTORCH ? momentum * v + g : momentum * v - rate * g);
  if (PYTORCH)
    w -= rate * (NESTEROV ? g + momentum * v : v);
  else
    w += NESTEROV ? momentum * v - rate * g : v;
}

// A row of `rules` holds rate, momentum and decay; it is read when the step runs, so that a recorded
// step follows the schedule.
template <bool PYTORCH, bool NESTEROV>
__device__ __forceinline__ void step(const Segments& segments, const float* rules, const float* dw,
                                     float* w, float* v) {
  const Segment& segment = segment_of_block(segments);
  const u64 i = element_in(segment), n = segment.len;
  if (i >= n) return;
  dw += segment.start, w += segment.start, v += segment.start;
  const float* rule = rules + 3 * segment.row;
  const float rate = rule[0], momentum = rule[1], decay = rule[2];
  if (rate == 0.0f) return;  // frozen: the velocity stays, too
  const float4 d = load4(dw, i, n);
  float4 value = load4(w, i, n), velocity = load4(v, i, n);
  update<PYTORCH, NESTEROV>(rate, momentum, decay, d.x, value.x, velocity.x);
  update<PYTORCH, NESTEROV>(rate, momentum, decay, d.y, value.y, velocity.y);
  update<PYTORCH, NESTEROV>(rate, momentum, decay, d.z, value.z, velocity.z);
  update<PYTORCH, NESTEROV>(rate, momentum, decay, d.w, value.w, velocity.w);
  store4(v, i, n, velocity);
  store4(w, i, n, value);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    sgd_step(Segments segments, const float* rules, const float* dw, float* w, float* v) {
  step<false, false>(segments, rules, dw, w, v);
}
KERNEL(sgd_step)

extern "C" __global__ void __launch_bounds__(THREADS)
    sgd_step_nesterov(Segments segments, const float* rules, const float* dw, float* w, float* v) {
  step<false, true>(segments, rules, dw, w, v);
}
KERNEL(sgd_step_nesterov)

extern "C" __global__ void __launch_bounds__(THREADS)
    sgd_step_pytorch(Segments segments, const float* rules, const float* dw, float* w, float* v) {
  step<true, false>(segments, rules, dw, w, v);
}
KERNEL(sgd_step_pytorch)

extern "C" __global__ void __launch_bounds__(THREADS)
    sgd_step_pytorch_nesterov(Segments segments, const float* rules, const float* dw, float* w, float* v) {
  step<true, true>(segments, rules, dw, w, v);
}
KERNEL(sgd_step_pytorch_nesterov)
