// v <- momentum v - rate (dw + decay w), w <- w + v, and the other rules of mod.rs. Four parameters a
// thread: 20 bytes each.
#include "kernel.cuh"

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

// `rule` holds rate, momentum and decay; it is read when the step runs, so that a recorded step
// follows the schedule.
template <bool PYTORCH, bool NESTEROV>
__device__ __forceinline__ void step(const float* rule, const float* dw, float* w, float* v, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
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
    sgd_step(const float* rule, const float* dw, float* w, float* v, u64 n) {
  step<false, false>(rule, dw, w, v, n);
}
KERNEL(sgd_step)

extern "C" __global__ void __launch_bounds__(THREADS)
    sgd_step_nesterov(const float* rule, const float* dw, float* w, float* v, u64 n) {
  step<false, true>(rule, dw, w, v, n);
}
KERNEL(sgd_step_nesterov)

extern "C" __global__ void __launch_bounds__(THREADS)
    sgd_step_pytorch(const float* rule, const float* dw, float* w, float* v, u64 n) {
  step<true, false>(rule, dw, w, v, n);
}
KERNEL(sgd_step_pytorch)

extern "C" __global__ void __launch_bounds__(THREADS)
    sgd_step_pytorch_nesterov(const float* rule, const float* dw, float* w, float* v, u64 n) {
  step<true, true>(rule, dw, w, v, n);
}
KERNEL(sgd_step_pytorch_nesterov)
