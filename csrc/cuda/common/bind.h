// What the operators' bindings share: checks, views on tensors and the choice of a precision. A
// binding (<op>_bind.h) is the same for a CUDA device and for the emulator: checks, memory and the
// choice of a kernel. Where it runs is added by bind.cpp and by ../../emulation/bind.cpp.
//
// Nothing in a binding reads device memory or waits for the device.
#pragma once

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>

#include "../../checks.h"
#include "args.h"
#include "formats.h"

namespace spion_bench::cuda {

constexpr int64_t kMaxWidth = 128;
constexpr int64_t kMaxBatchHeads = 65535;  // grid.y

inline void check_supported(const at::Tensor& x, const char* name, int64_t block_size) {
  const auto type = x.scalar_type();
  TORCH_CHECK(type == at::kFloat || type == at::kHalf || type == at::kBFloat16, name,
              ": expected float32, float16 or bfloat16, got ", type,
              "; the CUDA kernels have no other type, move the tensors to the CPU or cast them");
  TORCH_CHECK(x.size(3) <= kMaxWidth, name, ": expected a head width up to ", kMaxWidth,
              " on CUDA, got ", x.size(3), "; use more heads");
  TORCH_CHECK(block_size >= 16, "block_size: expected 16, 32, 64 or 128 on CUDA, got ", block_size,
              "; tensor cores work on 16 rows at a time");
  TORCH_CHECK(x.size(0) * x.size(1) <= kMaxBatchHeads, name, ": expected at most ", kMaxBatchHeads,
              " batch items times heads, got ", x.size(0) * x.size(1));
  TORCH_CHECK(x.size(2) <= std::numeric_limits<int32_t>::max(), name, ": sequence too long");
}

// x with a width that is a multiple of 16 bytes and rows that begin at multiples of 16 bytes: x
// itself if it is so already (any D of 8 halves or 4 floats, any such strides), else a copy.
inline at::Tensor with_16_byte_rows(at::Tensor x) {
  const int64_t multiple = 16 / x.element_size();
  if (const int64_t rest = x.size(3) % multiple; rest != 0)
    x = at::constant_pad_nd(x, {0, multiple - rest});
  bool fits = x.size(3) == 1 || x.stride(3) == 1;
  fits = fits && reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
  for (int dim = 0; dim < 3; ++dim)
    fits = fits && (x.size(dim) == 1 || x.stride(dim) % multiple == 0);
  return fits ? x : x.clone(at::MemoryFormat::Contiguous);
}

inline HeadsView heads_view(const at::Tensor& x) {
  return {const_cast<void*>(x.const_data_ptr()), x.stride(0), x.stride(1), x.stride(2)};
}

inline at::Tensor without_padding(const at::Tensor& x, int64_t width) {
  return x.size(3) == width ? x : x.narrow(3, 0, width).contiguous();
}

inline Dropout make_dropout(double p, int64_t seed) {
  TORCH_CHECK(p >= 0 && p < 1, "dropout_p: expected 0 <= p < 1, got ", p);
  const auto threshold = static_cast<uint32_t>(std::lround(p * 65536));
  TORCH_CHECK(threshold < 65536, "dropout_p: ", p, " rounds to 1 in 16 bits; use a smaller value");
  Dropout dropout;
  dropout.threshold = threshold;
  dropout.key[0] = static_cast<uint32_t>(seed);
  dropout.key[1] = static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32);
  dropout.keep_scale = static_cast<float>(65536.0 / (65536.0 - threshold));
  return dropout;
}

// Whether torch may use TF32 for products of float32 matrices. Its older getter, allowTF32CuBLAS,
// raises where the newer settings (torch.backends...fp32_precision) were used; this one knows both.
inline bool allows_tf32() {
  return at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) ==
         at::Float32Precision::TF32;
}

// body(static_cast<Math*>(nullptr)) with the precision for the type of x. float32 means 3xTF32
// unless torch allows TF32.
template <typename Body>
const char* with_precision(const at::Tensor& x, const Body& body) {
  if (x.scalar_type() == at::kHalf) return body(static_cast<F16*>(nullptr));
  if (x.scalar_type() == at::kBFloat16) return body(static_cast<BF16*>(nullptr));
  if (allows_tf32()) return body(static_cast<TF32*>(nullptr));
  return body(static_cast<TF32x3*>(nullptr));
}

inline void check_launch(const char* op, const char* error) {
  TORCH_CHECK(error == nullptr, op, ": the kernel could not be launched: ", error);
}

}  // namespace spion_bench::cuda
