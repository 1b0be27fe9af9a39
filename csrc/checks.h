// Argument checks shared by the operators: every message names the argument, what was expected and
// what came. The Python faces check first and in more words; these protect direct calls through
// torch.ops, where a wrong shape would otherwise read out of bounds.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdint>

namespace spion_bench {

inline void check_float(const at::Tensor& x, const char* name) {
  TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble, name,
              ": expected float32 or float64, got ", x.scalar_type());
}

inline void check_dtype(const at::Tensor& x, const char* name, caffe2::TypeMeta dtype) {
  TORCH_CHECK(x.dtype() == dtype, name, ": expected ", dtype, ", got ", x.dtype());
}

inline void check_same(const at::Tensor& x, const char* name, const at::Tensor& like,
                       const char* like_name) {
  TORCH_CHECK(x.scalar_type() == like.scalar_type(), name, ": expected dtype ", like.scalar_type(),
              " as ", like_name, ", got ", x.scalar_type());
  TORCH_CHECK(x.device() == like.device(), name, ": expected device ", like.device(), " as ",
              like_name, ", got ", x.device());
}

inline void check_shape(const at::Tensor& x, const char* name, at::IntArrayRef shape) {
  TORCH_CHECK(x.sizes() == shape, name, ": expected shape ", shape, ", got ", x.sizes());
}

inline void check_square(const at::Tensor& x, const char* name) {
  TORCH_CHECK(x.dim() == 2 && x.size(0) == x.size(1), name,
              ": expected a square matrix, got shape ", x.sizes());
}

// q, k, v and their gradients: [B, H, L, D], the last dimension contiguous.
constexpr bool kWithHalf = true;  // the operator also takes bfloat16 and float16

inline void check_heads(const at::Tensor& x, const char* name, bool with_half = false) {
  const bool is_half = x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
  if (!(with_half && is_half)) check_float(x, name);
  TORCH_CHECK(x.dim() == 4, name, ": expected [B, H, L, D], got ", x.dim(), " dimensions");
  TORCH_CHECK(x.size(3) >= 1 && x.size(3) <= 256, name,
              ": expected a head width from 1 to 256, got ", x.size(3));
  TORCH_CHECK(x.numel() == 0 || x.size(3) == 1 || x.stride(3) == 1, name,
              ": expected a contiguous last dimension, got stride ", x.stride(3));
}

inline void check_index(const at::Tensor& x, const char* name) {
  TORCH_CHECK(x.scalar_type() == at::kInt && x.dim() == 1 && x.is_contiguous(), name,
              ": expected a contiguous one-dimensional int32 tensor, got ", x.scalar_type(),
              " with shape ", x.sizes());
}

inline void check_block_size(int64_t block_size) {
  TORCH_CHECK(block_size >= 8 && block_size <= 128 && (block_size & (block_size - 1)) == 0,
              "block_size: expected a power of two from 8 to 128, got ", block_size);
}

// A pattern list: crow [nb + 1] against index [nnzb], for sequences of `length` tokens.
inline void check_pattern(const at::Tensor& crow, const at::Tensor& index, int64_t block_size,
                          int64_t length) {
  check_block_size(block_size);
  check_index(crow, "crow_indices");
  check_index(index, "col_indices");
  TORCH_CHECK((crow.size(0) - 1) * block_size == length, "crow_indices: expected ",
              length / block_size, " block rows for length ", length, " and block_size ",
              block_size, ", got ", crow.size(0) - 1);
}

inline void check_key_padding_mask(const at::Tensor& mask, int64_t batch, int64_t length) {
  TORCH_CHECK(mask.scalar_type() == at::kBool, "key_padding_mask: expected bool, got ",
              mask.scalar_type());
  check_shape(mask, "key_padding_mask", {batch, length});
}

}  // namespace spion_bench
