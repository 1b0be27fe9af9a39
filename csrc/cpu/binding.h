// What the torch bindings of the CPU operators share: views on tensors, padding of the head width,
// threads and scratch.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "../checks.h"
#include "kernels.h"

namespace spion_bench::cpu {

constexpr int64_t kWidthMultiple =
    16;  // head widths the kernels take; others are padded with zeros

inline at::Tensor pad_width(const at::Tensor& x) {
  const int64_t extra = (kWidthMultiple - x.size(3) % kWidthMultiple) % kWidthMultiple;
  return extra == 0 ? x : at::constant_pad_nd(x, {0, extra});
}

inline at::Tensor unpad_width(const at::Tensor& x, int64_t width) {
  return x.size(3) == width ? x : x.narrow(3, 0, width).contiguous();
}

// at::BFloat16 and at::Half are stored as their bits, as BFloat16 and Float16 are here.
template <typename E>
inline HeadsView<const E> view_in(const at::Tensor& x) {
  return {static_cast<const E*>(x.const_data_ptr()), x.stride(0), x.stride(1), x.stride(2)};
}

template <typename E>
inline HeadsView<E> view_out(at::Tensor& x) {
  return {static_cast<E*>(x.mutable_data_ptr()), x.stride(0), x.stride(1), x.stride(2)};
}

// The index values of a pattern, which the kernels trust. O(nnzb), far below any kernel's cost.
inline void check_pattern_values(const at::Tensor& crow, const at::Tensor& index) {
  const int32_t* c = crow.const_data_ptr<int32_t>();
  const int64_t nb = crow.size(0) - 1, nnzb = index.size(0);
  TORCH_CHECK(c[0] == 0 && c[nb] == nnzb && std::is_sorted(c, c + nb + 1),
              "crow_indices: expected to rise from 0 to nnzb=", nnzb);
  const int32_t* begin = index.const_data_ptr<int32_t>();
  TORCH_CHECK(std::all_of(begin, begin + nnzb, [nb](int32_t i) { return 0 <= i && i < nb; }),
              "col_indices: expected values from 0 to ", nb - 1);
}

inline Dropout make_dropout(double p, int64_t seed) {
  TORCH_CHECK(p >= 0 && p < 1, "dropout_p: expected 0 <= p < 1, got ", p);
  const auto threshold = static_cast<uint32_t>(std::lround(p * 65536));
  TORCH_CHECK(threshold < 65536, "dropout_p: ", p, " rounds to 1 in 16 bits; use a smaller value");
  return {threshold > 0, threshold, static_cast<uint64_t>(seed), 65536.0 / (65536.0 - threshold)};
}

// body(unit, thread) for every unit. A unit's result never depends on which thread runs it, so
// handing units out dynamically balances the load and keeps results bitwise reproducible.
template <typename Body>
inline void for_each_unit(int64_t units, const Body& body) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(at::get_num_threads()) if (units > 1)
  for (int64_t unit = 0; unit < units; ++unit) body(unit, omp_get_thread_num());
}

// Scratch memory for every thread, allocated through torch so that its memory tools see it.
template <typename T>
class Scratch {
 public:
  Scratch(int64_t elements, const at::Tensor& like)
      : elements_(elements),
        memory_(at::empty({at::get_num_threads(), elements}, like.options())) {}

  T* of(int thread) const { return memory_.template mutable_data_ptr<T>() + thread * elements_; }

 private:
  int64_t elements_;
  at::Tensor memory_;
};

}  // namespace spion_bench::cpu
