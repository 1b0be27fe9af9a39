// Fused attention as the bindings see it: its arguments, and launches on a stream, which return
// null or the runtime's complaint.
#pragma once

#include "common/args.h"
#include "common/formats.h"
#include "common/stream.h"

namespace spion_bench::cuda {

struct BlockAttentionArgs {
  int batch = 0, heads = 0, length = 0, width = 0;  // width: stored columns of D, <= the kernel's
  int key_length = 0;                               // as length a multiple of the block size
  int n_keys = 0;                      // keys that exist, the rest of key_length fills a block
  int heads_per_kv = 1;                // query heads that share one head of k and v
  int block_size = 0, block_log2 = 0;  // S, a power of two
  int n_blocks = 0, n_key_blocks = 0;  // L / S and Lk / S
  int nnzb = 0;                        // kept blocks
  // The patterns of the groups of heads, one after the other; each may be larger than the sequence.
  int heads_per_group = 1, pattern_rows = 0, pattern_columns = 0;
  bool causal = false;  // scores of keys after their query do not exist
  // Anything but one square pattern of whole blocks for all heads: causal, groups, heads of k that
  // several of q share, another number of keys, a last block that is filled up, or a cut pattern.
  bool reaches = false;
  bool is_cut = false;  // lists may hold blocks outside the sequence, or above a causal diagonal
  // The patterns by rows, and by columns with each entry's position in the row list.
  const int32_t *crow = nullptr, *col = nullptr;
  const int32_t *t_crow = nullptr, *t_row = nullptr, *t_tile = nullptr;
  const bool* key_padding_mask = nullptr;  // [B, Lk], true = real token; null = all real
  float scale = 1.0f;
  float score_factor = 1.0f;  // |scale| * log2 e, at least the smallest normal number
  bool is_negated = false;    // scale < 0
  bool zero_logit = false;
  Dropout dropout;
  HeadsView q, k, v, out, dout, dq, dk, dv;  // dk and dv have the heads of q
  float* lse = nullptr;                      // [B, H, L]
  const float* dlse = nullptr;               // [B, H, L] or null

  // Backward only.
  float* row_stats = nullptr;     // [B, H, L, 2]: lse * log2 e, and sum(dout * out) - dlse
  uint32_t* keep_bits = nullptr;  // [B, heads per group, nnzb, S, words of 32 keys], set = kept
  int cut_every = 0;              // column lists end at multiples of this; 0 = never cut
  float* parts = nullptr;         // [B, H, 2 * cuts, 2, S, D]: dk and dv of the pieces
};

// Words of 32 keys that hold the keep bits of one row of a tile.
constexpr int keep_words(int block_size) { return block_size < 32 ? 1 : block_size / 32; }

// Long columns are cut at the multiples of `cut_every` in the list of all entries by column.
constexpr int n_cuts(int nnzb, int cut_every) {
  return cut_every == 0 || nnzb == 0 ? 0 : (nnzb - 1) / cut_every;
}

// One launch.
template <class Math>
const char* launch_block_attention_forward(const BlockAttentionArgs& args, prim::Stream stream);

// Two launches, three where long columns are cut.
template <class Math>
const char* launch_block_attention_backward(const BlockAttentionArgs& args, prim::Stream stream);

}  // namespace spion_bench::cuda
