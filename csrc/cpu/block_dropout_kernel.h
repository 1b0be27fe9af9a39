// Dropout on stored tiles [S][S] (query rows by key
// columns). Bindings loop over tiles and block rows.
#pragma once

#include "common/kernels.h"
#include "common/philox.h"
#include "common/vec.h"

namespace spion_bench::cpu::SPION_ISA {

// first and second, lane by lane in turn: the lower half of their lanes, then the upper half.
template <typename T, int W>
inline void interleave(Vec<T, W>& first, Vec<T, W>& second) {
  if constexpr (W == 1) return;  // one lane is both halves
  Vec<T, W> lower, upper;
  for (int i = 0; i < W / 2; ++i) {
    lower[2 * i] = first[i];
    lower[2 * i + 1] = second[i];
    upper[2 * i] = first[W / 2 + i];
    upper[2 * i + 1] = second[W / 2 + i];
  }
  first = lower;
  second = upper;
}

// Lanes are the tile's groups of eight keys in storage order, row after row. The eight values of
// a lane's four words are moved next to each other, as the eight probabilities are.
template <typename T, int W>
void dropout_tile(int64_t S, const Dropout& dropout, int64_t row, int64_t col, int64_t bh,
                  const T* probs, T* out) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low half of a word comes first");
  using Pairs = Vec<uint64_t, W / 2>;
  const auto per_row = static_cast<uint32_t>(S / 8);
  Words<W> column = {}, line = {};
  for (uint32_t i = 0; i < W; ++i) {
    column[i] = i % per_row;
    line[i] = i / per_row;
  }
  const Vec<T, 8> threshold = splat<T, 8>(static_cast<T>(dropout.threshold));
  const Vec<T, 8> keep = splat<T, 8>(static_cast<T>(dropout.keep_scale));
  for (int64_t at = 0; at < S * S; at += 8 * W) {
    const Words<W> zero = {};
    Words<W> words[4] = {column + static_cast<uint32_t>(col / 8), line + static_cast<uint32_t>(row),
                         zero + static_cast<uint32_t>(bh), zero};
    philox<W>(words, static_cast<uint32_t>(dropout.seed),
              static_cast<uint32_t>(dropout.seed >> 32));
    interleave<uint32_t, W>(words[0], words[1]);
    interleave<uint32_t, W>(words[2], words[3]);
    uint16_t values[8 * W];
    for (int half = 0; half < 2; ++half) {
      auto first = (Pairs)words[half], second = (Pairs)words[half + 2];
      interleave<uint64_t, W / 2>(first, second);
      store<uint32_t, W>(reinterpret_cast<uint32_t*>(values) + 2 * half * W, (Words<W>)first);
      store<uint32_t, W>(reinterpret_cast<uint32_t*>(values) + (2 * half + 1) * W,
                         (Words<W>)second);
    }
    const int64_t left = S * S - at;  // blocks of 8 and 24 end within a vector
    for (int i = 0; i < 8 * W && i < left; i += 8) {
      // 16-bit values convert faster as signed words.
      const auto bits = __builtin_convertvector(load<uint16_t, 8>(values + i), Vec<int32_t, 8>);
      const Vec<T, 8> value = __builtin_convertvector(bits, Vec<T, 8>);
      const Vec<T, 8> factor = value < threshold ? Vec<T, 8>{} : keep;
      store<T, 8>(out + at + i, load<T, 8>(probs + at + i) * factor);
    }
    column += W % per_row;
    line += W / per_row;
    const auto wraps = (Words<W>)(column >= per_row);  // all bits where it does
    column -= wraps & per_row;
    line -= wraps;
  }
}

}  // namespace spion_bench::cpu::SPION_ISA
