// Last launch of the backward pass, where columns were cut: adds the pieces' shares of dk and dv.
//
// Mapping: one thread block per cut of one (batch, head); that of a column's first cut adds all of
// the column's pieces in the order of the list, so results are bitwise reproducible.
// Grid: x = cuts (block_attention_columns.cuh), y = b * H + h. No shared memory.
// Cost: reads 2 S D float32 values per piece, writes 2 S D values per cut column.
// Test: tests/emulation (a pattern with one full column).
#pragma once

#include "block_attention_columns.cuh"
#include "common/element.cuh"

namespace spion_bench::cuda {

constexpr int kReduceThreads = 128;

template <class Math>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kReduceThreads, 8)
    block_attention_reduce_kernel(SPION_KERNEL_ARGUMENT BlockAttentionArgs args) {
  using T = typename Math::Stored;
  const int first_cut = prim::block_x(), cut = args.cut_every;
  const Head<true> head(args, prim::block_y());
  const int32_t* t_crow = columns_of(args, head);
  const int column = column_of(args, t_crow, (first_cut + 1) * cut);
  const int begin = prim::load_constant(t_crow + column);
  const int end = prim::load_constant(t_crow + column + 1);
  // Only the first cut strictly inside the column works.
  if (begin >= (first_cut + 1) * cut || begin < first_cut * cut || end <= (first_cut + 1) * cut)
    return;

  const int part_size = args.block_size * args.width;
  const float* parts = args.parts + static_cast<int64_t>(head.batch_head) * 2 *
                                        n_cuts(args.nnzb, cut) * 2 * part_size;
  for (int i = 2 * prim::thread_index(); i < 2 * part_size; i += 2 * kReduceThreads) {
    const float* part = parts + static_cast<int64_t>(2 * first_cut) * 2 * part_size + i;
    float low = part[0], high = part[1];
    for (int c = first_cut; (c + 1) * cut < end; ++c) {
      part = parts + static_cast<int64_t>(2 * c + 1) * 2 * part_size + i;
      low += part[0];
      high += part[1];
    }
    const bool is_dv = i >= part_size;
    const int within = is_dv ? i - part_size : i;
    const int row = (column << args.block_log2) + within / args.width;
    T* to = row_of<T>(is_dv ? args.dv : args.dk, head.b, head.h, row) + within % args.width;
    Math::store_global_pair(to, low, high);
  }
}

}  // namespace spion_bench::cuda
