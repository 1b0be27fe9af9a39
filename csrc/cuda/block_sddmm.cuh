// Block SDDMM, the pipeline's first step: tiles = scale * q k^T on the kept blocks.
//
// Mapping: one thread block per kRows query rows of one (batch, head), one warp per 16 of them. q
// is read once; keys stream through shared memory kCols at a time, two steps ahead. Scores leave
// through the warp's own rows of shared memory, so that stores are 16 bytes wide. Grid: x = row
// tiles of a (batch, head), y = b * H + h. Shapes: q k [B, H, L, D] by strides, tiles [B, H, nnzb,
// S, S]; D = 32, 64, 128, stored width a multiple of 16 bytes; S = 16, 32, 64, 128. Cost per kept
// block: 2 D S^2 FLOPs, S D values read (q once per row), S^2 written. Launches: one. Registers and
// spills: nox -s cuda_build. Test: tests/emulation/test_block_sddmm.py. No time has been measured
// yet: that takes a GPU.
#pragma once

#include "block_sddmm.h"
#include "common/element.cuh"
#include "common/launch.cuh"
#include "common/list_steps.cuh"

namespace spion_bench::cuda {

template <class Math, int D, int kRows>
constexpr int sddmm_shared_bytes() {
  using T = typename Math::Stored;
  constexpr int kCols = kStepKeys<Math, D, kRows>;
  return ((kRows + 2 * kCols) * D + kRows * kPaddedCols<T, kCols>)*static_cast<int>(sizeof(T));
}

template <class Math, int D, int kRows>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kRows * 2, 1)
    block_sddmm_kernel(SPION_KERNEL_ARGUMENT BlockSddmmArgs args) {
  using T = typename Math::Stored;
  constexpr int kThreads = kRows * 2, kCols = kStepKeys<Math, D, kRows>;
  constexpr int kStaged = kPaddedCols<T, kCols>;
  using Rows = Tile<D* static_cast<int>(sizeof(T))>;
  constexpr uint32_t kRowBytes = D * sizeof(T);
  const Rows q_tile{prim::shared_memory()};
  const prim::SharedAddress k_begin = q_tile.base + kRows * kRowBytes;
  const auto k_tile = [k_begin](int step) { return Rows{k_begin + step % 2 * kCols * kRowBytes}; };
  const ScoreTile<T, kCols> staged{k_begin + 2 * kCols * kRowBytes};

  const BlockList& blocks = args.blocks;
  const int batch_head = prim::block_y(), b = batch_head / blocks.heads;
  const int h = batch_head - b * blocks.heads;
  const int first_query = prim::block_x() * kRows, warp_row = prim::warp_index() * 16;
  const ListSteps<kCols> steps(blocks, first_query);
  if (steps.n_steps == 0) return;

  const auto load_keys = [&](int step) {
    if (step < steps.n_steps) {
      const int block = prim::load_constant(blocks.other + steps.entry(step));
      const int key = (block << blocks.block_log2) + steps.within(step);
      load_tile<kCols, kThreads>(k_tile(step), row_of<const T>(args.k, b, h, key),
                                 args.k.row_stride, args.width);
    }
    prim::cp_async_commit();
  };
  load_tile<kRows, kThreads>(q_tile, row_of<const T>(args.q, b, h, first_query), args.q.row_stride,
                             args.width);
  load_keys(0);
  load_keys(1);
  prim::cp_async_wait<1>();
  prim::sync_threads();
  LeftRows<Math, D, kIsResident<Math, D>> q{q_tile, warp_row, {}};
  q.read();

  const int block_size = 1 << blocks.block_log2;
  const int row_in_block = (first_query & (block_size - 1)) + warp_row;
  const float factor[2] = {args.scale, args.scale};
  SPION_NO_UNROLL
  for (int step = 0; step < steps.n_steps; ++step) {
    float s[kCols / 8][4] = {};
    multiply_transposed<kCols>(&s, &q, k_tile(step), 0);
    prim::sync_threads();  // every warp is done with this step's keys
    load_keys(step + 2);

    float padded[kStaged / 8][4] = {};
    SPION_UNROLL
    for (int i = 0; i < kCols / 2; ++i) padded[i / 4][i % 4] = s[i / 4][i % 4];
    T* to = static_cast<T*>(args.tiles) + blocks.tile_offset(batch_head, steps.entry(step)) +
            row_in_block * block_size + steps.within(step);
    store_rows<Math, kStaged>(padded, factor, staged, warp_row, to, block_size, kCols);
    prim::cp_async_wait<1>();  // keys of the next step
    prim::sync_threads();
  }
}

template <class Math>
const char* launch_block_sddmm(const BlockSddmmArgs& args, prim::Stream stream) {
  return with_tile(args.blocks, args.width, [&](auto width, auto rows, prim::Grid grid) {
    constexpr int kWidth = decltype(width)::value, kRows = decltype(rows)::value;
    return prim::launch<block_sddmm_kernel<Math, kWidth, kRows>,
                        sddmm_shared_bytes<Math, kWidth, kRows>()>(grid, kRows * 2, stream, args);
  });
}

}  // namespace spion_bench::cuda
