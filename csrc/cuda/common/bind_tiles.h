// What the bindings of the pipeline's operators share: checks of tiles and lists of blocks.
//
// Tiles have the operands' own type: of 16-bit operands the scores and probabilities are rounded to
// 16 bits on their way from kernel to kernel, which the fused operator does not do. The
// log-sum-exp is float32.
#pragma once

#include "bind.h"

namespace spion_bench::cuda {

inline void check_tiles(const at::Tensor& tiles, const char* name, int64_t nnzb,
                        int64_t block_size) {
  TORCH_CHECK(tiles.dim() == 5, name, ": expected [B, H, nnzb, S, S], got ", tiles.dim(),
              " dimensions");
  check_shape(tiles, name, {tiles.size(0), tiles.size(1), nnzb, block_size, block_size});
  // As [B, H, L, D] of the same type, with an L and a D that say nothing.
  check_supported(at::empty({tiles.size(0), tiles.size(1), 0, 1}, tiles.options()), name,
                  block_size);
}

// Tiles that a kernel reads 16 bytes at a time: x itself if it is contiguous and begins so.
inline at::Tensor aligned_tiles(const at::Tensor& x) {
  const bool is_aligned = reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
  return is_aligned ? x.contiguous() : x.clone(at::MemoryFormat::Contiguous);
}

inline BlockList block_list(int64_t batch, int64_t heads, const at::Tensor& begin, int64_t nnzb,
                            int64_t block_size) {
  const int64_t length = (begin.size(0) - 1) * block_size;
  TORCH_CHECK(length <= std::numeric_limits<int32_t>::max(),
              "crow_indices: expected a sequence of less than 2^31 tokens, got ", length);
  BlockList blocks;
  blocks.batch_heads = static_cast<int>(batch * heads);
  blocks.heads = static_cast<int>(heads);
  blocks.length = static_cast<int>(length);
  while (1 << blocks.block_log2 < block_size) ++blocks.block_log2;
  blocks.nnzb = static_cast<int>(nnzb);
  blocks.begin = begin.const_data_ptr<int32_t>();
  return blocks;
}

inline BlockList block_list(int64_t batch, int64_t heads, const at::Tensor& begin,
                            const at::Tensor& other, int64_t block_size) {
  BlockList blocks = block_list(batch, heads, begin, other.size(0), block_size);
  blocks.other = other.const_data_ptr<int32_t>();
  return blocks;
}

// body(static_cast<Math*>(nullptr)) for kernels without products, where float32 is exact whatever
// torch says about TF32.
template <typename Body>
const char* with_row_type(const at::Tensor& x, const Body& body) {
  if (x.scalar_type() == at::kHalf) return body(static_cast<F16*>(nullptr));
  if (x.scalar_type() == at::kBFloat16) return body(static_cast<BF16*>(nullptr));
  return body(static_cast<TF32*>(nullptr));
}

}  // namespace spion_bench::cuda
