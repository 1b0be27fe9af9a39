// Block SpMM, the last step of the paper's pipeline, on stored tiles [S][S] (query rows by key
// columns). Bindings loop over tiles and block rows.
#pragma once

#include "common/tile.h"

namespace spion_bench::cpu::SPION_ISA {

template <typename T, int W>
void spmm_tile(int64_t S, int64_t D, bool transposed, const T* tile, const T* v, int64_t v_row,
               T* out) {
  if (transposed)
    product<T, W, true>(S, D, S, tile, 1, S, v, v_row, out, D);
  else
    product<T, W, true>(S, D, S, tile, S, 1, v, v_row, out, D);
}

}  // namespace spion_bench::cpu::SPION_ISA
