// What the bindings of the pattern operators share: checks of maps, and the choice of a type.
#pragma once

#include "bind.h"

namespace spion_bench::cuda {

constexpr int64_t kMaxMapLength = int64_t{1} << 18;  // grid sizes; such a map takes 256 GiB

inline void check_map_length(int64_t length, const char* name) {
  TORCH_CHECK(length <= kMaxMapLength, name, ": expected at most ", kMaxMapLength,
              " rows on CUDA, got ", length);
}

template <typename T>
MapView<T> map_view(const at::Tensor& x) {
  return {x.const_data_ptr<T>(), x.stride(0), x.stride(1)};
}

// body(static_cast<T*>(nullptr)) with the type of x, which has been checked.
template <typename Body>
const char* with_map_type(const at::Tensor& x, const Body& body) {
  return x.scalar_type() == at::kFloat ? body(static_cast<float*>(nullptr))
                                       : body(static_cast<double*>(nullptr));
}

}  // namespace spion_bench::cuda
