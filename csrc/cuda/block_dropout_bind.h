// Dropout on tiles for torch tensors; see common/bind.h.
#pragma once

#include "block_dropout.h"
#include "common/bind_tiles.h"

namespace spion_bench::cuda {

inline at::Tensor block_dropout(const at::Tensor& probs_in, const at::Tensor& crow,
                                const at::Tensor& col, int64_t block_size, double p, int64_t seed,
                                prim::Stream stream) {
  check_list(crow, col, block_size);
  check_tiles(probs_in, "probs", col.size(0), block_size);
  const at::Tensor probs = aligned_tiles(probs_in);
  const at::Tensor out = at::empty(probs.sizes(), probs.options());
  BlockDropoutArgs args;
  args.blocks = block_list(probs.size(0), probs.size(1), crow, col, block_size);
  args.dropout = make_dropout(p, seed);
  args.probs = probs.const_data_ptr();
  args.out = out.mutable_data_ptr();
  if (out.numel() > 0)
    check_launch("block_dropout", with_row_type(probs, [&]<class Math>(Math*) {
                   return launch_block_dropout<Math>(args, stream);
                 }));
  return out;
}

}  // namespace spion_bench::cuda
