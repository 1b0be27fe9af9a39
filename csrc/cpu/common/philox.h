// Counter-based dropout: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2,
// 3", SC 2011). The keep decision of a score is a pure function of the seed and the score's
// position in the dense [L, L] matrix, so it does not depend on threads, patterns or instruction
// sets.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace spion_bench::cpu::SPION_ISA {

template <int W>
using Words = Vec<uint32_t, W>;

// One Philox4x32-10 block per lane. A product of 64 bits takes the place of two lanes, so those of
// even and of odd lanes are computed apart and no lane moves.
template <int W>
inline void philox(Words<W> counter[4], uint32_t key0, uint32_t key1) {
  using Wide = Vec<uint64_t, W / 2>;
  constexpr uint64_t kLow = 0xFFFFFFFF;
  for (int round = 0; round < 10; ++round) {
    const Wide a = (Wide)counter[0], b = (Wide)counter[2];
    const Wide a_even = (a & kLow) * uint64_t{0xD2511F53}, a_odd = (a >> 32) * uint64_t{0xD2511F53};
    const Wide b_even = (b & kLow) * uint64_t{0xCD9E8D57}, b_odd = (b >> 32) * uint64_t{0xCD9E8D57};
    const auto a_high = (Words<W>)(a_even >> 32 | (a_odd & ~kLow));
    const auto b_high = (Words<W>)(b_even >> 32 | (b_odd & ~kLow));
    const auto a_low = (Words<W>)((a_even & kLow) | a_odd << 32);
    const auto b_low = (Words<W>)((b_even & kLow) | b_odd << 32);
    counter[0] = b_high ^ counter[1] ^ key0;
    counter[1] = b_low;
    counter[2] = a_high ^ counter[3] ^ key1;
    counter[3] = a_low;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// factors[j * stride + i] = keep_scale or 0 for key columns col + j (j < 8, col a multiple of 8)
// and W query rows row + i.
template <typename T, int W>
inline void dropout_factors(const Dropout& dropout, int64_t row, int64_t col, int64_t bh,
                            T* factors, int64_t stride) {
  Words<W> lane = {};
  for (int i = 0; i < W; ++i) lane[i] = static_cast<uint32_t>(i);
  const Words<W> zero = {};
  Words<W> words[4] = {zero + static_cast<uint32_t>(col / 8), lane + static_cast<uint32_t>(row),
                       zero + static_cast<uint32_t>(bh), zero};
  philox<W>(words, static_cast<uint32_t>(dropout.seed), static_cast<uint32_t>(dropout.seed >> 32));
  const Vec<T, W> threshold = splat<T, W>(static_cast<T>(dropout.threshold));
  const Vec<T, W> keep = splat<T, W>(static_cast<T>(dropout.keep_scale));
  const Vec<T, W> drop = {};
  for (int j = 0; j < 8; ++j) {
    const Words<W> bits = (words[j / 2] >> (16 * (j % 2))) & 0xFFFFu;
    using Signed = Vec<int32_t, W>;  // 16-bit values convert faster as signed words
    const Vec<T, W> value = __builtin_convertvector((Signed)bits, Vec<T, W>);
    store<T, W>(factors + j * stride, value < threshold ? drop : keep);
  }
}

}  // namespace spion_bench::cpu::SPION_ISA
