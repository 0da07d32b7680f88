// Philox4x32-10, bit for bit the block function of crates/random.
#pragma once

__device__ __forceinline__ uint4 philox(uint2 key, uint4 counter) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const unsigned a_high = __umulhi(0xD2511F53u, counter.x), a_low = 0xD2511F53u * counter.x;
    const unsigned b_high = __umulhi(0xCD9E8D57u, counter.z), b_low = 0xCD9E8D57u * counter.z;
    counter = make_uint4(b_high ^ counter.y ^ key.x, b_low, a_high ^ counter.w ^ key.y, a_low);
    key = make_uint2(key.x + 0x9E3779B9u, key.y + 0xBB67AE85u);
  }
  return counter;
}

/// The top 24 bits as a number in [0, 1).
__device__ __forceinline__ float unit(unsigned word) {
  return static_cast<float>(word >> 8) * (1.0f / 16777216.0f);
}
