// Segments of a block of parameters, all processed by one launch. A thread block of THREADS threads
// works on one segment, four elements a thread; segments.rs makes the table.
#pragma once
#include "kernel.cuh"

constexpr unsigned MOST_SEGMENTS = 64;  // segments.rs

struct Segment {
  u64 start, len;   // elements
  u64 first_block;  // thread blocks of earlier segments; beyond the last segment: the largest number
  u64 row;          // of the table of rates
};
struct Segments {
  Segment all[MOST_SEGMENTS];
};

// The segment of this thread block: the last one that does not begin after it.
__device__ __forceinline__ const Segment& segment_of_block(const Segments& segments) {
  unsigned at = 0;
#pragma unroll
  for (unsigned step = MOST_SEGMENTS / 2; step > 0; step /= 2)
    if (segments.all[at + step].first_block <= blockIdx.x) at += step;
  return segments.all[at];
}

// The first of this thread's four elements in its segment; it may lie past the end.
__device__ __forceinline__ u64 element_in(const Segment& segment) {
  return 4 * ((blockIdx.x - segment.first_block) * THREADS + threadIdx.x);
}
