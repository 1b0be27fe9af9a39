#include "problem.h"

#include <cmath>

namespace spion_bench::driver {

const std::vector<Case> cases = {
    // The smallest sequences there are: one block row, one chunk.
    {.name = "one_block", .batch = 1, .heads = 1, .nb = 1, .block_size = 8},
    {.name = "one_large_block", .batch = 1, .width = 5, .nb = 1, .block_size = 128},
    // Widths: narrower than any vector, odd, one vector, whole pairs of vectors, a pair and a
    // remainder, many, the widest.
    {.name = "width_1", .width = 1},
    {.name = "width_5", .width = 5, .nb = 9, .block_size = 8, .layout = Layout::heads_last},
    {.name = "width_16", .width = 16, .nb = 3, .layout = Layout::packed},
    {.name = "width_32", .width = 32, .nb = 5, .block_size = 32, .dropout = 0.1},
    {.name = "width_64", .width = 64, .nb = 3, .block_size = 64, .layout = Layout::packed},
    {.name = "width_80", .width = 80, .layout = Layout::heads_last, .padding = Padding::some_keys},
    {.name = "width_128", .width = 128, .nb = 3, .block_size = 32, .lse_gradient = true},
    {.name = "width_250", .width = 250, .nb = 6, .block_size = 8, .layout = Layout::packed},
    // The largest block: all panels of a row, the most scratch.
    {.name = "block_128", .batch = 1, .heads = 1, .width = 32, .nb = 3, .block_size = 128},
    {.name = "block_128_wide", .batch = 1, .heads = 1, .width = 250, .nb = 2, .block_size = 128},
    // Rows without keys and columns without queries.
    {.name = "holes", .nb = 6, .block_size = 8, .kept = Kept::holes, .lse_gradient = true},
    {.name = "holes_of_32", .width = 48, .nb = 3, .block_size = 32, .kept = Kept::holes},
    {.name = "nothing_kept", .heads = 1, .nb = 3, .kept = Kept::nothing},
    // Nothing pruned: the zero-logit convention adds nothing.
    {.name = "everything_kept", .nb = 9, .block_size = 8, .kept = Kept::everything},
    // One (batch, head) in 32 chunks, which share block columns; 40 of them in one chunk each.
    {.name = "chunks_share_a_column",
     .batch = 1,
     .heads = 1,
     .nb = 40,
     .block_size = 8,
     .kept = Kept::first_column_and_diagonal,
     .lse_gradient = true},
    {.name = "chunks_share_all_columns",
     .batch = 1,
     .heads = 3,
     .width = 5,
     .nb = 15,
     .block_size = 8,
     .kept = Kept::everything,
     .layout = Layout::heads_last,
     .padding = Padding::some_keys,
     .dropout = 0.3},
    {.name = "many_heads", .batch = 5, .heads = 8, .block_size = 8, .layout = Layout::heads_last},
    // Padding: rows whose every key is padded, in one batch item or in all.
    {.name = "one_item_padded",
     .nb = 5,
     .block_size = 8,
     .padding = Padding::one_whole_item,
     .dropout = 0.2,
     .lse_gradient = true},
    {.name = "everything_padded", .padding = Padding::everything, .lse_gradient = true},
    {.name = "most_dropped", .width = 32, .layout = Layout::packed, .dropout = 0.9},
    // Keys after their query do not exist: blocks on the diagonal and above it, and none of either.
    {.name = "causal", .nb = 5, .lse_gradient = true, .causal = true},
    {.name = "causal_with_holes",
     .nb = 6,
     .block_size = 8,
     .kept = Kept::holes,
     .padding = Padding::some_keys,
     .dropout = 0.2,
     .causal = true},
    // More keys than queries and the other way round, the last ones missing, one head for three.
    {.name = "many_keys", .nb = 2, .key_blocks = 9, .missing_keys = 5},
    {.name = "few_keys",
     .heads = 6,
     .width = 48,
     .nb = 7,
     .block_size = 8,
     .kept = Kept::everything,
     .layout = Layout::heads_last,
     .dropout = 0.1,
     .heads_per_kv = 3,
     .key_blocks = 3,
     .missing_keys = 7},
};

namespace {

bool is_real(Padding padding, int64_t b, int64_t position, int64_t length) {
  switch (padding) {
    case Padding::none:
      return true;
    case Padding::some_keys:  // the end, a whole first block, and every fifth elsewhere
      return position >= 16 && position < length - 3 - 2 * b && position % 5 != 0;
    case Padding::one_whole_item:
      return b > 0 && position < length - 11;
    case Padding::everything:
      return false;
  }
  return true;
}

int64_t padded(int64_t width) { return (width + 15) / 16 * 16; }

cpu::Dropout make_dropout(double p) {
  const auto threshold = static_cast<uint32_t>(std::lround(p * 65536));
  // Both words of the key matter.
  return {threshold > 0, threshold, 0x9E3779B97F4A7C15, 65536.0 / (65536.0 - threshold)};
}

}  // namespace

Problem::Problem(const Case& c, bool with_zero_logit)
    : name(std::string(c.name) + (with_zero_logit ? " zero_logit" : " minus_inf")),
      zero_logit(with_zero_logit),
      layout(c.layout),
      shape{c.batch, c.heads, c.nb * c.block_size, padded(c.width)},
      key_shape{c.batch, c.heads / c.heads_per_kv,
                (c.key_blocks > 0 ? c.key_blocks : c.nb) * c.block_size, padded(c.width)},
      heads_per_kv(c.heads_per_kv),
      n_keys(key_shape.length - c.missing_keys),
      causal(c.causal),
      pattern(make_pattern(c.kept, c.nb, key_shape.length / c.block_size, c.block_size)),
      scale(1 / std::sqrt(static_cast<double>(c.width))),
      dropout(make_dropout(c.dropout)),
      q(random_values(shape, c.width, 1)),
      k(random_values(key_shape, c.width, 2)),
      v(random_values(key_shape, c.width, 3)),
      dout(random_values(shape, c.width, 4)),
      dlse(c.lse_gradient ? random_values({c.batch, c.heads, shape.length, 1}, 1, 5)
                          : std::vector<double>{}),
      key_padding_mask(
          c.padding == Padding::none && c.missing_keys == 0 ? 0 : c.batch * key_shape.length,
          [&](int64_t i) {
            const int64_t key = i % key_shape.length;
            return key < n_keys && is_real(c.padding, i / key_shape.length, key, n_keys);
          }) {}

}  // namespace spion_bench::driver
