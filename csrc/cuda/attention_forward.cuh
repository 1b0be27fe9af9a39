// Fused block-sparse attention, forward: online softmax over a block row's kept blocks.
//
// Mapping: one thread block per kRows query rows of one (batch, head), one warp per 16 of them, so
// that a row's statistics never leave the four lanes of a quad; keys stream through shared memory
// kCols at a time, K two steps ahead and V one. P goes from accumulators to left operands in
// registers. Blocks of 128 are two row tiles by two column steps.
// Grid: x = row tiles of a (batch, head), y = b * H + h.
// Shapes: q k v out [B, H, L, D] by strides, lse [B, H, L] float32; D = 32, 64, 128, stored width a
// multiple of 16 bytes; block 16, 32, 64, 128.
// Cost per kept block: 4 D S^2 FLOPs, S^2 exponentials, 2 S D values read (q and out once per row).
// Launches: one. Registers and spills: nox -s cuda_build. Test: tests/emulation. No time has been
// measured yet: that takes a GPU.
//
// Pruned scores that count as zeros enter as m = 0, l = their number instead of m = -inf, l = 0.
#pragma once

#include "element.cuh"
#include "philox.cuh"

namespace spion_bench::cuda {

constexpr float kLn2 = 0.693147180559945309f;
constexpr float kInfinity = __builtin_huge_valf();

// Key rows per step: half as many where float32 tiles of 128 columns would not fit.
template <class Math, int D, int kRows>
constexpr int kStepKeys = D * sizeof(typename Math::Stored) > 256 && kRows > 32 ? 32 : kRows;

// Left operands stay in registers unless they are too many.
template <class Math, int D>
constexpr bool kIsResident = sizeof(typename Math::A) * (D / Math::kStep) <= 128;

// Thread blocks that have to fit an SM side by side, which bounds the registers: 20 warps for the
// tuned shape. float32 takes what it needs (1), as the compiler would rather spill; 0 leaves it to
// the compiler.
template <class Math, int D, int kRows, bool kDropout>
constexpr int kForwardBlocks = sizeof(typename Math::Stored) == 4    ? 1
                               : D == 32 && kRows == 64 && !kDropout ? 5
                                                                     : 0;

template <class Math, int D, int kRows>
constexpr int forward_shared_bytes() {
  return (kRows + 4 * kStepKeys<Math, D, kRows>)*D *
         static_cast<int>(sizeof(typename Math::Stored));
}

// A list of blocks, as steps of kCols rows or keys each.
template <int kCols>
struct Steps {
  static_assert((kCols & (kCols - 1)) == 0);
  const int32_t* list;
  int block_log2, per_block_log2;

  SPION_DEVICE Steps(const AttentionArgs& args, const int32_t* blocks)
      : list(blocks), block_log2(args.block_log2), per_block_log2(args.block_log2) {
    SPION_UNROLL
    for (int cols = kCols; cols > 1; cols /= 2) --per_block_log2;
  }
  SPION_DEVICE int count(int n_blocks) const { return n_blocks << per_block_log2; }
  SPION_DEVICE int block(int step) const { return step >> per_block_log2; }
  // Where a step begins in the sequence.
  SPION_DEVICE int first(int step) const {
    const int within = step & ((1 << per_block_log2) - 1);
    return (prim::load_constant(list + block(step)) << block_log2) + within * kCols;
  }
};

// The online softmax of a warp's 16 rows; each lane sees rows g and g + 8.
struct OnlineSoftmax {
  float highest[2];  // in units of log2
  float total[2];    // this lane's share of the denominator

  SPION_DEVICE OnlineSoftmax(bool has_zeros, int n_zeros) {
    const bool counts_them = has_zeros && prim::lane_index() % 4 == 0;
    SPION_UNROLL
    for (int i = 0; i < 2; ++i) {
      highest[i] = has_zeros ? 0.0f : -kInfinity;
      total[i] = counts_them ? static_cast<float>(n_zeros) : 0.0f;
    }
  }

  // Scores become 2^(factor * score - highest); `rescale` is due to all earlier sums.
  template <int kTiles>
  SPION_DEVICE void step(float (&s)[kTiles][4], float factor, float (&rescale)[2]) {
    float base[2];
    SPION_UNROLL
    for (int i = 0; i < 2; ++i) {
      float score = s[0][2 * i];
      SPION_UNROLL
      for (int n = 0; n < kTiles; ++n)
        score = prim::max(score, prim::max(s[n][2 * i], s[n][2 * i + 1]));
      score = prim::max(score, prim::shuffle_xor(score, 1));
      score = prim::max(score, prim::shuffle_xor(score, 2));
      const float before = highest[i];
      highest[i] = prim::max(before, score * factor);
      // Before the first finite score -inf - base must not be NaN.
      base[i] = highest[i] == -kInfinity ? 0.0f : highest[i];
      rescale[i] = prim::exp2(before - base[i]);
      total[i] *= rescale[i];
    }
    SPION_UNROLL
    for (int n = 0; n < kTiles; ++n) SPION_UNROLL
    for (int i = 0; i < 4; ++i) {
      s[n][i] = prim::exp2(s[n][i] * factor - base[i / 2]);
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

// Scores of padded keys become -inf.
template <int kCols>
SPION_DEVICE void mask_scores(float (&s)[kCols / 8][4], const bool* mask, int first_key) {
  KeyWords<kCols> keys;
  keys.read(mask, first_key);
  if (keys.all_real()) return;
  const int t = prim::lane_index() % 4;
  SPION_UNROLL
  for (int n = 0; n < kCols / 8; ++n) SPION_UNROLL
  for (int i = 0; i < 4; ++i)
    if (!keys.is_real(8 * n + 2 * t + i % 2)) s[n][i] = -kInfinity;
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

template <class Math, int D, int kRows, bool kDropout>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kRows * 2, (kForwardBlocks<Math, D, kRows, kDropout>))
    attention_forward_kernel(SPION_KERNEL_ARGUMENT AttentionArgs args) {
  using T = typename Math::Stored;
  constexpr int kThreads = kRows * 2, kCols = kStepKeys<Math, D, kRows>;
  using Rows = Tile<D* static_cast<int>(sizeof(T))>;
  constexpr uint32_t kTileBytes = kCols * D * sizeof(T);
  const Rows q_tile{prim::shared_memory()};
  const prim::SharedAddress kv = q_tile.base + kRows * D * static_cast<uint32_t>(sizeof(T));
  const auto k_tile = [kv](int step) { return Rows{kv + step % 2 * kTileBytes}; };
  const auto v_tile = [kv](int step) { return Rows{kv + (2 + step % 2) * kTileBytes}; };

  const int batch_head = prim::block_y(), b = batch_head / args.heads;
  const int h = batch_head - b * args.heads;
  const int first_query = prim::block_x() * kRows;
  const int warp_row = prim::warp_index() * 16, g = prim::lane_index() / 4;
  const int32_t* crow = args.crow + (first_query >> args.block_log2);
  const int list_begin = prim::load_constant(crow);
  const int n_kept = prim::load_constant(crow + 1) - list_begin;
  const Steps<kCols> steps(args, args.col + list_begin);
  const int n_steps = steps.count(n_kept);

  const auto load_keys = [&](const HeadsView& view, Rows tile, int key) {
    load_tile<kCols, kThreads>(tile, row_of<const T>(view, b, h, key), view.row_stride, args.width);
  };
  // Step i's V and step i + 2's K are issued while step i is under way. These are the first keys of
  // the steps i, i + 1 and i + 2.
  int key = 0, key1 = 0, key2 = 0;
  if (n_steps > 0) {
    key = steps.first(0);
    load_tile<kRows, kThreads>(q_tile, row_of<const T>(args.q, b, h, first_query),
                               args.q.row_stride, args.width);
    load_keys(args.k, k_tile(0), key);
    prim::cp_async_commit();
    load_keys(args.v, v_tile(0), key);
    prim::cp_async_commit();
    if (n_steps > 1) {
      key1 = steps.first(1);
      load_keys(args.k, k_tile(1), key1);
    }
    prim::cp_async_commit();
    if (n_steps > 2) key2 = steps.first(2);
    prim::cp_async_wait<2>();
    prim::sync_threads();
  }

  LeftRows<Math, D, kIsResident<Math, D>> q{q_tile, warp_row, {}};
  const int n_zeros = args.length - (n_kept << args.block_log2);
  OnlineSoftmax softmax(args.zero_logit && n_zeros > 0, n_zeros);
  float out[D / 8][4] = {};
  if (n_steps > 0) q.read();

  SPION_NO_UNROLL
  for (int step = 0; step < n_steps;) {
    float s[kCols / 8][4] = {};
    multiply_transposed<kCols>(s, q, k_tile(step), 0);
    if (args.is_negated) SPION_UNROLL
    for (int i = 0; i < kCols / 2; ++i) s[i / 4][i % 4] = -s[i / 4][i % 4];
    if (args.key_padding_mask != nullptr)
      mask_scores<kCols>(s, args.key_padding_mask + static_cast<int64_t>(b) * args.length, key);
    float rescale[2];
    softmax.step(s, args.score_factor, rescale);
    if (step > 0) SPION_UNROLL
    for (int i = 0; i < D / 2; ++i) out[i / 4][i % 4] *= rescale[i % 4 / 2];
    if constexpr (kDropout)
      drop_scores<kCols>(s, args.dropout, first_query + warp_row + g, key, batch_head);

    if (step + 1 < n_steps) load_keys(args.v, v_tile(step + 1), key1);
    prim::cp_async_commit();
    prim::cp_async_wait<2>();  // V of this step; the next K and V may still be under way
    prim::sync_threads();      // and everybody has done with this step's K
    key = key1;
    key1 = key2;
    if (step + 2 < n_steps) load_keys(args.k, k_tile(step), key2);
    prim::cp_async_commit();
    if (step + 3 < n_steps) key2 = steps.first(step + 3);
    Math::template multiply_rows<kCols, D>(out, s, v_tile(step), 0);
    if (++step == n_steps) break;
    prim::cp_async_wait<2>();  // K of the next step
    prim::sync_threads();      // and everybody has done with this step's V
  }

  float lse[2], factor[2];
  softmax.finish(lse, factor);
  const int query = first_query + warp_row;
  if (prim::lane_index() % 4 == 0) SPION_UNROLL
  for (int i = 0; i < 2; ++i)
    args.lse[static_cast<int64_t>(batch_head) * args.length + query + g + 8 * i] = lse[i];
  store_rows<Math, D>(out, factor, q_tile, warp_row, row_of<T>(args.out, b, h, query),
                      args.out.row_stride, args.width);
}

}  // namespace spion_bench::cuda
