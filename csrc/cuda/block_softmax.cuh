// Row softmax over the kept tiles and its backward pass, the pipeline's middle step.
//
// Mapping: common/row_lanes.cuh; a row never leaves its lanes, so there is no barrier. Two walks
// over the row's tiles: the first finds the maximum and the denominator (or the sum of P dP), the
// second reads the tiles again, mostly from the cache, and writes. Grid: x = groups of rows of a
// (batch, head), y = b * H + h. Shapes: tiles [B, H, nnzb, S, S], lse and dlse [B, H, L] float32,
// key padding bool [B, L]; S = 16, 32, 64, 128. Cost per kept block, forward: 2 S^2 exponentials,
// S^2 values read (twice) and written; backward: 2 S^2 read (twice), S^2 written. Launches: one
// each. Registers: nox -s cuda_build. Test: tests/emulation/test_block_softmax.py. No time has been
// measured yet: that takes a GPU.
//
// Pruned scores that count as zeros enter as maximum 0 and denominator L - n, where n columns of
// the row are kept (scale_softmax_kernel of the SPION code, written exactly).
#pragma once

#include "block_softmax.h"
#include "common/launch.cuh"
#include "common/row_lanes.cuh"

namespace spion_bench::cuda {

// Scores of this lane's padded keys become -inf; every lane of the warp calls.
template <int kBlock>
SPION_DEVICE void mask_keys_of_lane(float (&s)[kLaneKeys], const bool* mask, int first_key,
                                    int group) {
  KeyWords<kBlock> keys;
  keys.read(mask, first_key);
  uint32_t word = keys.word[0];
  SPION_UNROLL
  for (int w = 1; w < KeyWords<kBlock>::kWords; ++w)  // an index would move the words to memory
    if (group / 4 == w) word = keys.word[w];
  const uint32_t real = word >> group % 4 * 8;
  SPION_UNROLL
  for (int i = 0; i < kLaneKeys; ++i)
    if ((real >> i & 1u) == 0) s[i] = -kInfinity;
}

// What exponentials are relative to: -inf - (-inf) must not be NaN.
SPION_DEVICE float finite_base(float highest) { return highest == -kInfinity ? 0.0f : highest; }

template <class Math, int kBlock>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kRowThreads, 1)
    block_softmax_kernel(SPION_KERNEL_ARGUMENT BlockSoftmaxArgs args) {
  using T = typename Math::Stored;
  using Lanes = RowLanes<kBlock>;
  const Lanes row(args.blocks);
  if (!row.exists) return;
  const int b = row.batch_head / args.blocks.heads;
  const bool* mask = args.key_padding_mask == nullptr
                         ? nullptr
                         : args.key_padding_mask + static_cast<int64_t>(b) * args.blocks.length;
  const auto read_scores = [&](float (&s)[kLaneKeys], int entry) {
    load_keys_of_lane<Math>(s, static_cast<const T*>(args.scores) + row.first +
                                   static_cast<int64_t>(entry - row.begin) * Lanes::kTile);
    if (mask != nullptr)
      mask_keys_of_lane<kBlock>(s, mask, prim::load_constant(args.blocks.other + entry) * kBlock,
                                row.group);
  };

  const int n_zeros = args.blocks.length - (row.end - row.begin) * kBlock;
  const bool has_zeros = args.zero_logit && n_zeros > 0;
  float highest = has_zeros ? 0.0f : -kInfinity;
  float total = has_zeros && row.group == 0 ? static_cast<float>(n_zeros) : 0.0f;
  SPION_NO_UNROLL
  for (int entry = row.begin; entry < row.end; ++entry) {
    float s[kLaneKeys];
    read_scores(s, entry);
    const float before = highest;
    SPION_UNROLL
    for (int i = 0; i < kLaneKeys; ++i) highest = prim::max(highest, s[i]);
    const float base = finite_base(highest);
    total *= prim::exp2((before - base) * kLog2E);
    SPION_UNROLL
    for (int i = 0; i < kLaneKeys; ++i) total += prim::exp2((s[i] - base) * kLog2E);
  }

  const float base = finite_base(Lanes::highest(highest));
  total = Lanes::sum(total * prim::exp2((highest - base) * kLog2E));
  const bool is_empty = total == 0.0f;
  const float factor = is_empty ? 0.0f : 1.0f / total;
  if (row.group == 0)
    args.lse[static_cast<int64_t>(row.batch_head) * args.blocks.length + row.query] =
        is_empty ? kInfinity : base + prim::log2(total) * kLn2;

  SPION_NO_UNROLL
  for (int entry = row.begin; entry < row.end; ++entry) {
    float s[kLaneKeys];
    read_scores(s, entry);
    SPION_UNROLL
    for (int i = 0; i < kLaneKeys; ++i) s[i] = prim::exp2((s[i] - base) * kLog2E) * factor;
    store_keys_of_lane<Math>(static_cast<T*>(args.probs) + row.first +
                                 static_cast<int64_t>(entry - row.begin) * Lanes::kTile,
                             s);
  }
}

// dscores = probs * (dprobs - sum_j probs * dprobs + dlse), row by row.
template <class Math, int kBlock>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kRowThreads, 1)
    block_softmax_backward_kernel(SPION_KERNEL_ARGUMENT BlockSoftmaxBackwardArgs args) {
  using T = typename Math::Stored;
  using Lanes = RowLanes<kBlock>;
  const Lanes row(args.blocks);
  if (!row.exists) return;
  const T* probs = static_cast<const T*>(args.probs) + row.first;
  const T* dprobs = static_cast<const T*>(args.dprobs) + row.first;
  T* dscores = static_cast<T*>(args.dscores) + row.first;
  const int n_tiles = row.end - row.begin;

  float delta = 0.0f;
  SPION_NO_UNROLL
  for (int tile = 0; tile < n_tiles; ++tile) {
    const int64_t at = static_cast<int64_t>(tile) * Lanes::kTile;
    float p[kLaneKeys], dp[kLaneKeys];
    load_keys_of_lane<Math>(p, probs + at);
    load_keys_of_lane<Math>(dp, dprobs + at);
    SPION_UNROLL
    for (int i = 0; i < kLaneKeys; ++i) delta += p[i] * dp[i];
  }
  delta = Lanes::sum(delta);
  if (args.dlse != nullptr)
    delta -= prim::load_constant(
        args.dlse + static_cast<int64_t>(row.batch_head) * args.blocks.length + row.query);

  SPION_NO_UNROLL
  for (int tile = 0; tile < n_tiles; ++tile) {
    const int64_t at = static_cast<int64_t>(tile) * Lanes::kTile;
    float p[kLaneKeys], dp[kLaneKeys];
    load_keys_of_lane<Math>(p, probs + at);
    load_keys_of_lane<Math>(dp, dprobs + at);
    SPION_UNROLL
    for (int i = 0; i < kLaneKeys; ++i) p[i] *= dp[i] - delta;
    store_keys_of_lane<Math>(dscores + at, p);
  }
}

template <class Math>
const char* launch_block_softmax(const BlockSoftmaxArgs& args, prim::Stream stream) {
  return with_block(args.blocks, [&](auto block, prim::Grid grid) {
    return prim::launch<block_softmax_kernel<Math, decltype(block)::value>>(grid, kRowThreads,
                                                                            stream, args);
  });
}

template <class Math>
const char* launch_block_softmax_backward(const BlockSoftmaxBackwardArgs& args,
                                          prim::Stream stream) {
  return with_block(args.blocks, [&](auto block, prim::Grid grid) {
    return prim::launch<block_softmax_backward_kernel<Math, decltype(block)::value>>(
        grid, kRowThreads, stream, args);
  });
}

}  // namespace spion_bench::cuda
