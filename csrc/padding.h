// How the fused operator's bindings, of either device, come from sequences of any length to whole
// blocks and back, and from gradients by query head to gradients by key head.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/ones.h>

#include <cstdint>
#include <optional>

namespace spion_bench {

// x: [B, H, L, ...] with zeros behind L up to a multiple of `block_size`; x itself if it is one.
inline at::Tensor pad_blocks(const at::Tensor& x, int64_t block_size) {
  const int64_t extra = (block_size - x.size(2) % block_size) % block_size;
  if (extra == 0) return x;
  return x.dim() == 3 ? at::constant_pad_nd(x, {0, extra})
                      : at::constant_pad_nd(x, {0, 0, 0, extra});
}

// The first rows and columns of x: [B, H, L, D], contiguous.
inline at::Tensor unpad(const at::Tensor& x, int64_t length, int64_t width) {
  return x.narrow(2, 0, length).narrow(3, 0, width).contiguous();
}

// Which of `padded_length` keys are real, contiguous [B, padded_length]; nothing if all are.
inline std::optional<at::Tensor> pad_mask(const std::optional<at::Tensor>& mask, int64_t batch,
                                          int64_t length, int64_t padded_length,
                                          const at::TensorOptions& options) {
  if (padded_length > length) {
    const at::Tensor real = mask ? *mask : at::ones({batch, length}, options.dtype(at::kBool));
    return at::constant_pad_nd(real, {0, padded_length - length});
  }
  return mask ? std::optional(mask->contiguous()) : std::nullopt;
}

// Gradients [B, H, L, D] by query head, summed over the heads that share one of `kv_heads`.
inline at::Tensor sum_heads(const at::Tensor& x, int64_t kv_heads) {
  if (x.size(1) == kv_heads) return x;
  return x.view({x.size(0), kv_heads, x.size(1) / kv_heads, x.size(2), x.size(3)}).sum(2);
}

}  // namespace spion_bench
