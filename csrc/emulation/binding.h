// What the emulated operators' bindings share: schemas, and the checks of values that kernels
// trust.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <string>

namespace spion_bench::emulation {

// The index values of a list of kept blocks; on a GPU nobody looks at them.
inline void check_pattern_values(const at::Tensor& crow, const at::Tensor& col) {
  const int32_t* c = crow.const_data_ptr<int32_t>();
  const int64_t nb = crow.size(0) - 1, nnzb = col.size(0);
  TORCH_CHECK(c[0] == 0 && c[nb] == nnzb && std::is_sorted(c, c + nb + 1),
              "crow_indices: expected to rise from 0 to nnzb=", nnzb);
  const int32_t* begin = col.const_data_ptr<int32_t>();
  TORCH_CHECK(std::all_of(begin, begin + nnzb, [nb](int32_t i) { return 0 <= i && i < nb; }),
              "col_indices: expected values from 0 to ", nb - 1);
}

// The schema of an operator of spion_bench, whose library has to be loaded before this one.
inline c10::FunctionSchema schema_of(const char* name) {
  const auto original = c10::Dispatcher::singleton().findSchemaOrThrow(
      (std::string("spion_bench::") + name).c_str(), "");
  return original.schema().cloneWithName(std::string("spion_bench_emulated::") + name, "");
}

}  // namespace spion_bench::emulation
