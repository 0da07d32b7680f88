// v <- momentum v - rate (dw + decay w), w <- w + v. Four parameters a thread: 20 bytes each.
#include "kernel.cuh"

// `rule` holds rate, momentum and decay; it is read when the step runs, so that a recorded step
// follows the schedule.
extern "C" __global__ void __launch_bounds__(THREADS)
    sgd_step(const float* rule, const float* dw, float* w, float* v, u64 n) {
  const u64 i = 4 * thread_number();
  if (i >= n) return;
  const float rate = rule[0], momentum = rule[1], decay = rule[2];
  if (rate == 0.0f) return;  // frozen: the velocity stays, too
  const float4 d = load4(dw, i, n);
  float4 value = load4(w, i, n), velocity = load4(v, i, n);
  velocity.x = flushed(momentum * velocity.x - rate * (d.x + decay * value.x));
  velocity.y = flushed(momentum * velocity.y - rate * (d.y + decay * value.y));
  velocity.z = flushed(momentum * velocity.z - rate * (d.z + decay * value.z));
  velocity.w = flushed(momentum * velocity.w - rate * (d.w + decay * value.w));
  value.x += velocity.x;
  value.y += velocity.y;
  value.z += velocity.z;
  value.w += velocity.w;
  store4(v, i, n, velocity);
  store4(w, i, n, value);
}
KERNEL(sgd_step)
