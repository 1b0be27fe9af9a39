// Block softmax as the bindings see it: its arguments, and launches on a stream, which return null
// or the runtime's complaint.
#pragma once

#include "common/args.h"
#include "common/formats.h"
#include "common/stream.h"

namespace spion_bench::cuda {

struct BlockSoftmaxArgs {
  BlockList blocks;
  bool zero_logit = false;
  const bool* key_padding_mask = nullptr;  // [B, L], true = real token; null = all real
  const void* scores = nullptr;
  void* probs = nullptr;
  float* lse = nullptr;  // [B, H, L]
};

struct BlockSoftmaxBackwardArgs {
  BlockList blocks;  // without `other`
  const void *dprobs = nullptr, *probs = nullptr;
  const float* dlse = nullptr;  // [B, H, L] or null
  void* dscores = nullptr;
};

// No products here, so F16, BF16 and TF32 (for float32, exactly) are all that exist.
template <class Math>
const char* launch_block_softmax(const BlockSoftmaxArgs& args, prim::Stream stream);
template <class Math>
const char* launch_block_softmax_backward(const BlockSoftmaxBackwardArgs& args,
                                          prim::Stream stream);

}  // namespace spion_bench::cuda
