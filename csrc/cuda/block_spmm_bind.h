// Block SpMM for torch tensors; see common/bind.h.
#pragma once

#include "block_spmm.h"
#include "common/bind_tiles.h"

namespace spion_bench::cuda {

// `tile_of`: null for the list by rows, which is in the order of the tiles.
inline at::Tensor multiply_tiles(const char* op, const at::Tensor& probs_in, const at::Tensor& v_in,
                                 const at::Tensor& begin, const at::Tensor& other, ListNames names,
                                 const int32_t* tile_of, int64_t block_size, prim::Stream stream) {
  check_heads(v_in, "v", kWithHalf);
  check_pattern(begin, other, block_size, v_in.size(2), names);
  check_supported(v_in, "v", block_size);
  check_same(probs_in, "probs", v_in, "v");
  check_shape(probs_in, "probs",
              {v_in.size(0), v_in.size(1), other.size(0), block_size, block_size});
  const at::Tensor probs = aligned_tiles(probs_in), v = with_16_byte_rows(v_in);
  const at::Tensor out = at::empty(v.sizes(), v.options());
  BlockSpmmArgs args;
  args.blocks = block_list(v.size(0), v.size(1), begin, other, block_size);
  args.width = static_cast<int>(v.size(3));
  args.tile_of = tile_of;
  args.tiles = probs.const_data_ptr();
  args.v = heads_view(v);
  args.out = heads_view(out);
  if (out.numel() > 0)
    check_launch(op, with_precision(v, [&]<class Math>(Math*) {
                   return launch_block_spmm<Math>(args, stream);
                 }));
  return without_padding(out, v_in.size(3));
}

inline at::Tensor block_spmm(const at::Tensor& probs, const at::Tensor& v, const at::Tensor& crow,
                             const at::Tensor& col, int64_t block_size, prim::Stream stream) {
  return multiply_tiles("block_spmm", probs, v, crow, col, kByRow, nullptr, block_size, stream);
}

inline at::Tensor block_spmm_transposed(const at::Tensor& probs, const at::Tensor& v,
                                        const at::Tensor& t_crow, const at::Tensor& t_row,
                                        const at::Tensor& t_tile, int64_t block_size,
                                        prim::Stream stream) {
  check_index(t_row, "t_row_indices");
  check_tiles_of(t_tile, t_row);
  return multiply_tiles("block_spmm_transposed", probs, v, t_crow, t_row, kByColumn,
                        t_tile.const_data_ptr<int32_t>(), block_size, stream);
}

}  // namespace spion_bench::cuda
