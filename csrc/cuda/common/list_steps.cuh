// How the pipeline's products walk a list of blocks: steps of kCols keys, so that a block of 128
// takes two. They share tile sizes with the fused kernels.
#pragma once

#include "args.h"
#include "element.cuh"

namespace spion_bench::cuda {

// The blocks of the block row (or column) that `first_row` lies in.
template <int kCols>
struct ListSteps {
  int first_entry, n_steps;
  int per_block_log2;

  SPION_DEVICE ListSteps(const BlockList& blocks, int first_row)
      : per_block_log2(blocks.block_log2 - __builtin_ctz(kCols)) {
    const int32_t* begin = blocks.begin + (first_row >> blocks.block_log2);
    first_entry = prim::load_constant(begin);
    n_steps = (prim::load_constant(begin + 1) - first_entry) << per_block_log2;
  }
  SPION_DEVICE int entry(int step) const { return first_entry + (step >> per_block_log2); }
  // Where a step begins within its block.
  SPION_DEVICE int within(int step) const { return (step & ((1 << per_block_log2) - 1)) * kCols; }
};

// A tile of shared memory for rows of kCols values; narrower ones than a Tile's rows are padded.
template <typename T, int kCols>
constexpr int kPaddedCols =
    kCols * static_cast<int>(sizeof(T)) < 64 ? 64 / static_cast<int>(sizeof(T)) : kCols;
template <typename T, int kCols>
using ScoreTile = Tile<kPaddedCols<T, kCols>* static_cast<int>(sizeof(T))>;

}  // namespace spion_bench::cuda
