// Which blocks of a pooled attention map a pattern keeps, before the diagonal is added. The rules
// are those of ../cpu/flood_fill.cpp; both results follow from the rules alone, so they are the
// same to the bit.
//
//   walk       a thread per seed walks its whole path. Paths meet, and then several threads write
//              the same `true` to the same cell: there is no other value to write, so no order
//              shows. Grid: x = groups of the 2 nb - 1 seeds. Cost: up to 2 nb dependent steps.
//   connected  one thread block repeats four sweeps until a round adds nothing: rows to the right
//              and back, a thread per row, then columns down and back, a thread per column. Within
//              a sweep a thread touches nothing outside its row or column. A round follows every
//              straight run to its end; the rounds are as many as a region has turns on the way out
//              from the diagonal, 4 nb^2 / 256 visits of cells each. One block, because a round has
//              to end everywhere before the next begins and nb is small (32 to 128 as published).
//
// Shapes: pooled [nb, nb] by strides, float32 or float64, without NaN (with one, the result is
// unspecified); kept bool [nb, nb].
// Launches: one each. Registers and spills: nox -s cuda_build. Test: tests/emulation/
// test_flood_fill.py. No time has been measured yet: that takes a GPU.
#pragma once

#include "common/integers.cuh"
#include "common/prim.cuh"
#include "flood_fill.h"

namespace spion_bench::cuda {

constexpr int kWalkThreads = 64;
constexpr int kGrowThreads = 256;
constexpr int kGrowSharedBytes = kGrowThreads / prim::kWarp * 4;  // a vote of each warp

template <typename T>
SPION_DEVICE T pooled_at(const FloodFillArgs<T>& args, int row, int column) {
  return prim::load_constant(args.pooled.data + row * args.pooled.row_stride +
                             column * args.pooled.column_stride);
}
template <typename T>
SPION_DEVICE bool exceeds(const FloodFillArgs<T>& args, int row, int column) {
  return static_cast<double>(pooled_at(args, row, column)) > args.threshold;
}

template <typename T>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kWalkThreads, 1)
    flood_walk_kernel(SPION_KERNEL_ARGUMENT FloodFillArgs<T> args) {
  const int nb = args.n_blocks, seed = prim::block_x() * kWalkThreads + prim::thread_index();
  if (seed >= 2 * nb - 1) return;
  // The first row, then the rest of the first column.
  int row = seed < nb ? 0 : seed - nb + 1, column = seed < nb ? seed : 0;
  for (;;) {
    // Outside the map lie zeros, where the walk ends.
    const bool has_below = row + 1 < nb, has_right = column + 1 < nb;
    const T below = has_below ? pooled_at(args, row + 1, column) : T{0};
    const T right = has_right ? pooled_at(args, row, column + 1) : T{0};
    const T diagonal = has_below && has_right ? pooled_at(args, row + 1, column + 1) : T{0};
    const bool goes_straight = (below > right ? below : right) > diagonal;
    const bool goes_below = below > right;  // right wins a tie
    if (!goes_straight || goes_below) ++row;
    if (!goes_straight || !goes_below) ++column;
    if (row >= nb || column >= nb) return;
    if (exceeds(args, row, column)) args.kept[static_cast<int64_t>(row) * nb + column] = true;
  }
}

// Grows along one row or column, from its cell `begin` on in the direction of `step`; true if a
// cell was added. The diagonal is a seed whatever its value.
template <typename T>
SPION_DEVICE bool sweep(const FloodFillArgs<T>& args, int line, bool is_row, int begin, int step) {
  bool is_reached = false, has_grown = false;
  SPION_NO_UNROLL
  for (int i = begin; 0 <= i && i < args.n_blocks; i += step) {
    const int row = is_row ? line : i, column = is_row ? i : line;
    bool& kept = args.kept[static_cast<int64_t>(row) * args.n_blocks + column];
    bool is_kept = kept;
    if (!is_kept && is_reached && exceeds(args, row, column)) {
      kept = is_kept = has_grown = true;
    }
    is_reached = is_kept || i == line;
  }
  return has_grown;
}

// Whether any thread of the block votes yes. The caller has a barrier between two calls.
SPION_DEVICE bool any_thread(bool vote) {
  const uint32_t votes = prim::ballot(vote);
  if (prim::lane_index() == 0)
    prim::store_shared(prim::shared_memory() + 4 * prim::warp_index(), votes);
  prim::sync_threads();
  uint32_t all = 0;
  SPION_UNROLL
  for (int warp = 0; warp < kGrowThreads / prim::kWarp; ++warp)
    all |= prim::load_shared(prim::shared_memory() + 4 * warp);
  return all != 0;
}

template <typename T>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kGrowThreads, 1)
    flood_growth_kernel(SPION_KERNEL_ARGUMENT FloodFillArgs<T> args) {
  const int nb = args.n_blocks;
  const auto sweep_lines = [&](bool is_row) {
    bool has_grown = false;
    for (int line = prim::thread_index(); line < nb; line += kGrowThreads) {
      has_grown |= sweep(args, line, is_row, 0, 1);
      has_grown |= sweep(args, line, is_row, nb - 1, -1);
    }
    return has_grown;
  };
  for (int i = prim::thread_index(); i < nb; i += kGrowThreads)
    args.kept[static_cast<int64_t>(i) * nb + i] = exceeds(args, i, i);
  prim::sync_threads();
  for (;;) {
    bool has_grown = sweep_lines(true);
    prim::sync_threads();
    has_grown |= sweep_lines(false);
    if (!any_thread(has_grown)) return;
  }
}

template <typename T>
const char* launch_flood_walk(const FloodFillArgs<T>& args, prim::Stream stream) {
  const prim::Grid grid{groups_of(2 * int64_t{args.n_blocks} - 1, kWalkThreads), 1};
  return prim::launch<flood_walk_kernel<T>>(grid, kWalkThreads, stream, args);
}

template <typename T>
const char* launch_flood_growth(const FloodFillArgs<T>& args, prim::Stream stream) {
  return prim::launch<flood_growth_kernel<T>, kGrowSharedBytes>({1, 1}, kGrowThreads, stream, args);
}

}  // namespace spion_bench::cuda
