// Block SDDMM for torch tensors; see common/bind.h.
#pragma once

#include "block_sddmm.h"
#include "common/bind_tiles.h"

namespace spion_bench::cuda {

inline at::Tensor block_sddmm(const at::Tensor& q_in, const at::Tensor& k_in,
                              const at::Tensor& crow, const at::Tensor& col, int64_t block_size,
                              double scale, prim::Stream stream) {
  check_heads(q_in, "q", kWithHalf);
  check_heads(k_in, "k", kWithHalf);
  check_same(k_in, "k", q_in, "q");
  check_shape(k_in, "k", q_in.sizes());
  check_pattern(crow, col, block_size, q_in.size(2));
  check_scale(scale);
  check_supported(q_in, "q", block_size);
  const at::Tensor q = with_16_byte_rows(q_in), k = with_16_byte_rows(k_in);
  const at::Tensor tiles =
      at::empty({q.size(0), q.size(1), col.size(0), block_size, block_size}, q.options());
  BlockSddmmArgs args;
  args.blocks = block_list(q.size(0), q.size(1), crow, col, block_size);
  args.width = static_cast<int>(q.size(3));
  args.scale = static_cast<float>(scale);
  args.q = heads_view(q);
  args.k = heads_view(k);
  args.tiles = tiles.mutable_data_ptr();
  if (tiles.numel() > 0)
    check_launch("block_sddmm", with_precision(q, [&]<class Math>(Math*) {
                   return launch_block_sddmm<Math>(args, stream);
                 }));
  return tiles;
}

}  // namespace spion_bench::cuda
