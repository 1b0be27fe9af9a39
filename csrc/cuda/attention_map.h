// The averaged attention map as the bindings see it: its arguments, and launches on a stream, which
// return null or the runtime's complaint.
#pragma once

#include "common/args.h"
#include "common/formats.h"
#include "common/stream.h"

namespace spion_bench::cuda {

struct AttentionMapArgs {
  int batch = 0, heads = 0, length = 0, width = 0;  // width: stored columns of D, <= the kernel's
  const bool* key_padding_mask = nullptr;           // [B, L], true = real token; null = all real
  float score_factor = 1.0f;  // |scale| * log2 e, at least the smallest normal number
  bool is_negated = false;    // scale < 0
  float share = 1.0f;         // 1 / (B * H)
  HeadsView q, k;
  float* row_stats = nullptr;  // [B, H, L, 2], scratch: see attention_map.cuh
  float* map = nullptr;        // [L, L]
};

// Two launches; for TF32 and TF32x3.
template <class Math>
const char* launch_attention_map(const AttentionMapArgs& args, prim::Stream stream);

}  // namespace spion_bench::cuda
