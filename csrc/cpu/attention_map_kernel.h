// The dense attention map averaged over batch and heads, a panel of query rows at a time: the
// softmax of [L][32] transposed scores lives in scratch, so [B, H, L, L] never exists.
//
// Cost: 2 * D * L^2 FLOPs and L^2 exponentials per (batch, head). Test: tests/ops/
// test_attention_map.py.
#pragma once

#include "common/kernels.h"
#include "common/tile.h"

namespace spion_bench::cpu::SPION_ISA {

constexpr int64_t kMapKeys = 128;  // 8 KiB of float scores

template <typename T, int W>
void attention_map_rows(const AttentionArgs<T>& args, int64_t row, T* map, T* scratch) {
  constexpr T infinity = static_cast<T>(__builtin_inf());
  constexpr int P = static_cast<int>(kMapRows);
  const int64_t L = args.length, D = args.width;
  const int64_t rows = L - row < P ? L - row : P;
  const T share = T{1} / static_cast<T>(args.batch * args.heads);
  const Vec<T, W> zero = {};
  T* q_panel = scratch;         // [D][P]
  T* scores = q_panel + D * P;  // [L][P]
  T* average = scores + L * P;  // [L][P]
  for (int64_t i = 0; i < L * P; ++i) average[i] = T{0};
  for (int64_t i = 0; i < D * P; ++i) q_panel[i] = T{0};

  for (int64_t b = 0; b < args.batch; ++b)
    for (int64_t h = 0; h < args.heads; ++h) {
      const T* q = args.q.at(b, h) + row * args.q.row_stride;
      const bool* mask = args.key_padding_mask ? args.key_padding_mask + b * L : nullptr;
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t d = 0; d < D; ++d)
          q_panel[d * P + i] = q[i * args.q.row_stride + d] * static_cast<T>(args.scale * kLog2E);
      // The maximum is taken of scores that have just been written and are still in the first
      // cache.
      Vec<T, W> maximum[P / W];
      for (int n = 0; n < P / W; ++n) maximum[n] = splat<T, W>(-infinity);
      for (int64_t first = 0; first < L; first += kMapKeys) {
        const int64_t keys = L - first < kMapKeys ? L - first : kMapKeys;
        product<T, W, false>(keys, P, D, args.k.at(b, h) + first * args.k.row_stride,
                             args.k.row_stride, 1, q_panel, P, scores + first * P, P);
        for (int64_t j = first; j < first + keys; ++j)
          for (int n = 0; n < P / W; ++n) {
            T* score = scores + j * P + n * W;
            if (mask && !mask[j]) store<T, W>(score, splat<T, W>(-infinity));
            maximum[n] = max<T, W>(maximum[n], load<T, W>(score));
          }
      }
      for (int n = 0; n < P; n += W) {
        Vec<T, W> highest = maximum[n / W];
        highest = highest == splat<T, W>(-infinity) ? zero : highest;
        Vec<T, W> total = {};
        for (int64_t j = 0; j < L; ++j) {
          const Vec<T, W> p = exp2<T, W>(load<T, W>(scores + j * P + n) - highest);
          total += p;
          store<T, W>(scores + j * P + n, p);
        }
        // A row whose keys are all padding attends to nothing and adds 0.
        const Vec<T, W> weight = total == zero ? zero : share / total;
        for (int64_t j = 0; j < L; ++j) {
          T* value = average + j * P + n;
          store<T, W>(value, load<T, W>(value) + load<T, W>(scores + j * P + n) * weight);
        }
      }
    }
  int64_t j = 0;
  if (rows == P) {
    j = L - L % W;
    transpose<T, W>(j, P, average, P, map + row * L, L, T{1});
  }
  for (; j < L; ++j)
    for (int64_t i = 0; i < rows; ++i) map[(row + i) * L + j] = average[j * P + i];
}

}  // namespace spion_bench::cpu::SPION_ISA
