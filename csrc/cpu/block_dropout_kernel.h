// Dropout on stored tiles [S][S] (query rows by key
// columns). Bindings loop over tiles and block rows.
#pragma once

#include "common/kernels.h"
#include "common/philox.h"
#include "common/vec.h"

namespace spion_bench::cpu::SPION_ISA {

template <typename T, int W>
void dropout_tile(int64_t S, const Dropout& dropout, int64_t row, int64_t col, int64_t bh,
                  const T* probs, T* out) {
  constexpr int kLanes = W < kNarrowLanes ? W : kNarrowLanes;  // divides every block size
  T factors[8 * kLanes];
  for (int64_t i = 0; i < S; i += kLanes)
    for (int64_t j = 0; j < S; j += 8) {
      dropout_factors<T, kLanes>(dropout, row + i, col + j, bh, factors, kLanes);
      for (int64_t ii = 0; ii < kLanes; ++ii)
        for (int64_t jj = 0; jj < 8; ++jj) {
          const int64_t at = (i + ii) * S + j + jj;
          out[at] = probs[at] * factors[jj * kLanes + ii];
        }
    }
}

}  // namespace spion_bench::cpu::SPION_ISA
