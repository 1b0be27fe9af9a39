// Dropout on tiles as the bindings see it: its arguments, and launches on a stream, which return
// null or the runtime's complaint.
#pragma once

#include "common/args.h"
#include "common/formats.h"
#include "common/stream.h"

namespace spion_bench::cuda {

struct BlockDropoutArgs {
  BlockList blocks;
  Dropout dropout;
  const void* probs = nullptr;
  void* out = nullptr;
};

// No products here, so F16, BF16 and TF32 (for float32, exactly) are all that exist.
template <class Math>
const char* launch_block_dropout(const BlockDropoutArgs& args, prim::Stream stream);

}  // namespace spion_bench::cuda
