// Dropout bits: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011), bit for bit those of the CPU kernels (../../cpu/common/philox.h states the layout).
//
// Cost: about 70 instructions per call, which decides over eight keys of one query. Test:
// tests/emulation (masks are compared bit by bit with the reference).
#pragma once

#include "args.h"
#include "prim.cuh"

namespace spion_bench::cuda {

// Bit i is set if the score of `query` and key 8 * key_group + i is kept.
SPION_DEVICE uint32_t keep_byte(const Dropout& dropout, int query, int key_group, int batch_head) {
  uint32_t c0 = static_cast<uint32_t>(key_group), c1 = static_cast<uint32_t>(query);
  uint32_t c2 = static_cast<uint32_t>(batch_head), c3 = 0;
  uint32_t key0 = dropout.key[0], key1 = dropout.key[1];
  SPION_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = prim::multiply_high(c0, 0xD2511F53u), low0 = c0 * 0xD2511F53u;
    const uint32_t high1 = prim::multiply_high(c2, 0xCD9E8D57u), low1 = c2 * 0xCD9E8D57u;
    c0 = high1 ^ c1 ^ key0;
    c1 = low1;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  const uint32_t words[4] = {c0, c1, c2, c3};
  uint32_t byte = 0;
  SPION_UNROLL
  for (int i = 0; i < 8; ++i) {
    const uint32_t value = words[i / 2] >> 16 * (i % 2) & 0xFFFFu;
    byte |= static_cast<uint32_t>(value >= dropout.threshold) << i;
  }
  return byte;
}

// The bits of 32 keys (fewer if kCols is smaller) of two query rows. The four lanes of a quad
// generate a quarter each and exchange.
template <int kCols>
SPION_DEVICE void keep_words_of_quad(const Dropout& dropout, int query, int first_key,
                                     int batch_head, uint32_t (&words)[2]) {
  const int t = prim::lane_index() % 4;
  SPION_UNROLL
  for (int i = 0; i < 2; ++i) {
    uint32_t word = 0;
    if (kCols >= 32 || 8 * t < kCols)
      word = keep_byte(dropout, query + 8 * i, first_key / 8 + t, batch_head) << 8 * t;
    word |= prim::shuffle_xor(word, 1);
    words[i] = word | prim::shuffle_xor(word, 2);
  }
}

}  // namespace spion_bench::cuda
