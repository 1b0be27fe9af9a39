// Block SDDMM, the first step of the paper's pipeline, on stored tiles [S][S] (query rows by key
// columns). Bindings loop over tiles and block rows.
#pragma once

#include "common/tile.h"

namespace spion_bench::cpu::SPION_ISA {

template <typename T, int W>
inline void sddmm_lanes(int64_t S, int64_t D, double scale, const T* q, int64_t q_row, const T* k,
                        int64_t k_row, T* tile, T* scratch) {
  transpose<T, W>(S, D, k, k_row, scratch, S, static_cast<T>(scale));
  product<T, W, false>(S, S, D, q, q_row, 1, scratch, S, tile, S);
}

template <typename T, int W>
void sddmm_tile(int64_t S, int64_t D, double scale, const T* q, int64_t q_row, const T* k,
                int64_t k_row, T* tile, T* scratch) {
  constexpr int kNarrow = W < kNarrowLanes ? W : kNarrowLanes;
  if (S < W)
    sddmm_lanes<T, kNarrow>(S, D, scale, q, q_row, k, k_row, tile, scratch);
  else
    sddmm_lanes<T, W>(S, D, scale, q, q_row, k, k_row, tile, scratch);
}

}  // namespace spion_bench::cpu::SPION_ISA
