// Which list entries a thread block works on, where a head's pattern depends on its group and may
// be larger than the sequence; and which scores a causal mask hides.
#pragma once

#include "block_attention.h"
#include "common/prim.cuh"

namespace spion_bench::cuda {

// One (batch, head) of q, and what it shares with others: nothing, unless kReaches.
template <bool kReaches>
struct Head {
  unsigned batch_head, b, h;
  unsigned kv;     // its head of k and v
  unsigned group;  // its pattern
  unsigned kept;   // among the (batch, head)s that share its pattern

  SPION_DEVICE Head(const BlockAttentionArgs& args, int index) : batch_head(index) {
    const auto heads = static_cast<unsigned>(args.heads);
    b = batch_head / heads;
    h = batch_head - b * heads;
    kv = h;
    group = 0;
    kept = batch_head;
    if constexpr (kReaches) {
      const auto per_group = static_cast<unsigned>(args.heads_per_group);
      kv = h / args.heads_per_kv;
      group = h / per_group;
      kept = b * per_group + h - group * per_group;
    }
  }
};

struct Entries {
  int begin, end;

  // Leaves out blocks before `first` and after `last`; a list ascends.
  SPION_DEVICE void keep(const int32_t* blocks, int first, int last) {
    while (begin < end && prim::load_constant(blocks + begin) < first) ++begin;
    while (begin < end && prim::load_constant(blocks + end - 1) > last) --end;
  }
};

// The blocks with scores in block row `row`.
template <bool kReaches>
SPION_DEVICE Entries entries_of_row(const BlockAttentionArgs& args, const Head<kReaches>& head,
                                    int row) {
  const int32_t* crow = args.crow + row;
  if constexpr (kReaches) crow += head.group * args.pattern_rows;
  Entries entries{prim::load_constant(crow), prim::load_constant(crow + 1)};
  if constexpr (kReaches)
    if (args.is_cut) entries.keep(args.col, 0, args.causal ? row : args.n_key_blocks - 1);
  return entries;
}

// Scores of a query that exist outside its row's entries. Only the last of them can reach beyond
// the keys that the query sees.
template <bool kReaches>
SPION_DEVICE int absent_scores(const BlockAttentionArgs& args, const Entries& entries, int query) {
  const int n_kept = entries.end - entries.begin;
  if constexpr (!kReaches) return args.length - (n_kept << args.block_log2);
  const int seen = args.causal ? query + 1 : args.n_keys;
  if (n_kept == 0) return seen;
  const int last = prim::load_constant(args.col + entries.end - 1);
  const int beyond = ((last + 1) << args.block_log2) - seen;
  return seen - (n_kept << args.block_log2) + (beyond > 0 ? beyond : 0);
}

// Scores of keys after their query become `hidden`. `own` is the lane's first row of `c`, `first`
// the first column, positions in the sequence; rows are queries, or keys if kIsColumn.
template <bool kIsColumn, int kTiles>
SPION_DEVICE void hide_later_keys(float (&c)[kTiles][4], int own, int first, float hidden) {
  const int ahead = first + prim::lane_index() % 4 * 2 - own;
  SPION_UNROLL
  for (int n = 0; n < kTiles; ++n) SPION_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int column_less_row = ahead + 8 * n + i % 2 - i / 2 * 8;
    if (kIsColumn ? column_less_row < 0 : column_less_row > 0) c[n][i] = hidden;
  }
}

}  // namespace spion_bench::cuda
