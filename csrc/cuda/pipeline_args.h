// What the launchers and the pipeline's kernels say to each other: one plain struct per operator.
//
// "Tiles" are the kept blocks of a score matrix, [B, H, nnzb, S, S], contiguous, in the order of
// the list by rows; T is the operands' own type, as in every operator of the pipeline.
#pragma once

#include "attention_args.h"

namespace spion_bench::cuda {

// The kept blocks by row (or by column), and the sizes that follow from them.
struct BlockList {
  int batch_heads = 0, heads = 0;
  int length = 0, block_log2 = 0;  // L, log2 S
  int nnzb = 0;
  const int32_t* begin = nullptr;  // [L / S + 1]: where each block row (column) begins in `other`
  const int32_t* other = nullptr;  // [nnzb]: the block column (row) of each entry

  // Where a tile begins, in elements.
  constexpr int64_t tile_offset(int batch_head, int tile) const {
    return (static_cast<int64_t>(batch_head) * nnzb + tile) << 2 * block_log2;
  }
};

// tiles = scale * q k^T
struct SddmmArgs {
  BlockList blocks;
  int width = 0;  // stored columns of D
  float scale = 1.0f;
  HeadsView q, k;
  void* tiles = nullptr;
};

// out = P v, or out = P^T v where the list is by columns.
struct SpmmArgs {
  BlockList blocks;
  int width = 0;
  // [nnzb]: each entry's tile, where the list is by columns; null = by rows, or nothing kept.
  const int32_t* tile_of = nullptr;
  const void* tiles = nullptr;
  HeadsView v, out;
};

struct SoftmaxArgs {
  BlockList blocks;
  bool zero_logit = false;
  const bool* key_padding_mask = nullptr;  // [B, L], true = real token; null = all real
  const void* scores = nullptr;
  void* probs = nullptr;
  float* lse = nullptr;  // [B, H, L]
};

struct SoftmaxBackwardArgs {
  BlockList blocks;  // without `other`
  const void *dprobs = nullptr, *probs = nullptr;
  const float* dlse = nullptr;  // [B, H, L] or null
  void* dscores = nullptr;
};

struct DropoutArgs {
  BlockList blocks;
  Dropout dropout;
  const void* probs = nullptr;
  void* out = nullptr;
};

}  // namespace spion_bench::cuda
