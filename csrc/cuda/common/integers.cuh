// Arithmetic on sizes and indices.
#pragma once

#include <cstdint>

#include "prim.cuh"

namespace spion_bench::cuda {

SPION_DEVICE int smaller(int a, int b) { return a < b ? a : b; }
SPION_DEVICE int larger(int a, int b) { return a > b ? a : b; }

// How many groups of `size` hold n things.
constexpr unsigned groups_of(int64_t n, int size) {
  return static_cast<unsigned>((n + size - 1) / size);
}

}  // namespace spion_bench::cuda
