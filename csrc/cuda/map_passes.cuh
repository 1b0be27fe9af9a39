// The two passes over an attention map on the way to its pattern: the diagonal filter, and pooling.
//
//   diagonal_conv   out[i][j] = sum over t = -h..h of map[i + t][j + t], 0 outside the map
//   average_pool    pooled[r][c] = mean of map[r S .. r S + S - 1][c S .. c S + S - 1]
//
// Sums are float64 and in the order of the CPU kernels (../cpu/map_kernel.h), so that results are
// the same to the bit and ties of pooled blocks are decided alike on any device.
// Shapes: map [L, L] by strides, out [L, L], pooled [L / S, L / S], float32 or float64; any L and
// S.
//
// diagonal_conv: a thread per value, 32 x 128 values to a thread block, which share the rows that
// they read in the first-level cache. Grid: x = tiles of columns, y = tiles of rows. Cost: 2 h + 1
// additions and cached reads per value (31 as published), 1 read and 1 write of the map in memory.
// average_pool: a thread per column sums down a block row, then a thread per block along its
// columns' sums in shared memory. Grid: x = block row times the groups of blocks along it. Cost:
// one read of the map. Launches: one each. Registers and spills: nox -s cuda_build. Test:
// tests/emulation/ test_pattern.py. No time has been measured yet: that takes a GPU.
#pragma once

#include "pattern_args.h"
#include "prim.cuh"

namespace spion_bench::cuda {

constexpr int kConvThreads = 256, kConvRows = 32, kConvColumns = 128;
constexpr int kPoolThreads = 128;
constexpr int kPoolSharedBytes = kPoolThreads * static_cast<int>(sizeof(double));

SPION_DEVICE int smaller(int a, int b) { return a < b ? a : b; }
SPION_DEVICE int larger(int a, int b) { return a > b ? a : b; }

// The CPU kernel cuts rows into groups of 2 h + 1 from row -h on; a window is the end of one group,
// summed upwards, and the beginning of the next, summed downwards.
template <typename T>
SPION_DEVICE double window_sum(const DiagonalConvArgs<T>& args, int row, int column) {
  const int64_t step = args.map.row_stride + args.map.column_stride;
  const T* centre = args.map.data + row * args.map.row_stride + column * args.map.column_stride;
  const int last_of_group = args.half - row % (2 * args.half + 1);
  // Taps inside the map and the filter.
  const int first = larger(-args.half, -smaller(row, column));
  const int last = smaller(args.half, args.length - 1 - larger(row, column));
  double upper = 0.0, lower = 0.0;
  SPION_UNROLL_4
  for (int t = smaller(last_of_group, last); t >= first; --t)
    upper += prim::load_constant(centre + t * step);
  SPION_UNROLL_4
  for (int t = larger(last_of_group + 1, first); t <= last; ++t)
    lower += prim::load_constant(centre + t * step);
  return upper + lower;
}

template <typename T>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kConvThreads, 1)
    diagonal_conv_kernel(SPION_KERNEL_ARGUMENT DiagonalConvArgs<T> args) {
  const int column = prim::block_x() * kConvColumns + prim::thread_index() % kConvColumns;
  const int first_row = prim::block_y() * kConvRows + prim::thread_index() / kConvColumns;
  const int end = smaller(args.length, (prim::block_y() + 1) * kConvRows);
  if (column >= args.length) return;
  SPION_NO_UNROLL
  for (int row = first_row; row < end; row += kConvThreads / kConvColumns)
    args.out[static_cast<int64_t>(row) * args.length + column] =
        static_cast<T>(window_sum(args, row, column));
}

template <typename T>
SPION_KERNEL void SPION_LAUNCH_BOUNDS(kPoolThreads, 1)
    average_pool_kernel(SPION_KERNEL_ARGUMENT AveragePoolArgs<T> args) {
  const int S = args.block_size, thread = prim::thread_index();
  const int block_row = prim::block_x() / args.groups;
  const int first_cell = (prim::block_x() - block_row * args.groups) * args.cells;
  const int n_cells = smaller(args.cells, args.n_blocks - first_cell);
  const int n_columns = n_cells * S;
  const T* corner = args.map.data + static_cast<int64_t>(block_row) * S * args.map.row_stride +
                    static_cast<int64_t>(first_cell) * S * args.map.column_stride;
  const auto sum_at = [](int i) {
    return prim::shared_memory() + static_cast<uint32_t>(i * sizeof(double));
  };

  double total = 0.0;
  SPION_NO_UNROLL
  for (int piece = 0; piece < n_columns; piece += kPoolThreads) {
    const int piece_end = smaller(piece + kPoolThreads, n_columns);
    if (piece + thread < piece_end) {
      const T* value = corner + (piece + thread) * args.map.column_stride;
      double sum = 0.0;
      SPION_UNROLL_4
      for (int i = 0; i < S; ++i) sum += prim::load_constant(value + i * args.map.row_stride);
      prim::store_shared_f64(sum_at(thread), sum);
    }
    prim::sync_threads();
    if (thread < n_cells) {
      const int end = smaller((thread + 1) * S, piece_end);
      for (int j = larger(thread * S, piece); j < end; ++j)
        total += prim::load_shared_f64(sum_at(j - piece));
    }
    prim::sync_threads();
  }
  if (thread < n_cells)
    args.pooled[static_cast<int64_t>(block_row) * args.n_blocks + first_cell + thread] =
        static_cast<T>(total / (static_cast<double>(S) * S));
}

}  // namespace spion_bench::cuda
