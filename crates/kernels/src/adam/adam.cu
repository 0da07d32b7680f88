// g <- dw + decay w, m <- beta1 m + (1 - beta1) g, s <- beta2 s + (1 - beta2) g^2,
// w <- w - rate (m / c1) / (sqrt(s / c2) + epsilon).
// AdamW: g <- dw, and first w <- (1 - rate decay) w. Four parameters a thread: 28 bytes each.
#include "kernel.cuh"
#include "segments.cuh"

struct Constants {
  float kept, taken, epsilon;  // beta2, 1 - beta2
};

// `decay` of AdamW is what is left of w: 1 - rate decay.
template <bool DECOUPLED>
__device__ __forceinline__ void update(const Constants& k, float pace, float root, float beta,
                                       float decay, float dw, float& w, float& m, float& s) {
  const float g = DECOUPLED ? dw : dw + decay * w;
  m = flushed(beta * m + (1.0f - beta) * g);
  s = flushed(k.kept * s + k.taken * (g * g));
  if (DECOUPLED)
    w = decay * w - pace * m / (sqrtf(s) / root + k.epsilon);
  else
    w -= pace * m / (sqrtf(s) / root + k.epsilon);
}

// A row of `rules` holds rate, beta1 and decay, `corrections` c1 and c2; they are read when the step
// runs, so that a recorded step follows the schedule.
template <bool DECOUPLED>
__device__ __forceinline__ void step(const Constants& k, const Segments& segments,
                                     const float* rules, const float* corrections, const float* dw,
                                     float* w, float* m, float* s) {
  const Segment& segment = segment_of_block(segments);
  const u64 i = element_in(segment), n = segment.len;
  if (i >= n) return;
  dw += segment.start, w += segment.start, m += segment.start, s += segment.start;
  const float* rule = rules + 3 * segment.row;
  const float rate = rule[0], beta = rule[1];
  if (rate == 0.0f) return;  // frozen: the moments stay, too
  const float decay = DECOUPLED ? 1.0f - rate * rule[2] : rule[2];
  const float pace = rate * (1.0f / corrections[0]), root = sqrtf(corrections[1]);
  const float4 d = load4(dw, i, n);
  float4 value = load4(w, i, n), first = load4(m, i, n), second = load4(s, i, n);
  update<DECOUPLED>(k, pace, root, beta, decay, d.x, value.x, first.x, second.x);
  update<DECOUPLED>(k, pace, root, beta, decay, d.y, value.y, first.y, second.y);
  update<DECOUPLED>(k, pace, root, beta, decay, d.z, value.z, first.z, second.z);
  update<DECOUPLED>(k, pace, root, beta, decay, d.w, value.w, first.w, second.w);
  store4(m, i, n, first);
  store4(s, i, n, second);
  store4(w, i, n, value);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    adam_step(Constants k, Segments segments, const float* rules, const float* corrections,
              const float* dw, float* w, float* m, float* s) {
  step<false>(k, segments, rules, corrections, dw, w, m, s);
}
KERNEL(adam_step)

extern "C" __global__ void __launch_bounds__(THREADS)
    adam_step_decoupled(Constants k, Segments segments, const float* rules,
                        const float* corrections, const float* dw, float* w, float* m, float* s) {
  step<true>(k, segments, rules, corrections, dw, w, m, s);
}
KERNEL(adam_step_decoupled)
