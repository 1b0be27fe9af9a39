// Comparisons. The first one that fails ends the program with status 1 and says where and by what.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tensor.h"

namespace spion_bench::driver {

struct Tally {
  int64_t comparisons = 0;
  double largest_share = 0;  // of a tolerance that an error has taken
};

// What has been compared since the last call.
Tally take_tally();

[[noreturn]] void fail(const std::string& where, const std::string& message);

// Finite values may differ by tolerance * the largest expected one, so where only zeros are
// expected by nothing; infinities must match exactly, and NaN is expected nowhere.
void expect_close(const std::string& where, const std::vector<double>& got,
                  const std::vector<double>& expected, double tolerance);

void expect_same_bytes(const std::string& where, const void* one, const void* several,
                       std::size_t bytes);

// Results of one and of several threads.
template <typename T>
void expect_same_bits(const std::string& where, const Buffer<T>& one, const Buffer<T>& several) {
  expect_same_bytes(where, one.data(), several.data(), one.bytes());
}

// Nothing but the view's own elements, all of them finite, was written.
template <typename E>
void expect_gaps_untouched(const std::string& where, const Tensor<E>& tensor, int64_t numel) {
  const Buffer<E>& memory = tensor.memory();
  E poison;
  std::memset(&poison, kPoison, sizeof(E));
  int64_t untouched = 0;
  for (int64_t i = 0; i < memory.size(); ++i)
    untouched += std::memcmp(memory.data() + i, &poison, sizeof(E)) == 0;
  if (untouched != memory.size() - numel) fail(where, "elements outside the view were written");
}

}  // namespace spion_bench::driver
