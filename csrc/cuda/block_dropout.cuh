// Dropout on stored tiles, with the very mask that the fused kernels draw (common/philox.cuh).
//
// Mapping: common/row_lanes.cuh; a lane's eight keys are one call of Philox.
// Grid: x = groups of rows of a (batch, head), y = b * H + h.
// Shapes: tiles [B, H, nnzb, S, S]; S = 16, 32, 64, 128.
// Cost per kept block: S^2 / 8 calls of about 70 instructions, S^2 values read and written.
// Launches: one. Registers: nox -s cuda_build. Test: tests/emulation/test_block_dropout.py. No time
// has been measured yet: that takes a GPU.
#pragma once

#include "block_dropout.h"
#include "common/launch.cuh"
#include "common/philox.cuh"
#include "common/row_lanes.cuh"

namespace spion_bench::cuda {

template <class Math, int kBlock>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kRowThreads, 1)
    block_dropout_kernel(SPION_KERNEL_ARGUMENT BlockDropoutArgs args) {
  using T = typename Math::Stored;
  using Lanes = RowLanes<kBlock>;
  const Lanes row(args.blocks);
  if (!row.exists) return;
  int64_t at = row.first;
  SPION_NO_UNROLL
  for (int entry = row.begin; entry < row.end; ++entry, at += Lanes::kTile) {
    const int block = prim::load_constant(args.blocks.other + entry);
    const uint32_t kept =
        keep_byte(args.dropout, row.query, block * Lanes::kLanes + row.group, row.batch_head);
    float p[kLaneKeys];
    load_keys_of_lane<Math>(p, static_cast<const T*>(args.probs) + at);
    SPION_UNROLL
    for (int i = 0; i < kLaneKeys; ++i)
      p[i] *= (kept >> i & 1u) != 0 ? args.dropout.keep_scale : 0.0f;
    store_keys_of_lane<Math>(static_cast<T*>(args.out) + at, p);
  }
}

template <class Math>
const char* launch_block_dropout(const BlockDropoutArgs& args, prim::Stream stream) {
  return with_block(args.blocks, [&](auto block, prim::Grid grid) {
    return prim::launch<block_dropout_kernel<Math, decltype(block)::value>>(grid, kRowThreads,
                                                                            stream, args);
  });
}

}  // namespace spion_bench::cuda
