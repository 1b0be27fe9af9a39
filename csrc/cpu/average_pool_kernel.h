// Pooling: the mean of every block of an attention map, on the way to its pattern. The compiler
// vectorises the loops: they only add and convert.
// As in common/vec.h, no library code: everything is inside SPION_ISA.
#pragma once

#include <cstdint>

namespace spion_bench::cpu::SPION_ISA {

template <typename T>
void pool_block_row(const T* values, int64_t length, int64_t block_size, T* pooled,
                    double* scratch) {
  double* sums = scratch;  // [length], one per column
  for (int64_t j = 0; j < length; ++j) sums[j] = 0;
  for (int64_t i = 0; i < block_size; ++i)
    for (int64_t j = 0; j < length; ++j) sums[j] += values[i * length + j];
  const auto area = static_cast<double>(block_size * block_size);
  for (int64_t c = 0; c < length / block_size; ++c) {
    double total = 0;
    for (int64_t j = 0; j < block_size; ++j) total += sums[c * block_size + j];
    pooled[c] = static_cast<T>(total / area);
  }
}

}  // namespace spion_bench::cpu::SPION_ISA
