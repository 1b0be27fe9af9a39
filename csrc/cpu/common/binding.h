// What the torch bindings of the CPU operators share: views on tensors, padding of the head width,
// threads and scratch.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <omp.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cmath>
#include <optional>

#include "../../checks.h"
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

// Memory for a large result. Its pages are touched here for the first time: with pages of 2 MiB
// instead of 4 KiB the operating system is asked 512 times less often, where it grants them.
inline at::Tensor empty_result(at::IntArrayRef sizes, const at::TensorOptions& options) {
  at::Tensor result = at::empty(sizes, options);
#if defined(__linux__)
  constexpr uintptr_t kHugePage = uintptr_t{1} << 21;
  const auto begin = reinterpret_cast<uintptr_t>(result.mutable_data_ptr());
  const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (begin + result.nbytes()) / kHugePage * kHugePage;
  // Advice only: where it is refused, small pages serve.
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
  return result;
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
  explicit Scratch(int64_t elements)
      : elements_(elements),
        memory_(at::empty({at::get_num_threads(), elements}, c10::CppTypeToScalarType<T>::value)) {}

  T* of(int thread) const { return memory_.template mutable_data_ptr<T>() + thread * elements_; }

 private:
  int64_t elements_;
  at::Tensor memory_;
};

}  // namespace spion_bench::cpu
