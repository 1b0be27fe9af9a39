// Block SDDMM as the bindings see it: its arguments, and launches on a stream, which return null or
// the runtime's complaint.
#pragma once

#include "common/args.h"
#include "common/formats.h"
#include "common/stream.h"

namespace spion_bench::cuda {

// tiles = scale * q k^T
struct BlockSddmmArgs {
  BlockList blocks;
  int width = 0;  // stored columns of D
  float scale = 1.0f;
  HeadsView q, k;
  void* tiles = nullptr;
};

template <class Math>
const char* launch_block_sddmm(const BlockSddmmArgs& args, prim::Stream stream);

}  // namespace spion_bench::cuda
