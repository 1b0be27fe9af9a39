// Fused block-sparse attention, forward: online softmax over a block row's kept blocks.
//
// Mapping: one thread block per kRows query rows of one (batch, head), one warp per 16 or 32 of
// them, so that a row's statistics never leave the four lanes of a quad; keys stream through shared
// memory kCols at a time, K two steps ahead and V one, with one barrier a step. P goes from
// accumulators to left operands in registers. Blocks of 128 are two row tiles by two column steps.
// Grid: x = row tiles of a (batch, head), y = b * H + h.
// Shapes: q out [B, H, L, D], k v [B, Hk, Lk, D] by strides, lse [B, H, L] float32; D = 32, 64,
// 128, stored width a multiple of 16 bytes; block 16, 32, 64, 128. Cost per kept block: 4 D S^2
// FLOPs, S^2 exponentials, 2 S D values read (q and out once per row). Launches: one. Registers,
// spills and the instructions of a step: nox -s cuda_build. Test: tests/emulation. No time has been
// measured yet: that takes a GPU.
//
// Pruned scores that count as zeros enter as m = 0, l = their number instead of m = -inf, l = 0.
#pragma once

#include "block_attention_lists.cuh"
#include "common/element.cuh"
#include "common/philox.cuh"

namespace spion_bench::cuda {

constexpr float kLowest = -3.402823466e38f;  // of all finite floats

// Tiles of 16 rows that a warp owns: with two, a right operand is loaded (and split) once for both.
// More columns, or dropout, would take more registers than there are.
template <int D, int kRows, bool kDropout>
constexpr int kForwardTiles = D == 32 && kRows >= 32 && !kDropout ? 2 : 1;
template <int D, int kRows, bool kDropout>
constexpr int kForwardThreads = kRows * 2 / kForwardTiles<D, kRows, kDropout>;

// Thread blocks that have to fit an SM side by side, which bounds the registers: 24 tiles each
// for the tuned shapes. float32 takes what it needs (1), as the compiler would rather spill; 0
// leaves it to the compiler, which spills some of 64 columns by 32 rows then.
template <class Math, int D, int kRows, bool kDropout>
constexpr int kForwardBlocks = sizeof(typename Math::Stored) == 4 ? 1
                               : kDropout                         ? 0
                               : D == 64 && kRows == 32           ? 8
                               : D != 32                          ? 0
                               : kRows == 64                      ? 6
                               : kRows == 32                      ? 12
                                                                  : 0;

template <class Math, int D, int kRows>
constexpr int forward_shared_bytes() {
  return (kRows + 4 * kStepKeys<Math, D, kRows>)*D *
         static_cast<int>(sizeof(typename Math::Stored));
}

// The list of blocks that begins at `begin`, as steps of kCols rows or keys each.
template <int kCols>
struct Steps {
  const int32_t* blocks;
  int begin, block_log2;

  SPION_DEVICE int count(int n_blocks) const { return (n_blocks << block_log2) / kCols; }
  SPION_DEVICE int block(int step) const { return step * kCols >> block_log2; }
  // Where a step begins in the sequence.
  SPION_DEVICE int first(int step) const {
    const int i = block(step);
    return ((prim::load_constant(blocks + (begin + i)) - i) << block_log2) + step * kCols;
  }
};

// The online softmax of a warp's 16 rows; each lane sees rows g and g + 8.
struct OnlineSoftmax {
  float highest[2];  // in units of log2
  float total[2];    // this lane's share of the denominator

  // Row i of the two.
  SPION_DEVICE void start(int i, bool has_zeros, int n_zeros) {
    const bool counts_them = has_zeros && prim::lane_index() % 4 == 0;
    // Not -inf: before the first finite score, -inf less that must not be NaN.
    highest[i] = has_zeros ? 0.0f : kLowest;
    total[i] = counts_them ? static_cast<float>(n_zeros) : 0.0f;
  }

  // Scores become 2^(factor * score - highest); `rescale` is due to all earlier sums.
  template <int kTiles>
  SPION_DEVICE void step(float (&s)[kTiles][4], float factor, float (&rescale)[2]) {
    SPION_UNROLL
    for (int i = 0; i < 2; ++i) {
      float score = prim::max(s[0][2 * i], s[0][2 * i + 1]);
      SPION_UNROLL
      for (int n = 1; n < kTiles; ++n)
        score = prim::max(score, prim::max(s[n][2 * i], s[n][2 * i + 1]));
      score = prim::max(score, prim::shuffle_xor(score, 1));
      score = prim::max(score, prim::shuffle_xor(score, 2));
      const float before = highest[i];
      highest[i] = prim::max(before, score * factor);
      rescale[i] = prim::exp2(before - highest[i]);
      total[i] *= rescale[i];
    }
    SPION_UNROLL
    for (int n = 0; n < kTiles; ++n) SPION_UNROLL
    for (int i = 0; i < 4; ++i) {
      s[n][i] = prim::exp2(s[n][i] * factor - highest[i / 2]);
      total[i / 2] += s[n][i];
    }
  }

  // The log-sum-exp of each row, and what sums have to be multiplied by.
  SPION_DEVICE void finish(float (&lse)[2], float (&factor)[2]) {
    SPION_UNROLL
    for (int i = 0; i < 2; ++i) {
      total[i] += prim::shuffle_xor(total[i], 1);
      total[i] += prim::shuffle_xor(total[i], 2);
      const bool is_empty = total[i] == 0.0f;
      lse[i] = is_empty ? kInfinity : (highest[i] + prim::log2(total[i])) * kLn2;
      factor[i] = is_empty ? 0.0f : 1.0f / total[i];
    }
  }
};

// Scores of padded keys become `hidden`.
template <int kCols, int kTiles>
SPION_DEVICE void mask_scores(float (&s)[kTiles][kCols / 8][4], const bool* mask, int first_key,
                              float hidden) {
  KeyWords<kCols> keys;
  keys.read(mask, first_key);
  if (keys.all_real()) return;
  const int t = prim::lane_index() % 4;
  SPION_UNROLL
  for (int m = 0; m < kTiles; ++m) SPION_UNROLL
  for (int n = 0; n < kCols / 8; ++n) SPION_UNROLL
  for (int i = 0; i < 4; ++i)
    if (!keys.is_real(8 * n + 2 * t + i % 2)) s[m][n][i] = hidden;
}

// Probabilities of dropped scores become 0, the others are scaled.
template <int kCols>
SPION_DEVICE void drop_scores(float (&p)[kCols / 8][4], const Dropout& dropout, int query,
                              int first_key, int batch_head) {
  const int t = prim::lane_index() % 4;
  SPION_UNROLL
  for (int group = 0; group < (kCols + 31) / 32; ++group) {
    uint32_t words[2];
    keep_words_of_quad<kCols>(dropout, query, first_key + 32 * group, batch_head, words);
    SPION_UNROLL
    for (int n = 0; n < (kCols < 32 ? kCols : 32) / 8; ++n) SPION_UNROLL
    for (int i = 0; i < 4; ++i) {
      const bool is_kept = words[i / 2] >> (8 * n + 2 * t + i % 2) & 1u;
      p[4 * group + n][i] *= is_kept ? dropout.keep_scale : 0.0f;
    }
  }
}

// With dropout there is one kernel for either, which tests for a mask itself: kPadded is true. With
// kReaches (args.reaches) there is one for all, which tests for dropout too.
template <class Math, bool kReaches, int D, int kRows, bool kPadded, bool kDropout>
SPION_KERNEL void SPION_LAUNCH_BOUNDS((kForwardThreads<D, kRows, kDropout>),
                                      (kForwardBlocks<Math, D, kRows, kDropout>))
    block_attention_forward_kernel(SPION_KERNEL_ARGUMENT BlockAttentionArgs args) {
  using T = typename Math::Stored;
  constexpr int kTiles = kForwardTiles<D, kRows, kDropout>,
                kThreads = kForwardThreads<D, kRows, kDropout>;
  constexpr int kCols = kStepKeys<Math, D, kRows>;
  using Rows = Tile<D* static_cast<int>(sizeof(T))>;
  constexpr uint32_t kTileBytes = kCols * D * sizeof(T);
  const Rows q_tile{prim::shared_memory()};
  const prim::SharedAddress kv = q_tile.base + kRows * D * static_cast<uint32_t>(sizeof(T));
  const unsigned left_lane = prim::keep(q_tile.left_lane);
  const unsigned right_lane = prim::keep(q_tile.right_lane);
  const auto k_tile = [&](uint32_t buffer) { return Rows{kv + buffer, left_lane, right_lane}; };
  const auto v_tile = [&](uint32_t buffer) {
    return Rows{kv + 2 * kTileBytes + buffer, left_lane, right_lane};
  };

  const Head<kReaches> head(args, prim::block_y());
  const unsigned b = head.b, h = head.h;
  const int first_query = prim::block_x() * kRows;
  const int warp_row = prim::warp_index() * 16 * kTiles, g = prim::lane_index() / 4;
  const Entries entries = entries_of_row(args, head, first_query >> args.block_log2);
  const int n_kept = entries.end - entries.begin;
  const Steps<kCols> steps{args.col, entries.begin, args.block_log2};
  const int n_steps = steps.count(n_kept);

  using Copies = TileCopies<kCols, kThreads, T, D* static_cast<int>(sizeof(T))>;
  Copies k_copies(row_of<const T>(args.k, b, head.kv, 0), args.k.row_stride, args.width);
  Copies v_copies(row_of<const T>(args.v, b, head.kv, 0), args.v.row_stride, args.width);
  k_copies.keep();
  v_copies.keep();
  // V of step i + 1 and K of step i + 2 are issued while step i is under way. These are the first
  // keys of the steps i, i + 1 and i + 2.
  int key = 0, key1 = 0, key2 = 0;
  if (n_steps > 0) {
    key = steps.first(0);
    load_tile<kRows, kThreads>(q_tile, row_of<const T>(args.q, b, h, first_query),
                               args.q.row_stride, args.width);
    k_copies.start(k_tile(0), key);
    prim::cp_async_commit();
    v_copies.start(v_tile(0), key);
    if (n_steps > 1) {
      key1 = steps.first(1);
      k_copies.start(k_tile(kTileBytes), key1);
    }
    prim::cp_async_commit();
    if (n_steps > 2) key2 = steps.first(2);
    prim::cp_async_wait<1>();
    prim::sync_threads();
  }

  LeftRows<Math, D, kIsResident<Math, D>> q[kTiles];
  OnlineSoftmax softmax[kTiles];
  float out[kTiles][D / 8][4] = {};
  SPION_UNROLL
  for (int m = 0; m < kTiles; ++m) {
    q[m].tile = q_tile;
    q[m].first_row = warp_row + 16 * m;
    if (args.is_negated) q[m].sign = Math::kSigns;
    SPION_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int n_zeros =
          absent_scores<kReaches>(args, entries, first_query + warp_row + 16 * m + g + 8 * i);
      softmax[m].start(i, args.zero_logit && n_zeros > 0, n_zeros);
    }
    if (n_steps > 0) q[m].read();
  }

  uint32_t buffer = 0;  // where this step's tiles begin, 0 or kTileBytes
  SPION_NO_UNROLL
  for (int step = 0; step < n_steps; ++step, buffer ^= kTileBytes) {
    float s[kTiles][kCols / 8][4] = {};
    multiply_transposed<kCols, kTiles>(s, q, k_tile(buffer), 0);
    if constexpr (kPadded)
      if (args.key_padding_mask != nullptr)
        mask_scores<kCols>(s, args.key_padding_mask + static_cast<int64_t>(b) * args.key_length,
                           key, -kInfinity);
    if constexpr (kReaches) {
      if (args.causal && key + kCols > first_query) {
        SPION_UNROLL
        for (int m = 0; m < kTiles; ++m)
          hide_later_keys<false>(s[m], first_query + warp_row + 16 * m + g, key, -kInfinity);
      }
    }
    SPION_UNROLL
    for (int m = 0; m < kTiles; ++m) {
      float rescale[2];
      softmax[m].step(s[m], args.score_factor, rescale);
      SPION_UNROLL
      for (int i = 0; i < D / 2; ++i) out[m][i / 4][i % 4] *= rescale[i % 4 / 2];
      if constexpr (kDropout)
        if (!kReaches || args.dropout.threshold > 0)
          drop_scores<kCols>(s[m], args.dropout, first_query + warp_row + 16 * m + g, key,
                             head.batch_head);
    }

    prim::cp_async_wait<0>();  // V of this step and K of the next are there,
    prim::sync_threads();      // and every warp is done with this step's K and the last one's V
    if (step + 1 < n_steps) {
      v_copies.start(v_tile(buffer ^ kTileBytes), key1);
      if (step + 2 < n_steps) k_copies.start(k_tile(buffer), key2);
      prim::cp_async_commit();
    }
    Math::template multiply_rows<kCols, D, kTiles>(out, s, v_tile(buffer), 0);
    key = key1;
    key1 = key2;
    if (step + 3 < n_steps) key2 = steps.first(step + 3);
  }

  const unsigned query = first_query + warp_row;
  float* row_lse = args.lse + static_cast<int64_t>(head.batch_head) * args.length + query;
  T* row_out = row_of<T>(args.out, b, h, query);
  SPION_UNROLL
  for (int m = 0; m < kTiles; ++m) {
    float lse[2], factor[2];
    softmax[m].finish(lse, factor);
    if (prim::lane_index() % 4 == 0) SPION_UNROLL
    for (int i = 0; i < 2; ++i) row_lse[g + 16 * m + 8 * i] = lse[i];
    store_rows<Math, D>(out[m], factor, q_tile, warp_row + 16 * m,
                        row_out + 16 * m * args.out.row_stride, args.out.row_stride, args.width);
  }
}

}  // namespace spion_bench::cuda
