// Softmax with implicit zeros and its backward pass, the middle step of the paper's pipeline, on
// stored tiles [S][S] (query rows by key columns). Bindings loop over tiles and block rows.
#pragma once

#include "common/vec.h"

namespace spion_bench::cpu::SPION_ISA {

// Softmax of query row i over `count` tiles, absent columns as in the published kernel:
// Z = sum_c exp(z_c - m) + absent * exp(-m).
template <typename T, int W>
inline void softmax_query(int64_t S, int64_t count, T absent, const T* scores, const int32_t* col,
                          const bool* mask, T* probs, T* lse) {
  constexpr T infinity = static_cast<T>(__builtin_inf());
  const int64_t tile = S * S;
  T highest = absent > 0 ? T{0} : -infinity;
  for (int64_t t = 0; t < count; ++t)
    for (int64_t j = 0; j < S; ++j) {
      const bool real = mask == nullptr || mask[col[t] * S + j];
      const T z = real ? scores[t * tile + j] : -infinity;
      probs[t * tile + j] = z;
      highest = highest > z ? highest : z;
    }
  const T base = highest == -infinity ? T{0} : highest;
  Vec<T, W> total = {};
  for (int64_t t = 0; t < count; ++t)
    for (int64_t j = 0; j < S; j += W) {
      T* p = probs + t * tile + j;
      const Vec<T, W> value = exp2<T, W>((load<T, W>(p) - base) * static_cast<T>(kLog2E));
      total += value;
      store<T, W>(p, value);
    }
  T denominator = sum<T, W>(total);
  if (absent > 0) {
    const Vec<T, W> zeros = exp2<T, W>(splat<T, W>(-base * static_cast<T>(kLog2E)));
    denominator += absent * zeros[0];
  }
  const bool empty = denominator == T{0};
  *lse = empty ? infinity : static_cast<T>(base + __builtin_log(denominator));
  const T inverse = empty ? T{0} : T{1} / denominator;
  for (int64_t t = 0; t < count; ++t)
    for (int64_t j = 0; j < S; j += W) {
      T* p = probs + t * tile + j;
      store<T, W>(p, load<T, W>(p) * inverse);
    }
}

template <typename T, int W>
void softmax_row(int64_t S, int64_t count, double absent, bool zero_logit, const T* scores,
                 const int32_t* col, const bool* mask, T* probs, T* lse) {
  constexpr int kNarrow = W < kNarrowLanes ? W : kNarrowLanes;
  const T zeros = zero_logit ? static_cast<T>(absent) : T{0};
  for (int64_t i = 0; i < S; ++i) {
    if (S < W)
      softmax_query<T, kNarrow>(S, count, zeros, scores + i * S, col, mask, probs + i * S, lse + i);
    else
      softmax_query<T, W>(S, count, zeros, scores + i * S, col, mask, probs + i * S, lse + i);
  }
}

// dscores = probs * (dprobs - sum_j probs * dprobs + dlse), row by row.
template <typename T, int W>
void softmax_backward_row(int64_t S, int64_t count, const T* dprobs, const T* dlse, const T* probs,
                          T* dscores) {
  constexpr int kLanes = W < kNarrowLanes ? W : kNarrowLanes;  // divides every block size
  for (int64_t i = 0; i < S; ++i) {
    Vec<T, kLanes> total = {};
    for (int64_t t = 0; t < count; ++t)
      for (int64_t j = 0; j < S; j += kLanes) {
        const int64_t at = (t * S + i) * S + j;
        total += load<T, kLanes>(probs + at) * load<T, kLanes>(dprobs + at);
      }
    const T delta = sum<T, kLanes>(total) - (dlse ? dlse[i] : T{0});
    for (int64_t t = 0; t < count; ++t)
      for (int64_t j = 0; j < S; j += kLanes) {
        const int64_t at = (t * S + i) * S + j;
        store<T, kLanes>(dscores + at,
                         load<T, kLanes>(probs + at) * (load<T, kLanes>(dprobs + at) - delta));
      }
  }
}

}  // namespace spion_bench::cpu::SPION_ISA
