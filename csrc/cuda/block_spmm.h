// Block SpMM as the bindings see it: its arguments, and launches on a stream, which return null or
// the runtime's complaint.
#pragma once

#include "common/args.h"
#include "common/formats.h"
#include "common/stream.h"

namespace spion_bench::cuda {

// out = P v, or out = P^T v where the list is by columns.
struct BlockSpmmArgs {
  BlockList blocks;
  int width = 0;
  // [nnzb]: each entry's tile, where the list is by columns; null = by rows, or nothing kept.
  const int32_t* tile_of = nullptr;
  const void* tiles = nullptr;
  HeadsView v, out;
};

// P^T v where args.tile_of is set, else P v.
template <class Math>
const char* launch_block_spmm(const BlockSpmmArgs& args, prim::Stream stream);

}  // namespace spion_bench::cuda
